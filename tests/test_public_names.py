"""The public names of every package, pinned: a name that comes or goes shows up in this file's diff."""

import importlib
import pkgutil
from pathlib import Path

import homolog

PINNED = Path(__file__).with_name("public_names.txt")


def public_names() -> list[str]:
    """Every name that a package exports."""
    packages = sorted(module.name for module in pkgutil.iter_modules(homolog.__path__, "homolog."))
    return [
        f"{package}.{name}"
        for package in packages
        for name in sorted(getattr(importlib.import_module(package), "__all__", ()))
    ]


def test_public_names_are_those_pinned() -> None:
    # After a wanted change: write the left side into tests/public_names.txt, and a line into CHANGELOG.md.
    assert public_names() == PINNED.read_text(encoding="utf-8").splitlines()


def test_every_public_name_resolves_to_an_object_of_its_package() -> None:
    for name in public_names():
        package, _, attribute = name.rpartition(".")
        found = getattr(importlib.import_module(package), attribute)
        home = getattr(found, "__module__", package)
        assert home.startswith(f"{package}.") or home in {"typing", "types"} or package == home, name


def test_no_module_hides_a_public_name() -> None:
    # Importing a module binds its name in the package, where it would replace a function of that name.
    for package in {name.rpartition(".")[0] for name in public_names()}:
        modules = {module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)}
        assert not modules & set(vars(importlib.import_module(package))["__all__"]), package
