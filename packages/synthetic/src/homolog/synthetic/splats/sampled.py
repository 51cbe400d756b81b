"""Gaussians on the surfaces of a made-up scene, coloured as its bodies look."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from homolog.core.errors import ShapeError
from homolog.synthetic.rendering.lighting import Light
from homolog.synthetic.rendering.look import Look
from homolog.synthetic.rendering.paint import matt_colours
from homolog.synthetic.rendering.scene import Scene, SurfacePoints
from homolog.synthetic.splats.discs import discs
from homolog.synthetic.splats.gaussians import Gaussians

OVERLAP = 0.9
"""Radius of a disc (standard deviation) as a multiple of the mean distance between discs; 0.8 leaves few holes."""


def sampled(
    scene: Scene,
    looks: Sequence[Look],
    light: Light,
    *,
    count: int,
    seed: int,
    overlap: float | int = OVERLAP,
    jitter: float | int = 0.0,
    tilt: float | int = 0.0,
) -> Gaussians:
    """Cover the bodies of a scene with flat Gaussians that lie on their triangles.

    Small bodies get more of them than their share of the area (its square root), since they are what one
    looks at; within a body they are spread evenly by area.

    Args:
        scene: the bodies.
        looks: one for each body.
        light: of the scene; it becomes part of the colours, without highlights.
        count: Gaussians.
        seed: of their places.
        overlap: see `OVERLAP`; the distance is that between the discs of one body.
        jitter: standard deviation of their distance from the surface, as a multiple of that distance.
        tilt: standard deviation of their normals, radians.

    Raises:
        ShapeError: not as many looks as bodies, or fewer Gaussians than bodies.
    """
    if len(looks) != len(scene.bodies) or count < len(scene.bodies):
        raise ShapeError(
            f"expected {len(scene.bodies)} looks and at least as many Gaussians, got {len(looks)} and {count}"
        )
    random = np.random.Generator(np.random.PCG64(seed))
    corners = scene.vertices[scene.faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.sqrt((across**2).sum(1)) / 2
    of_body = np.add.reduceat(area, scene.first_face)
    numbers = _shared(np.sqrt(of_body), count)
    points = _spread(scene, area, numbers, random)
    face = scene.first_face[points.object] + points.face
    normals = across[face] / (2 * area[face, None])
    spacing = np.sqrt(of_body / np.maximum(numbers, 1))[points.object]
    places = scene.positions(points) + jitter * (spacing * random.standard_normal(count))[:, None] * normals
    normals = normals + tilt * random.standard_normal(normals.shape)
    normals = normals / np.sqrt((normals**2).sum(1, keepdims=True))
    colours = matt_colours(scene, points, looks, light, spacing)
    return discs(places, normals, overlap * spacing, colours.astype(np.float64))


def _shared(weights: Float64[np.ndarray, " B"], count: int) -> Int64[np.ndarray, " B"]:
    """Split a number by weights, into whole numbers that add up to it."""
    return np.diff(np.rint(np.cumsum(weights) / weights.sum() * count), prepend=0).astype(np.int64)


def _spread(
    scene: Scene, area: np.ndarray, numbers: np.ndarray, random: np.random.Generator
) -> SurfacePoints:
    """Draw so many points of each body, uniformly by area."""
    ends = np.append(scene.first_face[1:], len(area))
    faces: list[np.ndarray] = []
    for first, last, number in zip(scene.first_face, ends, numbers, strict=True):
        edges = np.cumsum(area[first:last])
        # One point in each of as many equal stretches of area: fewer gaps than with independent points.
        at = (np.arange(number) + random.random(number)) / max(number, 1) * edges[-1]
        # By rounding the last may lie beyond; triangles without area are never hit.
        faces.append(np.minimum(np.searchsorted(edges, at, side="right"), last - first - 1))
    face = np.concatenate(faces).astype(np.int32)
    # Uniform on a triangle: fold the unit square along its diagonal.
    a, b = _pairs(len(face), random)
    folded = a + b > 1
    a, b = np.where(folded, 1 - a, a), np.where(folded, 1 - b, b)
    return SurfacePoints(
        object=np.repeat(np.arange(len(numbers), dtype=np.int32), numbers),
        face=face,
        bary=np.stack((1 - a - b, a, b), axis=1).astype(np.float32),
    )


def _pairs(count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return points of the unit square, of which those that follow each other lie far apart (a shifted R2 sequence)."""
    steps = np.array((0.7548776662466927, 0.5698402909980532))
    at = (random.random(2) + np.arange(1, count + 1)[:, None] * steps) % 1
    return at[:, 0], at[:, 1]
