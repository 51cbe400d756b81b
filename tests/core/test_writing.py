"""Writing: whole or not at all, and what is written reads back."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from homolog.core.atomic import atomic, write_json
from homolog.core.errors import DataError
from homolog.core.io import read_image, read_matches, write_image, write_matches
from homolog.core.keypoints import Matches


def _matches(count: int = 5) -> Matches:
    generator = torch.Generator().manual_seed(count)
    return Matches(
        xy0=torch.rand(count, 2, generator=generator) * 100,
        xy1=torch.rand(count, 2, generator=generator) * 100,
        score=torch.rand(count, generator=generator),
    )


# --- whole or not at all ------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_half_way_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted() -> None:
        with atomic(path) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_half_way_makes_no_new_file(tmp_path: Path) -> None:

    def interrupted() -> None:
        with atomic(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert list(tmp_path.iterdir()) == []


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


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    with pytest.raises(DataError, match=r"cannot write there .*; choose another folder") as caught:
        write_json(tmp_path / "a" / "b.json", {})
    assert str(caught.value).startswith(str(tmp_path / "a" / "b.json"))


def test_a_folder_in_the_place_of_the_file_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(DataError, match=r"cannot write it .*; choose another name"):
        write_json(tmp_path / "a.json", {})
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]


def test_a_full_disk_is_said_in_one_line_and_leaves_nothing(
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


# --- images -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".png", ".PNG", ".bmp", ".tif"])
def test_an_image_reads_back_to_the_nearest_of_256_levels(tmp_path: Path, ending: str) -> None:
    pixels = torch.rand(3, 11, 17, generator=torch.Generator().manual_seed(0))
    write_image(tmp_path / f"a{ending}", pixels)
    back = read_image(tmp_path / f"a{ending}").pixels
    assert (back - pixels).abs().max() <= 0.5 / 255 + 1e-6


def test_values_beyond_the_range_are_clamped(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", torch.tensor([-1.0, 2.0, 0.5])[:, None, None].expand(3, 8, 8))
    assert torch.allclose(read_image(tmp_path / "a.png").pixels[:, 0, 0], torch.tensor([0, 1, 128 / 255]))


@pytest.mark.parametrize("name", ["a", "a.xyz", "a.json"])
def test_an_ending_of_no_image_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"expected the ending of an image format, got .*; use \.png"):
        write_image(tmp_path / name, torch.zeros(3, 8, 8))
    assert list(tmp_path.iterdir()) == []


# --- matches ------------------------------------------------------------------------------------


@given(count=st.integers(0, 50))
def test_matches_read_back_exactly(tmp_path_factory: pytest.TempPathFactory, count: int) -> None:
    path = tmp_path_factory.mktemp("matches") / "matches.npz"
    matches = _matches(count)
    write_matches(path, matches)
    back = read_matches(path)
    assert torch.equal(back.xy0, matches.xy0)
    assert torch.equal(back.xy1, matches.xy1)
    assert torch.equal(back.score, matches.score)


def test_the_npz_has_the_documented_keys_and_needs_no_pickle(tmp_path: Path) -> None:
    write_matches(tmp_path / "m.npz", _matches(), extra={"inlier": np.ones(5, bool)})
    with np.load(tmp_path / "m.npz", allow_pickle=False) as archive:
        assert {name: archive[name].dtype.name for name in archive} == {
            "xy0": "float32",
            "xy1": "float32",
            "score": "float32",
            "inlier": "bool",
        }


def test_an_array_of_objects_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_matches(tmp_path / "m.npz", _matches(), extra={"names": np.array([{}], object)})
    assert list(tmp_path.iterdir()) == []


def test_reading_no_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"m\.npz: expected matches written by homolog match, but there is no"
    ):
        read_matches(tmp_path / "m.npz")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\3\4 but no archive"])
def test_reading_another_file_says_what_was_expected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"expected an npz with xy0 \[M 2\]") as caught:
        read_matches(tmp_path / "m.npz")
    assert "\n" not in str(caught.value)


def test_reading_a_truncated_archive_says_what_was_expected(tmp_path: Path) -> None:
    write_matches(tmp_path / "m.npz", _matches(1000))
    whole = (tmp_path / "m.npz").read_bytes()
    for end in range(0, len(whole), 97):
        (tmp_path / "m.npz").write_bytes(whole[:end])
        with pytest.raises(DataError, match="expected an npz"):
            read_matches(tmp_path / "m.npz")


@pytest.mark.parametrize(
    "arrays",
    [
        {"xy0": np.zeros((3, 2)), "xy1": np.zeros((3, 2))},
        {"xy0": np.zeros((3, 2)), "xy1": np.zeros((4, 2)), "score": np.zeros(3)},
        {"xy0": np.zeros((3, 3)), "xy1": np.zeros((3, 3)), "score": np.zeros(3)},
        {"xy0": np.zeros((3, 2)), "xy1": np.zeros((3, 2)), "score": np.zeros((3, 1))},
        {"xy0": np.array(["a"]), "xy1": np.zeros((1, 2)), "score": np.zeros(1)},
        {"xy0": np.array([None]), "xy1": np.zeros((1, 2)), "score": np.zeros(1)},
    ],
    ids=["no score", "lengths", "three columns", "two-dimensional score", "text", "pickled"],
)
def test_reading_other_arrays_says_what_was_expected(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "m.npz", allow_pickle=True, **arrays)
    with pytest.raises(DataError, match="expected an npz with"):
        read_matches(tmp_path / "m.npz")


def test_reading_a_bare_array_says_what_was_expected(tmp_path: Path) -> None:
    with (tmp_path / "m.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match="expected an npz with"):
        read_matches(tmp_path / "m.npz")
