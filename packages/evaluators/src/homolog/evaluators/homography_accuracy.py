"""Errors in pixels under a homography: of an estimate, and of matches."""

from typing import Literal

import numpy as np
from jaxtyping import Float, Real

from homolog.core.errors import ConfigError
from homolog.evaluators.error_recall import finite_or_inf

Corners = Literal["last pixels", "width and height"]
"""Which four points stand for an image: (0, 0) to (w - 1, h - 1) in DIFT, (0, 0) to (w, h) in glue-factory."""


def apply_homography(xy: Real[np.ndarray, "N 2"], H: Real[np.ndarray, "3 3"]) -> Float[np.ndarray, "N 2"]:
    """Move points through a homography (float64); those on its horizon have no finite place."""
    points = np.asarray(xy, dtype=np.float64)
    moved = np.concatenate((points, np.ones_like(points[:, :1])), axis=1) @ np.asarray(H, dtype=np.float64).T
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return moved[:, :2] / moved[:, 2:]


def transfer_error(
    xy0: Real[np.ndarray, "M 2"], xy1: Real[np.ndarray, "M 2"], H: Real[np.ndarray, "3 3"]
) -> Float[np.ndarray, " M"]:
    """Return how far each match is from where the homography takes its point of image 0, in pixels of image 1."""
    with np.errstate(invalid="ignore"):
        offset = apply_homography(xy0, H) - np.asarray(xy1, dtype=np.float64)
    return finite_or_inf(np.hypot(offset[:, 0], offset[:, 1]))


def symmetric_transfer_error(
    xy0: Real[np.ndarray, "M 2"], xy1: Real[np.ndarray, "M 2"], H: Real[np.ndarray, "3 3"]
) -> Float[np.ndarray, " M"]:
    """Return the mean of the transfer errors there and back.

    glue-factory:gluefactory/geometry/homography.py::sym_homography_error. A homography that cannot be
    undone is infinitely wrong.
    """
    back = _inverse(H)
    return (transfer_error(xy0, xy1, H) + transfer_error(xy1, xy0, back)) / 2


def corner_error(
    H: Real[np.ndarray, "3 3"],
    H_true: Real[np.ndarray, "3 3"],
    size: tuple[int, int],
    *,
    corners: Corners,
) -> float:
    """Return the mean distance between where two homographies take the corners of image 0, in pixels of image 1.

    Args:
        H: estimated.
        H_true: true.
        size: (height, width) of image 0.
        corners: which four points.

    Returns:
        Infinity when a corner has no finite place.

    Raises:
        ConfigError: other corners.
    """
    height, width = size
    if corners == "last pixels":
        height, width = height - 1, width - 1
    elif corners != "width and height":
        raise ConfigError(f"expected corners 'last pixels' or 'width and height', got {corners!r}")
    square = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
    with np.errstate(invalid="ignore"):
        offset = apply_homography(square, H) - apply_homography(square, H_true)
    return float(finite_or_inf(np.hypot(offset[:, 0], offset[:, 1])).mean())


def _inverse(H: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.inv(np.asarray(H, dtype=np.float64))
    except np.linalg.LinAlgError:
        return np.full((3, 3), np.nan)
