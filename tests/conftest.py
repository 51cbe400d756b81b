"""What all tests share."""

import http.server
import os
import re
import runpy
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from typing import Any, cast

import jaxtyping
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores; threads that wait for one another's cores cost more than they bring. Processes that
    # tests start inherit it.
    share = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ.setdefault("OMP_NUM_THREADS", str(share))


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    # Installed where uv set things up; elsewhere `--goldens=DIR`, written as one word, does the same.
    if not pluginmanager.hasplugin("homolog_goldens"):
        plugin = runpy.run_path(str(Path(__file__).parent / "plugin" / "homolog_goldens.py"))
        plugin["pytest_addoption"](parser)


@pytest.fixture(scope="session")
def goldens(request: pytest.FixtureRequest) -> Path:
    """The folder of golden files: inputs and outputs of official implementations."""
    return cast(Path, request.config.getoption("--goldens"))


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """Keep tests from reading and filling the caches of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOMOLOG_CACHE", str(tmp_path_factory.mktemp("homolog-cache")))
        yield


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Run as in production, without the shape checks that tests add: our own errors have to stand alone."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@dataclass
class Server:
    """An HTTP server on the loopback: how it behaves, and the requests that it got.

    Attributes:
        content: sent for every path, unless `files` says otherwise.
        files: content by path; other paths are not found.
        honour_range: False ignores ranges.
        offset_error: bytes by which the range that it reports is wrong.
        etag: a header such as `ETag: "..."`, sent on the first response of a redirect.
        status: sent in place of any content.
        cut_after: bytes of the body after which each connection drops, one entry per connection.
        redirect_to: address of another server.
        chunked: sends no length.
        pace: seconds to wait after each 64 KiB.
        requests: method, path and headers.
    """

    content: bytes = b""
    files: dict[str, bytes] | None = None
    honour_range: bool = True
    offset_error: int = 0
    etag: str | None = None
    status: int | None = None
    cut_after: list[int] = field(default_factory=list)
    redirect_to: str | None = None
    chunked: bool = False
    pace: float = 0.0
    url: str = ""
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def gets(self) -> list[tuple[str, str | None]]:
        """Return path and range of each download."""
        return [(path, headers.get("Range")) for method, path, headers in self.requests if method == "GET"]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    manners: Server

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        server = self.manners
        server.requests.append((self.command, self.path, dict(self.headers)))
        content = server.content if server.files is None else server.files.get(self.path)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(asked[1]) if asked and server.honour_range else 0
        if server.redirect_to is not None:
            self._start(302, {"Location": server.redirect_to + self.path, "Content-Length": "0"})
        elif server.status is not None or content is None:
            self._start(server.status or 404, {"Content-Length": "0"})
        elif start >= len(content) and start:
            self._start(416, {"Content-Length": "0"})
        else:
            self._send(content, start)

    def _start(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        if self.manners.etag is not None:
            headers |= dict([self.manners.etag.split(": ", 1)])
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, content: bytes, start: int) -> None:
        server, body = self.manners, content[start:]
        span = f"bytes {start + server.offset_error}-{len(content) - 1}/{len(content)}"
        headers = {"Content-Range": span} if start else {}
        headers |= {"Transfer-Encoding": "chunked"} if server.chunked else {"Content-Length": str(len(body))}
        self._start(206 if start else 200, headers)
        if self.command == "HEAD":
            return
        cut = server.cut_after.pop(0) if server.cut_after else None
        try:
            for at in range(0, len(body[:cut]), 1 << 16):
                piece = body[at : min(at + (1 << 16), cut or len(body))]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if server.chunked else piece)
                sleep(server.pace)
            if server.chunked and cut is None:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:  # the client went away, as some tests make it do
            self.close_connection = True
        self.close_connection = self.close_connection or cut is not None

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture
def start_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """Start servers with the given behaviour; the environment does not keep homolog from reaching them."""
    for name in ("HOMOLOG_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    # huggingface_hub waits for seconds before it tries again, and reads 10 MB before it writes.
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 16)
    running: list[tuple[http.server.ThreadingHTTPServer, threading.Thread]] = []

    def start(**manners: Any) -> Server:
        server = Server(**manners)
        handler = type("Handler", (_Handler,), {"manners": server})
        listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        listening.daemon_threads = True
        server.url = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        running.append((listening, thread))
        return server

    yield start
    for listening, thread in running:
        listening.shutdown()
        listening.server_close()
        thread.join()
