"""Matching and reconstruction: warped images under masks and confidences, by hand."""

import pytest
import torch

from homolog.core.coords import identity_grid
from homolog.core.dense import DenseField
from homolog.core.errors import ConfigError
from homolog.training.losses.map_distance import distance_map
from homolog.training.losses.matching import matching_loss
from homolog.training.losses.reconstruction import reconstruction_loss

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
    with pytest.raises(ConfigError, match="no weighting named attached"):
        matching_loss(WARPED, REAL, ALL, weighting="attached")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no way through image; did you mean images"):
        reconstruction_loss(ROW, shifted(1), shifted(1), INNER, through="image")  # type: ignore[arg-type]
