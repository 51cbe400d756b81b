"""How much of a field turns the image over, which no surface does that is seen from outside."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@torch.no_grad()
def fold_over_rate(
    grid: Float[Tensor, "B 2 H W"], mask: Bool[Tensor, "B H W"] | None = None
) -> Float[Tensor, " B"]:
    """Return the share of cells at which a field does not keep the orientation of the image.

    The Jacobian's determinant is taken from a cell and its neighbours to the right and below. It is above 0
    for the identity; a cell counts as folded where it is not, so a field that collapses to a point or to a
    line is folded everywhere.

    Args:
        grid: of a field; NaN where there is none.
        mask: count cells only that lie in it together with both neighbours.

    Returns:
        In [0, 1]; NaN where no cell counts.
    """
    inside = grid.isfinite().all(dim=1)
    inside = inside if mask is None else inside & mask
    corner, right, below = grid[..., :-1, :-1], grid[..., :-1, 1:], grid[..., 1:, :-1]
    counts = inside[..., :-1, :-1] & inside[..., :-1, 1:] & inside[..., 1:, :-1]
    across, down = (right - corner).float(), (below - corner).float()
    determinant = across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]
    folded = (determinant <= 0) & counts
    return folded.flatten(1).sum(dim=1) / counts.flatten(1).sum(dim=1)
