"""`homolog match` on good photos: what it writes, says and returns."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from homolog.core.errors import DataError
from homolog.core.image import Image
from homolog.matchers.sparse import SparseMatcher

LIGHT = ("matcher=xfeat", "resize=208", "--device", "cpu")


def summary_rows() -> list[dict[str, Any]]:
    return json.loads(Path("homolog-results/summary.json").read_text(encoding="utf-8"))["pairs"]


def test_a_pair_gets_a_folder_with_matches_and_pictures(homolog, photos: Path):
    said = homolog("match", photos / "a.png", photos / "b.png", *LIGHT, "--verify", "homography")
    assert said.code == 0
    folder = Path("homolog-results/a__b")
    assert sorted(file.name for file in folder.iterdir()) == ["matches.npz", "matches.png", "transfer.png"]
    with np.load(folder / "matches.npz", allow_pickle=False) as found:
        assert set(found) >= {"xy0", "xy1", "score", "inlier", "model"}
        xy0, xy1, score, inlier, model = (found[key] for key in ("xy0", "xy1", "score", "inlier", "model"))
    assert xy0.shape == xy1.shape == (len(score), 2)
    assert inlier.dtype == bool
    assert inlier.shape == score.shape
    assert model.shape == (3, 3)
    # b.png shows the scene of a.png 16 pixels further left and 8 further up.
    assert inlier.sum() >= 40
    np.testing.assert_allclose(np.median((xy1 - xy0)[inlier], axis=0), (-16, -8), atol=0.5)
    np.testing.assert_allclose(model / model[2, 2], [[1, 0, -16], [0, 1, -8], [0, 0, 1]], atol=0.6)


def test_the_pictures_show_both_photos_and_something_on_them(homolog, photos: Path):
    homolog("match", photos / "a.png", photos / "b.png", *LIGHT)
    for name in ("matches.png", "transfer.png"):
        with PIL.Image.open(f"homolog-results/a__b/{name}") as file:
            picture = np.asarray(file.convert("RGB")).astype(int)
        height, width, _ = picture.shape
        assert height > 700
        assert width > 1500
        left, right = picture[200:-200, 200 : width // 2 - 100], picture[200:-200, width // 2 + 100 : -200]
        assert min(left.std(), right.std()) > 30
        # Only what is drawn is as colourful as this.
        assert ((picture.max(axis=2) - picture.min(axis=2)) > 200).sum() > 1000


def test_the_summary_names_counts_seconds_and_the_folder(homolog, photos: Path):
    said = homolog(
        "match", photos / "a.png", photos / "b.png", *LIGHT, "--max-matches", "100", "--out", "res"
    )
    header = ("matches", "inliers", "mean score", "seconds")
    for word in ("a.png + b.png", *header, "a__b", "1 of 1 pairs matched", "res"):
        assert word in said.out
    summary = json.loads(Path("res/summary.json").read_text(encoding="utf-8"))
    assert summary["versions"].keys() >= {"python", "torch", "homolog-core", "poselib"}
    assert summary["config"]["_target_"].startswith("homolog.matchers")
    assert summary["config"]["resize"] == 208
    assert summary["options"] == {"check": "fundamental", "threshold": None, "max_matches": 100}
    (row,) = summary["pairs"]
    assert row["matches"] == 100
    assert row["image0"] == str(photos / "a.png")
    assert 0 < row["inliers"] <= 100
    assert row["error"] is None
    assert said.err == ""


def test_a_folder_is_matched_exhaustively_in_order(homolog, photos: Path):
    (photos / ".hidden.png").write_bytes((photos / "a.png").read_bytes())
    (photos / "notes.txt").write_text("no photo")
    said = homolog("match", photos, *LIGHT)
    assert said.code == 0
    assert [Path(row["folder"]).name for row in summary_rows()] == ["a__b", "a__c", "b__c"]


@pytest.mark.usefixtures("undrawn")
def test_a_pair_list_says_which_pairs(homolog, photos: Path):
    (photos / "with space.png").write_bytes((photos / "b.png").read_bytes())
    pairs = photos.parent / "pairs.txt"
    pairs.write_text('# remark\n\n"with space.png" a.png 0.5 extra\n  c.png\ta.png\n', encoding="utf-8")
    said = homolog("match", photos, "--pairs", pairs, *LIGHT)
    assert said.code == 0
    assert [Path(row["folder"]).name for row in summary_rows()] == ["with space__a", "c__a"]


@pytest.mark.usefixtures("undrawn")
def test_pairs_of_a_folder_are_matched_as_alone(homolog, photos: Path):
    words = ("matcher=xfeat_lighterglue", "resize=208", "+batch_size=2", "--device", "cpu")
    assert homolog("match", photos, *words, "--out", "together").code == 0
    for one, other in ("ab", "ac", "bc"):
        homolog("match", photos / f"{one}.png", photos / f"{other}.png", *words, "--out", "alone")
        with (
            np.load(f"together/{one}__{other}/matches.npz") as together,
            np.load(f"alone/{one}__{other}/matches.npz") as alone,
        ):
            assert len(alone["score"]) > 20
            # Photos that are extracted together are rounded otherwise, so a match on the edge may differ.
            both = {*map(tuple, together["xy0"].round(2))} & {*map(tuple, alone["xy0"].round(2))}
            assert len(both) >= 0.95 * max(len(alone["score"]), len(together["score"]))


@pytest.mark.usefixtures("undrawn")
def test_when_a_batch_fails_its_pairs_are_tried_one_by_one(homolog, photos: Path, monkeypatch):
    def failing(self: SparseMatcher, pairs: Any) -> None:
        raise RuntimeError("out of memory")

    match = SparseMatcher.match
    calls: list[str] = []

    def matching(self: SparseMatcher, image0: Image, image1: Image) -> Any:
        calls.append(Path(image0.name).stem + Path(image1.name).stem)
        if calls[-1] == "ac":
            raise RuntimeError("out of memory")
        return match(self, image0, image1)

    monkeypatch.setattr(SparseMatcher, "match_pairs", failing)
    monkeypatch.setattr(SparseMatcher, "match", matching)
    said = homolog("match", photos, *LIGHT)
    assert said.code == 1
    assert calls == ["ab", "ac", "bc"]
    assert said.err == "homolog: failed: a.png + c.png: out of memory\n"
    assert [row["error"] for row in summary_rows()] == [None, "out of memory", None]


@pytest.mark.usefixtures("undrawn")
def test_large_photos_are_matched_in_smaller_batches(homolog, photos: Path, monkeypatch):
    monkeypatch.setattr("homolog.cli.matching.PHOTO_MEMORY", 1)
    match_pairs = SparseMatcher.match_pairs
    sizes: list[int] = []

    def counted(self: SparseMatcher, pairs: Any) -> Any:
        sizes.append(len(pairs))
        return match_pairs(self, pairs)

    monkeypatch.setattr(SparseMatcher, "match_pairs", counted)
    assert homolog("match", photos, *LIGHT).code == 0
    assert sizes == [1, 1, 1]
    assert [Path(row["folder"]).name for row in summary_rows()] == ["a__b", "a__c", "b__c"]


@pytest.mark.usefixtures("undrawn")
def test_one_failing_pair_is_reported_and_leaves_nothing_while_the_others_go_on(homolog, photos: Path):
    (photos / "bb.jpg").write_text("no photo")
    said = homolog("match", photos, *LIGHT)
    assert said.code == 1
    failures = [line for line in said.err.splitlines() if line.startswith("homolog: failed: ")]
    assert len(failures) == 3
    assert len(said.err.splitlines()) == 3
    assert "bb.jpg: expected an image" in failures[0]
    assert "3 of 6 pairs matched" in said.out
    left = sorted(path.name for path in Path("homolog-results").iterdir())
    assert left == ["a__b", "a__c", "b__c", "summary.json"]
    assert sum(row["error"] is not None for row in summary_rows()) == 3


def test_names_in_unicode_with_spaces_and_dollars_work(homolog, photos: Path):
    first, second = photos / "größe $x^2 東京.png", photos / "b c'.PNG"
    (photos / "a.png").rename(first)
    (photos / "b.png").rename(second)
    said = homolog("match", first, second, *LIGHT)
    assert said.code == 0
    assert Path("homolog-results/größe $x^2 東京__b c'/matches.png").is_file()
    assert "東京" in Path("homolog-results/summary.json").read_text(encoding="utf-8")


@pytest.mark.usefixtures("undrawn")
def test_equal_stems_get_folders_of_their_own(homolog, photos: Path):
    (photos / "a.PNG").write_bytes((photos / "b.png").read_bytes())
    (photos / "A.bmp").write_bytes(b"")
    PIL.Image.open(photos / "b.png").save(photos / "A.bmp")
    (photos / "c.png").unlink()
    (photos / "b.png").unlink()
    said = homolog("match", photos, *LIGHT)
    assert said.code == 0
    names = [Path(row["folder"]).name for row in summary_rows()]
    assert len({name.casefold() for name in names}) == len(names) == 3
    assert all((Path("homolog-results") / name / "matches.npz").is_file() for name in names)


def test_a_second_run_replaces_the_first_and_leaves_no_stale_picture(homolog, photos: Path):
    pair = photos / "a.png", photos / "b.png"
    homolog("match", *pair, *LIGHT)
    assert Path("homolog-results/a__b/transfer.png").exists()
    assert homolog("match", *pair, "matcher=xfeat_lighterglue", "resize=208", "--device", "cpu").code == 0
    names = sorted(file.name for file in Path("homolog-results/a__b").iterdir())
    assert names == ["matches.npz", "matches.png"]


def test_too_few_matches_are_said_and_are_all_outliers(homolog, photos: Path):
    said = homolog("match", photos / "a.png", photos / "b.png", *LIGHT, "--max-matches", "7")
    assert said.code == 0
    assert "note: a.png + b.png: too few matches for a fundamental check: 7 of at least 8" in said.out
    with np.load("homolog-results/a__b/matches.npz") as found:
        assert not found["inlier"].any()
        assert np.isnan(found["model"]).all()


def test_without_a_check_nothing_is_called_an_inlier_in_the_table(homolog, photos: Path):
    said = homolog("match", photos / "a.png", photos / "b.png", *LIGHT, "--verify", "none")
    assert said.code == 0
    assert summary_rows()[0]["inliers"] is None


def test_images_without_any_structure_give_no_matches_and_still_pictures(homolog, tmp_path: Path):
    for name in ("x.png", "y.png"):
        PIL.Image.new("RGB", (96, 64), (120, 120, 120)).save(tmp_path / name)
    said = homolog("match", tmp_path / "x.png", tmp_path / "y.png", *LIGHT)
    assert said.code == 0
    assert "too few matches" in said.out
    assert Path("homolog-results/x__y/matches.png").is_file()


@pytest.mark.usefixtures("undrawn")
def test_a_note_of_a_part_is_one_line_on_stderr(homolog, photos: Path):
    frames = [PIL.Image.open(photos / f"{name}.png") for name in "ab"]
    frames[0].save(photos / "moving.gif", save_all=True, append_images=frames[1:])
    said = homolog("match", photos, *LIGHT)
    assert said.code == 0
    (line,) = said.err.splitlines()  # once, however many pairs the photo is part of
    assert line.startswith("note: ")
    assert "moving.gif: has 2 frames" in line


@pytest.fixture
def run(photos: Path, tmp_path: Path) -> Generator["subprocess.Popen[str]"]:
    """`homolog match` on 105 pairs in a process of its own, stopped by nobody yet; two pairs are begun."""
    for number in range(12):
        (photos / f"more{number}.png").write_bytes((photos / "a.png").read_bytes())
    out = tmp_path / "out"
    command = [sys.executable, "-m", "homolog.cli", "match", str(photos), "--out", str(out), *LIGHT]
    # A process that a script starts in the background would ignore SIGINT, and its children too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while len(list(out.glob("*/"))) < 2 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        yield process
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_interrupting_ends_cleanly_and_keeps_what_was_done(run: "subprocess.Popen[str]", tmp_path: Path):
    out = tmp_path / "out"
    run.send_signal(signal.SIGINT)
    told, complained = run.communicate(timeout=60)
    assert run.returncode == 130
    (line,) = complained.splitlines()
    assert line.startswith("homolog: interrupted; ")
    assert line.endswith(" of 105 pairs are done")
    assert "pairs matched" in told
    done = [row for row in json.loads((out / "summary.json").read_text())["pairs"] if row["folder"]]
    assert done
    assert {path for path in out.iterdir() if path.is_dir()} == {Path(row["folder"]) for row in done}
    assert not list(out.rglob(".homolog-*"))
    for row in done:
        with np.load(Path(row["folder"]) / "matches.npz") as found:
            assert len(found["xy0"]) == row["matches"]
        with PIL.Image.open(Path(row["folder"]) / "matches.png") as picture:
            picture.load()


@pytest.mark.slow
def test_being_terminated_leaves_no_partial_file(run: "subprocess.Popen[str]", tmp_path: Path):
    run.terminate()
    run.communicate(timeout=60)
    assert run.returncode == 143
    assert not list(tmp_path.rglob(".homolog-*"))
    folders = list((tmp_path / "out").glob("*/"))
    assert folders
    for folder in folders:
        assert {file.name for file in folder.iterdir()} == {"matches.npz", "matches.png", "transfer.png"}


@pytest.mark.parametrize(
    ("error", "code"),
    [(DataError("the disk is full"), 1), (KeyboardInterrupt(), 130)],
    ids=["full", "stopped"],
)
@pytest.mark.parametrize("mine", [True, False], ids=["in a folder of the user", "in a new folder"])
def test_a_failure_while_writing_removes_the_pair_and_leaves_a_folder_of_the_user_alone(
    homolog, photos: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, mine: bool
):
    def failing(path: Path, content: bytes) -> None:
        raise error

    monkeypatch.setattr("homolog.cli.results.write_bytes", failing)
    if mine:
        Path("out").mkdir()
    said = homolog(
        "match", photos / "a.png", photos / "b.png", *LIGHT, "--out", "out" if mine else "out/deep"
    )
    assert said.code == code
    assert ("the disk is full" in said.err) == (code == 1)
    assert [path.name for path in Path().rglob("*")] == (["out"] if mine else [])
