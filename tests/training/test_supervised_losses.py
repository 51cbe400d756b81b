"""Dense and keypoint L2, by hand."""

from functools import partial

import pytest
import torch
from torch import Tensor

from homolog.core.coords import identity_grid
from homolog.core.dense import DenseField
from homolog.core.errors import ConfigError, ShapeError
from homolog.training.losses.dense_l2 import dense_l2
from homolog.training.losses.keypoint_l2 import keypoint_l2

SIZE = (10, 20)


def field(grid: Tensor, confidence: float = 1.0) -> DenseField:
    return DenseField(grid=grid, confidence=torch.full((len(grid), *grid.shape[2:]), confidence))


def moved(x: float, y: float) -> DenseField:
    """Every pixel points x pixels to the right of itself and y below."""
    height, width = SIZE
    return field(identity_grid(SIZE)[None] + torch.tensor([2 * x / width, 2 * y / height])[:, None, None])


def test_three_right_and_two_down_is_a_quarter_in_normalised_units():
    found = dense_l2(moved(3, 2), moved(0, 0))
    # (2 * 3 / 20)^2 + (2 * 2 / 10)^2
    assert found.tolist() == pytest.approx([0.09 + 0.16], rel=1e-5)


def test_in_pixels_it_is_thirteen():
    found = dense_l2(moved(3, 2), moved(0, 0), unit="pixel", reference_size=SIZE)
    assert found.tolist() == pytest.approx([13.0], rel=1e-5)


def test_only_labelled_cells_count_each_pair_by_itself():
    grid = torch.zeros(3, 2, 2, 2)
    wanted = torch.full((3, 2, 2, 2), torch.nan)
    wanted[0, :, 0, 0] = torch.tensor([3.0, 4.0])  # 25
    wanted[0, :, 0, 1] = torch.tensor([1.0, 0.0])  # 1
    wanted[1, :, 1, 1] = torch.tensor([0.0, 2.0])  # 4
    truth = field(wanted)
    assert dense_l2(field(grid), truth).tolist() == [13.0, 4.0, 0.0]
    mask = torch.ones(3, 2, 2, dtype=torch.bool)
    mask[0, 0, 0] = False
    assert dense_l2(field(grid), truth, mask).tolist() == [1.0, 4.0, 0.0]
    # A confidence of 0 says that a label is none, whatever stands there.
    assert dense_l2(field(grid), field(wanted, confidence=0.0)).tolist() == [0.0, 0.0, 0.0]


def test_the_dense_gradient_points_away_from_the_truth():
    grid = torch.zeros(1, 2, 1, 2, requires_grad=True)
    wanted = torch.tensor([[[[1.0, torch.nan]], [[-2.0, torch.nan]]]])
    dense_l2(field(grid), field(wanted)).sum().backward()
    assert grid.grad is not None
    assert grid.grad.tolist() == [[[[-2.0, 0.0]], [[4.0, 0.0]]]]


def test_fields_of_different_sizes_are_refused():
    with pytest.raises(ShapeError, match="bring the labels to the size"):
        dense_l2(field(torch.zeros(1, 2, 4, 4)), field(torch.zeros(1, 2, 8, 8)))


@pytest.mark.usefixtures("unchecked")
def test_a_unit_has_to_exist_and_pixels_need_a_size():
    with pytest.raises(ConfigError, match="no unit named pixels; did you mean pixel"):
        dense_l2(moved(0, 0), moved(0, 0), unit="pixels")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected the size of the reference image"):
        dense_l2(moved(0, 0), moved(0, 0), unit="pixel")


def test_keypoints_cost_their_squared_distance_in_pixels_of_the_reference():
    # The reference is twice as large, so the shift of (3, 2) cells is one of (6, 4) of its pixels.
    xy0 = torch.tensor([[[4.0, 3.0], [10.5, 6.25], [2.0, 2.0]]])
    there = 2 * (xy0 + torch.tensor([3.0, 2.0])) + 0.5
    off = torch.tensor([[[3.0, 4.0], [0.0, -1.0], [9.0, 9.0]]])  # 25, 1, and one that is not visible
    cost = partial(keypoint_l2, query_size=SIZE, reference_size=(20, 40))
    visible = torch.tensor([[True, True, False]])
    found = cost(moved(3, 2), xy0, there + off, visible)
    assert found.tolist() == pytest.approx([13.0], rel=1e-4)
    hidden = there + off
    hidden[0, 2] = torch.nan
    assert cost(moved(3, 2), xy0, hidden).tolist() == pytest.approx([13.0], rel=1e-4)
    # Ten pixels off at a weight of 0.01 cost one.
    ten = cost(moved(3, 2), xy0, there + torch.tensor([10.0, 0.0]), visible)
    assert 0.01 * ten.item() == pytest.approx(1.0, rel=1e-4)


def test_keypoints_cost_in_normalised_units_what_dense_cells_do():
    xy0 = torch.tensor([[[4.0, 3.0]]])
    found = keypoint_l2(moved(3, 2), xy0, xy0, unit="normalised", query_size=SIZE, reference_size=SIZE)
    assert found.tolist() == pytest.approx([0.25], rel=1e-4)


def test_without_visible_keypoints_nothing_is_learnt():
    grid = torch.zeros(1, 2, 4, 4, requires_grad=True)
    nowhere = torch.full((1, 3, 2), torch.nan)
    found = keypoint_l2(field(grid), nowhere, nowhere, query_size=(4, 4), reference_size=(4, 4))
    found.sum().backward()
    assert found.tolist() == [0.0]
    assert grid.grad is not None
    assert not grid.grad.any()


def test_no_keypoints_at_all_cost_nothing():
    none = torch.zeros(2, 0, 2)
    found = keypoint_l2(field(torch.zeros(2, 2, 4, 4)), none, none, query_size=(4, 4), reference_size=(4, 4))
    assert found.tolist() == [0.0, 0.0]
