"""Fetch a weight file once: from its URL into the cache, checked, and safe against a second process.

Whatever goes wrong, the message says where the file comes from, under which licence, and the exact
path at which a copy placed by hand is found.
"""

import json
import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest
from hashlib import sha256 as hash_bytes
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from homolog.core.atomic import write_json
from homolog.core.download import DownloadError, Progress, Remote, download
from homolog.core.errors import DataError, WeightsError

logger = logging.getLogger(__name__)

HUB = "https://huggingface.co"
"""The hub that `HF_ENDPOINT` replaces."""

OFFLINE_FLAGS = ("HOMOLOG_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Any of these environment variables, set to 1, true, yes or on, keeps homolog off the network."""


def cache_folder() -> Path:
    """Return where fetched files are kept: `$HOMOLOG_CACHE`, else `~/.cache/homolog`."""
    chosen = os.environ.get("HOMOLOG_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "homolog"


def fetch(
    *,
    url: str,
    sha256: str | None,
    size: int | None,
    licence: str,
    origin: str,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Return the path of a weight file, downloading it first if it is not in the cache.

    A download that broke off is resumed. The file gets its name only when it is whole and its hash
    is right, and its hash, size and time of change are recorded beside it: as long as size and time
    stay, it is not hashed again. A file that a user placed by hand is hashed on first sight and
    recorded too. `HF_ENDPOINT` replaces the hub in `url`; `HF_TOKEN` is sent to the hub only; the
    flags in `OFFLINE_FLAGS` keep everything off the network.

    Args:
        url: where the file is.
        sha256: what it must hash to, in hexadecimal. None accepts the hash that the server
            declares, or else any content; either way the file may not change afterwards.
        size: in bytes, or None when unknown.
        licence: of the weights, for people.
        origin: where the weights come from, for people.
        cache: folder to keep it in; `cache_folder()` if None.
        progress: called with the bytes so far and in all; without it, large files log their progress.

    Raises:
        WeightsError: it cannot be fetched, or what lies there is another file; says what to do by hand.
    """
    path = fetched_path(url=url, sha256=sha256, cache=cache)
    about = _About(path=path, url=url, sha256=sha256, size=size, licence=licence, origin=origin)
    if path.is_file():
        return _accept(about)
    if (flag := offline()) is not None:
        raise about.problem(f"{flag} is set, so the network is not touched")
    part = path.with_name(path.name + ".part")
    try:
        with _alone(path):
            # Another process may have fetched it while this one waited.
            if not path.is_file():
                digest = download(_remote(url, sha256, size), part, progress or _logged(path.name))
                part.replace(path)
                _record(about, digest)
    except DownloadError as error:
        raise about.problem(str(error)) from error
    except OSError as error:
        raise about.problem(f"cannot write to {path.parent}: {error.strerror or error}") from error
    return _accept(about)


def fetched_path(*, url: str, sha256: str | None, cache: Path | None = None) -> Path:
    """Return where `fetch` keeps a file, whether it is there or not; touches nothing.

    >>> str(fetched_path(url="https://example.org/a/net.pth", sha256="ab" * 32, cache=Path("cache")))
    'cache/weights/abababababab-net.pth'
    """
    key = sha256 or hash_bytes(url.encode()).hexdigest()
    name = PurePosixPath(unquote(urlsplit(url).path)).name or "weights"
    return (cache or cache_folder()) / "weights" / f"{key[:12]}-{name}"


def find_fetched(*, url: str, sha256: str | None, size: int | None, cache: Path | None = None) -> Path | None:
    """Return the path of a file that `fetch` would not have to download, else None; hashes nothing."""
    path = fetched_path(url=url, sha256=sha256, cache=cache)
    there = path.is_file() and (size is None or path.stat().st_size == size)
    return path if there else None


def offline() -> str | None:
    """Return the environment variable that keeps homolog off the network, or None."""
    on = {"1", "true", "yes", "on"}
    return next((flag for flag in OFFLINE_FLAGS if os.environ.get(flag, "").strip().lower() in on), None)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def recorded_hash(path: Path) -> str | None:
    """Return the SHA-256 on record for a fetched file that has not been touched since, else None."""
    record = _read_record(path)
    stat = path.stat()
    untouched = (record.get("size"), record.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns)
    return record.get("sha256") if untouched else None


def first_hash(path: Path) -> str | None:
    """Return the SHA-256 that a fetched file had when it was recorded, whatever became of it since."""
    return _read_record(path).get("sha256")


@dataclass(frozen=True, slots=True, kw_only=True)
class _About:
    path: Path
    url: str
    sha256: str | None
    size: int | None
    licence: str
    origin: str

    def problem(self, reason: str) -> WeightsError:
        return WeightsError(
            f"expected the weight file {self.path}, but cannot fetch it ({reason}); place it there by hand: "
            f"it is {self.url} from {self.origin}, licence {self.licence}"
        )


def _accept(about: _About) -> Path:
    path, size = about.path, about.path.stat().st_size
    if about.size is not None and size != about.size:
        raise _another_file(about, f"{about.size} bytes", f"{size} bytes")
    known = recorded_hash(path)
    digest = known or file_hash(path)
    expected = about.sha256 or first_hash(path)
    if expected is not None and digest != expected:
        raise _another_file(about, f"SHA-256 {expected}", digest)
    if known is None:
        _record(about, digest)
    return path


def _another_file(about: _About, expected: str, got: str) -> WeightsError:
    return WeightsError(
        f"{about.path}: expected a file of {expected}, got {got}; remove it (and {_record_path(about.path).name} "
        f"beside it) to have it fetched again, or place the file there by hand: it is {about.url} from "
        f"{about.origin}, licence {about.licence}"
    )


def _remote(url: str, sha256: str | None, size: int | None) -> Remote:
    hub = url.startswith(HUB + "/")
    if hub:
        url = (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/") + url.removeprefix(HUB)
    token = (os.environ.get("HF_TOKEN") or None) if hub else None
    return Remote(url=url, sha256=sha256, size=size, token=token, hub=hub)


@contextmanager
def _alone(path: Path) -> Generator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(path.name + ".lock")):
        yield


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _record(about: _About, digest: str) -> None:
    stat = about.path.stat()
    facts = {
        "sha256": digest,
        "size": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "url": about.url,
        "licence": about.licence,
        "origin": about.origin,
    }
    try:
        write_json(_record_path(about.path), facts)
    except DataError as error:
        # A cache that somebody shares read-only works as well, only it is hashed every time.
        logger.debug("no record of %s: %s", about.path.name, error)


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(_record_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _logged(name: str) -> Progress:
    tenth = 0

    def log(arrived: int, total: int | None) -> None:
        nonlocal tenth
        if total is not None and total > 1_000_000 and arrived * 10 // total > tenth:
            tenth = arrived * 10 // total
            logger.info("fetching %s: %d of %d MB", name, arrived // 1_000_000, total // 1_000_000)

    return log
