"""The place where a scene is set: a floor, four walls and, sometimes, a ceiling, seen from inside."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from homolog.synthetic.finish import detailed_look
from homolog.synthetic.look import Look
from homolog.synthetic.scene import Body
from homolog.synthetic.surface import Topology, sheets

_MEAN_HEIGHT = 0.3
"""Of the mean room, whose width is 1."""

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
"""Along each edge. Few, so that what lies near is often on one triangle; with 8 or 1 labels are the same."""


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
        topology = _topology(self.ceiling)
        scale = np.array((2 * self.half[0], self.height / _MEAN_HEIGHT, 2 * self.half[1]))
        return Body(topology=topology, vertices=topology.canonical * scale, key="room")

    def look(self, random: np.random.Generator) -> Look:
        """Draw what its surfaces look like, each on its own."""
        unit = 2 * max(self.half)
        return detailed_look(_topology(self.ceiling), random, unit=unit, detail=0.35, calm=0.5)

    def way_to_wall(self, start: np.ndarray, towards: np.ndarray, *, margin: float) -> float:
        """Return how far one can go from a point in a direction and stay that far from walls and ceiling.

        Args:
            start: [3] a point in the room.
            towards: [3] unit vector.
            margin: to keep.
        """
        limits = np.array((self.half[0], self.height if self.ceiling else np.inf, self.half[1])) - margin
        low = np.array((-limits[0], margin, -limits[2]))
        with np.errstate(divide="ignore"):
            ways = np.where(towards > 0, limits - start, low - start) / towards
        return max(float(ways[towards != 0].min()), 0.0)


@lru_cache(maxsize=2)
def _topology(ceiling: bool) -> Topology:
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
        landmark_names=(),
        landmark_face=np.zeros(0, np.int32),
        landmark_bary=np.zeros((0, 3), np.float32),
    )
