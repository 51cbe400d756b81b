"""Bring feature maps down to colours: similar features, similar colours."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

COLOURS = 3

EXTREME = 0.01
"""Share of the cells, at either end, that may take a colour beyond what can be shown."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrincipalColours:
    """Maps as colours.

    Attributes:
        maps: RGB in [0, 1], one for each map, in its resolution.
        explained: share of the variance of the features that the three colours hold, in [0, 1].
    """

    maps: list[Float[Tensor, "3 _h _w"]]
    explained: float


def principal_colours(maps: Sequence[Float[Tensor, "C _h _w"]]) -> PrincipalColours:
    """Take the first three principal components of all cells of all maps as red, green and blue.

    The components are eigenvectors of the covariance in float64. The sign of each is such that its
    entry of largest magnitude, the first of equal ones, is positive. All maps share one scale: the
    middle 98 % of each component fill the range of its colour. One channel becomes gray, and a
    component that does not vary stays in the middle.

    Args:
        maps: of one and the same kind, C channels each, in any resolution.
    """
    cells = torch.cat([map_.flatten(1).T for map_ in maps]).to("cpu", torch.float64)
    centred = cells - cells.mean(dim=0)
    variance, vectors = torch.linalg.eigh(centred.T @ centred / len(cells))
    variance, vectors = variance.flip(0).clamp_min(0), vectors.flip(1)[:, :COLOURS]
    strongest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    component = centred @ (vectors * torch.where(strongest < 0, -1.0, 1.0))
    shown = _stretched(component)
    missing = COLOURS - shown.shape[1]
    filler = shown.expand(-1, 2) if missing == 2 else shown.new_full((len(shown), missing), 0.5)
    rgb = torch.cat((shown, filler), dim=1).float()
    parts = rgb.split([map_[0].numel() for map_ in maps])
    total = float(variance.sum())
    return PrincipalColours(
        maps=[part.T.unflatten(1, map_.shape[1:]) for part, map_ in zip(parts, maps, strict=True)],
        explained=float(variance[:COLOURS].sum()) / total if total > 0 else 1.0,
    )


def _stretched(component: Tensor) -> Tensor:
    ordered = component.sort(dim=0).values
    last = len(ordered) - 1
    low, high = ordered[round(EXTREME * last)], ordered[round((1 - EXTREME) * last)]
    extent = (high - low).clamp_min(1e-12 * max(1.0, float(component.abs().max())))
    return torch.where(high > low, (component - low) / extent, 0.5).clamp(0, 1)
