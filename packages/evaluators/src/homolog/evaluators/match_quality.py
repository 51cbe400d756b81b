"""The share of the matches of a pair that are right, and its mean over pairs."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Real

from homolog.evaluators.error_recall import finite_or_inf
from homolog.evaluators.threshold import Comparison, within


def match_precision(
    errors: Real[np.ndarray, " M"], thresholds: Sequence[float | int], *, comparison: Comparison
) -> Float[np.ndarray, " T"]:
    """Return the share of the matches of one pair whose error is small enough.

    Args:
        errors: of M matches, in any unit; NaN never counts.
        thresholds: T of them in the same unit.
        comparison: whether an error on the threshold counts.

    Returns:
        Shares in [0, 1]; 0 for a pair without matches, as in LoFTR (`epidist_prec`) and glue-factory.
    """
    if len(errors) == 0:
        return np.zeros(len(thresholds))
    limits = np.array(thresholds, dtype=np.float64)[:, None]
    return within(finite_or_inf(errors), limits, comparison).mean(axis=1)


def mean_match_precision(
    errors: Sequence[Real[np.ndarray, " _"]], thresholds: Sequence[float | int], *, comparison: Comparison
) -> Float[np.ndarray, " T"]:
    """Return the mean over pairs of each pair's share of right matches.

    With forward homography distances, thresholds of 1 to 10 pixels and `<=` it is the mean matching
    accuracy (MMA) of mihaidusmanu/d2-net's HPatches notebook, which divides by 5 pairs for each
    sequence: the same, as long as no pair is left out.

    Args:
        errors: of the matches of each pair.
        thresholds: T of them in the same unit.
        comparison: whether an error on the threshold counts.

    Returns:
        Shares in [0, 1]; NaN when there are no pairs.
    """
    if not errors:
        return np.full(len(thresholds), np.nan)
    return np.mean([match_precision(each, thresholds, comparison=comparison) for each in errors], axis=0)
