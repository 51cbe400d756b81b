"""Instances of categories at the size of a scene, standing on its floor."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from homolog.synthetic.category import Category, Numbers, category, topology
from homolog.synthetic.look import Look, draw_look
from homolog.synthetic.props import turned
from homolog.synthetic.scene import Body
from homolog.synthetic.seeds import Factor, Seeds

_AIRBORNE = ("aeroplane", "fish")
"""Categories that stand on nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Actor:
    """One instance in a scene.

    Attributes:
        kind: its category.
        shape: its numbers.
        look: its colours.
        size: a factor from the model to the world.
        lift: of its lowest point above what it stands on.
        radius: of the circle around the model's vertical axis, in its first pose, in the world.
        pose: its first pose.
        vertices: [V 3] of the model in that pose.
        key: its name in the scene.
    """

    kind: Category
    shape: Numbers
    look: Look
    size: float
    lift: float
    radius: float
    pose: Numbers
    vertices: Float64[np.ndarray, "V 3"]
    key: str

    @classmethod
    def drawn(cls, seeds: Seeds, number: int, names: tuple[str, ...]) -> "Actor":
        """Draw one.

        Args:
            seeds: of the sample.
            number: which of its actors.
            names: categories to choose from.
        """
        random = seeds.generator(Factor.choice, number)
        kind = category(names[int(random.integers(len(names)))])
        shape = kind.draw_shape(seeds.generator(Factor.shape, number))
        pose = kind.draw_pose(seeds.generator(Factor.pose, number))
        vertices = kind.vertices(shape, pose)
        size = float(random.uniform(0.9, 1.8)) / float(np.ptp(vertices, axis=0).max())
        return cls(
            kind=kind,
            shape=shape,
            look=draw_look(topology(kind.name), seeds.generator(Factor.texture, 1 + number)),
            size=size,
            lift=float(random.uniform(0.3, 1.2)) if kind.name in _AIRBORNE else 0.0,
            radius=size * float(np.hypot(vertices[:, 0], vertices[:, 2]).max()),
            pose=pose,
            vertices=vertices,
            key=f"{kind.name} {number}",
        )

    def body(
        self, *, place: tuple[float, float], floor: float, heading: float, pose: Numbers | None = None
    ) -> Body:
        """Return it at a place, looking in a direction; its lowest point is on the floor.

        Args:
            place: x and z.
            floor: height of what it stands on.
            heading: 0 looks along x, a quarter turn along z, radians.
            pose: its joints; by default its first pose.
        """
        vertices = self.vertices if pose is None else self.kind.vertices(self.shape, pose)
        offset = np.array((place[0], floor + self.lift - self.size * float(vertices[:, 1].min()), place[1]))
        return Body(
            topology=topology(self.kind.name),
            vertices=_moved(vertices, self.size, turned(heading), offset),
            key=self.key,
        )


def _moved(
    vertices: Float64[np.ndarray, "V 3"], size: float, turn: np.ndarray, offset: np.ndarray
) -> Float64[np.ndarray, "V 3"]:
    return vertices @ (size * turn.T) + offset
