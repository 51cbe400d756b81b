"""How well an affine map registers two images: PCK of fixed points."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Real

from homolog.evaluators.error_recall import finite_or_inf
from homolog.evaluators.match_quality import match_precision
from homolog.evaluators.threshold import Comparison


def affine_error(
    A: Real[np.ndarray, "2 3"] | None, xy0: Real[np.ndarray, "N 2"], xy1: Real[np.ndarray, "N 2"]
) -> Float[np.ndarray, " N"]:
    """Return how far an affine map takes each point of image 0 from its place in image 1, in pixels.

    Args:
        A: from pixels of image 0 to pixels of image 1; without one every point is infinitely far.
        xy0: points of image 0.
        xy1: their true places in image 1.
    """
    if A is None:
        return np.full(len(xy0), np.inf)
    points = np.asarray(xy0, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        offset = points @ A[:, :2].T + A[:, 2] - xy1
    return finite_or_inf(np.hypot(offset[:, 0], offset[:, 1]))


def affine_pck(
    A: Real[np.ndarray, "2 3"] | None,
    xy0: Real[np.ndarray, "N 2"],
    xy1: Real[np.ndarray, "N 2"],
    size: tuple[int, int],
    alphas: Sequence[float | int],
    *,
    comparison: Comparison,
) -> Float[np.ndarray, " T"]:
    """Return the share of the points of one pair that land within alpha * max(height, width).

    OmniGlue registers aerial photos so (section 4.2): 20 points, alphas 0.01, 0.03 and 0.05.

    Args:
        A: from pixels of image 0 to pixels of image 1, or None for a failure.
        xy0: points of image 0.
        xy1: their true places in image 1.
        size: (height, width) that the alphas are shares of.
        alphas: T of them.
        comparison: whether an error on the threshold counts; the paper does not say.
    """
    return match_precision(
        affine_error(A, xy0, xy1), [alpha * max(size) for alpha in alphas], comparison=comparison
    )
