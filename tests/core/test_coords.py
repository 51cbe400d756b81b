"""The coordinate convention: hand-computed cases, round trips, and agreement with torch's own resampling."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from homolog.core.coords import (
    apply_affine,
    compose_affines,
    identity_affine,
    identity_grid,
    inside,
    invert_affine,
    normalised_to_pixel,
    pixel_grid,
    pixel_to_normalised,
    resize_affine,
    resize_pixel,
    shift_affine,
)
from homolog.core.errors import ShapeError

SIZES = st.tuples(st.integers(1, 3000), st.integers(1, 3000))
COORDINATE = st.floats(-1e4, 1e4, allow_nan=False)
POINTS = st.lists(st.tuples(COORDINATE, COORDINATE), min_size=1, max_size=8).map(
    lambda points: torch.tensor(points, dtype=torch.float64)
)
SCALE = st.floats(0.05, 20) | st.floats(-20, -0.05)


def _close(got: Tensor, expected: Tensor, tolerance: float = 1e-7) -> bool:
    return bool(torch.allclose(got, expected, rtol=1e-9, atol=tolerance))


@st.composite
def frames(draw: st.DrawFn) -> Tensor:
    scale = [draw(SCALE), draw(SCALE)]
    angle = draw(st.floats(0, 2 * math.pi))
    rotation = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = rotation.double() @ torch.diag(torch.tensor(scale, dtype=torch.float64))
    offset = torch.tensor([draw(COORDINATE), draw(COORDINATE)], dtype=torch.float64)
    return torch.cat((linear, offset[:, None]), dim=1)


# --- by hand ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pixel", "normalised"),
    [
        ((0, 0), (-0.75, -0.5)),
        ((3, 1), (0.75, 0.5)),
        ((-0.5, -0.5), (-1, -1)),
        ((3.5, 1.5), (1, 1)),
        ((1.5, 0.5), (0, 0)),
    ],
)
def test_an_image_of_2_by_4_has_these_coordinates(
    pixel: tuple[float, float], normalised: tuple[float, float]
) -> None:
    assert pixel_to_normalised(torch.tensor(pixel).float(), (2, 4)).tolist() == list(normalised)
    assert normalised_to_pixel(torch.tensor(normalised).float(), (2, 4)).tolist() == list(pixel)


def test_sizes_are_height_then_width_and_points_x_then_y() -> None:
    assert pixel_to_normalised(torch.tensor([9.5, 0.0]), (1, 10)).tolist() == [1.0, 0.0]


def test_doubling_an_image_splits_each_pixel_around_its_centre() -> None:
    assert resize_pixel(torch.tensor([[0.0, 0.0], [1.0, 3.0]]), (4, 2), (8, 4)).tolist() == [
        [0.5, 0.5],
        [2.5, 6.5],
    ]


def test_the_pixel_grid_runs_row_by_row() -> None:
    assert pixel_grid((2, 3)).tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 3)])
def test_the_identity_grid_holds_the_normalised_pixel_grid(size: tuple[int, int]) -> None:
    expected = pixel_to_normalised(pixel_grid(size), size).T.reshape(2, *size)
    assert torch.allclose(identity_grid(size), expected, atol=1e-6)


def test_inside_includes_the_half_pixel_border() -> None:
    points = torch.tensor([[-0.5, -0.5], [3.5, 1.5], [-0.51, 0], [0, 1.51], [2, 1], [3.6, 0]])
    assert inside(points, (2, 4)).tolist() == [True, True, False, False, True, False]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("size", [(0, 4), (4, 0), (-1, 3)])
def test_a_size_without_pixels_is_an_error(size: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match=r"expected a size .* of at least 1 x 1"):
        pixel_to_normalised(torch.zeros(2), size)


# --- round trips and invariances ------------------------------------------------------------------


@given(xy=POINTS, size=SIZES)
def test_normalised_and_back_is_the_same_pixel(xy: Tensor, size: tuple[int, int]) -> None:
    assert _close(normalised_to_pixel(pixel_to_normalised(xy, size), size), xy)


@given(xy=POINTS, size=SIZES)
def test_pixel_and_back_is_the_same_place(xy: Tensor, size: tuple[int, int]) -> None:
    assert _close(pixel_to_normalised(normalised_to_pixel(xy, size), size), xy)


@given(xy=POINTS, source=SIZES, target=SIZES)
def test_resizing_keeps_normalised_coordinates(
    xy: Tensor, source: tuple[int, int], target: tuple[int, int]
) -> None:
    moved = resize_pixel(xy, source, target)
    tolerance = 1e-9 * (1 + float(xy.abs().max()))
    assert _close(pixel_to_normalised(moved, target), pixel_to_normalised(xy, source), tolerance)


@given(xy=POINTS, source=SIZES, target=SIZES)
def test_resizing_there_and_back_moves_nothing(
    xy: Tensor, source: tuple[int, int], target: tuple[int, int]
) -> None:
    assert _close(resize_pixel(resize_pixel(xy, source, target), target, source), xy)


@given(xy=POINTS, source=SIZES, target=SIZES)
def test_the_affine_map_of_a_resize_leads_back_to_the_source(
    xy: Tensor, source: tuple[int, int], target: tuple[int, int]
) -> None:
    frame = resize_affine(source, target)
    assert _close(apply_affine(frame, resize_pixel(xy, source, target)), xy)


@given(
    height=st.integers(2, 12),
    width=st.integers(2, 12),
    to_height=st.integers(2, 40),
    to_width=st.integers(2, 40),
)
def test_resizing_agrees_with_torch_interpolate(
    height: int, width: int, to_height: int, to_width: int
) -> None:
    # An image that holds its own coordinates: interpolation is linear, so it holds them afterwards.
    image = pixel_grid((height, width)).double().T.reshape(1, 2, height, width)
    resized = F.interpolate(image, size=(to_height, to_width), mode="bilinear", align_corners=False)
    back = apply_affine(
        resize_affine((height, width), (to_height, to_width)), pixel_grid((to_height, to_width)).double()
    )
    limit = torch.tensor([width - 1, height - 1])
    expected = back.clamp_min(0).minimum(limit)  # torch repeats the border beyond the outermost centres
    assert _close(resized[0].flatten(1).T, expected)


# --- frames ---------------------------------------------------------------------------------------


@given(frame=frames(), xy=POINTS)
def test_an_affine_map_and_its_inverse_move_nothing(frame: Tensor, xy: Tensor) -> None:
    assert _close(apply_affine(invert_affine(frame), apply_affine(frame, xy)), xy, 1e-6)


@given(outer=frames(), inner=frames(), xy=POINTS)
def test_composing_affine_maps_is_applying_one_after_the_other(
    outer: Tensor, inner: Tensor, xy: Tensor
) -> None:
    expected = apply_affine(outer, apply_affine(inner, xy))
    assert _close(apply_affine(compose_affines(outer, inner), xy), expected, 1e-4)


@given(a=frames(), b=frames(), c=frames())
def test_composition_of_affine_maps_is_associative(a: Tensor, b: Tensor, c: Tensor) -> None:
    left, right = compose_affines(compose_affines(a, b), c), compose_affines(a, compose_affines(b, c))
    assert torch.allclose(left, right, rtol=1e-9, atol=1e-3)


@given(xy=POINTS)
def test_the_identity_map_moves_nothing(xy: Tensor) -> None:
    assert torch.equal(apply_affine(identity_affine(), xy), xy)


def test_a_shift_adds() -> None:
    assert apply_affine(shift_affine(3.0, -2.0), torch.tensor([1.0, 1.0])).tolist() == [4.0, -1.0]


@given(first=SIZES, second=SIZES, third=SIZES)
def test_resizing_twice_is_resizing_once(
    first: tuple[int, int], second: tuple[int, int], third: tuple[int, int]
) -> None:
    twice = compose_affines(resize_affine(first, second), resize_affine(second, third))
    assert torch.allclose(twice, resize_affine(first, third), rtol=1e-9, atol=1e-9)


def test_points_keep_their_dtype_and_are_moved_in_double_precision() -> None:
    moved = apply_affine(shift_affine(1e7, 0.0), torch.tensor([1.0, 0.0]))
    assert moved.dtype == torch.float32
    assert moved.tolist() == [1e7 + 1, 0.0]


@given(scale=st.sampled_from([(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)]))
def test_a_singular_map_cannot_be_inverted(scale: tuple[float, float]) -> None:
    frame = torch.tensor([[scale[0], 0, 0], [0, scale[1], 0]], dtype=torch.float64)
    with pytest.raises(ShapeError, match="expected an affine map that can be inverted"):
        invert_affine(frame)


@given(xy=POINTS, size=SIZES)
def test_inside_is_the_normalised_square(xy: Tensor, size: tuple[int, int]) -> None:
    position = pixel_to_normalised(xy, size)
    assume(bool(((position.abs() - 1).abs() > 1e-9).all()))
    assert torch.equal(inside(xy, size), (position.abs() <= 1).all(dim=-1))
