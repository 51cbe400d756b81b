"""The objects of a scene: category instances at the scene's scale, and occluders."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float64

from homolog.synthetic.category import Category, Numbers, category, topology
from homolog.synthetic.compiled import bounds
from homolog.synthetic.modelling.solids import ball, box, topology_of, tube
from homolog.synthetic.rendering.look import Look, draw_look
from homolog.synthetic.rendering.scene import Body, Topology
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.scenes.room import turned
from homolog.synthetic.seeds import Factor, Seeds

_AIRBORNE = ("aeroplane", "fish")
"""Categories that float above the floor."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Actor:
    """One instance in a scene, with its first pose and its vertices in that pose.

    `size` is a factor from the model to the world, `lift` the height of its lowest point above its support,
    and `radius`, in the world, that of the circle around the model's vertical axis.
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
        """Draw an instance of one of the categories `names`, the sample's actor with this number."""
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
        """Return the body at a place (x, z), with its lowest point `lift` above the floor.

        A heading of 0 looks along x, a quarter turn along z, radians. Without a pose it has its first one.
        """
        vertices = self.vertices if pose is None else self.kind.vertices(self.shape, pose)
        offset = np.array((place[0], floor + self.lift - self.size * float(vertices[:, 1].min()), place[1]))
        return Body(
            topology=topology(self.kind.name),
            vertices=vertices @ (self.size * turned(heading).T) + offset,
            key=self.key,
        )


def drawn_occluder(camera: Viewpoint, vertices: np.ndarray, random: np.random.Generator) -> Body:
    """Draw a pole, a ball or a box that occludes part of an object, given by its vertices, from a camera.

    It has no key: nothing in another view corresponds to it.
    """
    topology = _topology(int(random.integers(3)))
    hidden = vertices[random.integers(len(vertices))]
    low, high = bounds(vertices)
    extent = float((high - low).max())
    stretch = np.exp(random.uniform(np.log(0.10), np.log(0.35), 3)) * extent
    turn, _ = np.linalg.qr(random.standard_normal((3, 3)))
    turn[:, 0] *= np.sign(np.linalg.det(turn))
    # Between a third and two thirds of the way, moved aside so that it rarely hides all.
    near = camera.centre + random.uniform(0.45, 0.75) * (hidden - camera.centre)
    aside = 0.12 * extent * random.standard_normal(3)
    return Body(topology=topology, vertices=(topology.canonical * stretch) @ turn.T + near + aside)


@lru_cache(maxsize=3)
def _topology(which: int) -> Topology:
    solids = (
        tube("pole", "wood", [(0, -3.0, 0), (0, 3.0, 0)], [0.4, 0.4], up=(1.0, 0, 0), rings=6, segments=14),
        ball("ball", "paint", (0, 0, 0), (1.0, 1.0, 1.0), rings=12, segments=18),
        box("box", "cloth", (-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)),
    )
    return topology_of(solids[which], f"occluder {solids[which].name}")
