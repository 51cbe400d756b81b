"""How far a dense correspondence is from the truth: in the reference's pixels, and in the warped image's colours."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Real

from homolog.core.errors import ShapeError
from homolog.evaluators.threshold import Comparison, within


def endpoint_error(
    predicted: Real[np.ndarray, "*batch 2"], truth: Real[np.ndarray, "*batch 2"]
) -> Float[np.ndarray, "*batch"]:
    """Return the distance between found and true places, in their pixels (float64).

    A place that is not finite is infinitely far.

    Raises:
        ShapeError: arrays of different shapes.
    """
    if predicted.shape != truth.shape or predicted.shape[-1:] != (2,):
        raise ShapeError(
            f"endpoint_error: expected two arrays [... 2], got {list(predicted.shape)} and {list(truth.shape)}"
        )
    with np.errstate(invalid="ignore"):
        offset = np.asarray(predicted, dtype=np.float64) - truth
    return np.nan_to_num(np.hypot(offset[..., 0], offset[..., 1]), nan=np.inf, posinf=np.inf)


def flow_pck(
    error: Real[np.ndarray, " N"], *, side: float, alphas: Sequence[float], comparison: Comparison
) -> Float[np.ndarray, " A"]:
    """Return the share of the pixels of one pair that are found within each alpha * side.

    With `<=` and the longer side of the source image this is what Junyi42/sd-dino:pck_tss.py averages
    over the pairs of TSS. Its "per dataset" number is not reproduced: it compares the pixels of all
    pairs with the side of the last pair only.

    Args:
        error: of the foreground pixels, in pixels.
        side: what the alphas are shares of.
        alphas: A thresholds.
        comparison: whether an error on the threshold counts.

    Returns:
        NaN for a pair without pixels.
    """
    if len(error) == 0:
        return np.full(len(alphas), np.nan)
    limits = np.array(alphas, dtype=np.float64)[:, None] * side
    return within(np.asarray(error, dtype=np.float64), limits, comparison).mean(axis=1)


def warp_error(predicted: Real[np.ndarray, "N C"], truth: Real[np.ndarray, "N C"]) -> Float[np.ndarray, " N"]:
    """Return the squared distance of colours, summed over the channels, for each pixel (float64).

    Synthetic Dense of the VGGT-prior matcher (section 4) warps the reference by the found and by the
    true grid and reports a "sum of squared errors" without its range, mask or normalisation. Ours is
    stated instead: RGB in [0, 1], bilinear, zeros beyond the reference, the mean of this over the valid
    foreground pixels of a pair, then the mean over pairs. Never compare its value with the paper's.

    Args:
        predicted: colours of the reference at the found places.
        truth: colours of the reference at the true places.

    Raises:
        ShapeError: arrays of different shapes.
    """
    if predicted.ndim != 2 or predicted.shape != truth.shape:
        raise ShapeError(
            f"warp_error: expected two arrays [N C], got {list(predicted.shape)} and {list(truth.shape)}"
        )
    return np.square(np.asarray(predicted, dtype=np.float64) - truth).sum(axis=1)
