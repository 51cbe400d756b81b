"""A folder of meshes as a source of assets: smooth deformations make many instances of each mesh.

    root/chair/one.glb      root/chair/two.obj      root/lamp.glb

A folder of files is a category, and so is a file directly in the root. Two meshes have no triangles in common,
so instances correspond only if they come from the same file; the topology has its name.

Free-form deformation (Sederberg and Parry 1986): the mesh lies in a box of 4 x 4 x 4 control points, which
are moved; every point moves with them by cubic Bernstein polynomials. Each axis is stretched as well.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64

from homolog.core.errors import ConfigError, DataError, did_you_mean
from homolog.synthetic.assets import Asset
from homolog.synthetic.category import chosen
from homolog.synthetic.meshes.colours import Colours
from homolog.synthetic.meshes.files import ENDINGS, Mesh, read_mesh
from homolog.synthetic.rendering.scene import Topology, sheets

_POINTS = 4
_SMALLEST_VOLUME = 0.2
"""Smallest factor of a deformation on volumes; less would look crushed, and below 0 is inside out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FreeForm:
    """One deformation of a box.

    Attributes:
        low: [3] one corner of the box.
        high: [3] the opposite one.
        stretch: [3] factor along each axis.
        shifts: [4 4 4 3] of the control points, in sides of the box.
    """

    low: Float64[np.ndarray, "3"]
    high: Float64[np.ndarray, "3"]
    stretch: Float64[np.ndarray, "3"]
    shifts: Float64[np.ndarray, "4 4 4 3"]

    def __call__(self, points: Float64[np.ndarray, "N 3"]) -> Float64[np.ndarray, "N 3"]:
        """Deform points of the box."""
        side = _sides(self.low, self.high)
        fraction = (points - self.low) / side
        return self.low + (fraction + _blended(fraction, self.shifts)) * side * self.stretch

    def volume_factor(self, lattice: int = 9) -> float:
        """Return the smallest factor by which the bend changes a volume; negative where it turns inside out."""
        line = np.linspace(0, 1, lattice)
        fraction = np.stack(np.meshgrid(line, line, line), axis=-1).reshape(-1, 3)
        slopes = np.stack([_blended(fraction, self.shifts, axis) for axis in range(3)], axis=-1)
        return float(np.linalg.det(np.eye(3) + slopes).min())


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeFormRanges:
    """The range of deformations of one mesh.

    Attributes:
        stretch: standard deviation of the logarithm of each axis' factor.
        bend: standard deviation of the control points' shifts, in sides of the box.
    """

    stretch: float = 0.12
    bend: float = 0.10

    def __post_init__(self) -> None:
        """Raise ConfigError for a range that would distort shapes beyond recognition."""
        if not (0 <= self.stretch <= 0.5 and 0 <= self.bend <= 0.3):
            raise ConfigError(
                f"expected stretch in [0, 0.5] and bend in [0, 0.3], got {self.stretch} and {self.bend}"
            )

    def drawn(
        self, low: Float64[np.ndarray, "3"], high: Float64[np.ndarray, "3"], random: np.random.Generator
    ) -> FreeForm:
        """Draw a deformation of a box; shifts that crush a part of it are reduced."""
        stretch = np.exp(self.stretch * random.standard_normal(3))
        shifts = self.bend * random.standard_normal((_POINTS,) * 3 + (3,))
        form = FreeForm(low=low, high=high, stretch=stretch, shifts=shifts)
        while form.volume_factor() < _SMALLEST_VOLUME:
            form = replace(form, shifts=0.85 * form.shifts)
        return form


def _sides(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the sides of a box, none of them 0: a flat mesh has a thin box."""
    side = high - low
    return np.maximum(side, 1e-6 * side.max())


def _blended(
    fraction: Float64[np.ndarray, "N 3"], shifts: Float64[np.ndarray, "4 4 4 3"], axis: int | None = None
) -> Float64[np.ndarray, "N 3"]:
    """Return the shifts at places of the unit cube, or their derivative along an axis."""
    x, y, z = ((_slopes if along == axis else _weights)(fraction[:, along]) for along in range(3))
    halfway = (z @ shifts.transpose(2, 0, 1, 3).reshape(_POINTS, -1)).reshape(-1, _POINTS, _POINTS, 3)
    return np.einsum("ni,nj,nijc->nc", x, y, halfway, optimize=True)


def _weights(t: np.ndarray) -> np.ndarray:
    s = 1 - t
    return np.stack((s**3, 3 * s**2 * t, 3 * s * t**2, t**3), axis=1)


def _slopes(t: np.ndarray) -> np.ndarray:
    s = 1 - t
    return np.stack((-3 * s**2, 3 * s**2 - 6 * s * t, 6 * s * t - 3 * t**2, 3 * t**2), axis=1)


LANDMARKS = 16
"""Number of keypoints of a mesh: vertices as far apart as possible, since a file names none."""


class MeshFolder:
    """A folder of meshes as an `AssetSource`. Files are read when needed, and the last eight are cached."""

    def __init__(
        self,
        *,
        root: str | Path,
        licence: str = "unknown",
        up: Literal["y", "z"] = "y",
        stretch: float = 0.12,
        bend: float = 0.10,
    ) -> None:
        """List the files.

        Args:
            root: searched together with the folders in it, not deeper.
            licence: of the meshes; a copyright notice in a file is added.
            up: which axis points up in the files.
            stretch: how much instances differ in proportion (`FreeFormRanges`).
            bend: how much they differ in shape.

        Raises:
            DataError: no meshes in the folder.
            ConfigError: a number out of range.
        """
        folder = Path(root).expanduser()
        files = [*folder.glob("*"), *folder.glob("*/*")]
        meshes = sorted(path for path in files if path.suffix.lower() in ENDINGS and path.is_file())
        if not meshes:
            raise DataError(
                f"{folder}: expected meshes ({', '.join(sorted(ENDINGS))}) there or one folder deeper, found none"
            )
        self._root = folder
        self._files: dict[str, list[Path]] = {}
        for path in meshes:
            name = path.stem if path.parent == folder else path.parent.name
            self._files.setdefault(name, []).append(path)
        self._licence, self._up = licence, up
        self._ranges = FreeFormRanges(stretch=stretch, bend=bend)

    def categories(self) -> tuple[str, ...]:
        """Return the names of the folders, and of the files beside them."""
        return tuple(sorted(self._files))

    def sample(self, category: str, seed: int, *, topology: str | None = None) -> Asset:
        """Return one instance: a deformation of one of the category's files.

        Raises:
            ConfigError: no such category, or no such file in it.
            DataError: the file cannot be used.
        """
        chosen([category], self.categories())
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
        names = {path.relative_to(self._root).as_posix(): path for path in self._files[category]}
        drawn = list(names)[int(random.integers(len(names)))]
        if topology is not None and topology not in names:
            raise ConfigError(f"{category}: no mesh named {topology}{did_you_mean(topology, names)}")
        name = topology or drawn
        shared, colours, licence = _shared(names[name], name, self._up, self._licence)
        rest = shared.canonical
        form = self._ranges.drawn(rest.min(axis=0), rest.max(axis=0), random)
        vertices = form(rest)

        return Asset(
            category=category,
            topology=shared,
            shape={
                **dict(zip(("stretch x", "stretch y", "stretch z"), form.stretch.tolist(), strict=True)),
                "bend": float(np.abs(form.shifts).max()),
            },
            build=lambda pose: vertices,
            draw_pose=lambda random: {},
            colours=colours,
            licence=licence,
        )


def _topology(mesh: Mesh, name: str) -> Topology:
    """Return the topology of all deformations of a mesh; its canonical positions are those of the file."""
    landmarks = _farthest_points(mesh.vertices, min(LANDMARKS, len(mesh.vertices)))
    # For each vertex the first corner of a triangle that lies on it, counted row by row: assigned last.
    corners = np.zeros(len(mesh.vertices), np.int64)
    corners[mesh.faces.reshape(-1)[::-1]] = np.arange(mesh.faces.size)[::-1]
    corner = corners[landmarks]
    return Topology(
        name=name,
        faces=mesh.faces,
        canonical=mesh.vertices,
        part=mesh.part,
        sheet=sheets(mesh.faces),
        part_names=mesh.part_names,
        finishes=("paint",) * len(mesh.part_names),
        closed=mesh.closed,
        landmark_names=tuple(f"point {number}" for number in range(len(landmarks))),
        landmark_face=(corner // 3).astype(np.int32),
        landmark_bary=np.eye(3, dtype=np.float32)[corner % 3],
    )


@lru_cache(maxsize=8)
def _shared(
    path: Path, name: str, up: Literal["y", "z"], licence: str
) -> tuple[Topology, Colours | None, str]:
    mesh = read_mesh(path, up=up)
    whole = licence if mesh.copyright is None else f"{licence}; the file says: {mesh.copyright}"
    return _topology(mesh, name), mesh.colours, whole


def _farthest_points(points: np.ndarray, count: int) -> np.ndarray:
    """Return indices of points far apart: the farthest out, then repeatedly the farthest from those so far."""
    chosen = [int(np.argmax(np.linalg.norm(points, axis=1)))]
    distance = np.full(len(points), np.inf)
    for _ in range(count - 1):
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(distance)))
    return np.array(chosen)
