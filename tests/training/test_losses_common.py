"""Every loss: float32 inside autocast, one number per pair, finite gradients for any labels."""

import pytest
import torch
from torch import Tensor

from homolog.core.dense import DenseField
from homolog.training.losses.common import area_fraction, in_full_precision, length, masked_mean
from homolog.training.losses.dense import (
    dense_l2,
    keypoint_l2,
    matching_loss,
    reconstruction_loss,
    smoothness_loss,
    uncertainty_loss,
)
from homolog.training.losses.matcha import contrastive_loss, dense_flow_loss
from homolog.training.losses.semidense import alignment_loss, coarse_focal_loss, expectation, fine_loss
from homolog.training.losses.sparse import dual_softmax_loss


def test_the_mean_is_taken_over_each_pairs_own_cells():
    values = torch.tensor([[[1.0, 3.0], [torch.nan, 8.0]], [[5.0, torch.inf], [torch.nan, 1.0]]])
    weight = torch.tensor([[[1.0, 0.5], [0.0, 0.5]], [[0.0, 0.0], [0.0, 0.0]]])
    assert masked_mean(values, weight).tolist() == [(1 + 1.5 + 4) / 2, 0.0]


def test_masked_values_get_no_gradient():
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


def test_a_coarse_cell_has_the_mean_of_its_pixels():
    mask = torch.zeros(1, 4, 6)
    mask[0, 0, 0] = mask[0, 0, 1] = mask[0, 3, 5] = 1
    torch.testing.assert_close(
        area_fraction(mask, (2, 3)), torch.tensor([[[0.5, 0.0, 0.0], [0.0, 0.0, 0.25]]])
    )


SIZE = (6, 8)
MASK = torch.zeros(2, *SIZE, dtype=torch.bool)
MASK[0, 1:5, 2:7] = True  # the second pair has none
OTHER = torch.randn(2, 2, *SIZE, generator=torch.Generator().manual_seed(9)).bfloat16()
PICTURE = torch.linspace(0, 1, 96).reshape(2, 1, *SIZE).bfloat16()
"""The same numbers in every precision."""


def field(grid: Tensor) -> DenseField:
    return DenseField(grid=grid, confidence=torch.ones_like(grid[:, 0]))


def truth() -> DenseField:
    grid = torch.full((2, 2, *SIZE), torch.nan)
    grid[0, :, 2:4, 3:6] = 0.25
    return DenseField(grid=grid, confidence=grid.isfinite().all(dim=1).float())


def points() -> Tensor:
    return torch.tensor([[[1.0, 2.0], [5.0, 3.0], [torch.nan, torch.nan]], [[torch.nan, 1.0]] * 3])


def smallest() -> Tensor:
    return DenseField.identity(SIZE, batch=2).grid * 0.8


CELLS = torch.tensor([[0, 1, -2, -1, -2, -2], [-2] * 6])

LOSSES = {
    "dense_l2": lambda x: dense_l2(field(x), truth()),
    "keypoint_l2": lambda x: keypoint_l2(field(x), points(), points(), query_size=SIZE, reference_size=SIZE),
    "matching": lambda x: matching_loss(x, OTHER.to(x), MASK, x[:, 0], weighting="active"),
    "matching, normalised": lambda x: matching_loss(x, OTHER.to(x), MASK, normalise=True),
    "reconstruction": lambda x: reconstruction_loss(PICTURE.to(x), field(x), field(x), MASK),
    "reconstruction through fields": lambda x: reconstruction_loss(
        PICTURE.to(x), field(x), field(x), MASK, through="fields"
    ),
    "uncertainty": lambda x: uncertainty_loss(
        x[:, 0], torch.where(MASK, x[:, 1], torch.nan), MASK, detach_error=False
    ),
    "smoothness": lambda x: smoothness_loss(x, MASK),
    "smoothness, flattened": lambda x: smoothness_loss(x, MASK, form="flattened"),
    "coarse_focal": lambda x: coarse_focal_loss(
        x.reshape(2, 6, 16)[:, :, :6], CELLS, CELLS, negative_weight=1.0
    ),
    "contrastive": lambda x: contrastive_loss(x[0, :, 0].T, x[1, :, 1].T),
    "contrastive of no points": lambda x: contrastive_loss(
        x[0, :, 0].T, x[1, :, 1].T, valid=torch.zeros(8, dtype=torch.bool)
    ),
    "dense_flow": lambda x: dense_flow_loss(
        x[0],
        x[1],
        points()[0],
        points()[0] + 1,
        image_size0=SIZE,
        image_size1=SIZE,
        focus="window",
        radius=2.0,
    ),
    "dense_flow of no points": lambda x: dense_flow_loss(
        x[0], x[1], points()[1], points()[1], image_size0=SIZE, image_size1=SIZE
    ),
    "dual_softmax": lambda x: dual_softmax_loss(x[0, :, 0].T, x[1, :, 1].T, scale=1.0)[0],
    "dual_softmax of no points": lambda x: dual_softmax_loss(x[0, :, 0].T[:0], x[1, :, 1].T[:0], scale=1.0)[
        0
    ],
    "fine": lambda x: fine_loss(x[0, :, 0].T, torch.tensor([[0.5, torch.nan], [0.5, 0.5]] * 4)),
    "fine of no points": lambda x: fine_loss(
        *expectation(x[0, 0].softmax(dim=1), x[0, :, 1].T)[:1], torch.full((6, 2), torch.nan)
    ),
    "alignment": lambda x: alignment_loss(
        x[0, :, 0].T, x[1, :, 1].T, torch.tensor([3, 3, -1, 5, 6, 6, 6, -1])
    ),
    "alignment of no cells": lambda x: alignment_loss(x[0, :, 0].T, x[1, :, 1].T, torch.full((8,), -1)),
}

STARTS = {
    "a smooth field": smallest(),
    "noise": torch.randn(2, 2, *SIZE, generator=torch.Generator().manual_seed(0)),
    "zero": torch.zeros(2, 2, *SIZE),
    "no error at all": torch.full((2, 2, *SIZE), 0.25),
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_finite_whatever_the_labels(name: str, start: str):
    x = STARTS[start].clone().requires_grad_()
    loss = LOSSES[name](x)
    assert loss.isfinite().all()
    loss.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_small_steps(name: str):
    generator = torch.Generator().manual_seed(3)
    # Away from the kinks of interpolation, of absolute values and of choices of the best cell.
    start = smallest().double() + 0.03 * torch.randn(2, 2, *SIZE, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        LOSSES[name], [start.requires_grad_()], eps=1e-7, atol=1e-4, fast_mode=True
    )


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_inputs_inside_autocast_give_the_numbers_of_float32(name: str):
    half = STARTS["noise"].to(torch.bfloat16)
    expected = LOSSES[name](half.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = LOSSES[name](half)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_a_wrapped_loss_gets_float32_and_no_autocast():
    seen: dict[str, object] = {}

    @in_full_precision
    def loss(one: Tensor, *, both: list[Tensor]) -> Tensor:
        seen["autocast"] = torch.is_autocast_enabled("cpu")
        seen["dtypes"] = [one.dtype, *(each.dtype for each in both)]
        return one.sum()

    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss(torch.ones(2).half(), both=[torch.ones(2).double(), torch.ones(2, dtype=torch.long)])
    assert seen == {"autocast": False, "dtypes": [torch.float32, torch.float64, torch.int64]}
