"""Fetch a model that consists of several files, and lay it out as the folder it is on the hub.

Every file goes through `homolog.core.fetch`, so endpoint, offline flags, resuming and checks are its.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from homolog.core.atomic import write_json
from homolog.core.errors import ConfigError, DataError, WeightsError
from homolog.core.fetch import HUB, cache_folder, fetch, file_hash, find_fetched, recorded_hash

SOURCE = "homolog.json"
"""In the folder: repository, revision, and of each file SHA-256, size and time of change."""


def fetch_folder(
    *,
    repository: str,
    revision: str,
    files: Mapping[str, str | None],
    licence: str,
    origin: str,
    cache: Path | None = None,
) -> Path:
    """Return a folder with files of a hub repository, fetching those that are missing.

    The folder holds links to the fetched files, and `homolog.json`, which records what exactly they
    are. A file that a user put into the folder by hand is taken as it is, if its hash is right.

    Args:
        repository: `owner/name` on the hub.
        revision: branch, tag or commit. A branch may move on; what was fetched stays what it was.
        files: path in the repository to SHA-256 in hexadecimal, or to None when that is unknown.
        licence: of the weights, for people.
        origin: where the weights come from, for people.
        cache: folder to keep everything in; `homolog.core.fetch.cache_folder()` if None.

    Raises:
        ConfigError: a path leads out of the repository.
        WeightsError: a file cannot be fetched, or is another one; says what to do by hand.
    """
    folder = folder_path(repository=repository, revision=revision, cache=cache)
    known = _read_record(folder)
    facts = dict(known)
    for file, sha256 in files.items():
        target = folder / _checked(file)
        if target.is_file() and not target.is_symlink():
            facts[file] = _accepted(target, sha256, known.get(file))
            continue
        url = file_url(repository=repository, revision=revision, file=file)
        try:
            path = fetch(url=url, sha256=sha256, size=None, licence=licence, origin=origin, cache=cache)
        except WeightsError as error:
            raise WeightsError(
                f"{error}; or place it at {target}; or give a folder with the whole model as checkpoint=FOLDER"
            ) from error
        _link(target, path)
        facts[file] = _facts(path, recorded_hash(path) or file_hash(path))
    # A folder that is complete may be shared read-only.
    if facts != known:
        _write_record(folder, {"repository": repository, "revision": revision, "files": facts})
    return folder


def folder_path(*, repository: str, revision: str, cache: Path | None = None) -> Path:
    """Return where `fetch_folder` lays a repository out; touches nothing.

    >>> str(folder_path(repository="owner/model", revision="main", cache=Path("cache")))
    'cache/models/owner--model/main'
    """
    name, branch = repository.replace("/", "--"), revision.replace("/", "--")
    return (cache or cache_folder()) / "models" / name / branch


def file_url(*, repository: str, revision: str, file: str) -> str:
    """Return the address of a file on the hub."""
    return f"{HUB}/{repository}/resolve/{revision}/{file}"


def find_folder(
    *, repository: str, revision: str, files: Mapping[str, str | None], cache: Path | None = None
) -> Path | None:
    """Return the folder if `fetch_folder` would not have to download anything, else None."""
    folder = folder_path(repository=repository, revision=revision, cache=cache)
    there = all(
        (folder / file).is_file()
        or find_fetched(
            url=file_url(repository=repository, revision=revision, file=file),
            sha256=sha256,
            size=None,
            cache=cache,
        )
        for file, sha256 in files.items()
    )
    return folder if there else None


def recorded_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 that each file of a folder had when `fetch_folder` last saw it."""
    return {file: str(facts.get("sha256")) for file, facts in _read_record(folder).items()}


def _checked(file: str) -> PurePosixPath:
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ConfigError(f"expected the path of a file in a repository, got {file!r}")
    return path


def _accepted(path: Path, sha256: str | None, known: dict[str, Any] | None) -> dict[str, Any]:
    # Hashing some gigabytes takes seconds: a file that was not touched since is not hashed again.
    facts = _facts(path, (known or {}).get("sha256", ""))
    if facts != known:
        facts = _facts(path, file_hash(path))
    if sha256 is not None and facts["sha256"] != sha256:
        raise WeightsError(
            f"{path}: expected a file of SHA-256 {sha256}, got {facts['sha256']}; remove it to have it fetched"
        )
    return facts


def _facts(path: Path, digest: str) -> dict[str, Any]:
    stat = path.stat()
    return {"sha256": digest, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _link(target: Path, path: Path) -> None:
    if target.is_symlink() and target.resolve() == path.resolve():
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            target.symlink_to(os.path.relpath(path, target.parent))
        except OSError:  # a file system, or a user of Windows, without symbolic links
            shutil.copyfile(path, target)
    except OSError as error:
        raise WeightsError(
            f"{target}: cannot write there ({error.strerror}); set HOMOLOG_CACHE to another folder"
        ) from error


def _read_record(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        return dict(json.loads((folder / SOURCE).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, LookupError, TypeError):  # none yet, or not ours: it is written anew
        return {}


def _write_record(folder: Path, facts: dict[str, Any]) -> None:
    try:
        write_json(folder / SOURCE, facts)
    except DataError as error:
        raise WeightsError(f"{folder}: cannot write there; set HOMOLOG_CACHE to another folder") from error
