"""Scenes of Gaussians with the cameras that they were fitted to: read from files, or synthetic rooms."""

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Float64, Int64

from homolog.core.calibration import pinhole, rigid
from homolog.core.errors import DataError, ShapeError
from homolog.synthetic.category import chosen
from homolog.synthetic.rendering.lighting import Light
from homolog.synthetic.rendering.look import Look
from homolog.synthetic.rendering.paint import matt_colours
from homolog.synthetic.rendering.scene import Scene, SurfacePoints
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.scenes.objects import Actor
from homolog.synthetic.scenes.room import FloorPlan, Prop, Room, furnished
from homolog.synthetic.seeds import Factor, Seeds, Split
from homolog.synthetic.splats.gaussians import Gaussians, discs, even_points, read_gaussians

CLEARANCE = 0.35
"""Smallest distance of a camera from the surfaces of a synthetic scene."""

OVERLAP = 0.9
"""Radius of a disc (standard deviation) as a multiple of the mean distance between discs; 0.8 leaves few holes."""

CAMERAS = "cameras.json"

_COUNT = 24  # of the cameras of a synthetic scene
_SIZE = (256, 256)

_SPARE = 1 << 31
"""Synthetic scenes with this number or a higher one replace others; data sets have fewer scenes than this."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SplatScene:
    """A scene of Gaussians and its cameras.

    Attributes:
        gaussians: the scene.
        fitted: cameras that it was fitted to; for a synthetic scene, cameras that it could have been fitted to.
        mesh: the surfaces that a synthetic scene was sampled from, or None.
        name: of the scene.
    """

    gaussians: Gaussians
    fitted: tuple[Viewpoint, ...]
    mesh: Scene | None
    name: str


def read_scene(path: Path, root: Path) -> SplatScene:
    """Read a scene, a PLY of 3D Gaussian Splatting, and its cameras; `root` as in `find_cameras`.

    Raises:
        DataError: either file is missing or damaged.
    """
    return SplatScene(
        gaussians=read_gaussians(path),
        fitted=read_cameras(find_cameras(path, root)),
        mesh=None,
        name=str(path.relative_to(root)),
    )


def synthetic_scene(
    seeds: Seeds,
    *,
    names: tuple[str, ...],
    count: int,
    objects: int = 3,
    clutter: int = 4,
    jitter: float | int = 0.0,
    tilt: float | int = 0.0,
) -> SplatScene:
    """Build a closed room with instances of categories and clutter, and cover it with `count` Gaussians.

    `jitter` and `tilt` are those of `sampled`.
    """
    shapes, colours = seeds.generator(Factor.layout), seeds.generator(Factor.texture)
    # A ceiling, since Gaussians cannot lie on the sky.
    half = shapes.uniform(2.6, 3.6, 2)
    room = Room(half=(float(half[0]), float(half[1])), height=float(shapes.uniform(2.4, 3.0)), ceiling=True)
    plan = FloorPlan()
    props: list[Prop] = []
    for number in range(objects):
        actor = Actor.drawn(seeds, number, names)
        place = plan.place(shapes, actor.radius, reach=(0.35 * half[0], 0.35 * half[1]))
        body = actor.body(place=place, floor=0.0, heading=float(shapes.uniform(0, 2 * np.pi)))
        props.append(Prop(body=body, look=actor.look))
    props += furnished(room, plan, shapes, colours, clutter=clutter)
    scene = Scene.of([prop.body for prop in props])
    light = Light.drawn(seeds.generator(Factor.light))
    seed = int(seeds.generator(Factor.layout, 1).integers(2**62))
    gaussians = sampled(
        scene, [prop.look for prop in props], light, count=count, seed=seed, jitter=jitter, tilt=tilt
    )
    return SplatScene(
        gaussians=gaussians,
        fitted=_around(room, gaussians, seeds.generator(Factor.layout, 2)),
        mesh=scene,
        name=f"room-{seeds.split.name}-{seeds.seed}-{seeds.index}",
    )


def _around(room: Room, gaussians: Gaussians, random: np.random.Generator) -> tuple[Viewpoint, ...]:
    """Return cameras on a walk around the middle of a room, none of them too near to a surface."""
    cameras: list[Viewpoint] = []
    cramped: list[tuple[float, Viewpoint]] = []
    for number in range(4 * _COUNT):
        target = np.array((*random.uniform(-0.4, 0.4, 2), random.uniform(0.3, 0.9)))[[0, 2, 1]]
        elevation = float(np.radians(random.uniform(5, 35)))
        azimuth = float(2 * np.pi * (number + random.random()) / _COUNT)
        away = np.array(
            (np.cos(elevation) * np.cos(azimuth), np.sin(elevation), np.cos(elevation) * np.sin(azimuth))
        )
        farthest = room.way_to_wall(target, away, margin=CLEARANCE)
        camera = Viewpoint.towards(
            target,
            azimuth=azimuth,
            elevation=elevation,
            distance=farthest * float(random.uniform(0.7, 1.0)),
            focal=0.8,
            size=_SIZE,
        )
        free = clearance(gaussians, camera)
        if free >= CLEARANCE:
            cameras.append(camera)
        else:
            cramped.append((free, camera))
        # Once around; further rounds only where the clutter left too few free places.
        if number >= _COUNT - 1 and len(cameras) >= _COUNT // 2:
            break
    cramped.sort(key=lambda place: -place[0])
    # In a crowded room the freest places must do: a pair needs two.
    return tuple(cameras) if len(cameras) >= 2 else (*cameras, *(camera for _, camera in cramped[:2]))


def clearance(gaussians: Gaussians, viewpoint: Viewpoint) -> float:
    """Return the distance from a camera to the nearest centre of a Gaussian."""
    apart = gaussians.means - viewpoint.centre.astype(np.float32)
    return float(np.sqrt((apart**2).sum(1).min()))


class SceneSource:
    """Scenes by number, read from a folder or synthetic; the latest ones are kept in memory."""

    def __init__(
        self,
        *,
        seed: int,
        split: Split,
        folder: str | Path | None,
        names: Sequence[str] | None,
        count: int,
        jitter: float | int,
        tilt: float | int,
        kept: int,
    ) -> None:
        """Find the files, if there are any; the settings are those of `SplatPairs`, with `tilt` in radians.

        Raises:
            ConfigError: a category that does not exist.
            DataError: no PLY files in the folder.
        """
        self._names = chosen(None if names is None else list(names)) if folder is None else ()
        self._root = None if folder is None else Path(folder)
        self._files = () if self._root is None else tuple(sorted(self._root.rglob("*.ply")))
        if self._root is not None and not self._files:
            raise DataError(
                f"expected PLY files of Gaussians below {folder}, found none; give another folder"
            )
        self._seed, self._split = seed, split
        self._count, self._jitter, self._tilt = count, float(jitter), float(tilt)
        self._kept, self._scenes = kept, OrderedDict[int, SplatScene]()

    def __getitem__(self, number: int) -> SplatScene:
        """Return a scene; with a folder, numbers beyond its files start again with the first.

        Raises:
            DataError: it cannot be read.
        """
        number = number if self._root is None else number % len(self._files)
        if number not in self._scenes:
            # Room first: two of the largest scenes need not fit into memory where one is to be kept.
            while len(self._scenes) >= self._kept:
                self._scenes.popitem(last=False)
            if self._root is not None:
                self._scenes[number] = read_scene(self._files[number], self._root)
            else:
                seeds = Seeds(seed=self._seed, split=self._split, index=number)
                self._scenes[number] = synthetic_scene(
                    seeds, names=self._names, count=self._count, jitter=self._jitter, tilt=self._tilt
                )
        self._scenes.move_to_end(number)
        return self._scenes[number]

    def spare(self, seeds: Seeds, turn: int) -> int:
        """Draw the number of a scene that may replace the one of a sample; `turn` counts replacements from 0.

        With a folder it is that of any of its files, otherwise that of a room that belongs to no sample.
        """
        stream = seeds.generator(Factor.choice, turn)
        return int(stream.integers(len(self._files)) if self._files else _SPARE + stream.integers(_SPARE))


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

    Small bodies get more than in proportion to their area (to its square root), since they hold the details;
    within a body the Gaussians are spread evenly by area. There is one look for each body; the light is baked
    into the colours, without highlights. `overlap` is described at `OVERLAP`. `jitter` is the standard
    deviation of their distance from the surface, as a multiple of the distance between the discs of one body,
    `tilt` that of their normals, radians.

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
    """Draw the given number of points of each body, uniformly by area."""
    ends = np.append(scene.first_face[1:], len(area))
    faces: list[np.ndarray] = []
    for first, last, number in zip(scene.first_face, ends, numbers, strict=True):
        edges = np.cumsum(area[first:last])
        # One point in each of as many equal stretches of area: fewer gaps than with independent points.
        at = (np.arange(number) + random.random(number)) / max(number, 1) * edges[-1]
        # Rounding may move the last one beyond the end; triangles without area are never hit.
        faces.append(np.minimum(np.searchsorted(edges, at, side="right"), last - first - 1))
    face = np.concatenate(faces).astype(np.int32)
    # Uniform on a triangle: fold the unit square along its diagonal.
    a, b = even_points(len(face), random).T
    folded = a + b > 1
    a, b = np.where(folded, 1 - a, a), np.where(folded, 1 - b, b)
    return SurfacePoints(
        object=np.repeat(np.arange(len(numbers), dtype=np.int32), numbers),
        face=face,
        bary=np.stack((1 - a - b, a, b), axis=1).astype(np.float32),
    )


def find_cameras(scene: Path, root: Path) -> Path:
    """Return the file `cameras.json` beside a scene, or in a folder above it up to `root`.

    Raises:
        DataError: there is none.
    """
    for folder in scene.parents:
        if (folder / CAMERAS).is_file():
            return folder / CAMERAS
        if folder == root:
            break
    raise DataError(
        f"{scene}: expected {CAMERAS} beside it or in a folder above, found none; copy it from where it was fitted"
    )


def read_cameras(path: Path) -> tuple[Viewpoint, ...]:
    """Read the cameras of a scene, as 3D Gaussian Splatting writes them.

    The file is a list of objects with `width`, `height`, `fx`, `fy`, `position` (of the camera in the world)
    and `rotation` (from the camera to the world); the principal point is the middle of the image.

    Raises:
        DataError: no such file, or another one.
    """
    try:
        entries: object = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: expected the cameras of 3D Gaussian Splatting, got {type(error).__name__} ({error})"
        ) from error
    if not isinstance(entries, list):
        raise DataError(
            f"{path}: expected a list of cameras, got {type(entries).__name__}; is it another file?"
        )
    cameras = tuple(_viewpoint(entry, path) for entry in cast(list[object], entries))
    if len(cameras) < 2:
        raise DataError(f"{path}: expected at least two cameras, got {len(cameras)}")
    return cameras


def _viewpoint(entry: object, path: Path) -> Viewpoint:
    try:
        values = cast(dict[str, Any], entry)
        width, height = int(values["width"]), int(values["height"])
        motion = np.eye(4)
        motion[:3, :3], motion[:3, 3] = values["rotation"], values["position"]
        focal = float(values["fx"]), float(values["fy"])
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(
            f"{path}: expected width, height, fx, fy, position and rotation of a camera, "
            f"got {type(error).__name__} ({error}); is it another file?"
        ) from error
    motion = rigid(motion, name=str(path))
    if min(width, height) < 1 or not (min(focal) > 0 and max(focal) < np.inf):
        raise DataError(f"{path}: expected a positive size and focal length, got {width} x {height}, {focal}")
    R = motion[:3, :3].T
    K = pinhole(focal[0], focal[1], (width - 1) / 2, (height - 1) / 2)
    return Viewpoint(K=K, R=R, t=-R @ motion[:3, 3], size=(height, width))
