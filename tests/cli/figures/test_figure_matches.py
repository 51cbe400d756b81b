"""Pictures of matches and transferred points: which are drawn, and where."""

import io

import numpy as np
import PIL.Image
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from homolog.cli.figures.layout import HEADER
from homolog.cli.figures.matches import (
    INLIER_COLOURS,
    INLIERS,
    OUTLIER_COLOUR,
    OUTLIERS,
    UNCHECKED,
    draw_matches,
    draw_pair,
    draw_transfer,
)
from homolog.cli.figures.prepare import POINTS, choose_points
from homolog.cli.figures.views import GAP, PairView, PointView, choose_spread
from homolog.core.dense import Transfer

PHOTOS = (
    np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8),
    np.random.default_rng(1).integers(0, 255, (300, 200, 3), dtype=np.uint8),
)
SECOND = np.array([400 + GAP, 0])
"""Where the second photo begins."""


def view(xy0: np.ndarray, score: np.ndarray, inlier: np.ndarray | None) -> PairView:
    return PairView(
        photos=PHOTOS,
        title="t",
        subtitle="s",
        xy0=xy0,
        xy1=xy0 / 2,
        score=score.astype(np.float32),
        inlier=inlier,
        points=None,
    )


def lines(figure: Figure) -> tuple[np.ndarray, np.ndarray]:
    """The ends [N 2 2] of the coloured lines of inliers, and of the lines of outliers."""
    found: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for collection in figure.axes[0].collections:
        colours = np.atleast_2d(collection.get_edgecolor())
        for segment, path in enumerate(collection.get_paths()):
            colour = colours[segment % len(colours)][:3]
            ends = np.asarray(path.vertices)
            if len(ends) == 2 and colour.any():
                outlier = bool((colour == to_rgba(OUTLIER_COLOUR)[:3]).all())
                found[outlier].append(ends)
    return np.reshape(found[False], (-1, 2, 2)), np.reshape(found[True], (-1, 2, 2))


def test_the_photos_are_shown_pixel_by_pixel_below_what_is_drawn():
    png = draw_matches(view(np.array([[10.0, 20.0]]), np.ones(1), np.array([True])))
    page = np.asarray(PIL.Image.open(io.BytesIO(png)))
    left = (page.shape[1] - 600 - GAP) // 2
    for photo, start in zip(PHOTOS, (left, left + 400 + GAP), strict=True):
        shown = page[HEADER : HEADER + 300, start : start + photo.shape[1]]
        np.testing.assert_array_equal(shown[40:], photo[40:])  # below the line
        assert (shown[5:25] != photo[5:25]).any()


def test_inliers_are_coloured_by_score_and_outliers_are_pale(figures: list[Figure]):
    xy0 = np.array([[10.0, 20.0], [30.0, 290.0], [390.0, 5.0]])
    draw_matches(view(xy0, np.array([0.5, 0.9, 0.7]), np.array([True, False, True])))
    inliers, outliers = lines(figures[0])
    expected = np.stack((xy0, xy0 / 2 + SECOND), axis=1)
    # The best comes last, on top.
    np.testing.assert_allclose(inliers, expected[[0, 2]])
    np.testing.assert_allclose(outliers, expected[[1]])
    dots = figures[0].axes[0].collections[-1]
    np.testing.assert_allclose(np.asarray(dots.get_facecolor()), INLIER_COLOURS([0.0, 1.0]), atol=0.02)


def test_without_a_check_the_better_half_is_drawn(figures: list[Figure]):
    random = np.random.default_rng(0)
    xy0, score = random.uniform(0, 199, (400, 2)), np.arange(400.0)
    draw_matches(view(xy0, score, None))
    drawn, outliers = lines(figures[0])
    assert (len(drawn), len(outliers)) == (UNCHECKED, 0)
    assert {tuple(ends) for ends in drawn[:, 0].round(6)} <= {tuple(xy) for xy in xy0[200:].round(6)}


def test_of_many_matches_some_are_drawn_and_the_picture_says_so(figures: list[Figure]):
    xy0 = np.random.default_rng(0).uniform(0, 199, (1000, 2))
    draw_matches(view(xy0, np.ones(1000), np.arange(1000) % 2 == 0))
    drawn = lines(figures[0])
    assert (len(drawn[0]), len(drawn[1])) == (INLIERS, OUTLIERS)
    text = " ".join(text.get_text() for text in figures[0].texts)
    assert f"{INLIERS} inliers, {OUTLIERS} outliers" in text


@pytest.mark.parametrize("inlier", [None, np.zeros(0, dtype=bool)])
def test_no_matches_can_be_drawn(inlier: np.ndarray | None):
    assert list(draw_pair(view(np.zeros((0, 2)), np.zeros(0), inlier))) == ["matches.png"]


def test_a_transferred_point_has_the_same_number_on_both_photos(figures: list[Figure]):
    points = PointView(
        xy0=np.array([[100.0, 200.0], [5.0, 6.0]]), xy1=np.array([[150.0, 30.0], [7.0, 8.0]]), subtitle=""
    )
    draw_transfer(view(np.zeros((0, 2)), np.zeros(0), None), points)
    axes = figures[0].axes[0]
    first, second = (np.asarray(dots.get_offsets()) for dots in axes.collections)
    np.testing.assert_allclose(first, points.xy0)
    np.testing.assert_allclose(second, points.xy1 + SECOND)
    assert [text.get_text() for text in axes.texts] == ["1", "2", "1", "2"]
    colours = [dots.get_facecolor() for dots in axes.collections]
    np.testing.assert_array_equal(colours[0], colours[1])


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


def test_points_to_show_are_reliable_and_inside_the_other_photo():
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
