"""Dense fields: which way they point, and that reading, chaining and checking them is exact."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from homolog.core.coords import Size, identity_grid, normalised_to_pixel, pixel_grid, pixel_to_normalised
from homolog.core.dense import DenseField, Described
from homolog.core.errors import ShapeError
from homolog.core.sampling import warp_maps

QUERY: Size = (24, 40)
REFERENCE: Size = (30, 36)
SIDE = st.integers(2, 20)


def _shift(x: float, y: float) -> DenseField:
    """The field of a query that shows the reference moved by (x, y) pixels, both of size QUERY."""
    positions = pixel_grid(QUERY) - torch.tensor([x, y])
    grid = pixel_to_normalised(positions, QUERY).T.reshape(1, 2, *QUERY)
    return DenseField(grid=grid, confidence=torch.ones(1, *QUERY))


def _affine(size: Size, linear: Tensor, offset: Tensor) -> DenseField:
    grid = (
        torch.einsum("ij,jhw->ihw", linear, identity_grid(size, dtype=linear.dtype)) + offset[:, None, None]
    )
    return DenseField(grid=grid[None], confidence=grid.new_ones(1, *size))


@st.composite
def affine_maps(draw: st.DrawFn, reach: float = 1.5) -> tuple[Tensor, Tensor]:
    number = st.floats(-reach, reach)
    linear = torch.tensor([[draw(number), draw(number)], [draw(number), draw(number)]], dtype=torch.float64)
    return linear, torch.tensor([draw(number), draw(number)], dtype=torch.float64)


@st.composite
def contractions(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Maps that stay inside [-1, 1]."""
    number = st.floats(-0.3, 0.3)
    linear = torch.tensor(
        [[draw(st.floats(0.3, 0.5)), draw(number)], [draw(number), draw(st.floats(0.3, 0.5))]]
    )
    return linear.double(), torch.tensor(
        [draw(st.floats(-0.2, 0.2)), draw(st.floats(-0.2, 0.2))], dtype=torch.float64
    )


# --- direction ------------------------------------------------------------------------------------


@given(x=st.integers(-9, 9), y=st.integers(-5, 5))
def test_a_shifted_dot_is_found_on_both_sides(x: int, y: int) -> None:
    # The scene moved by (x, y) between the reference and the query.
    reference, query = torch.zeros(1, 1, *QUERY), torch.zeros(1, 1, *QUERY)
    reference[0, 0, 12, 20] = 1
    query[0, 0, 12 + y, 20 + x] = 1
    field = _shift(x, y)

    warped = field.warp(reference)
    assert torch.allclose(warped, query, atol=1e-4)  # the reference's dot arrives at the query's place

    moved = field.transfer(torch.tensor([[[20.0 + x, 12.0 + y]]]), query_size=QUERY, reference_size=QUERY)
    assert torch.allclose(
        moved.xy, torch.tensor([[[20.0, 12.0]]]), atol=1e-4
    )  # a query point, in the reference
    assert moved.confidence.tolist() == [[1.0]]


def test_positions_outside_the_reference_are_warped_to_zero() -> None:
    warped = _shift(10, 0).warp(torch.ones(1, 1, *QUERY))
    assert warped[..., :10].abs().max() < 1e-5
    assert torch.allclose(warped[..., 10:], torch.ones(()))


# --- transfer -------------------------------------------------------------------------------------


@given(
    map_=affine_maps(),
    size=st.tuples(SIDE, SIDE),
    xy=st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=5),
)
def test_transfer_through_an_affine_field_is_exact_up_to_the_corners(
    map_: tuple[Tensor, Tensor], size: Size, xy: list[tuple[float, float]]
) -> None:
    linear, offset = map_
    corners = [(-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0)]
    place = torch.tensor(corners + xy, dtype=torch.float64)
    field = _affine(size, linear, offset)
    moved = field.transfer(
        normalised_to_pixel(place, QUERY)[None], query_size=QUERY, reference_size=REFERENCE
    )
    expected = normalised_to_pixel(place @ linear.T + offset, REFERENCE)
    assert torch.allclose(moved.xy[0], expected, atol=1e-9)
    assert torch.allclose(moved.confidence, torch.ones(()).double(), atol=1e-12)


def test_transfer_in_single_precision_is_good_to_a_thousandth_of_a_pixel() -> None:
    size = (1000, 1500)
    field = DenseField.identity((72, 108))
    xy = torch.rand(1, 500, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1499.0, 999.0])
    assert (field.transfer(xy, query_size=size, reference_size=size).xy - xy).abs().max() < 1e-3


def test_a_field_of_one_cell_points_everywhere_to_one_place() -> None:
    field = DenseField(grid=torch.full((1, 2, 1, 1), 0.5), confidence=torch.full((1, 1, 1), 0.25))
    xy = torch.tensor([[[-0.5, -0.5], [39.5, 23.5]]])
    moved = field.transfer(xy, query_size=QUERY, reference_size=(8, 8))
    assert moved.xy.tolist() == [[[5.5, 5.5], [5.5, 5.5]]]
    assert moved.confidence.tolist() == [[0.25, 0.25]]


def test_confidence_is_interpolated_between_cells_and_held_beyond_them() -> None:
    confidence = torch.tensor([[[0.0, 1.0]]])
    field = DenseField(grid=torch.zeros(1, 2, 1, 2), confidence=confidence)
    xy = torch.tensor([[[-0.5, 0.0], [0.0, 0.0], [0.5, 0.0], [1.0, 0.0], [1.5, 0.0]]])
    moved = field.transfer(xy, query_size=(1, 2), reference_size=(4, 4))
    assert moved.confidence.tolist() == [[0.0, 0.0, 0.5, 1.0, 1.0]]


def test_transfer_moves_each_image_of_a_batch_through_its_own_field() -> None:
    field = DenseField(
        grid=torch.cat((_shift(3, 0).grid, _shift(0, -2).grid)), confidence=torch.ones(2, *QUERY)
    )
    xy = torch.tensor([[[20.0, 12.0]], [[20.0, 12.0]]])
    moved = field.transfer(xy, query_size=QUERY, reference_size=QUERY).xy
    assert torch.allclose(moved, torch.tensor([[[17.0, 12.0]], [[20.0, 14.0]]]), atol=1e-4)


def test_no_points_give_no_points() -> None:
    moved = DenseField.identity(QUERY).transfer(torch.zeros(1, 0, 2), query_size=QUERY, reference_size=QUERY)
    assert moved.xy.shape == (1, 0, 2)
    assert moved.confidence.shape == (1, 0)


# --- identity and other resolutions ---------------------------------------------------------------


def test_the_identity_warps_an_image_to_itself() -> None:
    image = torch.rand(2, 3, *QUERY)
    assert torch.allclose(DenseField.identity(QUERY, batch=2).warp(image), image, atol=1e-5)


@given(
    map_=affine_maps(), size=st.tuples(SIDE, SIDE), target=st.tuples(st.integers(1, 30), st.integers(1, 30))
)
def test_a_resized_affine_field_is_the_same_affine_field(
    map_: tuple[Tensor, Tensor], size: Size, target: Size
) -> None:
    resized, expected = _affine(size, *map_).resized(target), _affine(target, *map_)
    assert torch.allclose(resized.grid, expected.grid, atol=1e-6)
    assert torch.allclose(resized.confidence, expected.confidence, atol=1e-12)


def test_a_resized_field_warps_at_the_resolution_of_the_image() -> None:
    image = torch.rand(1, 3, 48, 80)
    assert torch.allclose(DenseField.identity((6, 10)).resized((48, 80)).warp(image), image, atol=1e-4)


# --- chaining -------------------------------------------------------------------------------------


@given(first=contractions(), second=affine_maps(), size=st.tuples(SIDE, SIDE), onward=st.tuples(SIDE, SIDE))
def test_composing_affine_fields_is_composing_their_maps(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], size: Size, onward: Size
) -> None:
    composed = _affine(size, *first).compose(_affine(onward, *second))
    expected = _affine(size, second[0] @ first[0], second[0] @ first[1] + second[1])
    assert torch.allclose(composed.grid, expected.grid, atol=1e-9)
    assert torch.allclose(composed.confidence, torch.ones(()).double(), atol=1e-12)


def test_composing_warps_like_warping_twice() -> None:
    image = torch.rand(1, 3, *QUERY)
    first, second = _shift(4, 1), _shift(-2, 3)
    twice, once = first.warp(second.warp(image)), first.compose(second).warp(image)
    inner = (slice(None), slice(None), slice(6, -6), slice(8, -8))
    assert torch.allclose(once[inner], twice[inner], atol=1e-4)


def test_the_confidence_of_a_chain_is_the_product_and_zero_where_it_leaves_the_image() -> None:
    first = DenseField(grid=_shift(10, 0).grid, confidence=torch.full((1, *QUERY), 0.5))
    second = DenseField(grid=_shift(0, 0).grid, confidence=torch.full((1, *QUERY), 0.5))
    chained = first.compose(second).confidence
    assert (chained[..., :10] == 0).all()
    assert torch.allclose(chained[..., 10:], torch.tensor(0.25))


# --- there and back -------------------------------------------------------------------------------


@given(map_=contractions(), size=st.tuples(SIDE, SIDE), back=st.tuples(SIDE, SIDE))
def test_inverse_affine_fields_have_no_cycle_error(
    map_: tuple[Tensor, Tensor], size: Size, back: Size
) -> None:
    linear, offset = map_
    if abs(float(torch.linalg.det(linear))) < 0.01:
        return
    inverse = torch.linalg.inv(linear)
    error = _affine(size, linear, offset).cycle_error(
        _affine(back, inverse, -inverse @ offset), query_size=QUERY
    )
    assert error.shape == (1, *size)
    assert error.max() < 1e-6


def test_the_cycle_error_is_in_pixels_of_the_query() -> None:
    # There by 3 right and 4 down, back by nothing: every cell lands 5 pixels from home.
    error = _shift(-3, -4).cycle_error(_shift(0, 0), query_size=QUERY)
    stays = error[0, : QUERY[0] - 4, : QUERY[1] - 3]
    assert torch.allclose(stays, torch.tensor(5.0), atol=1e-3)
    twice_as_large = _shift(-3, -4).cycle_error(_shift(0, 0), query_size=(2 * QUERY[0], 2 * QUERY[1]))
    assert torch.allclose(twice_as_large[0, : QUERY[0] - 4, : QUERY[1] - 3], torch.tensor(10.0), atol=1e-3)


def test_the_cycle_error_is_infinite_where_the_field_leaves_the_reference() -> None:
    error = _shift(10, 0).cycle_error(_shift(-10, 0), query_size=QUERY)[0]
    assert error[:, :10].isinf().all()
    assert (error[:, 10:] < 1e-3).all()


def test_a_field_of_nan_has_no_confidence() -> None:
    field = DenseField(grid=torch.full((1, 2, 3, 3), torch.nan), confidence=torch.ones(1, 3, 3))
    assert (field.compose(DenseField.identity((3, 3))).confidence == 0).all()
    assert field.cycle_error(DenseField.identity((3, 3)), query_size=(9, 9)).isinf().all()


# --- refusals and gradients -----------------------------------------------------------------------


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("grid", "confidence"),
    [((1, 2, 4, 5), (1, 5, 4)), ((1, 3, 4, 5), (1, 4, 5)), ((2, 4, 5), (1, 4, 5)), ((2, 2, 4, 5), (1, 4, 5))],
)
def test_parts_that_do_not_fit_are_shape_errors(grid: tuple[int, ...], confidence: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"expected grid \[B 2 H W\] and confidence \[B H W\], got"):
        DenseField(grid=torch.zeros(grid), confidence=torch.zeros(confidence))


def test_gradients_reach_the_grid_through_everything() -> None:
    grid = (_shift(2, 1).grid * 0.9).requires_grad_()
    field = DenseField(grid=grid, confidence=torch.ones(1, *QUERY))
    backward = _shift(-2, -1)
    xy = torch.tensor([[[5.3, 6.1]]])
    for value in (
        field.transfer(xy, query_size=QUERY, reference_size=QUERY).xy.sum(),
        field.warp(torch.rand(1, 3, *QUERY)).sum(),
        field.compose(backward).grid.sum(),
        warp_maps(torch.rand(1, 1, 8, 8), field.grid).sum(),
    ):
        (gradient,) = torch.autograd.grad(value, grid)
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


def test_described_points_are_selected_and_joined_row_by_row():
    first = Described(tensors={"a": torch.arange(6.0).reshape(3, 2), "b": torch.arange(3)})
    second = Described(tensors={"b": torch.tensor([7]), "a": torch.full((1, 2), 9.0)})
    joined = Described.cat([first.select(torch.tensor([2, 0])), second])
    assert len(joined) == 3
    assert joined.tensors["a"].tolist() == [[4, 5], [0, 1], [9, 9]]
    assert joined.tensors["b"].tolist() == [2, 0, 7]
    assert joined.nbytes == 3 * 2 * 4 + 3 * 8
    assert len(first.select(torch.tensor([False, True, False]))) == 1


def test_described_points_that_do_not_fit_together_are_errors():
    for tensors in ({}, {"a": torch.zeros(2, 3), "b": torch.zeros(1)}):
        with pytest.raises(ShapeError, match="one row per point"):
            Described(tensors=tensors)
    parts = [Described(tensors={name: torch.zeros(1)}) for name in ("a", "b")]
    for wrong in ([], parts):
        with pytest.raises(ShapeError, match="the same tensors"):
            Described.cat(wrong)
