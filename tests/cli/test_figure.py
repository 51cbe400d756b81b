"""Pictures: places on the page, and which points are chosen."""

import io

import numpy as np
import PIL.Image
import pytest
import torch

from homolog.cli.figure import draw_matches, draw_transfer
from homolog.cli.page import GAP, Page, Points, shown_sizes
from homolog.cli.presentation import POINTS, choose_points
from homolog.cli.sheet import FOOTER, HEADER, lay_out
from homolog.cli.spread import choose_spread
from homolog.core.dense import Transfer


def gray(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 128, dtype=np.uint8)


def page(
    *, side: int, xy0: np.ndarray, score: np.ndarray, inlier: np.ndarray | None, points: Points | None = None
) -> Page:
    return Page(
        photos=(gray(side, side), gray(side, side)),
        title="t",
        subtitle="s",
        xy0=xy0,
        xy1=xy0,
        score=score.astype(np.float32),
        inlier=inlier,
        points=points,
    )


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_a_point_is_drawn_where_it_is_on_both_photos():
    points = Points(xy0=np.array([[100.0, 200.0]]), xy1=np.array([[150.0, 300.0]]), subtitle="")
    drawn = pixels(
        draw_transfer(
            page(side=400, xy0=np.zeros((0, 2)), score=np.zeros(0), inlier=None, points=points), points
        )
    )
    # Both points are red, the first colour, and nothing else on the page is.
    y, x = np.nonzero((drawn[..., 0] > 200) & (drawn[..., 1] < 60) & (drawn[..., 2] < 60))
    middle = drawn.shape[1] // 2
    first, second = middle - GAP // 2 - 400, middle + GAP // 2
    for here, expected in ((x < middle, (first + 100, 200)), (x >= middle, (second + 150, 300))):
        np.testing.assert_allclose(
            (x[here].mean(), y[here].mean()), (expected[0], HEADER + expected[1]), atol=1
        )


def test_the_photos_are_on_the_page_as_they_are():
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    other = noise[:, ::-1, ::-1]
    drawn = pixels(lay_out((noise, other), title="", subtitle="").png())
    left = (drawn.shape[1] - 800 - GAP) // 2
    np.testing.assert_array_equal(drawn[HEADER : HEADER + 300, left : left + 400], noise)
    right = left + 400 + GAP
    np.testing.assert_array_equal(drawn[HEADER : HEADER + 300, right : right + 400], other)


def test_inliers_are_strong_and_outliers_pale():
    xy0 = np.array([[10.0, 10.0], [10.0, 390.0]])
    for inlier, rows in (([True, False], "upper"), ([False, True], "lower")):
        drawn = pixels(
            draw_matches(page(side=400, xy0=xy0, score=np.array([0.5, 0.9]), inlier=np.array(inlier)))
        )
        colourful = (drawn.max(axis=2) - drawn.min(axis=2) > 100)[:-FOOTER]
        middle = drawn.shape[0] // 2
        upper, lower = colourful[:middle].sum(), colourful[middle:].sum()
        assert (upper > 500) == (rows == "upper")
        assert (lower > 500) == (rows == "lower")


@pytest.mark.parametrize("sizes", [((10, 2000), (2000, 10)), ((30, 30), (31, 29)), ((900, 300), (300, 900))])
def test_odd_shapes_make_a_page_of_reasonable_size(sizes):
    shown = shown_sizes(*sizes)
    assert shown[0][0] == shown[1][0]
    for (height, width), (true_height, true_width) in zip(shown, sizes, strict=True):
        assert abs(width - height * true_width / true_height) <= 1
    drawn = pixels(lay_out((gray(*shown[0]), gray(*shown[1])), title="t" * 300, subtitle="s").png())
    assert drawn.shape[0] <= 1000
    assert 900 <= drawn.shape[1] <= 2300


def test_no_matches_and_equal_scores_can_be_drawn():
    nothing = np.zeros((0, 2))
    for inlier in (None, np.zeros(0, dtype=bool)):
        assert pixels(draw_matches(page(side=64, xy0=nothing, score=np.zeros(0), inlier=inlier))).std() > 0
    somewhere = np.random.default_rng(0).random((9, 2)) * 60
    draw_matches(page(side=64, xy0=somewhere, score=np.ones(9), inlier=np.ones(9, dtype=bool)))


def test_chosen_points_are_far_apart_and_the_best_comes_first():
    random = np.random.default_rng(1)
    xy, score = random.uniform(0, 100, (500, 2)), random.uniform(size=500)
    chosen = choose_spread(xy, score, 12)
    assert chosen[0] == score.argmax()
    assert len(set(chosen.tolist())) == 12
    apart = np.linalg.norm(xy[chosen][:, None] - xy[chosen], axis=2)[~np.eye(12, dtype=bool)]
    by_score = np.linalg.norm(xy[np.argsort(-score)[:12]][:, None] - xy[np.argsort(-score)[:12]], axis=2)
    assert apart.min() > 15 > by_score[~np.eye(12, dtype=bool)].min()


def test_points_on_one_spot_can_be_chosen_too():
    assert sorted(choose_spread(np.zeros((5, 2)), np.arange(5.0), 3).tolist()) == [2, 3, 4]
    assert choose_spread(np.zeros((0, 2)), np.zeros(0), 3).tolist() == []


def test_points_to_show_are_sure_and_inside_the_other_photo():
    random = np.random.default_rng(2)
    xy0 = random.uniform(0, 100, (400, 2)).astype(np.float32)
    moved = Transfer(
        torch.from_numpy(xy0 * 2 - 50), torch.from_numpy(random.uniform(size=400).astype(np.float32))
    )
    chosen = choose_points(xy0, moved, (100, 100), (100, 100))
    assert len(chosen) == POINTS
    xy1 = moved.xy.numpy()[chosen]
    assert ((xy1 >= 0) & (xy1 <= 99)).all()
    assert moved.confidence.numpy()[chosen].min() > 0.3
    assert (np.diff(xy0[chosen, 1]) >= 0).all()
