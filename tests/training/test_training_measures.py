"""Fold-over and left/right confusion, by hand."""

import math

import pytest
import torch

from homolog.core.coords import identity_grid
from homolog.training.measures import fold_over_rate, left_right_confusion


def test_what_keeps_the_orientation_does_not_fold():
    grid = identity_grid((5, 7))[None]
    turn = torch.tensor([[math.cos(2.0), -math.sin(2.0)], [math.sin(2.0), math.cos(2.0)]])
    turned = torch.einsum("ij,bjhw->bihw", turn, grid) * 0.3
    assert fold_over_rate(grid).tolist() == [0.0]
    assert fold_over_rate(turned).tolist() == [0.0]


def test_a_mirror_and_a_collapse_fold_everywhere():
    grid = identity_grid((5, 7))[None]
    mirrored = grid * torch.tensor([-1.0, 1.0])[:, None, None]
    assert fold_over_rate(mirrored).tolist() == [1.0]
    assert fold_over_rate(torch.zeros(1, 2, 5, 7)).tolist() == [1.0]


def test_a_row_that_turns_back_folds_where_it_does():
    grid = torch.zeros(1, 2, 2, 5)
    grid[0, 0] = torch.tensor([0.0, 1.0, 2.0, 1.5, 3.0])
    grid[0, 1] = torch.tensor([[0.0], [1.0]])
    assert fold_over_rate(grid).tolist() == [0.25]
    mask = torch.ones(1, 2, 5, dtype=torch.bool)
    mask[0, :, 4] = False
    assert fold_over_rate(grid, mask).tolist() == pytest.approx([1 / 3])
    grid[0, :, 0, 3] = torch.nan  # of the four cells, the third and the fourth have it as a neighbour
    assert fold_over_rate(grid).tolist() == [0.0]
    assert math.isnan(fold_over_rate(grid, torch.zeros_like(mask)).item())


NAN = float("nan")


def test_confused_is_who_ends_nearer_to_a_counterpart():
    truth = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 20.0], [0.0, 30.0]])
    others = torch.tensor(
        [
            [[10.0, 0.0], [NAN, NAN]],
            [[0.0, 0.0], [NAN, NAN]],
            [[30.0, 20.0], [0.0, 40.0]],
            [[NAN, NAN], [NAN, NAN]],
        ]
    )
    found = torch.tensor([[6.0, 0.0], [9.0, 5.0], [1.0, 33.0], [0.0, 900.0]])
    # The first is 6 off and 4 from the other; the second is right; the third is nearest to its second
    # counterpart; the fourth has none.
    assert left_right_confusion(found, truth, others).item() == pytest.approx(2 / 3)


def test_without_counterparts_there_is_nothing_to_confuse():
    nobody = torch.full((2, 1, 2), NAN)
    assert math.isnan(left_right_confusion(torch.zeros(2, 2), torch.zeros(2, 2), nobody).item())
    assert math.isnan(left_right_confusion(torch.zeros(0, 2), torch.zeros(0, 2), torch.zeros(0, 1, 2)).item())
