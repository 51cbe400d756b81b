"""Numbers to watch beside the loss."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@torch.no_grad()
def fold_over_rate(
    grid: Float[Tensor, "B 2 H W"], mask: Bool[Tensor, "B H W"] | None = None
) -> Float[Tensor, " B"]:
    """Return the fraction of cells at which a field flips the orientation of the image.

    No visible surface does that. The determinant of the Jacobian is computed from a cell and its neighbours to
    the right and below. A cell is folded where it is not above 0, so a field that collapses to a point or a
    line is folded everywhere.

    Args:
        grid: grid of a field; NaN where unknown.
        mask: only cells that lie in it together with both neighbours count.

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


@torch.no_grad()
def left_right_confusion(
    found: Float[Tensor, "N 2"], truth: Float[Tensor, "N 2"], counterparts: Float[Tensor, "N K 2"]
) -> Float[Tensor, ""]:
    """Return the fraction of points that are nearer to a look-alike than to their true position.

    Args:
        found: predicted positions of N points, in pixels.
        truth: true positions.
        counterparts: positions of the look-alikes (the other eye, the three other paws) that are visible in the
            same image, padded with NaN.

    Returns:
        In [0, 1], over points with a known position and a look-alike; NaN if there are none.
    """
    off = (found - truth).float().norm(dim=1)
    others = (found[:, None] - counterparts).float().norm(dim=2).nan_to_num(nan=torch.inf)
    asked = others.isfinite().any(dim=1) & off.isfinite()
    confused = (others < off[:, None]).any(dim=1) & asked
    return confused.sum() / asked.sum()
