"""Fetching: from a server of our own on the loopback, with every way in which servers and networks fail."""

import hashlib
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from homolog.core import fetch as fetch_module
from homolog.core.errors import ConfigError, WeightsError
from homolog.core.fetch import fetched_path, find_fetched, first_hash, offline, recorded_hash
from homolog.core.weights import Whereabouts, cache_folder, fetch, file_hash, where

CONTENT = bytes(range(256)) * 12_000  # 3 MB, so that it takes several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """A server whose manners a test chooses, and what it was asked."""

    url: str = ""
    content: bytes = CONTENT
    honour_range: bool = True
    etag: str | None = None
    status: int | None = None
    cut_after: list[int] = field(default_factory=list)  # bytes of the body before each connection drops
    redirect_to: str | None = None
    chunked: bool = False
    pace: float = 0.0
    offset_error: int = 0
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.requests]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    manners: Server

    def do_GET(self) -> None:
        server = self.manners
        server.requests.append((self.path, dict(self.headers)))
        if server.redirect_to is not None:
            self.send_response(302)
            self.send_header("Location", server.redirect_to + self.path)
            self._tags()
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if server.status is not None:
            self.send_error(server.status)
            return
        start = self._start()
        if start >= len(server.content):
            self.send_error(416)
            return
        self._send(server.content[start:], start)

    def _start(self) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        return int(asked[1]) if asked and self.manners.honour_range else 0

    def _tags(self) -> None:
        if self.manners.etag is not None:
            name, value = self.manners.etag.split(": ", 1)
            self.send_header(name, value)

    def _send(self, body: bytes, start: int) -> None:
        server, total = self.manners, len(self.manners.content)
        self.send_response(206 if start else 200)
        if start:
            first = start + server.offset_error
            self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        if server.redirect_to is None:
            self._tags()
        self.end_headers()
        cut = server.cut_after.pop(0) if server.cut_after else None
        self._stream(body[:cut], whole=cut is None)
        if cut is not None:
            self.close_connection = True

    def _stream(self, body: bytes, *, whole: bool) -> None:
        try:
            for at in range(0, len(body), 1 << 16):
                piece = body[at : at + (1 << 16)]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if self.manners.chunked else piece)
                time.sleep(self.manners.pace)
            if self.manners.chunked and whole:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:  # the client went away, as some tests make it do
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@pytest.fixture
def start_server() -> Iterator[Callable[..., Server]]:
    running: list[tuple[http.server.ThreadingHTTPServer, threading.Thread]] = []

    def start(**manners: Any) -> Server:
        server = Server(**manners)
        handler = type("Handler", (_Handler,), {"manners": server})
        listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        listening.daemon_threads = True
        server.url = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=lambda: listening.serve_forever(poll_interval=0.02), daemon=True)
        thread.start()
        running.append((listening, thread))
        return server

    yield start
    for listening, thread in running:
        listening.shutdown()
        listening.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*fetch_module.OFFLINE_FLAGS, "HF_ENDPOINT", "HF_TOKEN", "HOMOLOG_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def _fetch(url: str, cache: Path, **changes: Any) -> Path:
    node: dict[str, Any] = {
        "url": url,
        "sha256": SHA256,
        "size": len(CONTENT),
        "licence": "MIT",
        "origin": "https://example.org/net",
        "cache": cache,
    }
    return fetch(**(node | changes))


def _part(cache: Path, url: str, sha256: str | None = SHA256) -> Path:
    path = fetched_path(url=url, sha256=sha256, cache=cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(path.name + ".part")


def _assert_says_what_to_do(error: WeightsError, url: str, path: Path) -> None:
    text = str(error)
    assert "\n" not in text
    for fact in (str(path), url, "https://example.org/net", "licence MIT", "place"):
        assert fact in text


# --- the way it should go -----------------------------------------------------------------------


def test_a_fresh_fetch_arrives_whole_and_is_recorded(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server()
    path = _fetch(server.url + "/a/net.pth", tmp_path)
    assert path == tmp_path / "weights" / f"{SHA256[:12]}-net.pth"
    assert path.read_bytes() == CONTENT
    assert recorded_hash(path) == SHA256
    record = json.loads(path.with_name(path.name + ".json").read_text())
    assert (record["licence"], record["origin"]) == ("MIT", "https://example.org/net")
    assert not path.with_name(path.name + ".part").exists()


def test_a_fetched_file_is_neither_fetched_nor_hashed_again(
    start_server: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server()
    first = _fetch(server.url + "/net.pth", tmp_path)
    monkeypatch.setattr(fetch_module, "file_hash", lambda _path: pytest.fail("hashed again"))
    assert _fetch(server.url + "/net.pth", tmp_path) == first
    assert len(server.requests) == 1


def test_a_partial_download_is_resumed(start_server: Callable[..., Server], tmp_path: Path) -> None:
    server = start_server()
    url = server.url + "/net.pth"
    _part(tmp_path, url).write_bytes(CONTENT[:1_000_000])
    assert _fetch(url, tmp_path).read_bytes() == CONTENT
    assert server.ranges() == ["bytes=1000000-"]


def test_a_server_that_ignores_ranges_makes_it_start_over(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server(honour_range=False)
    url = server.url + "/net.pth"
    _part(tmp_path, url).write_bytes(CONTENT[:1_000_000])
    assert _fetch(url, tmp_path).read_bytes() == CONTENT


def test_a_server_that_answers_another_range_makes_it_start_over(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server(offset_error=5)
    url = server.url + "/net.pth"
    _part(tmp_path, url).write_bytes(CONTENT[:1_000_000])
    assert _fetch(url, tmp_path).read_bytes() == CONTENT
    assert server.ranges() == ["bytes=1000000-", None]


def test_a_wrong_partial_file_is_thrown_away(start_server: Callable[..., Server], tmp_path: Path) -> None:
    server = start_server()
    url = server.url + "/net.pth"
    _part(tmp_path, url).write_bytes(b"x" * 1_000_000)
    assert _fetch(url, tmp_path).read_bytes() == CONTENT
    assert server.ranges() == ["bytes=1000000-", None]


def test_a_partial_file_longer_than_the_file_is_thrown_away(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server()
    url = server.url + "/net.pth"
    _part(tmp_path, url).write_bytes(CONTENT + b"more")
    assert _fetch(url, tmp_path).read_bytes() == CONTENT
    assert server.ranges() == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_run_that_ended_just_before_the_renaming_is_finished(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server()
    url = server.url + "/net.pth"
    _part(tmp_path, url).write_bytes(CONTENT)
    assert _fetch(url, tmp_path).read_bytes() == CONTENT
    assert server.ranges() == [f"bytes={len(CONTENT)}-"]  # answered 416; nothing was sent again


@pytest.mark.parametrize("chunked", [False, True])
def test_a_connection_that_drops_is_taken_up_again(
    start_server: Callable[..., Server], tmp_path: Path, chunked: bool
) -> None:
    server = start_server(cut_after=[1_000_000, 700_000], chunked=chunked)
    assert _fetch(server.url + "/net.pth", tmp_path).read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=1000000-", "bytes=1700000-"]


def test_progress_is_reported_and_nothing_is_printed(
    start_server: Callable[..., Server], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps: list[tuple[int, int | None]] = []
    server = start_server()
    _fetch(server.url + "/net.pth", tmp_path, progress=lambda arrived, total: steps.append((arrived, total)))
    assert steps == sorted(steps)
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert capsys.readouterr() == ("", "")


def test_a_large_file_logs_its_progress(
    start_server: Callable[..., Server], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="homolog"):
        _fetch(start_server().url + "/net.pth", tmp_path)
    assert f"fetching {SHA256[:12]}-net.pth: 3 of 3 MB" in caplog.messages


# --- hashes that only the server knows ------------------------------------------------------------


@pytest.mark.parametrize("etag", [f'X-Linked-Etag: "{SHA256}"', f'ETag: "{SHA256}"', f"ETag: {SHA256}"])
def test_the_hash_that_the_hub_declares_is_checked_and_recorded(
    start_server: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, etag: str
) -> None:
    server = start_server(etag=etag)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    url = "https://huggingface.co/owner/model/resolve/main/net.safetensors"
    path = _fetch(url, tmp_path, sha256=None, size=None)
    assert recorded_hash(path) == SHA256
    server.content = CONTENT[:-1] + b"!"
    path.unlink()
    with pytest.raises(WeightsError, match="expected SHA-256") as caught:
        _fetch(url, tmp_path, sha256=None, size=None)
    _assert_says_what_to_do(caught.value, url, path)
    assert not path.exists()


def test_the_hash_is_taken_from_the_hub_not_from_the_storage_it_redirects_to(
    start_server: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = start_server(etag=f'ETag: "{"0" * 64}"')
    hub = start_server(etag=f'X-Linked-Etag: "{SHA256}"', redirect_to=storage.url)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    url = "https://huggingface.co/owner/model/resolve/main/net.safetensors"
    assert recorded_hash(_fetch(url, tmp_path, sha256=None, size=None)) == SHA256


def test_an_etag_of_the_storage_alone_is_no_hash(
    start_server: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = start_server(etag=f'ETag: "{"0" * 64}"')
    hub = start_server(redirect_to=storage.url)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    url = "https://huggingface.co/owner/model/resolve/main/net.safetensors"
    assert recorded_hash(_fetch(url, tmp_path, sha256=None, size=None)) == SHA256


def test_without_any_hash_the_first_content_is_the_one_that_counts(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    url = start_server().url + "/net.pth"
    path = _fetch(url, tmp_path, sha256=None, size=None)
    assert recorded_hash(path) == SHA256
    path.write_bytes(b"tampered")
    with pytest.raises(WeightsError, match=f"expected a file of SHA-256 {SHA256}, got"):
        _fetch(url, tmp_path, sha256=None, size=None)


def test_a_partial_file_whose_end_nothing_can_check_is_not_continued(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server()
    url = server.url + "/net.pth"
    _part(tmp_path, url, None).write_bytes(b"older version")
    assert _fetch(url, tmp_path, sha256=None, size=None).read_bytes() == CONTENT
    assert server.ranges() == ["bytes=13-", None]


# --- endpoint, token, offline -------------------------------------------------------------------


def test_the_endpoint_replaces_the_hub_and_the_cache_path_stays(
    start_server: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server()
    monkeypatch.setenv("HF_ENDPOINT", server.url + "/mirror/")
    url = "https://huggingface.co/owner/model/resolve/main/net.safetensors"
    path = _fetch(url, tmp_path)
    assert server.requests[0][0] == "/mirror/owner/model/resolve/main/net.safetensors"
    monkeypatch.delenv("HF_ENDPOINT")
    assert find_fetched(url=url, sha256=SHA256, size=len(CONTENT), cache=tmp_path) == path


def test_the_token_goes_to_the_hub_and_never_where_it_redirects(
    start_server: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = start_server()
    hub = start_server(redirect_to=storage.url)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", "secret")
    _fetch("https://huggingface.co/owner/model/resolve/main/net.pth", tmp_path)
    assert hub.requests[0][1]["Authorization"] == "Bearer secret"
    assert "Authorization" not in storage.requests[0][1]


def test_the_token_follows_a_redirect_within_the_hub(
    start_server: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = start_server()
    hub.redirect_to = hub.url + "/renamed"
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", "secret")
    with pytest.raises(WeightsError):  # it redirects for ever
        _fetch("https://huggingface.co/owner/model/resolve/main/net.pth", tmp_path)
    assert len(hub.requests) > 1
    assert all(headers["Authorization"] == "Bearer secret" for _, headers in hub.requests)


def test_the_token_is_for_the_hub_only(
    start_server: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server()
    monkeypatch.setenv("HF_TOKEN", "secret")
    _fetch(server.url + "/net.pth", tmp_path)
    assert "Authorization" not in server.requests[0][1]


@pytest.mark.parametrize("flag", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HOMOLOG_OFFLINE"])
def test_offline_never_touches_the_network_and_leaves_nothing(
    start_server: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    server = start_server()
    monkeypatch.setenv(flag, "1")
    with pytest.raises(WeightsError, match=f"{flag} is set") as caught:
        _fetch(server.url + "/net.pth", tmp_path)
    _assert_says_what_to_do(
        caught.value, server.url + "/net.pth", tmp_path / "weights" / f"{SHA256[:12]}-net.pth"
    )
    assert server.requests == []
    assert list(tmp_path.iterdir()) == []


def test_an_offline_flag_set_to_0_is_no_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert offline() is None
    monkeypatch.setenv("HF_HUB_OFFLINE", "True")
    assert offline() == "HF_HUB_OFFLINE"


# --- what goes wrong ----------------------------------------------------------------------------


def test_a_truncated_file_is_refused_and_what_arrived_is_kept(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server(cut_after=[1_000_000, 0])
    url = server.url + "/net.pth"
    with pytest.raises(WeightsError, match=f"ended after 1000000 of {len(CONTENT)} bytes") as caught:
        _fetch(url, tmp_path)
    _assert_says_what_to_do(caught.value, url, fetched_path(url=url, sha256=SHA256, cache=tmp_path))
    assert find_fetched(url=url, sha256=SHA256, size=len(CONTENT), cache=tmp_path) is None
    assert _part(tmp_path, url).stat().st_size == 1_000_000
    assert _fetch(url, tmp_path).read_bytes() == CONTENT


def test_a_wrong_hash_is_refused_and_nothing_is_kept(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server(content=CONTENT[:-1] + b"!")
    url = server.url + "/net.pth"
    with pytest.raises(WeightsError, match=f"expected SHA-256 {SHA256}, got") as caught:
        _fetch(url, tmp_path)
    path = fetched_path(url=url, sha256=SHA256, cache=tmp_path)
    _assert_says_what_to_do(caught.value, url, path)
    assert not path.exists()
    assert not _part(tmp_path, url).exists()


def test_another_size_is_refused_before_it_is_downloaded(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server(content=CONTENT + b"more")
    with pytest.raises(
        WeightsError, match=f"expected {len(CONTENT)} bytes, the server has {len(CONTENT) + 4}"
    ):
        _fetch(server.url + "/net.pth", tmp_path)
    assert not _part(tmp_path, server.url + "/net.pth").exists()


def test_an_endless_body_is_cut_off_at_the_expected_size(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server(content=CONTENT * 2, chunked=True)
    with pytest.raises(WeightsError, match=f"expected {len(CONTENT)} bytes, the server sends more"):
        _fetch(server.url + "/net.pth", tmp_path)
    assert not _part(tmp_path, server.url + "/net.pth").exists()


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_a_refusal_names_its_code(start_server: Callable[..., Server], tmp_path: Path, status: int) -> None:
    server = start_server(status=status)
    url = server.url + "/net.pth"
    with pytest.raises(WeightsError, match=f"the server answers {status}") as caught:
        _fetch(url, tmp_path)
    _assert_says_what_to_do(caught.value, url, fetched_path(url=url, sha256=SHA256, cache=tmp_path))


def test_a_refusal_of_the_hub_speaks_of_the_token(
    start_server: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", start_server(status=401).url)
    with pytest.raises(WeightsError, match="401 Unauthorized; set HF_TOKEN"):
        _fetch("https://huggingface.co/owner/model/resolve/main/net.pth", tmp_path)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/net.pth", "http://no-such-host.invalid/net.pth"])
def test_no_connection_says_so(tmp_path: Path, url: str) -> None:
    with pytest.raises(WeightsError, match="no connection") as caught:
        _fetch(url, tmp_path)
    _assert_says_what_to_do(caught.value, url, fetched_path(url=url, sha256=SHA256, cache=tmp_path))


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/net.pth", "net.pth"])
def test_only_http_is_spoken(tmp_path: Path, url: str) -> None:
    with pytest.raises(WeightsError, match="expected an http or https address"):
        _fetch(url, tmp_path)


def test_a_cache_that_cannot_be_made_is_said(start_server: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(WeightsError, match="cannot write to"):
        _fetch(start_server().url + "/net.pth", tmp_path / "cache")


# --- files placed by hand -----------------------------------------------------------------------


def test_a_file_placed_by_hand_is_checked_recorded_and_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    url = "https://example.org/net.pth"
    path = fetched_path(url=url, sha256=SHA256, cache=tmp_path)
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    assert recorded_hash(path) is None
    assert _fetch(url, tmp_path) == path
    assert recorded_hash(path) == SHA256


@pytest.mark.parametrize(
    ("content", "excerpt"),
    [
        (b"short", f"expected a file of {len(CONTENT)} bytes, got 5 bytes"),
        (CONTENT[:-1] + b"!", f"expected a file of SHA-256 {SHA256}, got "),
    ],
)
def test_a_wrong_file_placed_by_hand_is_refused_and_left_alone(
    tmp_path: Path, content: bytes, excerpt: str
) -> None:
    url = "https://example.org/net.pth"
    path = fetched_path(url=url, sha256=SHA256, cache=tmp_path)
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        _fetch(url, tmp_path)
    assert excerpt in str(caught.value)
    _assert_says_what_to_do(caught.value, url, path)
    assert path.read_bytes() == content


def test_a_file_that_changed_behind_its_record_is_noticed(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server()
    path = _fetch(server.url + "/net.pth", tmp_path)
    path.write_bytes(CONTENT[:-1] + b"!")
    assert (recorded_hash(path), first_hash(path)) == (None, SHA256)
    with pytest.raises(WeightsError, match="expected a file of SHA-256"):
        _fetch(server.url + "/net.pth", tmp_path)


def test_a_damaged_record_only_costs_a_hash(start_server: Callable[..., Server], tmp_path: Path) -> None:
    server = start_server()
    path = _fetch(server.url + "/net.pth", tmp_path)
    path.with_name(path.name + ".json").write_text("[half a rec")
    assert _fetch(server.url + "/net.pth", tmp_path) == path
    assert recorded_hash(path) == SHA256


# --- killed, and two at once --------------------------------------------------------------------

RUN = textwrap.dedent("""
    import sys
    from pathlib import Path
    from homolog.core.fetch import fetch
    assert 'torch' not in sys.modules  # it takes seconds to import
    url, cache, sha256, size = sys.argv[1:]
    print("ready", flush=True)
    fetch(url=url, sha256=sha256, size=int(size), licence="MIT", origin="here", cache=Path(cache))
""")


def _start(url: str, cache: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", RUN, url, str(cache), SHA256, str(len(CONTENT))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})


def test_a_killed_fetch_leaves_no_file_and_the_next_one_resumes(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server(pace=0.05)
    url = server.url + "/net.pth"
    part = _part(tmp_path, url)
    with _start(url, tmp_path) as process:
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size > 0) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not fetched_path(url=url, sha256=SHA256, cache=tmp_path).exists()
    arrived = part.stat().st_size
    assert 0 < arrived < len(CONTENT)
    server.pace = 0
    assert _fetch(url, tmp_path).read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={arrived}-"]


def test_two_processes_at_once_download_once_and_both_get_the_file(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server(pace=0.01)
    url = server.url + "/net.pth"
    with _start(url, tmp_path) as one, _start(url, tmp_path) as two:
        assert (one.wait(), two.wait()) == (0, 0)
    path = fetched_path(url=url, sha256=SHA256, cache=tmp_path)
    assert file_hash(path) == SHA256
    assert len(server.requests) == 1


# --- where things are ---------------------------------------------------------------------------


def test_where_tells_without_the_network(
    start_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOMOLOG_CACHE", str(tmp_path))
    server = start_server()
    node = {
        "_target_": "homolog.zoo.sources.fetch",
        "url": server.url + "/net.pth",
        "sha256": SHA256,
        "size": len(CONTENT),
    }
    assert where(node) is Whereabouts.DOWNLOADABLE
    assert server.requests == []
    path = _fetch(str(node["url"]), cache_folder())
    assert where(node) == "here"
    path.write_bytes(b"short")
    assert where(node) == "damaged"


def test_where_knows_folders_of_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOMOLOG_CACHE", str(tmp_path))
    node = {
        "_target_": "homolog.zoo.sources.fetch_folder",
        "repository": "owner/model",
        "revision": "main",
        "files": {"unet/config.json": None},
    }
    assert where(node) == "downloadable"
    placed = tmp_path / "models/owner--model/main/unet/config.json"
    placed.parent.mkdir(parents=True)
    placed.write_text("{}")
    assert where(node) == "here"


def test_where_refuses_another_node() -> None:
    with pytest.raises(ConfigError, match="expected a checkpoint node that packages or fetches a file"):
        where({"_target_": "pathlib.Path"})


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == Path.home() / ".cache" / "homolog"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "homolog"
    monkeypatch.setenv("HOMOLOG_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
