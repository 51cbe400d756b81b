"""The homography of all matches at once, by the direct linear transform."""

import numpy as np
from jaxtyping import Float, Real

from homolog.core.errors import ShapeError

MINIMUM = 4
"""Matches that a homography needs."""


def fit_homography(
    xy0: Real[np.ndarray, "M 2"], xy1: Real[np.ndarray, "M 2"], weight: Real[np.ndarray, " M"]
) -> Float[np.ndarray, "3 3"] | None:
    """Minimise the weighted squared algebraic error of the matches (float64).

    Points are first moved and scaled to mean 0 and mean distance sqrt(2), weighted like the equations
    (Hartley and Zisserman, Multiple View Geometry, algorithm 4.2); the solution is the singular vector
    of the smallest singular value. Nothing is robust here: one wrong match of large weight spoils it,
    which is why glue-factory reports it beside RANSAC, as a measure of match quality.

    Args:
        xy0: points of image 0.
        xy1: their matches in image 1.
        weight: of each match, 0 or more; only ratios matter.

    Returns:
        The homography with H[2, 2] = 1 (left as it is where that is 0), or None from fewer than four
        matches of positive weight and where the points do not determine it.

    Raises:
        ShapeError: a negative weight.
    """
    weight = np.asarray(weight, dtype=np.float64)
    if (weight < 0).any():
        raise ShapeError(f"fit_homography: expected weights of 0 or more, got {weight.min():g}")
    used = (weight > 0) & np.isfinite(xy0).all(axis=1) & np.isfinite(xy1).all(axis=1) & np.isfinite(weight)
    if used.sum() < MINIMUM:
        return None
    weight = weight[used]
    (points0, move0), (points1, move1) = (
        _normalised(np.asarray(xy, dtype=np.float64)[used], weight) for xy in (xy0, xy1)
    )
    if move0 is None or move1 is None:
        return None
    rows = _equations(points0, points1) * np.sqrt(np.tile(weight, 2))[:, None]
    # Four matches give eight equations; the ninth singular vector is among the full matrices only.
    _, values, vectors = np.linalg.svd(rows, full_matrices=len(rows) < 9)
    if values[7] <= 1e-12 * values[0]:
        return None
    H = np.linalg.inv(move1) @ vectors[8].reshape(3, 3) @ move0
    return H / H[2, 2] if abs(H[2, 2]) > 1e-8 else H


def _normalised(xy: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    centre = np.average(xy, axis=0, weights=weight)
    radius = np.average(np.linalg.norm(xy - centre, axis=1), weights=weight)
    if radius == 0:
        return xy, None
    scale = np.sqrt(2) / radius
    move = np.array([[scale, 0, -scale * centre[0]], [0, scale, -scale * centre[1]], [0, 0, 1]])
    return (xy - centre) * scale, move


def _equations(points0: np.ndarray, points1: np.ndarray) -> np.ndarray:
    p0 = np.concatenate((points0, np.ones_like(points0[:, :1])), axis=1)
    zero = np.zeros_like(p0)
    upper = np.concatenate((zero, -p0, points1[:, 1:] * p0), axis=1)
    lower = np.concatenate((p0, zero, -points1[:, :1] * p0), axis=1)
    return np.concatenate((upper, lower))
