"""Flat Gaussians on a surface."""

import numpy as np
from jaxtyping import Float64

from homolog.synthetic.splats.gaussians import Gaussians
from homolog.synthetic.splats.harmonics import constant

THIN = 0.02
"""Thickness of a disc as a multiple of its radius."""


def discs(
    points: Float64[np.ndarray, "N 3"],
    normals: Float64[np.ndarray, "N 3"],
    radius: Float64[np.ndarray, " N"],
    colours: Float64[np.ndarray, "N 3"],
    *,
    opacity: float | int = 0.95,
) -> Gaussians:
    """Return one flat, round Gaussian per point.

    Args:
        points: centres in the world.
        normals: unit vectors; the discs lie across them.
        radius: standard deviation within the surface.
        colours: RGB, the same from every side.
        opacity: at the centres.
    """
    flat = np.stack((radius, radius, THIN * radius), axis=1)
    return Gaussians(
        means=points.astype(np.float32),
        scales=flat.astype(np.float32),
        rotations=_turned_to(normals).astype(np.float32),
        opacity=np.full(len(points), opacity, np.float32),
        harmonics=constant(colours).astype(np.float32),
    )


def _turned_to(normals: Float64[np.ndarray, "N 3"]) -> Float64[np.ndarray, "N 4"]:
    """Return the shortest rotations that take the z axis to unit vectors."""
    x, y, z = normals.T
    down = z < -0.999999  # the shortest way to the opposite is not unique: take the one about x
    w = np.where(down, 0.0, 1 + z)
    quaternions = np.stack((w, np.where(down, 1.0, -y), np.where(down, 0.0, x), np.zeros_like(w)), axis=1)
    return quaternions / np.sqrt((quaternions**2).sum(1, keepdims=True))
