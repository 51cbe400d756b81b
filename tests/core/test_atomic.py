"""Atomic writes: a file is written completely or not at all."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from homolog.core.atomic import atomic, write_json
from homolog.core.errors import DataError


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, "old"])
def test_a_failure_half_way_leaves_the_old_file_or_none_and_nothing_else(
    tmp_path: Path, error: type[BaseException], old: str | None
) -> None:
    path = tmp_path / "a.txt"
    if old is not None:
        path.write_text(old)

    def interrupted() -> None:
        with atomic(path) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(error):
        interrupted()
    assert [(left, left.read_text()) for left in tmp_path.iterdir()] == ([(path, old)] if old else [])


@pytest.mark.parametrize("old", [None, "old"])
def test_a_run_killed_half_way_leaves_the_old_file_or_none(tmp_path: Path, old: str | None) -> None:
    path = tmp_path / "a.txt"
    if old is not None:
        path.write_text(old)
    script = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from homolog.core.atomic import atomic
        with atomic(Path(sys.argv[1])) as temporary:
            temporary.write_text("half of the new one")
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    ended = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert (path.read_text() if path.exists() else None) == old
    # What nobody could clean up is out of sight and has no name that anyone looks for.
    assert all(left.name.startswith(".homolog-") for left in tmp_path.iterdir() if left != path)


def test_a_written_file_obeys_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_json(tmp_path / "a.json", {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o640


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b" / "c.json", {"é": 1})
    assert json.loads((tmp_path / "a" / "b" / "c.json").read_text(encoding="utf-8")) == {"é": 1}


def test_a_folder_that_cannot_be_created_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    with pytest.raises(DataError, match=r"cannot write there .*; choose another folder") as caught:
        write_json(tmp_path / "a" / "b.json", {})
    assert str(caught.value).startswith(str(tmp_path / "a" / "b.json"))


def test_a_folder_in_the_place_of_the_file_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(DataError, match=r"cannot write it .*; choose another name"):
        write_json(tmp_path / "a.json", {})
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]


def test_a_full_disk_is_a_one_line_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"No space left on device.*free space on the disk"):
        write_json(tmp_path / "a.json", {})
    assert list(tmp_path.iterdir()) == []


def test_json_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"tensor": torch.zeros(1)})
    assert list(tmp_path.iterdir()) == []
