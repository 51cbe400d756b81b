"""Pictures: places on the page, and which points are chosen."""

import io

import numpy as np
import PIL.Image
import pytest
import torch

from homolog.cli.figure import POINTS, choose_points, draw_matches, draw_transfer
from homolog.cli.sheet import FOOTER, GAP, HEADER, MARGIN, lay_out
from homolog.cli.spread import choose_spread
from homolog.core.dense import Transfer
from homolog.core.image import Image
from homolog.core.keypoints import Matches


def gray(height: int, width: int) -> Image:
    return Image(pixels=torch.full((3, height, width), 0.5), name="gray")


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_a_point_is_drawn_where_it_is_on_both_photos():
    image0, image1 = gray(190, 380), gray(380, 380)
    moved = Transfer(torch.tensor([[99.5, 199.5]]), torch.tensor([0.9]))
    page = pixels(draw_transfer(image0, image1, np.array([[49.5, 99.5]]), moved, title="t", subtitle="s"))
    height = page.shape[0] - HEADER - FOOTER
    scale0, scale1 = height / 190, height / 380
    # Both points are red, the first colour, and nothing else on the page is.
    y, x = np.nonzero((page[..., 0] > 200) & (page[..., 1] < 60) & (page[..., 2] < 60))
    left = x < MARGIN + 380 * scale0 + GAP / 2
    np.testing.assert_allclose(
        (x[left].mean(), y[left].mean()), (MARGIN + 50 * scale0, HEADER + 100 * scale0), atol=2
    )
    second = MARGIN + 380 * scale0 + GAP
    np.testing.assert_allclose(
        (x[~left].mean(), y[~left].mean()), (second + 100 * scale1, HEADER + 200 * scale1), atol=2
    )


def test_inliers_are_strong_and_outliers_pale():
    xy0 = torch.tensor([[10.0, 10.0], [10.0, 150.0]])
    matches = Matches(xy0=xy0, xy1=xy0, score=torch.tensor([0.5, 0.9]))
    for inlier, rows in (([True, False], "upper"), ([False, True], "lower")):
        page = pixels(
            draw_matches(gray(160, 160), gray(160, 160), matches, np.array(inlier), title="", subtitle="")
        )
        colourful = (page.max(axis=2) - page.min(axis=2) > 100)[:-FOOTER]
        middle = page.shape[0] // 2
        upper, lower = colourful[:middle].sum(), colourful[middle:].sum()
        assert (upper > 500) == (rows == "upper")
        assert (lower > 500) == (rows == "lower")


@pytest.mark.parametrize("sizes", [((10, 2000), (2000, 10)), ((30, 30), (31, 29)), ((900, 300), (300, 900))])
def test_odd_shapes_make_a_page_of_reasonable_size(sizes):
    sheet = lay_out(gray(*sizes[0]), gray(*sizes[1]), title="t" * 300, subtitle="s")
    page = pixels(sheet.png())
    assert page.shape[0] <= 1000
    assert 900 <= page.shape[1] <= 2300
    corners = (
        sheet.place(np.array([[-0.5, -0.5]]), 0),
        sheet.place(np.array([[sizes[1][1] - 0.5, sizes[1][0] - 0.5]]), 1),
    )
    assert corners[0][0].tolist() == pytest.approx([-0.5, -0.5])
    assert corners[1][0, 0] < 2200


def test_no_matches_and_equal_scores_can_be_drawn():
    nothing = Matches(xy0=torch.zeros(0, 2), xy1=torch.zeros(0, 2), score=torch.zeros(0))
    for inlier in (None, np.zeros(0, dtype=bool)):
        assert (
            pixels(draw_matches(gray(64, 64), gray(64, 64), nothing, inlier, title="", subtitle="")).std() > 0
        )
    equal = Matches(xy0=torch.rand(9, 2) * 60, xy1=torch.rand(9, 2) * 60, score=torch.ones(9))
    draw_matches(gray(64, 64), gray(64, 64), equal, np.ones(9, dtype=bool), title="", subtitle="")


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
