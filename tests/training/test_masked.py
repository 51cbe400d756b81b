"""Averages over what counts."""

import pytest
import torch

from homolog.training.losses.masked import area_share, length, masked_mean


def test_the_mean_is_taken_over_each_pairs_own_cells():
    values = torch.tensor([[[1.0, 3.0], [torch.nan, 8.0]], [[5.0, torch.inf], [torch.nan, 1.0]]])
    weight = torch.tensor([[[1.0, 0.5], [0.0, 0.5]], [[0.0, 0.0], [0.0, 0.0]]])
    assert masked_mean(values, weight).tolist() == [(1 + 1.5 + 4) / 2, 0.0]


def test_what_does_not_count_gets_no_gradient_and_spoils_none():
    values = torch.tensor([[1.0, 2.0, torch.nan]], requires_grad=True)
    weight = torch.tensor([[0.5, 0.25, 0.0]], requires_grad=True)
    masked_mean(values, weight).sum().backward()
    assert values.grad is not None
    assert weight.grad is not None
    torch.testing.assert_close(values.grad, torch.tensor([[2 / 3, 1 / 3, 0.0]]))
    assert weight.grad.isfinite().all()


def test_a_length_is_the_norm_and_has_no_slope_at_zero():
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    found = length(vectors, 1)
    assert found.tolist() == pytest.approx([5.0, 0.0], abs=2e-6)
    found.sum().backward()
    assert vectors.grad is not None
    torch.testing.assert_close(vectors.grad, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_a_coarse_cell_holds_the_share_of_its_pixels():
    mask = torch.zeros(1, 4, 6)
    mask[0, 0, 0] = mask[0, 0, 1] = mask[0, 3, 5] = 1
    torch.testing.assert_close(area_share(mask, (2, 3)), torch.tensor([[[0.5, 0.0, 0.0], [0.0, 0.0, 0.25]]]))
