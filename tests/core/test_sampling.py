"""Reading maps at points: against a slow twin that follows the definition, in every precision."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from homolog.core.coords import identity_grid, normalised_to_pixel, pixel_grid, pixel_to_normalised
from homolog.core.sampling import Mode, Padding, sample_points, warp_maps


def _slow_bilinear(map_: Tensor, xy: Tensor, padding: Padding) -> Tensor:
    """Interpolate one map at one pixel position by the definition, cell by cell."""
    _, height, width = map_.shape
    x, y = xy.tolist()
    if padding == "border":
        x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    total = torch.zeros(map_.shape[0], dtype=map_.dtype)
    for row in range(height):
        for column in range(width):
            weight = max(0.0, 1 - abs(column - x)) * max(0.0, 1 - abs(row - y))
            total += weight * map_[:, row, column]
    return total


@given(
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    points=st.lists(st.tuples(st.floats(-1.6, 1.6), st.floats(-1.6, 1.6)), min_size=1, max_size=6),
    padding=st.sampled_from(["border", "zeros"]),
)
def test_bilinear_reading_follows_its_definition(
    height: int, width: int, points: list[tuple[float, float]], padding: Padding
) -> None:
    generator = torch.Generator().manual_seed(height * 10 + width)
    map_ = torch.rand(2, height, width, dtype=torch.float64, generator=generator)
    at = torch.tensor(points, dtype=torch.float64)
    got = sample_points(map_[None], at[None], padding=padding)[0]
    pixels = normalised_to_pixel(at, (height, width))
    expected = torch.stack([_slow_bilinear(map_, xy, padding) for xy in pixels])
    assert torch.allclose(got, expected, atol=1e-9)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_at_cell_centres_every_mode_returns_the_cell(mode: Mode) -> None:
    maps = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    at = pixel_to_normalised(pixel_grid((5, 7)), (5, 7)).expand(2, -1, -1)
    assert torch.allclose(sample_points(maps, at, mode=mode), maps.flatten(2).transpose(1, 2), atol=1e-5)


def test_a_map_of_any_resolution_is_read_at_the_same_place() -> None:
    coarse, fine = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 32, 32)
    coarse[0, 0, 1, 2] = 1
    fine[0, 0, 8:16, 16:24] = 1  # the same quarter-sized patch of the image
    centre = torch.tensor([[[0.25, -0.25]]])
    assert sample_points(coarse, centre).item() == sample_points(fine, centre).item() == 1


def test_the_identity_grid_returns_the_map() -> None:
    maps = torch.rand(2, 3, 6, 9)
    assert torch.allclose(warp_maps(maps, identity_grid((6, 9)).expand(2, -1, -1, -1)), maps, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_maps_are_read_at_exact_positions(dtype: torch.dtype) -> None:
    # In half precision the position itself would be off by whole cells on a map this wide.
    width = 2048
    maps = (torch.arange(width) % 7).to(dtype).expand(1, 1, 1, width)
    at = pixel_to_normalised(pixel_grid((1, width)), (1, width))[None]
    read = sample_points(maps, at)
    assert read.dtype == dtype
    # float32 positions are good to about 1e-4 cells here; the values are then rounded to `dtype`.
    assert (read[0, :, 0].float() - maps[0, 0, 0].float()).abs().max() < 0.01


def test_positions_in_half_precision_keep_the_dtype_of_the_maps() -> None:
    maps = torch.rand(1, 2, 4, 4)
    assert sample_points(maps, torch.zeros(1, 3, 2, dtype=torch.float16)).dtype == torch.float32


def test_no_points_give_no_rows() -> None:
    assert sample_points(torch.rand(2, 3, 4, 4), torch.zeros(2, 0, 2)).shape == (2, 0, 3)


def test_gradients_reach_the_maps_and_the_positions() -> None:
    maps = torch.rand(1, 2, 5, 5, requires_grad=True)
    at = torch.tensor([[[0.13, -0.21]]], requires_grad=True)
    sample_points(maps, at).sum().backward()
    assert maps.grad is not None
    assert at.grad is not None
    assert maps.grad.abs().sum() > 0
    assert at.grad.abs().sum() > 0
