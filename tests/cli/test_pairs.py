"""Which pairs are meant, and what their folders are called."""

from pathlib import Path

import pytest

from homolog.cli.pairs import find_pairs, named, read_list


def names(*stems: tuple[str, str]) -> list[str]:
    return [pair.name for pair in named([(Path(first), Path(second)) for first, second in stems])]


def test_folder_names_are_unique_also_where_case_is_ignored():
    assert names(("x/a.jpg", "b.jpg"), ("y/a.png", "b.jpg"), ("A.jpg", "B.jpg")) == [
        "a__b",
        "a__b_2",
        "A__B_3",
    ]


def test_a_number_that_is_added_does_not_meet_another_name():
    assert names(("a.jpg", "b_2.jpg"), ("a.jpg", "b.jpg"), ("a.png", "b.jpg")) == ["a__b_2", "a__b", "a__b_3"]


def test_long_names_stay_below_the_limit_of_file_systems_and_whole_in_unicode():
    (name,) = names(("東" * 200 + ".jpg", "é" * 200 + ".jpg"))
    assert len(name.encode()) <= 255
    assert set(name) == {"東", "é", "_"}


def test_quotes_tabs_apostrophes_and_a_byte_order_mark_are_read(tmp_path: Path):
    file = tmp_path / "pairs.txt"
    file.write_text(
        "\ufeffo'brien.jpg\tb.jpg 1 2 3\n'c d.jpg' \"e f.jpg\"\n/abs/x.jpg y#1.jpg # z\n", encoding="utf-8"
    )
    assert read_list(file, Path("in")) == [
        (Path("in/o'brien.jpg"), Path("in/b.jpg")),
        (Path("in/c d.jpg"), Path("in/e f.jpg")),
        (Path("/abs/x.jpg"), Path("in/y#1.jpg")),
    ]


def test_a_pair_that_is_listed_twice_is_matched_once_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    file = tmp_path / "pairs.txt"
    file.write_text("a b\nb a\na b\n")
    assert read_list(file, Path()) == [(Path("a"), Path("b")), (Path("b"), Path("a"))]
    assert "pairs.txt:3: duplicate pair" in caplog.text


def test_without_a_folder_a_list_is_relative_to_itself(tmp_path: Path):
    (tmp_path / "pairs.txt").write_text("a.jpg b.jpg\n")
    (pair,) = find_pairs([], tmp_path / "pairs.txt")
    assert (pair.path0, pair.path1) == (tmp_path / "a.jpg", tmp_path / "b.jpg")
