"""Frames in which errors are measured, and working sizes."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage

from homolog.core.coords import resize_pixel
from homolog.core.errors import ConfigError, ShapeError
from homolog.evaluators.homography import apply_homography
from homolog.evaluators.image_sizes import (
    Downscaled,
    ErrorFrame,
    Original,
    PaddedSquare,
    Placement,
    StretchedSquare,
    TruncatedSquare,
    WorkingSize,
    matched_pair,
    true_homography,
)

FRAMES = [
    Original(),
    PaddedSquare(side=840),
    StretchedSquare(side=512),
    TruncatedSquare(side=512),
    Downscaled(longer_side=300),
]


def points(place: Placement, *xy: tuple[float, float]) -> list[list[float]]:
    return place.points(np.array(xy, dtype=np.float64)).tolist()


def test_the_original_stays_as_it_is():
    place = Original()((300, 400))
    assert points(place, (3.25, 4.5)) == [[3.25, 4.5]]
    assert place.side == 400


def test_the_padded_square_scales_the_longer_side_and_centres():
    """400 x 300 px: scale 2.1, 630 rows of 840, so 105 rows of black above."""
    place = PaddedSquare(side=840)((300, 400))
    assert points(place, (100, 200)) == [[210, 420 + 105]]
    assert PaddedSquare(side=840)((400, 300)).offset == (105, 0)
    assert place.lengths(np.array([10, 20])).tolist() == [21, 42]
    assert place.side == 840


def test_the_padded_square_shows_what_pillow_resizes():
    """The content that is said is where a white image pasted in the official way is white."""
    for size in ((25, 40), (40, 25), (33, 33), (20, 37)):
        square = PaddedSquare(side=56)
        (top, bottom), (left, right) = square.content(size)
        canvas = np.zeros((56, 56), dtype=np.uint8)
        white = PILImage.fromarray(np.full(size, 255, dtype=np.uint8))
        canvas[top:bottom, left:right] = np.asarray(
            white.resize((right - left, bottom - top), PILImage.Resampling.LANCZOS)
        )
        rows, columns = np.nonzero(canvas)
        assert (rows.min(), columns.min()) == (top, left)
        assert max(bottom - top, right - left) == 56
        assert abs((56 - bottom) - top) <= 1
        assert abs((56 - right) - left) <= 1


def test_the_stretched_square_aligns_corners():
    """The last pixel of a 401 x 201 image is the last pixel of the square."""
    place = StretchedSquare(side=101)((201, 401))
    assert points(place, (0, 0), (400, 200), (200, 50)) == [[0, 0], [100, 100], [50, 25]]
    assert place.side == 101


def test_the_truncated_square_cuts_annotated_points_only():
    """MATCHA's release: x * 512 / W and y * 512 / H, then whole pixels."""
    place = TruncatedSquare(side=512)((500, 1000))
    given = np.array([[333.0, 77.0], [999.0, 499.0]])
    np.testing.assert_allclose(place.points(given), [[170.496, 78.848], [511.488, 510.976]])
    assert place.annotated(given).tolist() == [[170, 78], [511, 510]]
    assert place.side == 512
    stretched = StretchedSquare(side=512)((500, 1000))
    assert stretched.annotated(given).tolist() == stretched.points(given).tolist()


@given(st.integers(1, 3000), st.integers(0, 512))
def test_a_point_that_is_a_whole_pixel_of_the_square_stays_there(width: int, x: int):
    place = TruncatedSquare(side=512)((9, width))
    assert place.annotated(np.array([[x * width / 512, 0.0]]))[0, 0] == x


def test_a_stretch_changes_the_error_against_the_side():
    """An error along x of a wide image shrinks, while the box keeps its height as the longer side."""
    place = StretchedSquare(side=101)((101, 401))
    assert place.lengths(np.array([100, 80])).tolist() == [25, 80]
    assert points(place, (8, 0)) == [[2, 0]]


def test_the_limit_scales_down_and_never_up():
    assert Downscaled(longer_side=300)((600, 450)).scale == (0.5, 0.5)
    assert Downscaled(longer_side=300)((600, 450)).side == 300
    assert Downscaled(longer_side=300)((200, 100)).scale == (1, 1)
    assert Downscaled(longer_side=300)((200, 100)).side == 200


@given(st.tuples(st.integers(1, 900), st.integers(1, 900)), st.floats(-100, 1000), st.floats(-100, 1000))
def test_a_uniform_scale_cancels_against_the_side(size, x: float, y: float):
    wanted = np.hypot(x, y) / max(size)
    for frame in (Original(), PaddedSquare(side=840), Downscaled(longer_side=300)):
        place = frame(size)
        start, end = place.points(np.array([[0.0, 0.0], [x, y]]))
        assert np.hypot(*(end - start)) / place.side == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("frame", FRAMES, ids=str)
def test_frames_keep_the_precision_and_say_what_they_are(frame: ErrorFrame):
    assert isinstance(frame, ErrorFrame)
    assert frame((30, 40)).points(np.ones((2, 2), dtype=np.float32)).dtype == np.float32
    assert frame((30, 40)).points(np.ones((2, 2))).dtype == np.float64
    assert "object" not in str(frame)
    with pytest.raises(ShapeError, match="at least 1 x 1"):
        frame((0, 10))


def test_frames_without_pixels_are_refused():
    for make in (
        lambda: PaddedSquare(side=0),
        lambda: StretchedSquare(side=0),
        lambda: Downscaled(longer_side=0),
    ):
        with pytest.raises(ConfigError, match="at least 1 px"):
            make()


def test_an_image_of_one_column_can_be_stretched():
    assert points(StretchedSquare(side=10)((5, 1)), (0, 4)) == [[0, 9]]


K = np.array([[500.0, 0, 319.5], [0, 500, 239.5], [0, 0, 1]])


@pytest.mark.parametrize(
    ("chosen", "size", "wanted"),
    [
        ({}, (480, 640), (480, 640)),
        ({"longer_side": 320}, (480, 640), (240, 320)),
        ({"longer_side": 320}, (640, 480), (320, 240)),
        ({"longer_side": 1600}, (1000, 333), (1600, 532)),
        ({"shorter_side": 480}, (968, 1296), (480, 642)),
        ({"shorter_side": 480}, (1296, 968), (642, 480)),
        ({"shorter_side": 480}, (600, 600), (480, 480)),
        ({"exact": [480, 640]}, (968, 1296), (480, 640)),
    ],
)
def test_working_sizes(chosen: dict[str, Any], size: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert WorkingSize(**chosen).of(size) == wanted


def test_points_rays_and_homographies_move_together(posed: Any, flat: Any) -> None:
    size, record = WorkingSize(exact=(200, 400)), posed()
    pair = matched_pair(record, size)
    moved = resize_pixel(torch.from_numpy(record["match0"]), (480, 640), (200, 400))
    np.testing.assert_allclose(pair.xy0, moved.numpy(), atol=1e-9)
    assert pair.K0 is not None
    rays, wanted = (
        np.column_stack((xy, np.ones(len(xy)))) @ np.linalg.inv(k).T
        for xy, k in ((pair.xy0, pair.K0), (record["match0"], K))
    )
    np.testing.assert_allclose(rays, wanted, atol=1e-9)
    plane = flat()
    moved_plane = matched_pair(plane, size)
    there = apply_homography(moved_plane.xy0, true_homography(plane, size))
    np.testing.assert_allclose(there, moved_plane.xy1, atol=1e-6)


@pytest.mark.parametrize(
    "chosen", [{"longer_side": 1, "shorter_side": 2}, {"longer_side": 0}, {"exact": [480]}]
)
def test_working_sizes_without_sense_are_refused(chosen: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="one of longer_side, shorter_side and exact"):
        WorkingSize(**chosen)
