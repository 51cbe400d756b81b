"""`homolog heatmap`: where a place is found, and what else looks like it."""

import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from homolog.core.protocols import ShowsSimilarity
from homolog.zoo import load_matcher

CPU = ("--device", "cpu", "--cache", "off")
SMALL = ("matches.resize=208", "points.resize=416")
"""Of the default matcher, for photos of 208 x 192 pixels."""


def test_places_are_found_and_drawn(homolog, photos: Path):
    points = ("--at", "100,100", "--at", "60.5,80")
    said = homolog("heatmap", photos / "a.png", photos / "b.png", *points, *CPU, *SMALL)
    assert said.code == 0
    # b.png shows the scene of a.png 16 pixels further left and 8 further up.
    rows = re.findall(
        r"^(\d): ([\d.]+),([\d.]+) matches ([\d.]+),([\d.]+): similarity ([\d.]+)", said.out, re.M
    )
    assert [row[0] for row in rows] == ["1", "2"]
    for _, x, y, x1, y1, similarity in rows:
        np.testing.assert_allclose((float(x1), float(y1)), (float(x) - 16, float(y) - 8), atol=4)
        assert 0.6 < float(similarity) <= 1
    picture = Path("homolog-results/a__b/heatmap.png")
    assert str(picture) in said.out
    with PIL.Image.open(picture) as file:
        assert file.width > 3 * 208


def test_the_similarity_is_that_of_the_map_points_are_found_on(photos: Path):
    matcher = load_matcher("xfeat", "resize=208", "head.window=1", device="cpu")
    # Sides in multiples of 32 are seen as they are.
    seen = [np.asarray(PIL.Image.open(photos / name).crop((0, 0, 192, 160))) for name in ("a.png", "b.png")]
    found = matcher.match(*seen)
    assert isinstance(found, ShowsSimilarity)
    points = [[100.0, 100.0], [33.0, 150.0], [191.0, 0.0]]
    cosine = found.similarity(points)
    assert cosine.shape == (3, 20, 24)
    assert cosine.abs().max() <= 1 + 1e-5
    best = cosine.flatten(1).argmax(dim=1)
    cells = torch.stack((best % 24, best // 24), dim=1)
    torch.testing.assert_close(found.transfer(points).xy, cells * 8 + 3.5)


@pytest.mark.parametrize("matcher", ["xfeat_lighterglue", "mini_dense"])
def test_a_matcher_without_similarity_maps_names_one_that_has_them(homolog, photos: Path, matcher: str):
    said = homolog(
        "heatmap", photos / "a.png", photos / "b.png", "--at", "9,9", f"matcher={matcher}", "resize=96", *CPU
    )
    assert said.code == 2
    line = said.err.splitlines()[-1]
    assert line.startswith("homolog: error: this matcher ")
    assert "matcher=mini" in line
    assert not Path("homolog-results").exists()


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("a.png", "b.png"), 2, "homolog: error: expected two photos and at least one --at X,Y"),
        (("a.png", "--at", "1,2"), 2, "homolog: error: expected two photos and at least one --at X,Y"),
        (("a.png", "b.png", "--at", "3"), 2, "homolog heatmap: error: argument --at: expected X,Y in pixels"),
        (("a.png", "b.png", "--at", "nan,3"), 2, "homolog heatmap: error: argument --at: expected X,Y in"),
        (("a.png", "b.png", "--at", "208,3"), 2, "homolog: error: --at 208,3: expected a point inside"),
        (("a.png", "none.png", "--at", "2,3"), 3, "homolog: error: none.png: no such file"),
    ],
)
def test_wrong_use_is_one_line_and_leaves_nothing(homolog, photos: Path, words, code: int, expected: str):
    said = homolog("heatmap", *(photos / word if word in {"a.png", "b.png"} else word for word in words))
    assert said.code == code
    (line,) = said.err.splitlines()
    assert line.startswith(expected)
    assert not Path("homolog-results").exists()
