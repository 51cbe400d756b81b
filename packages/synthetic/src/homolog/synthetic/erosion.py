"""The one place where labels near contours are given up.

A generator that moves a contour by k pixels makes every label there wrong by up to k pixels. Contours are
outlines of bodies, and steps in depth within them.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from homolog.synthetic.correspondence import DenseTruth
from homolog.synthetic.gates import distance_to
from homolog.synthetic.view import View

STEP = 0.03
"""Depth, relative to itself, that neighbouring pixels of one surface do not differ by."""


def eroded(
    truths: tuple[DenseTruth, DenseTruth], views: tuple[View, View], radius: float | int
) -> tuple[DenseTruth, DenseTruth]:
    """Return the truth of a pair without labels that start or end within `radius` pixels of a contour.

    Args:
        truths: that which lives on view 0, and on view 1.
        views: geometry of both.
        radius: 0 leaves everything as it is.
    """
    if radius <= 0:
        return truths
    safe0, safe1 = (distance_to(contours(view)) > radius for view in views)
    return _restricted(truths[0], safe0, safe1), _restricted(truths[1], safe1, safe0)


def contours(view: View) -> Bool[np.ndarray, "H W"]:
    """Return the pixels next to which another body, or the same one much farther or nearer, begins."""
    body, depth = view.object, np.nan_to_num(view.depth, nan=np.inf)
    found = np.zeros(view.size, np.bool_)
    for axis in (0, 1):
        ahead = [slice(None), slice(None)]
        behind = [slice(None), slice(None)]
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        one, other = tuple(ahead), tuple(behind)
        with np.errstate(invalid="ignore"):
            step = np.abs(depth[one] - depth[other]) > STEP * np.minimum(depth[one], depth[other])
        differs = (body[one] != body[other]) | step
        found[one] |= differs
        found[other] |= differs
    return found


def _restricted(truth: DenseTruth, here: np.ndarray, there: np.ndarray) -> DenseTruth:
    height, width = truth.reference_size
    column, row = (np.nan_to_num(truth.xy[..., axis]) for axis in (0, 1))
    column = np.clip(np.rint(column), 0, width - 1).astype(np.int64)
    row = np.clip(np.rint(row), 0, height - 1).astype(np.int64)
    valid = truth.valid & here & there[row, column]
    return replace(
        truth,
        valid=valid,
        interior=truth.interior & valid,
        xy=np.where(valid[..., None], truth.xy, np.float32(np.nan)),
    )
