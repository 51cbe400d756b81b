"""A folder of meshes as a source of assets: each mesh becomes many instances by smooth deformation.

    root/chair/one.glb      root/chair/two.obj      root/lamp.glb

A folder of files is a category, and so is a file that lies in the root. Two meshes have no triangles in common,
so instances correspond only if they were made of one file: that is what their topology is named by.
"""

from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from homolog.core.errors import ConfigError, DataError, did_you_mean
from homolog.synthetic.assets import Asset
from homolog.synthetic.category import Numbers
from homolog.synthetic.colours import Colours
from homolog.synthetic.free_form import FreeFormRanges
from homolog.synthetic.mesh_file import ENDINGS, Mesh, read_mesh
from homolog.synthetic.surface import Topology, sheets

LANDMARKS = 16
"""Keypoints of a mesh: vertices as far from each other as can be, for want of names."""


class MeshFolder:
    """An `AssetSource`. Files are read when they are first needed, and the last eight are kept."""

    def __init__(
        self,
        *,
        root: str | Path,
        licence: str = "unknown",
        up: Literal["y", "z"] = "y",
        stretch: float = 0.12,
        bend: float = 0.10,
        finish: str = "paint",
    ) -> None:
        """List the files.

        Args:
            root: searched with the folders in it, and no deeper.
            licence: of the meshes; what a file says about itself is added.
            up: which axis points up in the files.
            stretch: how much instances differ in proportion (`FreeFormRanges`).
            bend: how much they differ in shape.
            finish: what their parts are made of where looks are made up (`homolog.synthetic.look`).

        Raises:
            DataError: no meshes there.
            ConfigError: a number out of its range.
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
        self._licence, self._up, self._finish = licence, up, finish
        self._ranges = FreeFormRanges(stretch=stretch, bend=bend)

    def categories(self) -> tuple[str, ...]:
        """Return the names of folders and of files that lie beside them."""
        return tuple(sorted(self._files))

    def sample(self, category: str, seed: int, *, topology: str | None = None) -> Asset:
        """Return one instance: a deformation of one of the category's files.

        Raises:
            ConfigError: there is no such category, or no such file in it.
            DataError: the file cannot be used.
        """
        if category not in self._files:
            raise ConfigError(f"no category named {category}{did_you_mean(category, self._files)}")
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
        names = {self._name(path): path for path in self._files[category]}
        drawn = list(names)[int(random.integers(len(names)))]
        if topology is not None and topology not in names:
            raise ConfigError(f"{category}: no mesh named {topology}{did_you_mean(topology, names)}")
        name = topology or drawn
        shared, colours, licence = _shared(names[name], name, self._up, self._finish, self._licence)
        rest = shared.canonical
        form = self._ranges.drawn(rest.min(axis=0), rest.max(axis=0), random)
        vertices = form(rest)

        def build(pose: Numbers) -> np.ndarray:
            return vertices

        return Asset(
            category=category,
            topology=shared,
            shape={
                **dict(zip(("stretch x", "stretch y", "stretch z"), form.stretch.tolist(), strict=True)),
                "bend": float(np.abs(form.shifts).max()),
            },
            build=build,
            draw_pose=_no_pose,
            colours=colours,
            licence=licence,
        )

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()


def mesh_topology(mesh: Mesh, name: str, *, finish: str = "paint") -> Topology:
    """Return what all deformations of a mesh share; its canonical positions are those of the file.

    Args:
        mesh: as it was read.
        name: of the topology.
        finish: what its parts are made of.
    """
    landmarks = _spread(mesh.vertices, min(LANDMARKS, len(mesh.vertices)))
    corner = _corner_of(mesh.faces, len(mesh.vertices))[landmarks]
    return Topology(
        name=name,
        faces=mesh.faces,
        canonical=mesh.vertices,
        part=mesh.part,
        sheet=sheets(mesh.faces),
        part_names=mesh.part_names,
        finishes=(finish,) * len(mesh.part_names),
        closed=mesh.closed,
        landmark_names=tuple(f"point {number}" for number in range(len(landmarks))),
        landmark_face=(corner // 3).astype(np.int32),
        landmark_bary=np.eye(3, dtype=np.float32)[corner % 3],
    )


@lru_cache(maxsize=8)
def _shared(
    path: Path, name: str, up: Literal["y", "z"], finish: str, licence: str
) -> tuple[Topology, Colours | None, str]:
    mesh = read_mesh(path, up=up)
    whole = licence if mesh.copyright is None else f"{licence}; the file says: {mesh.copyright}"
    return mesh_topology(mesh, name, finish=finish), mesh.colours, whole


def _no_pose(random: np.random.Generator) -> Numbers:
    return {}


def _spread(points: np.ndarray, count: int) -> np.ndarray:
    """Return the index of the point farthest out, then always of the one farthest from all so far."""
    chosen = [int(np.argmax(np.linalg.norm(points, axis=1)))]
    distance = np.full(len(points), np.inf)
    for _ in range(count - 1):
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(distance)))
    return np.array(chosen)


def _corner_of(faces: np.ndarray, count: int) -> np.ndarray:
    """Return for each vertex one corner of a triangle that lies on it, counted row by row."""
    corner = np.zeros(count, np.int64)
    # The first one wins: assigned last.
    corner[faces.reshape(-1)[::-1]] = np.arange(faces.size)[::-1]
    return corner
