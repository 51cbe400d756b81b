"""What stands about in a room: crates, pillars, balls, rugs on its floor and pictures on its walls."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float64

from homolog.synthetic.finish import detailed_look
from homolog.synthetic.floor_plan import FloorPlan
from homolog.synthetic.look import Look
from homolog.synthetic.room import Room
from homolog.synthetic.scene import Body
from homolog.synthetic.solids import Solid, ball, box, revolved
from homolog.synthetic.surface import Topology, sheets

_THIN = 0.015
"""Half of the thickness of rugs and pictures."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prop:
    """A body and how it looks."""

    body: Body
    look: Look


def furnished(
    room: Room, plan: FloorPlan, shapes: np.random.Generator, colours: np.random.Generator, *, clutter: int
) -> list[Prop]:
    """Return the room itself and what is in it.

    Args:
        room: to be furnished.
        plan: what is taken already; things on the floor are added.
        shapes: decides what is where.
        colours: decides what it looks like.
        clutter: how many things stand about; rugs and pictures come on top.
    """
    props = [Prop(body=room.body(), look=room.look(colours))]
    pictures = int(shapes.integers(5, 10))
    props += [_picture(room, shapes, colours, f"picture {number}") for number in range(pictures)]
    for number in range(int(shapes.integers(1, 3))):
        half = shapes.uniform(0.6, 1.6, 2)
        x, z = shapes.uniform(-0.5, 0.5, 2) * room.half
        # One above the other, so that none shines through.
        low = _THIN * (1 + 2 * number)
        props.append(_box(colours, f"rug {number}", (x, low, z), (half[0], _THIN, half[1]), _turn(shapes)))
    props += [_standing(room, plan, shapes, colours, f"thing {number}") for number in range(clutter)]
    return props


def pedestal(
    place: tuple[float, float], half: float, height: float, colours: np.random.Generator, key: str
) -> Prop:
    """Return a block for something to stand on."""
    middle = (place[0], height / 2, place[1])
    return _box(colours, key, middle, (half, height / 2, half), np.eye(3))


def turned(angle: float) -> Float64[np.ndarray, "3 3"]:
    """Return the rotation about the vertical that turns the x axis towards the z axis."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array(((c, 0.0, -s), (0.0, 1.0, 0.0), (s, 0.0, c)))


def _turn(random: np.random.Generator) -> np.ndarray:
    return turned(random.uniform(0, 2 * np.pi))


def _standing(
    room: Room, plan: FloorPlan, shapes: np.random.Generator, colours: np.random.Generator, key: str
) -> Prop:
    kind = int(shapes.choice(3, p=(0.6, 0.2, 0.2)))
    if kind == 0:
        half = shapes.uniform(0.18, 0.55, 3)
    elif kind == 1:
        half = np.array((1.0, 0, 1.0)) * shapes.uniform(0.12, 0.28)
        half[1] = shapes.uniform(0.35, 1.1)
    else:
        half = np.full(3, shapes.uniform(0.2, 0.45))
    radius = float(np.hypot(half[0], half[2])) if kind == 0 else float(half[0])
    reach = (room.half[0] - radius, room.half[1] - radius)
    x, z = plan.place(shapes, radius, reach=reach, top=2 * float(half[1]))
    topology = _topology(kind)
    vertices = (2 * half * topology.canonical / np.ptp(topology.canonical, axis=0)) @ _turn(shapes).T
    return Prop(
        body=Body(topology=topology, vertices=vertices + np.array((x, half[1], z)), key=key),
        look=_look(topology, colours, 2 * float(half.max())),
    )


def _picture(room: Room, shapes: np.random.Generator, colours: np.random.Generator, key: str) -> Prop:
    wall = int(shapes.integers(4))
    axis, sign = (0, 2)[wall % 2], (-1, 1)[wall // 2]
    along = 2 - axis
    half_width, half_height = shapes.uniform(0.3, 0.8), shapes.uniform(0.3, 0.7)
    half, middle = np.full(3, _THIN), np.zeros(3)
    half[along], half[1] = half_width, half_height
    # Each at its own distance from the wall: those that overlap do not shine through.
    middle[axis] = sign * (room.half[axis // 2] - shapes.uniform(_THIN, 0.1))
    middle[along] = shapes.uniform(-1, 1) * (room.half[along // 2] - half_width)
    middle[1] = shapes.uniform(0.3 + half_height, room.height - half_height)
    return _box(colours, key, middle, half, np.eye(3))


def _box(
    colours: np.random.Generator,
    key: str,
    middle: np.ndarray | tuple[float, float, float],
    half: np.ndarray | tuple[float, float, float],
    turn: np.ndarray,
) -> Prop:
    topology = _topology(0)
    vertices = (topology.canonical * np.array(half) * 2) @ turn.T + np.array(middle)
    look = _look(topology, colours, 2 * float(np.max(half)))
    return Prop(body=Body(topology=topology, vertices=vertices, key=key), look=look)


def _look(topology: Topology, colours: np.random.Generator, extent: float) -> Look:
    # As many periods on a small thing as on one of a metre.
    return detailed_look(topology, colours, unit=extent, detail=0.16 * min(extent, 1.0))


@lru_cache(maxsize=3)
def _topology(which: int) -> Topology:
    solid = (_block, _pillar, _sphere)[which]()
    faces = solid.faces()
    return Topology(
        name=f"prop {solid.name}",
        faces=faces,
        canonical=solid.vertices / np.ptp(solid.vertices, axis=0).max(),
        part=np.zeros(len(faces), np.int32),
        sheet=sheets(faces),
        part_names=(solid.name,),
        finishes=(solid.finish,),
        closed=True,
        landmark_names=(),
        landmark_face=np.zeros(0, np.int32),
        landmark_bary=np.zeros((0, 3), np.float32),
    )


def _block() -> Solid:
    return box("block", "paint", (-0.5, -0.5, -0.5), (0.5, 0.5, 0.5))


def _pillar() -> Solid:
    return revolved("pillar", "paint", [(0.25, -0.5), (0.25, -0.17), (0.25, 0.17), (0.25, 0.5)], segments=24)


def _sphere() -> Solid:
    return ball("ball", "paint", (0.0, 0.0, 0.0), 0.5, rings=14, segments=24)
