"""How often a point is taken for its mirror image: a left eye for a right one."""

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def left_right_confusion(
    found: Float[Tensor, "N 2"], truth: Float[Tensor, "N 2"], counterparts: Float[Tensor, "N K 2"]
) -> Float[Tensor, ""]:
    """Return the share of points that ended nearer to a counterpart than to where they belong.

    Args:
        found: where a matcher moved N points, in pixels.
        truth: where they belong.
        counterparts: where the points are that look alike (the other eye, the three other paws), as far as
            they are in sight in the same image; NaN fills up.

    Returns:
        In [0, 1], over the points that have a counterpart and are known themselves; NaN if there are none.
    """
    off = (found - truth).float().norm(dim=1)
    others = (found[:, None] - counterparts).float().norm(dim=2).nan_to_num(nan=torch.inf)
    asked = others.isfinite().any(dim=1) & off.isfinite()
    confused = (others < off[:, None]).any(dim=1) & asked
    return confused.sum() / asked.sum()
