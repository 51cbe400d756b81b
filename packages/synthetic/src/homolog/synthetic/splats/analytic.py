"""Gaussians on surfaces whose depth is known exactly, to measure renderers and labels with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.splats.gaussians import Gaussians, discs, even_points
from homolog.synthetic.splats.rendering import rays

OVERLAP = 1.0
"""Radius of a disc as a multiple of the mean distance between discs."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plane:
    """A square of a plane, by its centre in the world, its unit normal, and half the length of its sides."""

    centre: Float64[np.ndarray, "3"]
    normal: Float64[np.ndarray, "3"]
    half: float | int

    @property
    def area(self) -> float:
        """Of the square."""
        return 4 * self.half**2

    def sides(self) -> Float64[np.ndarray, "2 3"]:
        """Return the unit vectors along its sides."""
        guide = np.eye(3)[int(np.abs(self.normal).argmin())]
        first = np.cross(guide, self.normal)
        first /= np.sqrt((first**2).sum())
        return np.stack((first, np.cross(self.normal, first)))

    def draw(self, unit: Float64[np.ndarray, "N 2"]) -> tuple[np.ndarray, np.ndarray]:
        """Return points and normals at places in the unit square, uniformly by area."""
        points = self.centre + (2 * unit - 1) * self.half @ self.sides()
        return points, np.broadcast_to(self.normal, points.shape)

    def depth(self, start: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Return the length of each ray from a point to the square, in directions; infinite where it misses."""
        with np.errstate(divide="ignore", invalid="ignore"):
            times = ((self.centre - start) @ self.normal) / (directions @ self.normal)
            at = (start + times[..., None] * directions - self.centre) @ self.sides().T
            return np.where((times > 0) & (np.abs(at).max(-1) <= self.half), times, np.inf)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sphere:
    """A sphere, by its centre in the world and its radius."""

    centre: Float64[np.ndarray, "3"]
    radius: float | int

    @property
    def area(self) -> float:
        """Of the surface."""
        return float(4 * np.pi * self.radius**2)

    def draw(self, unit: Float64[np.ndarray, "N 2"]) -> tuple[np.ndarray, np.ndarray]:
        """Return points and normals at places in the unit square, uniformly by area."""
        height, turn = 2 * unit[:, 0] - 1, 2 * np.pi * unit[:, 1]
        across = np.sqrt(1 - height**2)
        normals = np.stack((across * np.cos(turn), height, across * np.sin(turn)), axis=1)
        return self.centre + self.radius * normals, normals

    def depth(self, start: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Return the length of each ray from a point to the sphere, in directions; infinite where it misses."""
        away = start - self.centre
        a, b = (directions**2).sum(-1), directions @ away
        inner = b**2 - a * (away @ away - self.radius**2)
        times = (-b - np.sqrt(np.maximum(inner, 0))) / a
        return np.where((inner >= 0) & (times > 0), times, np.inf)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnalyticScene:
    """Surfaces, and Gaussians that lie on them: flat discs, coloured by their position."""

    surfaces: tuple[Plane | Sphere, ...]
    gaussians: Gaussians

    @classmethod
    def of(
        cls,
        surfaces: Sequence[Plane | Sphere],
        *,
        count: int,
        seed: int,
        jitter: float | int = 0.0,
        tilt: float | int = 0.0,
    ) -> "AnalyticScene":
        """Cover surfaces with Gaussians, distributed by area.

        `jitter` is the standard deviation of their distance from the surface, `tilt` that of their normals,
        radians.
        """
        random = np.random.Generator(np.random.PCG64(seed))
        areas = np.array([surface.area for surface in surfaces])
        numbers = np.diff(np.rint(np.cumsum(areas) / areas.sum() * count).astype(int), prepend=0)
        drawn = [
            surface.draw(even_points(int(number), random))
            for surface, number in zip(surfaces, numbers, strict=True)
        ]
        points, normals = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
        colours = _coloured(points)
        points = points + jitter * random.standard_normal((len(points), 1)) * normals
        normals = normals + tilt * random.standard_normal(normals.shape)
        normals = normals / np.sqrt((normals**2).sum(1, keepdims=True))
        radius = np.full(len(points), OVERLAP * np.sqrt(areas.sum() / count))
        return cls(surfaces=tuple(surfaces), gaussians=discs(points, normals, radius, colours))

    def depth(self, viewpoint: Viewpoint) -> Float32[np.ndarray, "H W"]:
        """Return the exact depth (z) of every pixel's centre, NaN on the background."""
        directions = rays(viewpoint.K, viewpoint.size) @ viewpoint.R
        nearest = np.min([surface.depth(viewpoint.centre, directions) for surface in self.surfaces], axis=0)
        return np.where(np.isfinite(nearest), nearest, np.nan).astype(np.float32)


def slanted_plane(
    *, count: int, seed: int, slant: float | int, jitter: float | int = 0.0, tilt: float | int = 0.0
) -> AnalyticScene:
    """Return a square of 8 x 8 at the origin; seen from far along the x axis it is `slant` degrees from facing."""
    angle = np.radians(slant)
    normal = np.array((np.cos(angle), np.sin(angle), 0.0))
    plane = Plane(centre=np.zeros(3), normal=normal, half=4.0)
    return AnalyticScene.of([plane], count=count, seed=seed, jitter=jitter, tilt=tilt)


def ball_on_plane(
    *, count: int, seed: int, jitter: float | int = 0.0, tilt: float | int = 0.0
) -> AnalyticScene:
    """Return a ball of radius 1 at the origin that lies on a floor of 9 x 9."""
    floor = Plane(centre=np.array((0.0, -1.0, 0.0)), normal=np.array((0.0, 1.0, 0.0)), half=4.5)
    ball = Sphere(centre=np.zeros(3), radius=1.0)
    return AnalyticScene.of([floor, ball], count=count, seed=seed, jitter=jitter, tilt=tilt)


def _coloured(points: np.ndarray) -> np.ndarray:
    waves = np.sin(points @ np.array(((5.1, 1.7, 9.3), (2.3, 6.1, -3.9), (3.7, -4.9, 7.7))))
    return 0.5 + 0.42 * waves
