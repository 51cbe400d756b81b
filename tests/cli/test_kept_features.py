"""`homolog match` extracts each photo once: within a run, and for all later runs."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from homolog.matchers.base import FeatureMatcher

pytestmark = pytest.mark.usefixtures("undrawn")

LIGHT = ("matcher=xfeat", "resize=208", "--device", "cpu", "--verify", "homography")


@pytest.fixture
def extracted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of views in each call of the extraction."""
    calls: list[int] = []

    compute = FeatureMatcher._compute

    def counted(self, resized):
        calls.append(len(resized))
        return compute(self, resized)

    monkeypatch.setattr(FeatureMatcher, "_compute", counted)
    return calls


def found(out: str, pair: str) -> dict[str, np.ndarray]:
    with np.load(Path(out) / pair / "matches.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def test_photos_in_all_pairs_are_extracted_once_in_one_run_and_across_runs(
    homolog, photos: Path, extracted: list[int]
):
    assert homolog("match", photos, *LIGHT, "--out", "first").code == 0
    assert sum(extracted) == 3
    assert "3 entries" in homolog("cache", "info").out
    assert homolog("match", photos, *LIGHT, "--out", "second").code == 0
    assert sum(extracted) == 3
    for one, other in itertools.combinations("abc", 2):
        first, second = (found(out, f"{one}__{other}") for out in ("first", "second"))
        assert len(first["xy0"]) > 100
        for name, array in first.items():
            np.testing.assert_array_equal(array, second[name])


def test_other_settings_of_the_extraction_ask_for_other_features_and_those_of_the_head_do_not(
    homolog, photos: Path, extracted: list[int]
):
    pair = photos / "a.png", photos / "b.png"
    homolog("match", *pair, *LIGHT)
    homolog("match", *pair, *LIGHT, "head.window=5")
    assert sum(extracted) == 2
    homolog("match", *pair, *LIGHT, "resize=160")
    homolog("match", *pair, *LIGHT, "detector.max_keypoints=100")
    assert sum(extracted) == 6


def test_the_parts_of_the_default_are_extracted_once_for_all_settings_of_their_heads(
    homolog, photos: Path, extracted: list[int]
):
    pair = photos / "a.png", photos / "b.png"
    words = ("matches.resize=208", "points.resize=256", "--device", "cpu", "--verify", "homography")
    assert homolog("match", *pair, *words, "--out", "first").code == 0
    assert sum(extracted) == 4
    assert homolog("match", *pair, *words, "--out", "second").code == 0
    for name, array in found("first", "a__b").items():
        np.testing.assert_array_equal(array, found("second", "a__b")[name])
    for setting in ("matches.head.match_threshold=0.5", "points.head.temperature=0.1", "follow=false"):
        assert homolog("match", *pair, *words, setting).code == 0
    assert sum(extracted) == 4


def test_a_changed_photo_is_extracted_anew_though_its_name_is_the_same(
    homolog, photos: Path, extracted: list[int]
):
    pair = photos / "a.png", photos / "b.png"
    homolog("match", *pair, *LIGHT)
    (photos / "b.png").write_bytes((photos / "c.png").read_bytes())
    homolog("match", *pair, *LIGHT)
    assert sum(extracted) == 3


def test_half_takes_about_half_of_the_space_and_finds_nearly_the_same(homolog, photos: Path):
    pair = photos / "a.png", photos / "b.png"
    cache = Path("../cache")
    sizes, medians = {}, {}
    for kept in ("full", "half"):
        homolog("match", *pair, *LIGHT, "--cache", kept, "--out", kept)
        sizes[kept] = sum(file.stat().st_size for file in cache.rglob("*.safetensors"))
        homolog("cache", "clear")
        arrays = found(kept, "a__b")
        medians[kept] = np.median((arrays["xy1"] - arrays["xy0"])[arrays["inlier"]], axis=0)
    assert sizes["half"] < 0.6 * sizes["full"]
    np.testing.assert_allclose(medians["half"], medians["full"], atol=0.2)


def test_off_leaves_nothing_on_disk_but_the_results(homolog, photos: Path, extracted: list[int]):
    for _ in range(2):
        assert homolog("match", photos, *LIGHT, "--cache", "off").code == 0
    assert sum(extracted) == 6
    assert not Path("../cache").exists()


def test_a_cache_that_cannot_be_written_is_said_once_and_stops_nothing(
    homolog, photos: Path, monkeypatch: pytest.MonkeyPatch
):
    blocked = Path("file")
    blocked.write_text("no folder")
    monkeypatch.setenv("HOMOLOG_CACHE", str(blocked))
    said = homolog("match", photos, *LIGHT)
    assert said.code == 0
    (line,) = said.err.splitlines()
    assert "the feature cache cannot be written" in line
