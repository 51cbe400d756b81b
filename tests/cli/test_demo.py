"""`homolog match --demo`."""

import importlib.util
import re
from pathlib import Path

import pytest


def test_the_demo_matches_both_pairs_measures_the_error_and_says_where_the_pictures_are(homolog):
    said = homolog("match", "--demo", "matcher=xfeat", "--device", "cpu")
    assert said.code == 0
    pictures = [Path(line.strip()) for line in said.out.splitlines() if re.match(r"  \S+\.png$", line)]
    assert len(pictures) >= 4
    assert all(picture.is_file() for picture in pictures)
    assert "errors against the exact homography" in said.out
    medians = re.findall(
        r"(\d+) (inliers|matches|transferred points[^:]*): median error ([\d.]+) px", said.out
    )
    errors = {what: (int(count), float(median)) for count, what, median in medians}
    assert errors["inliers"][0] >= 100
    assert errors["inliers"][1] < 1.5
    assert "transferred points of a grid" in errors
    assert Path("homolog-results/chelsea_view.png").is_file()


def test_without_scikit_image_the_demo_names_it(homolog, monkeypatch: pytest.MonkeyPatch):
    really = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "skimage" else really(name))
    said = homolog("match", "--demo", "matcher=xfeat")
    assert said.code == 2
    assert (
        said.err
        == "homolog: error: homolog match --demo needs the package scikit-image; run: pip install scikit-image\n"
    )
    assert list(Path().iterdir()) == []
