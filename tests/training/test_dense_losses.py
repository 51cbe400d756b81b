"""The dense losses, computed by hand."""

from functools import partial

import pytest
import torch
from torch import Tensor

from homolog.core.coords import identity_grid
from homolog.core.dense import DenseField
from homolog.core.errors import ConfigError, ShapeError
from homolog.training.losses.dense import (
    dense_l2,
    distance_map,
    keypoint_l2,
    matching_loss,
    reconstruction_loss,
    smoothness_loss,
    uncertainty_loss,
)

SIZE = (10, 20)


def field(grid: Tensor, confidence: float = 1.0) -> DenseField:
    return DenseField(grid=grid, confidence=torch.full((len(grid), *grid.shape[2:]), confidence))


def moved(x: float, y: float) -> DenseField:
    """Every pixel points x pixels to the right of itself and y below."""
    height, width = SIZE
    return field(identity_grid(SIZE)[None] + torch.tensor([2 * x / width, 2 * y / height])[:, None, None])


def test_three_right_and_two_down_is_a_quarter_in_normalised_units_and_thirteen_in_pixels():
    # (2 * 3 / 20)^2 + (2 * 2 / 10)^2
    assert dense_l2(moved(3, 2), moved(0, 0)).tolist() == pytest.approx([0.09 + 0.16], rel=1e-5)
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
    with pytest.raises(ShapeError, match="resize the labels to the size"):
        dense_l2(field(torch.zeros(1, 2, 4, 4)), field(torch.zeros(1, 2, 8, 8)))


@pytest.mark.usefixtures("unchecked")
def test_a_unit_has_to_exist_and_pixels_need_a_size():
    with pytest.raises(ConfigError, match=r"expected unit to be one of .*pixels'; did you mean pixel"):
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


REAL = torch.zeros(1, 2, 1, 2)
WARPED = torch.tensor([[[[3.0, 6.0]], [[4.0, 8.0]]]])
"""5 and 10 away."""
ALL = torch.ones(1, 2, 4, dtype=torch.bool)
"""Each cell of the maps covers 2 x 2 pixels."""


def test_the_distance_is_the_norm_over_channels():
    torch.testing.assert_close(distance_map(WARPED, REAL), torch.tensor([[[5.0, 10.0]]]))


def test_matching_is_the_mean_distance_over_the_mask_however_large():
    assert matching_loss(WARPED, REAL, ALL).tolist() == pytest.approx([7.5])
    half = ALL.clone()
    half[0, :, 2:] = False
    assert matching_loss(WARPED, REAL, half).tolist() == pytest.approx([5.0])
    half[0, 0, 3] = True  # a quarter of the second cell
    assert matching_loss(WARPED, REAL, half).tolist() == pytest.approx([(5 + 0.25 * 10) / 1.25])
    assert matching_loss(WARPED, REAL, ~ALL).tolist() == [0.0]


def test_confidence_multiplies_the_distance_and_not_the_area():
    confidence = torch.tensor([[[1.0, 1.0, 0.5, 0.5], [1.0, 1.0, 0.5, 0.1]]])
    mask = ALL.clone()
    mask[0, 1, 3] = False  # the last number of the confidence is not read
    expected = (5 + 0.75 * 0.5 * 10) / 1.75
    for weighting in ("detached", "active"):
        found = matching_loss(WARPED, REAL, mask, confidence, weighting=weighting)
        assert found.tolist() == pytest.approx([expected])
    found = matching_loss(WARPED, REAL, mask, confidence, weighting="none")
    assert found.tolist() == pytest.approx([(5 + 7.5) / 1.75])


def test_only_active_confidence_learns():
    confidence = torch.full((1, 2, 4), 0.5, requires_grad=True)
    warped = WARPED.clone().requires_grad_()
    matching_loss(warped, REAL, ALL, confidence).sum().backward()
    assert confidence.grad is None
    assert warped.grad is not None
    matching_loss(warped, REAL, ALL, confidence, weighting="active").sum().backward()
    # Each pixel has a quarter of its cell's distance, over the area of two cells.
    torch.testing.assert_close(
        confidence.grad, torch.tensor([5.0, 5.0, 10.0, 10.0]).div(8).expand(1, 2, 4).contiguous()
    )


def test_normalised_features_are_compared_by_direction():
    real = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])
    warped = torch.tensor([[[[7.0, 5.0]], [[0.0, 0.0]]]])
    found = matching_loss(warped, real, ALL, normalise=True)
    assert found.tolist() == pytest.approx([2**0.5 / 2], abs=1e-5)


def test_a_match_that_is_right_looks_right_and_a_wrong_one_pulls_the_grid_towards_it():
    ramp = torch.linspace(0, 1, 16).expand(1, 1, 8, 16).contiguous()
    mask = torch.zeros(1, 8, 16, dtype=torch.bool)
    mask[:, 2:6, 4:12] = True
    right = DenseField.identity((8, 16))
    assert matching_loss(right.warp(ramp), ramp, mask).item() == pytest.approx(0, abs=1e-5)
    grid = (identity_grid((8, 16))[None] + torch.tensor([0.2, 0.0])[:, None, None]).requires_grad_()
    wrong = DenseField(grid=grid, confidence=torch.ones(1, 8, 16))
    matching_loss(wrong.warp(ramp), ramp, mask).sum().backward()
    assert grid.grad is not None
    assert (grid.grad[0, 0][mask[0]] > 0).all()
    assert not grid.grad[0, 0][~mask[0]].any()


def shifted(cells: float, *, size: tuple[int, int] = (1, 6), confidence: float = 1.0) -> DenseField:
    step = torch.tensor([2 * cells / size[1], 0.0])[:, None, None]
    return DenseField(grid=identity_grid(size)[None] + step, confidence=torch.full((1, *size), confidence))


ROW = torch.tensor([[[[0.0, 1.0, 2.0, 4.0, 8.0, 16.0]]]])
INNER = torch.tensor([[[False, True, True, True, True, False]]])


@pytest.mark.parametrize("through", ["images", "fields"])
def test_there_and_back_again_costs_nothing(through: str):
    there, back = shifted(1), shifted(-1)
    found = reconstruction_loss(ROW, there, back, INNER, through=through)  # type: ignore[arg-type]
    assert found.item() == pytest.approx(0, abs=1e-5)


def test_a_way_back_that_misses_by_two_cells_costs_what_the_image_changes_there():
    found = reconstruction_loss(ROW, shifted(1), shifted(1), INNER)
    # Cell i shows cell i + 2; beyond the image it is black: 4-1, 8-2, 16-4, 8-0.
    assert found.tolist() == pytest.approx([(3 + 6 + 12 + 8) / 4], rel=1e-5)
    half = reconstruction_loss(ROW, shifted(1, confidence=0.5), shifted(1), INNER)
    assert half.tolist() == pytest.approx([(3 + 6 + 12 + 8) / 8], rel=1e-5)


def test_images_blur_on_the_way_and_fields_do_not():
    spike = torch.tensor([[[[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]]])
    there, back = shifted(0.5), shifted(-0.5)
    # (1/2, 1/2) twice is (1/4, 1/2, 1/4): off by 1/4 + 1/2 + 1/4 over 4 cells.
    assert reconstruction_loss(spike, there, back, INNER).item() == pytest.approx(0.25, abs=1e-5)
    found = reconstruction_loss(spike, there, back, INNER, through="fields")
    assert found.item() == pytest.approx(0, abs=1e-5)


def test_it_is_the_field_on_the_image_that_brings_it_home():
    # Image 0 is twice as wide in content: outward squeezes, homeward stretches, and they are not exchangeable.
    size = (1, 8)
    grid = identity_grid(size)[None]
    twice = DenseField(grid=grid * torch.tensor([2.0, 1.0])[:, None, None], confidence=torch.ones(1, *size))
    half = DenseField(grid=grid * torch.tensor([0.5, 1.0])[:, None, None], confidence=torch.ones(1, *size))
    ramp = torch.linspace(0, 1, 8).reshape(1, 1, *size)
    mask = torch.ones(1, *size, dtype=torch.bool)
    # outward = half: everywhere on image 0 looks into the middle of image 1, which saw twice the width.
    assert reconstruction_loss(ramp, half, twice, mask, through="fields").item() == pytest.approx(0, abs=1e-5)
    assert reconstruction_loss(ramp, twice, half, mask).item() > 0.1


@pytest.mark.parametrize("through", ["images", "fields"])
def test_both_fields_learn_from_a_reconstruction(through: str):
    grids = [shifted(by).grid.requires_grad_() for by in (0.3, 0.4)]
    fields = [DenseField(grid=grid, confidence=torch.ones(1, 1, 6)) for grid in grids]
    reconstruction_loss(ROW, *fields, INNER, through=through).sum().backward()  # type: ignore[arg-type]
    for grid in grids:
        assert grid.grad is not None
        assert grid.grad[:, 0].any()


@pytest.mark.usefixtures("unchecked")
def test_options_have_to_exist():
    with pytest.raises(ConfigError, match=r"expected weighting to be one of .*attached'"):
        matching_loss(WARPED, REAL, ALL, weighting="attached")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"expected through to be one of .*'image'; did you mean images"):
        reconstruction_loss(ROW, shifted(1), shifted(1), INNER, through="image")  # type: ignore[arg-type]


ERROR = torch.tensor([[[2.0, 4.0, 10.0, torch.nan]]])
MASK = torch.tensor([[[True, True, True, False]]])
CONFIDENCE = torch.tensor([[[0.5, 0.5, 0.5, 0.9]]])


def test_the_target_is_one_minus_the_error_between_its_extremes_in_the_mask():
    # Targets 1, 0.75, 0: off by 0.5, 0.25, 0.5; and a doubt of 0.5 everywhere.
    found = uncertainty_loss(CONFIDENCE, ERROR, MASK)
    assert found.tolist() == pytest.approx([1.25 / 3 + 0.1 * 0.5])
    assert uncertainty_loss(CONFIDENCE, ERROR, MASK, penalty="none").tolist() == pytest.approx([1.25 / 3])
    trusting = uncertainty_loss(torch.tensor([[[1.0, 0.75, 0.0, 0.9]]]), ERROR, MASK, penalty="trust")
    assert trusting.tolist() == pytest.approx([0.1 * 1.75 / 3])


def test_literally_the_zeros_outside_of_the_mask_are_the_minimum():
    # Targets 0.8, 0.6, 0.
    found = uncertainty_loss(CONFIDENCE, ERROR, MASK, extrema="literal", penalty="none")
    assert found.tolist() == pytest.approx([(0.3 + 0.1 + 0.5) / 3])


def test_each_pair_has_its_own_extremes_and_an_empty_mask_none():
    error = torch.tensor([[[0.0, 1.0]], [[0.0, 100.0]], [[3.0, 4.0]]])
    mask = torch.tensor([[[True, True]], [[True, True]], [[False, False]]])
    confidence = torch.tensor([[[1.0, 0.0]]]).expand(3, 1, 2)
    found = uncertainty_loss(confidence, error, mask, lambda_conf=0.0)
    assert found.tolist() == [0.0, 0.0, 0.0]


def test_where_all_errors_are_equal_everything_is_trusted():
    found = uncertainty_loss(torch.ones(1, 2, 2), torch.full((1, 2, 2), 3.0), torch.ones(1, 2, 2).bool())
    assert found.tolist() == [0.0]


def test_only_the_confidence_learns_unless_asked():
    confidence = CONFIDENCE.clone().requires_grad_()
    error = ERROR.nan_to_num().requires_grad_()
    uncertainty_loss(confidence, error, MASK, penalty="none").sum().backward()
    assert error.grad is None
    assert confidence.grad is not None
    # Too low, too low, too high.
    torch.testing.assert_close(confidence.grad, torch.tensor([[[-1.0, -1.0, 1.0, 0.0]]]) / 3)
    uncertainty_loss(confidence, error, MASK, penalty="none", detach_error=False).sum().backward()
    assert error.grad is not None
    assert error.grad.any()


@pytest.mark.parametrize("penalty", ["doubt", "trust", "none"])
def test_no_penalty_below_one_moves_the_optimum(penalty):
    levels = torch.linspace(0, 1, 101)
    confidence = levels[:, None, None].repeat(1, 1, 3)
    error = torch.tensor([[[0.0, 0.6, 1.0]]]).expand(101, 1, 3)
    mask = torch.zeros(101, 1, 3, dtype=torch.bool)
    mask[:] = True
    confidence[:, 0, 0], confidence[:, 0, 2] = 1, 0
    found = uncertainty_loss(confidence, error, mask, penalty=penalty)
    assert levels[found.argmin()].item() == pytest.approx(0.4)


def test_one_step_of_each_axis_by_hand():
    # x: 0 1 / 0 3; y: all 0. Across 1 and 3, down 0 and 2.
    grid = torch.zeros(1, 2, 2, 2)
    grid[0, 0] = torch.tensor([[0.0, 1.0], [0.0, 3.0]])
    assert smoothness_loss(grid).tolist() == [(1 + 9 + 0 + 4) / 4]
    # Without the last cell: across 1, down 0.
    mask = torch.tensor([[[True, True], [True, False]]])
    assert smoothness_loss(grid, mask).tolist() == [0.5]
    assert smoothness_loss(grid, torch.zeros_like(mask)).tolist() == [0.0]


def test_flattened_compares_the_end_of_a_row_with_the_beginning_of_the_next():
    grid = torch.zeros(1, 2, 2, 2)
    grid[0, 0] = torch.tensor([[0.0, 1.0], [0.0, 3.0]])
    assert smoothness_loss(grid, form="flattened").tolist() == pytest.approx([(1 + 1 + 9) / 3])


def test_the_identity_costs_its_slopes_unless_they_are_subtracted():
    grid = identity_grid((4, 8))[None]
    steps = 4 * 7 * (2 / 8) ** 2 + 3 * 8 * (2 / 4) ** 2
    assert smoothness_loss(grid).tolist() == pytest.approx([steps / (4 * 7 + 3 * 8)])
    for form in ("axes", "flattened"):
        found = smoothness_loss(grid, form=form, subtract_identity=True)
        assert found.item() == pytest.approx(0, abs=1e-9)


def test_a_grid_of_one_cell_has_no_neighbours():
    assert smoothness_loss(torch.ones(1, 2, 1, 1)).tolist() == [0.0]


@pytest.mark.usefixtures("unchecked")
def test_options_of_the_fields_losses_have_to_exist():
    with pytest.raises(ConfigError, match=r"expected form to be one of .*flat'; did you mean flattened"):
        smoothness_loss(torch.zeros(1, 2, 2, 2), form="flat")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"expected extrema to be one of .*mask'"):
        uncertainty_loss(CONFIDENCE, ERROR, MASK, extrema="mask")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"expected penalty to be one of .*doubts'"):
        uncertainty_loss(CONFIDENCE, ERROR, MASK, penalty="doubts")  # type: ignore[arg-type]
