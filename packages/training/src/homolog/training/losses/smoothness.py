"""Neighbouring cells of a field should point to neighbouring places."""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.core.coords import identity_grid
from homolog.core.errors import ConfigError, did_you_mean
from homolog.training.losses.full_precision import in_full_precision
from homolog.training.losses.masked import masked_mean

Form = Literal["axes", "flattened"]


@in_full_precision
def smoothness_loss(
    grid: Float[Tensor, "B 2 H W"],
    mask: Bool[Tensor, "B H W"] | None = None,
    *,
    form: Form = "axes",
    subtract_identity: bool = False,
) -> Float[Tensor, " B"]:
    """Average the squared first differences of a grid, in normalised coordinates.

    Args:
        grid: of a field.
        mask: count neighbours that both lie in it only; None counts all.
        form: `axes` compares each cell with its neighbours to the right and below. `flattened` is the
            VGGT-prior matcher's sentence taken literally: the grid becomes a vector, so cells are compared
            along rows only, and the last of a row with the first of the next.
        subtract_identity: measure the differences from those of the identity, which then costs nothing. The
            paper does not.

    Returns:
        One number for each pair, the mean over its pairs of neighbours; 0 for a pair that has none.

    Raises:
        ConfigError: no such form.
    """
    if form not in get_args(Form):
        raise ConfigError(f"smoothness loss: no form named {form}{did_you_mean(form, get_args(Form))}")
    height, width = int(grid.shape[2]), int(grid.shape[3])
    if subtract_identity:
        grid = grid - identity_grid((height, width), device=grid.device, dtype=grid.dtype)
    inside = grid.isfinite().all(dim=1)
    inside = inside if mask is None else inside & mask
    grid = torch.where(inside[:, None], grid, 0)
    if form == "flattened":
        squared, both = _along(grid.flatten(2), inside.flatten(1), -1)
        return masked_mean(squared, both)
    across, down = _along(grid, inside, -1), _along(grid, inside, -2)
    squared, both = (
        torch.cat((a.flatten(1), d.flatten(1)), dim=1) for a, d in zip(across, down, strict=True)
    )
    return masked_mean(squared, both)


def _along(grid: Tensor, inside: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return the squared differences of neighbours, and whether both count."""
    count = max(0, grid.shape[dim] - 1)
    near, far = inside.narrow(dim, 0, count), inside.narrow(dim, min(1, inside.shape[dim]), count)
    return grid.diff(dim=dim).square().sum(dim=1), near & far
