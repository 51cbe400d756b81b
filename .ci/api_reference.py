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
    """Return the packages of homolog, and the public modules of those that list their names."""
    names: list[str] = []
    for found in pkgutil.iter_modules(homolog.__path__, "homolog."):
        package = importlib.import_module(found.name)
        names.append(found.name)
        if hasattr(package, "__all__"):  # without it pdoc goes through the modules itself
            inside = pkgutil.iter_modules(package.__path__, f"{found.name}.")
            names += [module.name for module in inside if not module.name.rpartition(".")[2].startswith("_")]
    return names


def main(folder: Path) -> None:
    """Build the reference.

    Args:
        folder: receives the pages.
    """
    names = modules()
    for name in names:
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", ()):
            # Public names are imported on first use, and pdoc looks only at names that are there.
            module.__dict__[public] = getattr(module, public)
    pdoc.render.configure(docformat="google", footer_text="homolog")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        pdoc.pdoc(*names, output_directory=folder)
    problems = sorted({str(warning.message) for warning in caught if warning.category is UserWarning})
    if problems:
        sys.exit("\n".join(problems))
    sys.stdout.write(f"{len(list(folder.rglob('*.html')))} pages in {folder}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
