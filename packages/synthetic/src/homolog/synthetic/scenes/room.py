"""A furnished room: where objects stand, its floor, walls and ceiling, and the furniture."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from jaxtyping import Float64

from homolog.synthetic.modelling.solids import ball, box, revolved, topology_of
from homolog.synthetic.rendering.look import Look, detailed_look
from homolog.synthetic.rendering.scene import Body, Topology, sheets

_TRIES = 24


@dataclass(frozen=True, slots=True)
class Disc:
    """Space that an object takes up: a cylinder of a radius and a height `top`, whose axis is at (x, z)."""

    x: float
    z: float
    radius: float
    top: float = np.inf


@dataclass(slots=True)
class FloorPlan:
    """The space that is taken, so that no object stands inside another.

    Attributes:
        discs: one for each object.
    """

    discs: list[Disc] = field(default_factory=list[Disc])

    def clearance(
        self, places: Float64[np.ndarray, "N 2"], *, above: float = -np.inf
    ) -> Float64[np.ndarray, " N"]:
        """Return the distance from places (x, z) to the nearest object, negative inside one.

        Objects that reach no higher than `above` do not count.
        """
        counting = [(disc.x, disc.z, disc.radius) for disc in self.discs if disc.top > above]
        taken = np.array(counting, np.float64).reshape(-1, 3)
        ways = np.linalg.norm(places[:, None] - taken[:, :2], axis=2) - taken[:, 2]
        return ways.min(axis=1, initial=np.inf)

    def place(
        self,
        random: np.random.Generator,
        radius: float,
        *,
        reach: tuple[float, float],
        top: float = np.inf,
    ) -> tuple[float, float]:
        """Find a place (x, z) for an object and take it: the first free one of 24, or else the freest one.

        `reach` is half of the sizes, along x and z, of the rectangle around the origin where its middle may
        be.
        """
        places = random.uniform(-1, 1, (_TRIES, 2)) * reach
        ways = self.clearance(places)
        free = np.flatnonzero(ways > radius)
        x, z = places[free[0] if len(free) else ways.argmax()].tolist()
        self.discs.append(Disc(x, z, radius, top))
        return x, z


_MEAN_HEIGHT = 0.3
"""Height of the mean room, whose width is 1."""

_SIDES = {
    "floor": ((-1, 0, -1), (0, 0, 2), (2, 0, 0)),
    "left wall": ((-1, 0, -1), (0, 1, 0), (0, 0, 2)),
    "right wall": ((1, 0, -1), (0, 0, 2), (0, 1, 0)),
    "back wall": ((-1, 0, -1), (2, 0, 0), (0, 1, 0)),
    "front wall": ((-1, 0, 1), (0, 1, 0), (2, 0, 0)),
    "ceiling": ((-1, 1, -1), (2, 0, 0), (0, 0, 2)),
}
"""Corner and both edges of each side of the room [-1, 1] x [0, 1] x [-1, 1]; first edge x second edge points inwards."""

_CELLS = 2
"""Cells along each edge of a side; labels do not depend on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How large a room is: x in [-half[0], half[0]], z in [-half[1], half[1]], y in [0, height].

    Attributes:
        half: half of its sizes along x and along z.
        height: of its walls.
        ceiling: whether it has one; otherwise the sky is above.
    """

    half: tuple[float, float]
    height: float
    ceiling: bool

    @classmethod
    def drawn(cls, random: np.random.Generator) -> "Room":
        """Draw a size, from a study to a small hall."""
        half = (float(random.uniform(4.0, 6.0)), float(random.uniform(4.0, 6.0)))
        return cls(half=half, height=float(random.uniform(2.6, 4.2)), ceiling=bool(random.random() < 0.6))

    def body(self) -> Body:
        """Return its surfaces; its key is `room`."""
        topology = _room_topology(self.ceiling)
        scale = np.array((2 * self.half[0], self.height / _MEAN_HEIGHT, 2 * self.half[1]))
        return Body(topology=topology, vertices=topology.canonical * scale, key="room")

    def look(self, random: np.random.Generator) -> Look:
        """Draw what its surfaces look like, each on its own."""
        unit = 2 * max(self.half)
        return detailed_look(_room_topology(self.ceiling), random, unit=unit, detail=0.35, calm=0.5)

    def way_to_wall(self, start: np.ndarray, towards: np.ndarray, *, margin: float) -> float:
        """Return how far one can go from a point [3] along a unit vector and keep a margin to the walls."""
        limits = np.array((self.half[0], self.height if self.ceiling else np.inf, self.half[1])) - margin
        low = np.array((-limits[0], margin, -limits[2]))
        with np.errstate(divide="ignore"):
            ways = np.where(towards > 0, limits - start, low - start) / towards
        return max(float(ways[towards != 0].min()), 0.0)


@lru_cache(maxsize=2)
def _room_topology(ceiling: bool) -> Topology:
    names = tuple(_SIDES) if ceiling else tuple(_SIDES)[:-1]
    steps = np.linspace(0, 1, _CELLS + 1)
    row, column = np.meshgrid(np.arange(_CELLS), np.arange(_CELLS), indexing="ij")
    first = (row * (_CELLS + 1) + column).reshape(-1)
    a, b, c, d = first, first + _CELLS + 1, first + _CELLS + 2, first + 1
    side = np.concatenate((np.stack((a, b, c), 1), np.stack((a, c, d), 1)))
    vertices: list[np.ndarray] = []
    for name in names:
        corner, along, across = (np.array(part, np.float64) for part in _SIDES[name])
        vertices.append((corner + steps[:, None, None] * along + steps[:, None] * across).reshape(-1, 3))
    count = (_CELLS + 1) ** 2
    faces = np.concatenate([side + number * count for number in range(len(names))]).astype(np.int32)
    return Topology(
        name="room" if ceiling else "yard",
        faces=faces,
        canonical=np.concatenate(vertices) * (0.5, _MEAN_HEIGHT, 0.5),
        part=np.repeat(np.arange(len(names), dtype=np.int32), len(side)),
        sheet=sheets(faces),
        part_names=names,
        finishes=("cloth",) * len(names),
        closed=True,
    )


_THIN = 0.015
"""Half of the thickness of rugs and pictures."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prop:
    """A body and its look."""

    body: Body
    look: Look


def furnished(
    room: Room, plan: FloorPlan, shapes: np.random.Generator, colours: np.random.Generator, *, clutter: int
) -> list[Prop]:
    """Return the room itself and its furniture.

    There are `clutter` crates, pillars and balls; rugs and pictures are extra. Objects on the floor are added
    to the plan. `shapes` decides which object is where, `colours` their looks.
    """
    props = [Prop(body=room.body(), look=room.look(colours))]
    pictures = int(shapes.integers(5, 10))
    props += [_picture(room, shapes, colours, f"picture {number}") for number in range(pictures)]
    for number in range(int(shapes.integers(1, 3))):
        half = shapes.uniform(0.6, 1.6, 2)
        x, z = shapes.uniform(-0.5, 0.5, 2) * room.half
        # At different heights, so that surfaces never coincide.
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
    topology = _prop_topology(kind)
    vertices = (2 * half * topology.canonical / np.ptp(topology.canonical, axis=0)) @ _turn(shapes).T
    return Prop(
        body=Body(topology=topology, vertices=vertices + np.array((x, half[1], z)), key=key),
        look=_prop_look(topology, colours, 2 * float(half.max())),
    )


def _picture(room: Room, shapes: np.random.Generator, colours: np.random.Generator, key: str) -> Prop:
    wall = int(shapes.integers(4))
    axis, sign = (0, 2)[wall % 2], (-1, 1)[wall // 2]
    along = 2 - axis
    half_width, half_height = shapes.uniform(0.3, 0.8), shapes.uniform(0.3, 0.7)
    half, middle = np.full(3, _THIN), np.zeros(3)
    half[along], half[1] = half_width, half_height
    # Each at its own distance from the wall, so that surfaces never coincide.
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
    topology = _prop_topology(0)
    vertices = (topology.canonical * np.array(half) * 2) @ turn.T + np.array(middle)
    look = _prop_look(topology, colours, 2 * float(np.max(half)))
    return Prop(body=Body(topology=topology, vertices=vertices, key=key), look=look)


def _prop_look(topology: Topology, colours: np.random.Generator, extent: float) -> Look:
    # A small object has as many periods as one of a metre.
    return detailed_look(topology, colours, unit=extent, detail=0.16 * min(extent, 1.0))


@lru_cache(maxsize=3)
def _prop_topology(which: int) -> Topology:
    pillar = [(0.25, -0.5), (0.25, -0.17), (0.25, 0.17), (0.25, 0.5)]
    solids = (
        box("block", "paint", (-0.5, -0.5, -0.5), (0.5, 0.5, 0.5)),
        revolved("pillar", "paint", pillar, segments=24),
        ball("ball", "paint", (0.0, 0.0, 0.0), 0.5, rings=14, segments=24),
    )
    return topology_of(solids[which], f"prop {solids[which].name}")
