"""Uncertainty and smoothness, by hand."""

import pytest
import torch

from homolog.core.coords import identity_grid
from homolog.core.errors import ConfigError
from homolog.training.losses.smoothness import smoothness_loss
from homolog.training.losses.uncertainty import uncertainty_loss

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
    with pytest.raises(ConfigError, match="no form named flat; did you mean flattened"):
        smoothness_loss(torch.zeros(1, 2, 2, 2), form="flat")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no extrema named mask"):
        uncertainty_loss(CONFIDENCE, ERROR, MASK, extrema="mask")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no penalty named doubts"):
        uncertainty_loss(CONFIDENCE, ERROR, MASK, penalty="doubts")  # type: ignore[arg-type]
