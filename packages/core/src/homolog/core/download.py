"""Download one file over HTTP: resumed where it stopped, checked as it arrives.

This is the transport below `homolog.core.fetch`. It knows requests, ranges and hashes; where files
live, what they are and how a user is told belongs there.
"""

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Progress = Callable[[int, int | None], None]
"""Called with the bytes that have arrived and the bytes in all (None when the server does not say)."""

TIMEOUT = 30.0
"""Seconds without any answer after which a connection counts as broken."""

ATTEMPTS = 5
"""How often a connection that breaks off after some progress is taken up again within one call."""

CHUNK = 1 << 20


class DownloadError(Exception):
    """A file cannot be downloaded; the message is the reason alone."""


class _BrokenOffError(Exception):
    """The connection ended early; what arrived is worth keeping."""


class _UselessPartError(Exception):
    """What lies in the part file cannot become the file; only a fresh start helps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A file on a server, and what is known of it beforehand.

    Attributes:
        url: http or https.
        sha256: in hexadecimal, or None when the server's word has to do.
        size: in bytes, or None.
        token: sent as a bearer token to the host of `url` only, never to where it redirects.
        hub: the host follows the Hugging Face hub, whose ETag of a large file is its SHA-256.
    """

    url: str
    sha256: str | None = None
    size: int | None = None
    token: str | None = None
    hub: bool = False


def download(remote: Remote, part: Path, progress: Progress | None = None) -> str:
    """Download a file into `part`, going on from whatever `part` already holds.

    When the connection breaks off, `part` keeps what arrived; when the content turns out to be
    wrong, `part` is removed.

    Args:
        remote: what to download.
        part: receives the bytes; the caller renames it when this returns.
        progress: called after every chunk.

    Returns:
        The SHA-256 of the complete `part`: equal to `remote.sha256` or, when that is None, to the
        hash that the server declared, if it declared one.

    Raises:
        DownloadError: it cannot be had; the message says why.
    """
    if urlsplit(remote.url).scheme not in {"http", "https"}:
        raise DownloadError("expected an http or https address")
    problem = ""
    for _ in range(ATTEMPTS):
        start = _length(part)
        try:
            return _attempt(remote, part, start, progress)
        except _BrokenOffError as error:
            problem = str(error)
            if _length(part) <= start:
                break
        except _UselessPartError as error:
            problem = str(error)
            part.unlink(missing_ok=True)
            if start == 0:
                break
    raise DownloadError(problem)


def _attempt(remote: Remote, part: Path, start: int, progress: Progress | None) -> str:
    redirects = _Redirects()
    try:
        response = urllib.request.build_opener(redirects).open(_request(remote, start), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start > 0:
                return _already_whole(remote, part)
            wanted = (
                "; set HF_TOKEN, and accept its terms on the hub"
                if remote.hub and error.code in {401, 403}
                else ""
            )
            raise DownloadError(f"the server answers {error.code} {error.reason}{wanted}") from error
    except urllib.error.URLError as error:
        raise DownloadError(f"no connection: {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DownloadError(f"no connection: {error!r}") from error
    with response:
        return _receive(response, remote, part, start, redirects.linked_etag, progress)


def _request(remote: Remote, start: int) -> urllib.request.Request:
    headers = {"User-Agent": "homolog", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(remote.url, headers=headers)
    if remote.token:
        # urllib copies ordinary headers to wherever it is redirected; a token must not travel along.
        request.add_unredirected_header("Authorization", f"Bearer {remote.token}")
    return request


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects; keeps the hash that the hub declares before it sends one to its storage."""

    def __init__(self) -> None:
        self.linked_etag: str | None = None

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        self.linked_etag = self.linked_etag or headers.get("X-Linked-Etag")
        onward = super().redirect_request(req, fp, code, msg, headers, newurl)
        token = req.get_header("Authorization")
        # The hub redirects renamed repositories to itself, and asks for the token again there.
        if onward is not None and token and urlsplit(newurl)[:2] == urlsplit(req.full_url)[:2]:
            onward.add_unredirected_header("Authorization", token)
        return onward


def _receive(
    response: Any, remote: Remote, part: Path, start: int, linked_etag: str | None, progress: Progress | None
) -> str:
    expected = remote.sha256 or _declared_hash(response, remote, linked_etag)
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        first, total = _content_range(response)
        if first != start or expected is None:
            # Two halves of which nothing proves that they belong together are no file.
            raise _UselessPartError("the server's answer does not go on where the partial file ends")
    else:
        start, total = 0, _whole_number(response.headers.get("Content-Length"))
    if remote.size is not None and total is not None and total != remote.size:
        raise DownloadError(f"expected {remote.size} bytes, the server has {total}")
    total = total if remote.size is None else remote.size
    digest = _write(response, part, start, total, progress)
    if expected is not None and digest != expected:
        raise _UselessPartError(f"expected SHA-256 {expected}, got {digest}")
    return digest


def _write(response: Any, part: Path, start: int, total: int | None, progress: Progress | None) -> str:
    hasher = hashlib.sha256()
    if start:
        with part.open("rb") as file:
            hasher = hashlib.file_digest(file, "sha256")
    arrived = start
    with part.open("ab" if start else "wb") as file:
        while chunk := _read(response):
            arrived += len(chunk)
            if total is not None and arrived > total:
                raise _UselessPartError(f"expected {total} bytes, the server sends more")
            file.write(chunk)
            hasher.update(chunk)
            if progress is not None:
                progress(arrived, total)
    if total is not None and arrived < total:
        raise _BrokenOffError(f"the connection ended after {arrived} of {total} bytes")
    return hasher.hexdigest()


def _read(response: Any) -> bytes:
    try:
        return response.read1(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(f"the connection broke off: {error!r}") from error


def _already_whole(remote: Remote, part: Path) -> str:
    # The server has nothing beyond what the part holds: a run that ended between the last byte and
    # the renaming left a whole file, anything else a wrong one.
    if remote.sha256 is not None:
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest == remote.sha256:
            return digest
    raise _UselessPartError("the partial file is longer than the file")


def _declared_hash(response: Any, remote: Remote, linked_etag: str | None) -> str | None:
    etag = linked_etag or response.headers.get("X-Linked-Etag")
    if etag is None and remote.hub and urlsplit(response.url)[:2] == urlsplit(remote.url)[:2]:
        etag = response.headers.get("ETag")  # of the hub itself; its storage has etags of another kind
    found = re.fullmatch(r'(?:W/)?"?([0-9a-f]{64})"?', etag or "")
    return found[1] if found else None


def _content_range(response: Any) -> tuple[int | None, int | None]:
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range") or "")
    return (int(found[1]), _whole_number(found[2])) if found else (None, None)


def _whole_number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def _length(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0
