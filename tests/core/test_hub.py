"""Folders from a hub: from a server of our own on the loopback, through HF_ENDPOINT."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from homolog.core import hub
from homolog.core.errors import ConfigError, WeightsError
from homolog.core.hub import fetch_folder, find_folder, folder_path, recorded_hashes

FILES = {
    "unet/config.json": b'{"a": 1}',
    "unet/weights.bin": b"weights of the unet",
    "weights.bin": b"others",
}
HASHES: dict[str, str | None] = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
WHERE: dict[str, Any] = {"repository": "owner/model", "revision": "main"}
ABOUT: dict[str, Any] = {**WHERE, "licence": "free", "origin": "https://example.org/model"}


class _Handler(http.server.BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        content = FILES.get(self.path.removeprefix("/owner/model/resolve/main/"))
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Serve FILES where the hub would be; gives the paths that were asked for."""
    handler = type("Handler", (_Handler,), {"asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    for flag in ("HOMOLOG_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(flag, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield handler.asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_folder_looks_like_the_repository_and_records_what_it_is(
    tmp_path: Path, asked: list[str]
) -> None:
    folder = fetch_folder(**ABOUT, files=HASHES, cache=tmp_path)
    assert folder == folder_path(**WHERE, cache=tmp_path)
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    record = json.loads((folder / "homolog.json").read_text())
    assert {name: record[name] for name in WHERE} == WHERE
    assert {name: facts["sha256"] for name, facts in record["files"].items()} == HASHES
    assert sorted(asked) == sorted(f"/owner/model/resolve/main/{name}" for name in FILES)


def test_unknown_hashes_are_recorded_and_hold_from_then_on(tmp_path: Path, asked: list[str]) -> None:
    files = dict.fromkeys(FILES)
    folder = fetch_folder(**ABOUT, files=files, cache=tmp_path)
    record = json.loads((folder / "homolog.json").read_text())
    assert {name: facts["sha256"] for name, facts in record["files"].items()} == HASHES
    assert recorded_hashes(folder) == HASHES
    assert recorded_hashes(folder.parent) == {}
    (folder / "weights.bin").resolve().write_bytes(b"forged")
    with pytest.raises(WeightsError, match=r"weights\.bin"):
        fetch_folder(**ABOUT, files=files, cache=tmp_path)


def test_a_second_call_touches_neither_network_nor_disk(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fetch_folder(**ABOUT, files=HASHES, cache=tmp_path)
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    asked.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert fetch_folder(**ABOUT, files=HASHES, cache=tmp_path) == folder
    assert asked == []
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_files_fetched_later_join_the_folder(tmp_path: Path, asked: list[str]) -> None:
    first = fetch_folder(**ABOUT, files={"weights.bin": None}, cache=tmp_path)
    then = fetch_folder(**ABOUT, files={"unet/config.json": None}, cache=tmp_path)
    assert first == then
    assert (first / "weights.bin").is_file()
    assert (first / "unet/config.json").is_file()
    assert json.loads((first / "homolog.json").read_text())["files"].keys() == {
        "weights.bin",
        "unet/config.json",
    }


def test_a_file_placed_by_hand_is_taken_if_it_is_the_right_one(tmp_path: Path, asked: list[str]) -> None:
    folder = folder_path(**WHERE, cache=tmp_path)
    (folder / "unet").mkdir(parents=True)
    (folder / "unet/weights.bin").write_bytes(FILES["unet/weights.bin"])
    fetch_folder(**ABOUT, files=HASHES, cache=tmp_path)
    assert "/owner/model/resolve/main/unet/weights.bin" not in asked
    (folder / "unet/weights.bin").write_bytes(b"another")
    with pytest.raises(WeightsError, match="expected a file of SHA-256"):
        fetch_folder(**ABOUT, files=HASHES, cache=tmp_path)


def test_a_file_placed_by_hand_is_hashed_once(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_path(**WHERE, cache=tmp_path)
    folder.mkdir(parents=True)
    (folder / "weights.bin").write_bytes(FILES["weights.bin"])
    files = {"weights.bin": HASHES["weights.bin"]}
    fetch_folder(**ABOUT, files=files, cache=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(hub, "file_hash", lambda path: pytest.fail(f"hashed {path} again"))
        fetch_folder(**ABOUT, files=files, cache=tmp_path)
    (folder / "weights.bin").write_bytes(b"forged")
    with pytest.raises(WeightsError, match="expected a file of SHA-256"):
        fetch_folder(**ABOUT, files=files, cache=tmp_path)


def test_a_damaged_record_is_written_anew(tmp_path: Path, asked: list[str]) -> None:
    folder = fetch_folder(**ABOUT, files=HASHES, cache=tmp_path)
    for damaged in ("", "[]", '{"files": 3}'):
        (folder / "homolog.json").write_text(damaged)
        fetch_folder(**ABOUT, files=HASHES, cache=tmp_path)
        assert json.loads((folder / "homolog.json").read_text())["files"].keys() == HASHES.keys()


def test_offline_the_message_says_where_to_place_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError) as caught:
        fetch_folder(**ABOUT, files=HASHES, cache=tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert "HF_HUB_OFFLINE" in message
    assert "https://huggingface.co/owner/model/resolve/main/unet/config.json" in message
    assert str(folder_path(**WHERE, cache=tmp_path) / "unet/config.json") in message
    assert "checkpoint=FOLDER" in message


def test_a_file_that_the_repository_lacks_is_named(tmp_path: Path, asked: list[str]) -> None:
    with pytest.raises(WeightsError, match=r"404.*unet/absent\.bin"):
        fetch_folder(**ABOUT, files={"unet/absent.bin": None}, cache=tmp_path)


def test_it_is_found_once_it_is_whole(tmp_path: Path, asked: list[str]) -> None:
    assert find_folder(**WHERE, files=HASHES, cache=tmp_path) is None
    fetch_folder(**ABOUT, files={"weights.bin": HASHES["weights.bin"]}, cache=tmp_path)
    assert find_folder(**WHERE, files=HASHES, cache=tmp_path) is None
    folder = fetch_folder(**ABOUT, files=HASHES, cache=tmp_path)
    assert find_folder(**WHERE, files=HASHES, cache=tmp_path) == folder


@pytest.mark.parametrize("file", ["../secret", "/etc/passwd", "", "a/../../b"])
def test_paths_that_leave_the_repository_are_refused(tmp_path: Path, file: str) -> None:
    with pytest.raises(ConfigError, match="path of a file"):
        fetch_folder(**ABOUT, files={file: None}, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_symbolic_links_files_are_copied(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    folder = fetch_folder(**ABOUT, files=HASHES, cache=tmp_path)
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    assert not (folder / "weights.bin").is_symlink()
