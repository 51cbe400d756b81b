"""Write the API reference of all packages as HTML, from their docstrings and without network.

    uv run python .ci/api_reference.py FOLDER

Any warning is an error: a public name that does not resolve, a docstring or an annotation that cannot be read.
"""

import importlib
import pkgutil
import sys
import warnings
from pathlib import Path

import pdoc.render

import homolog


def modules() -> list[str]:
    """Return the packages of homolog and their public modules; pdoc adds what is below those."""
    names: list[str] = []
    for package in pkgutil.iter_modules(homolog.__path__, "homolog."):
        names.append(package.name)
        inside = pkgutil.iter_modules(importlib.import_module(package.name).__path__, f"{package.name}.")
        names += [module.name for module in inside if not module.name.rpartition(".")[2].startswith("_")]
    return names


def main(folder: Path) -> None:
    """Build the reference.

    Args:
        folder: receives the pages.
    """
    warnings.simplefilter("error")
    # Third-party packages deprecate their own functions; that is no fault of a docstring.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    names = modules()
    for name in names:
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", ()):
            # Public names are imported on first use, and pdoc looks only at names that are there.
            module.__dict__[public] = getattr(module, public)
    pdoc.render.configure(docformat="google", footer_text="homolog")
    pdoc.pdoc(*names, output_directory=folder)
    sys.stdout.write(f"{len(list(folder.rglob('*.html')))} pages in {folder}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
