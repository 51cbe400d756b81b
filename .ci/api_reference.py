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


def public_modules() -> list[str]:
    """Return every module of homolog that is not private."""
    names = [module.name for module in pkgutil.walk_packages(homolog.__path__, "homolog.")]
    return [name for name in names if not any(part.startswith("_") for part in name.split("."))]


def main(folder: Path) -> None:
    """Build the reference.

    Args:
        folder: receives the pages.
    """
    warnings.simplefilter("error")
    # Third-party packages deprecate their own functions; that is no fault of a docstring.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    names = public_modules()
    for name in names:
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", ()):
            # Public names are imported on first use, and pdoc looks only at names that are there.
            module.__dict__[public] = getattr(module, public)
    pdoc.render.configure(docformat="google", footer_text="homolog")
    pdoc.pdoc(*names, output_directory=folder)
    sys.stdout.write(f"{len(names)} modules documented in {folder}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
