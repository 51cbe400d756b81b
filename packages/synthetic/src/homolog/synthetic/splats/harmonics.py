"""Colour that changes with the direction it is seen from, as real spherical harmonics."""

from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

Numbers = TypeVar("Numbers", np.ndarray, Tensor)

CONSTANT = 0.28209479177387814
"""The harmonic of degree 0: 1 / (2 sqrt(pi))."""

DEGREES = {1: 0, 4: 1, 9: 2, 16: 3}
"""Degree that a number of coefficients belongs to."""


def basis(x: Numbers, y: Numbers, z: Numbers, degree: int) -> list[Any]:
    """Return the (degree + 1)^2 harmonics of unit directions, in the order and with the signs of 3DGS files.

    Orthonormal on the sphere, with the Condon-Shortley phase; those of degree l begin at place l^2 and
    go from order -l to l.

    Args:
        x: of the directions from the camera to the Gaussians.
        y: likewise.
        z: likewise.
        degree: 0 to 3.

    Returns:
        Arrays or tensors like `x`; the first is a number.
    """
    values: list[Any] = [CONSTANT]
    if degree >= 1:
        c = 0.4886025119029199  # sqrt(3 / (4 pi))
        values += [-c * y, c * z, -c * x]
    if degree >= 2:
        c = 1.0925484305920792  # sqrt(15 / (4 pi))
        values += [
            c * x * y,
            -c * y * z,
            0.31539156525252005 * (3 * z * z - 1),
            -c * x * z,
            0.5 * c * (x * x - y * y),
        ]
    if degree >= 3:
        a, b, c = 0.5900435899266435, 2.890611442640554, 0.4570457994644658
        values += [
            -a * y * (3 * x * x - y * y),
            b * x * y * z,
            -c * y * (5 * z * z - 1),
            0.3731763325901154 * z * (5 * z * z - 3),
            -c * x * (5 * z * z - 1),
            0.5 * b * z * (x * x - y * y),
            -a * x * (x * x - 3 * y * y),
        ]
    return values


def shade(coefficients: Numbers, directions: Numbers) -> Numbers:
    """Return the RGB that Gaussians show in unit directions; not below 0, but it may exceed 1.

    Args:
        coefficients: [N K 3].
        directions: [N 3] from the camera.
    """
    values = basis(directions[:, :1], directions[:, 1:2], directions[:, 2:], DEGREES[coefficients.shape[1]])
    colour: Any = 0.5 + values[0] * coefficients[:, 0]
    for k in range(1, len(values)):
        colour = colour + values[k] * coefficients[:, k]
    return colour.clip(0)


def constant(colours: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 1 3"]:
    """Return coefficients of degree 0 that show these RGB from every side."""
    return ((colours - 0.5) / CONSTANT)[:, None]
