"""What samples depend on beside their settings, hashed: files that are named, and the code that makes them."""

import hashlib
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

SETTINGS = frozenset({"root", "photos", "scenes"})
"""Settings of sources that name files or folders, beside those that end in `checkpoint`."""


def named_files(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of what each path in a configuration leads to, by its dotted setting.

    Args:
        config: of a source.

    Returns:
        Of a file the hash of its bytes, of a folder that of the names and bytes of all files in it. What
        does not exist is left out: the source says so better.
    """
    paths = {name: Path(text).expanduser() for name, text in _paths(config)}
    return {name: _hash(path) for name, path in paths.items() if path.exists()}


def _paths(node: Any, name: str = "") -> Iterator[tuple[str, str]]:
    last = name.rpartition(".")[2]
    if isinstance(node, str) and (last in SETTINGS or last.endswith("checkpoint")):
        yield name, node
    elif isinstance(node, Mapping):
        for key, below in cast("Mapping[str, Any]", node).items():
            yield from _paths(below, f"{name}.{key}".lstrip("."))


def code_hash(source: object) -> str:
    """Return the first digits of the SHA-256 of the code that makes samples.

    Args:
        source: whose module counts, with all modules of its folder when that is a package of its own below
            `homolog.data`.

    Returns:
        Empty for a class that was not read from a file.
    """
    try:
        file = Path(inspect.getfile(type(source)))
    except (OSError, TypeError):
        return ""
    package = type(source).__module__.split(".")[:3]
    alone = package[:2] != ["homolog", "data"] or file.stem == package[-1]
    files = [file] if alone else sorted(_top(file, package[-1]).rglob("*.py"))
    together = hashlib.sha256()
    for each in files:
        together.update(f"{each.name}\0{_file_hash(each)}\n".encode())
    return together.hexdigest()[:16]


def _top(file: Path, package: str) -> Path:
    return next(folder for folder in file.parents if folder.name == package)


def _hash(path: Path) -> str:
    if path.is_file():
        return _file_hash(path)
    together = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        together.update(f"{file.relative_to(path).as_posix()}\0{_file_hash(file)}\n".encode())
    return together.hexdigest()


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
