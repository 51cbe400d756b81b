"""`homolog cache`: what is kept, where, and how it goes away."""

from pathlib import Path

import pytest
import torch

from homolog.core.atomic import cache_folder
from homolog.core.cache import FeatureCache, content_key


@pytest.fixture
def folder(homolog) -> Path:
    """Where entries are kept."""
    return cache_folder() / "features"


def keep(entries: int) -> None:
    for number in range(entries):
        FeatureCache().save(content_key(str(number)), {"xy": torch.full((25_000, 2), float(number))})


def test_an_empty_cache_is_told_and_not_made(homolog, folder: Path):
    said = homolog("cache", "info")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        str(folder),
        "0 entries, 0.0 MB, at most 20.0 GB; the least recently used are removed first",
    ]
    assert homolog("cache", "clear").out == "removed 0 entries, 0.0 MB\n"
    assert not cache_folder().exists()


@pytest.mark.parametrize(("entries", "content"), [(1, "1 entry, 0.2 MB"), (3, "3 entries, 0.6 MB")])
def test_info_counts_and_clear_removes_what_it_counted(homolog, folder: Path, entries: int, content: str):
    keep(entries)
    assert homolog("cache", "info").out.splitlines()[1].startswith(f"{content}, at most")
    said = homolog("cache", "clear")
    assert (said.code, said.out, said.err) == (0, f"removed {content}\n", "")
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert homolog("cache", "info").out.splitlines()[1].startswith("0 entries, 0.0 MB")


def test_clear_leaves_weights_and_files_of_others_alone(homolog, folder: Path):
    keep(1)
    others = [folder.parent / "weights" / "net.pth", folder / "notes.txt", folder / "ab" / "notes.txt"]
    for other in others:
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_text("mine")
    homolog("cache", "clear")
    assert [other.read_text() for other in others] == ["mine"] * 3


def test_clear_also_removes_what_a_killed_run_left_half_written(homolog, folder: Path):
    keep(1)
    (entry,) = folder.glob("??/*.safetensors")
    half = entry.with_name(".homolog-0123456789ab.safetensors")
    half.write_bytes(entry.read_bytes()[:99])
    assert homolog("cache", "info").out.splitlines()[1].startswith("1 entry, ")
    assert homolog("cache", "clear").out.startswith("removed 1 entry, ")
    assert not half.exists()


def test_the_cache_of_the_environment_is_the_one_that_is_shown(
    homolog, folder: Path, monkeypatch, tmp_path: Path
):
    keep(2)
    monkeypatch.setenv("HOMOLOG_CACHE", str(tmp_path / "another"))
    assert homolog("cache", "info").out.splitlines()[0] == str(tmp_path / "another" / "features")
    assert homolog("cache", "clear").out == "removed 0 entries, 0.0 MB\n"
    assert len(list(folder.glob("??/*.safetensors"))) == 2


@pytest.mark.parametrize("words", [("cache",), ("cache", "empty"), ("cache", "info", "--all")])
def test_wrong_words_are_one_line(homolog, words: tuple[str, ...]):
    said = homolog(*words)
    assert (said.code, said.out) == (2, "")
    (line,) = said.err.splitlines()
    assert line.startswith("homolog cache: error: ")
