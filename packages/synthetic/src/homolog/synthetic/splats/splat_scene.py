"""Scenes of Gaussians with the cameras that they were fitted to, from files or made up."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from homolog.synthetic.rendering.lighting import Light
from homolog.synthetic.rendering.scene import Scene
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.scenes.objects import Actor
from homolog.synthetic.scenes.room import FloorPlan, Prop, Room, furnished
from homolog.synthetic.seeds import Factor, Seeds
from homolog.synthetic.splats.fitted_cameras import find_cameras, read_cameras
from homolog.synthetic.splats.gaussians import Gaussians
from homolog.synthetic.splats.ply import read_gaussians
from homolog.synthetic.splats.sampled import sampled

CLEARANCE = 0.35
"""How near a camera of a made-up scene may come to a surface."""

_CAMERAS = 24
_SIZE = (256, 256)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SplatScene:
    """A scene to be looked at.

    Attributes:
        gaussians: the scene.
        fitted: cameras that it was fitted to, or, for one that was made up, could have been.
        mesh: the surfaces that a made-up scene was sampled from, or None.
        name: of the scene.
    """

    gaussians: Gaussians
    fitted: tuple[Viewpoint, ...]
    mesh: Scene | None
    name: str


def read_scene(path: Path, root: Path) -> SplatScene:
    """Read a scene and its cameras.

    Args:
        path: a PLY of 3D Gaussian Splatting.
        root: the folder up to which `cameras.json` is looked for.

    Raises:
        DataError: either file is missing or damaged.
    """
    return SplatScene(
        gaussians=read_gaussians(path),
        fitted=read_cameras(find_cameras(path, root)),
        mesh=None,
        name=str(path.relative_to(root)),
    )


def made_scene(
    seeds: Seeds,
    *,
    names: tuple[str, ...],
    count: int,
    objects: int = 3,
    clutter: int = 4,
    jitter: float | int = 0.0,
    tilt: float | int = 0.0,
) -> SplatScene:
    """Make up a closed room with instances and things in it, and cover it with Gaussians.

    Args:
        seeds: of the scene.
        names: categories to choose from.
        count: Gaussians.
        objects: how many instances there are.
        clutter: how many other things stand about.
        jitter: of the Gaussians along their normals; see `sampled`.
        tilt: of their normals, radians.
    """
    shapes, colours = seeds.generator(Factor.layout), seeds.generator(Factor.texture)
    # A ceiling, since the sky has no place that a Gaussian could take.
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
    """Return cameras on a walk around the middle of a room, none of them too near to anything."""
    cameras: list[Viewpoint] = []
    cramped: list[tuple[float, Viewpoint]] = []
    for number in range(4 * _CAMERAS):
        target = np.array((*random.uniform(-0.4, 0.4, 2), random.uniform(0.3, 0.9)))[[0, 2, 1]]
        elevation = float(np.radians(random.uniform(5, 35)))
        azimuth = float(2 * np.pi * (number + random.random()) / _CAMERAS)
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
        # Once around; further rounds only where things left too few places to stand.
        if number >= _CAMERAS - 1 and len(cameras) >= _CAMERAS // 2:
            break
    cramped.sort(key=lambda place: -place[0])
    # In a room full of things the freest places must do: a pair needs two.
    return tuple(cameras) if len(cameras) >= 2 else (*cameras, *(camera for _, camera in cramped[:2]))


def clearance(gaussians: Gaussians, viewpoint: Viewpoint) -> float:
    """Return the distance from a camera to the nearest centre of a Gaussian."""
    apart = gaussians.means - viewpoint.centre.astype(np.float32)
    return float(np.sqrt((apart**2).sum(1).min()))
