"""Previews of generated samples, and examples of an evaluation's best and worst ones."""

import io

import numpy as np
import PIL.Image
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from homolog.cli.figures.samples import (
    FRAMES,
    RIGHT,
    SIDE,
    WRONG,
    draw_match_lines,
    draw_points,
    draw_preview,
    draw_tracks,
)
from homolog.core.dense import DenseField
from homolog.core.image import Image
from homolog.core.samples import PairSample, VideoSample
from homolog.core.tracks import Tracks

PHOTO = np.random.default_rng(0).integers(0, 255, (160, 200, 3), dtype=np.uint8)
XY = np.array([[20.0, 30.0], [100.0, 80.0], [150.0, 100.0]])
OFF = np.array([[0.0, 0.0], [0.0, 0.0], [30.0, 0.0]])


def colours(figure: Figure) -> list[tuple[float, ...]]:
    """Colours of all lines, rings and dots."""
    found = [
        tuple(colour)
        for collection in figure.axes[0].collections
        for each in (collection.get_facecolor(), collection.get_edgecolor())
        for colour in np.atleast_2d(each)
    ]
    return [colour for colour in found if len(colour) == 4]


def test_right_predictions_are_green_and_wrong_ones_red(figures: list[Figure]):
    photos, right = (PHOTO, PHOTO), np.array([True, True, False])
    pictures = [
        draw_points(photos, XY, XY, XY + OFF, right),
        draw_match_lines(photos, XY, XY + OFF, right),
        draw_tracks(
            photos,
            np.stack((XY, XY), axis=1),
            np.stack((XY, XY + OFF), axis=1),
            np.ones((3, 2), dtype=bool),
            np.stack((right, right), axis=1),
        ),
    ]
    for figure, picture, copies in zip(figures, pictures, (2, 1, 4), strict=True):
        found = colours(figure)
        assert found.count(to_rgba(RIGHT)) == 2 * copies
        assert found.count(to_rgba(WRONG)) == copies
        with PIL.Image.open(io.BytesIO(picture)) as file:
            assert (file.format, file.width <= 1000, file.height <= 320) == ("JPEG", True, True)


def test_matches_without_a_known_truth_are_neither(figures: list[Figure]):
    draw_match_lines((PHOTO, PHOTO), XY, XY, None)
    assert not {to_rgba(RIGHT), to_rgba(WRONG)} & set(colours(figures[0]))


def test_predictions_that_are_not_finite_can_be_drawn():
    predicted = np.array([[np.nan, np.nan], [np.inf, 1.0], [1.0, 2.0]])
    draw_points((PHOTO, PHOTO), XY, XY, predicted, np.array([False, False, True]))
    draw_points((PHOTO, PHOTO), XY[:0], XY[:0], XY[:0], np.zeros(0, dtype=bool))


@pytest.mark.parametrize("with_keypoints", [True, False])
def test_a_preview_of_a_pair_shows_the_same_points_on_both_images(
    figures: list[Figure], with_keypoints: bool
):
    images = [Image(pixels=torch.rand(3, 100, 160), name=name) for name in "ab"]
    xy = torch.tensor([[10.0, 20.0], [50.0, 60.0]])
    sample = PairSample(
        image0=images[0],
        image1=images[1],
        xy0=xy if with_keypoints else None,
        xy1=xy + 5 if with_keypoints else None,
        dense0=None if with_keypoints else DenseField.identity((100, 160)),
        name="chair-$1$",
    )
    draw_preview([sample], title="t", subtitle="s")
    panels = [axes for axes in figures[0].axes if axes.images]
    assert len(panels) == (2 if with_keypoints else 3)
    first, second = (np.asarray(axes.collections[0].get_offsets()) for axes in panels[:2])
    if with_keypoints:
        np.testing.assert_allclose(first, (xy.numpy() + 0.5) * 2 - 0.5)
    np.testing.assert_allclose(second, first + (10 if with_keypoints else 0), atol=1e-3)
    assert np.asarray(panels[0].images[0].get_array()).shape == (SIDE * 100 // 160, SIDE, 3)
    assert any("chair-$1$" in text.get_text() for text in figures[0].texts)


def test_a_preview_of_a_video_shows_visible_points_of_some_frames(figures: list[Figure]):
    frames = [Image(pixels=torch.rand(3, 80, 80)) for _ in range(8)]
    visible = torch.ones(5, 8, dtype=torch.bool)
    visible[2:, -1] = False
    start = torch.zeros(5, dtype=torch.int64)
    tracks = Tracks(xy=torch.rand(5, 8, 2) * 79, visible=visible, query_frame=start)
    draw_preview([VideoSample(frames=frames, tracks=tracks, name="v")], title="", subtitle="")
    panels = [axes for axes in figures[0].axes if axes.images]
    assert len(panels) == FRAMES
    assert len(np.asarray(panels[0].collections[-1].get_offsets())) == 5
    assert len(np.asarray(panels[-1].collections[-1].get_offsets())) == 2
