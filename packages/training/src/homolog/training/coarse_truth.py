"""Which coarse cells of two images truly match, from dense labels: the truth that semi-dense losses read.

The rule is LoFTR's (Sun et al. 2021, section 3.5): a cell matches the cell that its centre falls into, if
that one's centre falls back into it.
"""

from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from homolog.core.coords import Size, inside, normalised_to_pixel, pixel_grid, pixel_to_normalised
from homolog.core.dense import DenseField
from homolog.core.errors import ConfigError, did_you_mean
from homolog.core.sampling import sample_points
from homolog.training.ground_truth_matches import IGNORED, UNMATCHED

Rest = Literal["ignored", "unmatched"]


class CoarseTruth(NamedTuple):
    """The truth about the cells of B pairs; cells are numbered row by row.

    Attributes:
        matches0: [B N] the cell of image 1 that a cell of image 0 matches, or `UNMATCHED`, or `IGNORED`.
        matches1: [B M] the cell of image 0 that a cell of image 1 matches, or `UNMATCHED`, or `IGNORED`.
        place0: [B N 2] where the centre of each cell of image 0 is in image 1, normalised; NaN where unknown.
    """

    matches0: Int[Tensor, "B N"]
    matches1: Int[Tensor, "B M"]
    place0: Float[Tensor, "B N 2"]


@torch.no_grad()
def coarse_truth(
    truth0: DenseField, truth1: DenseField, *, cells0: Size, cells1: Size, rest: Rest = "ignored"
) -> CoarseTruth:
    """Label the cells of two images.

    A label is read at the centre of a cell, between pixels where it lies between pixels. It is known if all
    four pixels around are labelled: a mean of fewer would lie on no surface.

    Args:
        truth0: the true field that lives on image 0, at any resolution; without a label the grid is NaN or
            the confidence 0.
        truth1: the one that lives on image 1.
        cells0: (height, width) of the coarse map of image 0.
        cells1: (height, width) of the coarse map of image 1.
        rest: what cells are whose label is unknown, or that fall into a cell which falls elsewhere. LoFTR
            has no third kind: there they are `unmatched`. A cell that is known to fall beside the other
            image is unmatched in any case.

    Raises:
        ConfigError: no such rest.
    """
    if rest not in get_args(Rest):
        raise ConfigError(f"coarse truth: no rest named {rest}{did_you_mean(rest, get_args(Rest))}")
    place0, place1 = _at_centres(truth0, cells0), _at_centres(truth1, cells1)
    cell0, cell1 = _cell_of(place0, cells1), _cell_of(place1, cells0)
    other = IGNORED if rest == "ignored" else UNMATCHED
    return CoarseTruth(_mutual(cell0, cell1, other), _mutual(cell1, cell0, other), place0)


def _at_centres(truth: DenseField, cells: Size) -> Tensor:
    """Return the normalised place that the centre of each cell is labelled with, or NaN."""
    known = (truth.confidence > 0) & truth.grid.isfinite().all(dim=1)
    grid = torch.where(known[:, None], truth.grid, 0)
    at = pixel_to_normalised(pixel_grid(cells, device=grid.device).to(grid.dtype), cells)
    at = at.expand(len(grid), -1, -1)
    # A label that is missing takes its weight away; that of a pixel beside the point is rounding.
    weight = sample_points(known[:, None].to(grid.dtype), at)
    return torch.where(weight > 1 - 1e-4, sample_points(grid, at) / weight, torch.nan)


def _cell_of(place: Tensor, cells: Size) -> Tensor:
    """Return the number of the cell that each place falls into, `UNMATCHED` beside the image, or `IGNORED`."""
    xy = normalised_to_pixel(place, cells)
    # The nearest centre; at the far edge of the image, rounding may lead beyond the last.
    last = xy.new_tensor((cells[1] - 1, cells[0] - 1))
    nearest = (xy.nan_to_num() + 0.5).floor().clamp_min(0).minimum(last).long()
    number = nearest[..., 1] * cells[1] + nearest[..., 0]
    number = torch.where(inside(xy, cells), number, UNMATCHED)
    return torch.where(xy.isnan().any(dim=-1), IGNORED, number)


def _mutual(cell: Tensor, back: Tensor, other: int) -> Tensor:
    index = torch.arange(cell.shape[1], device=cell.device)
    returns = back.gather(1, cell.clamp_min(0)) == index
    return torch.where((cell >= 0) & returns, cell, torch.where(cell == UNMATCHED, UNMATCHED, other))
