"""Things that stand between the camera and the object."""

from functools import lru_cache

import numpy as np

from homolog.synthetic.bounds import bounds
from homolog.synthetic.scene import Body
from homolog.synthetic.solids import Solid, ball, box, tube
from homolog.synthetic.surface import Topology, sheets
from homolog.synthetic.viewpoint import Viewpoint


def drawn_occluder(camera: Viewpoint, vertices: np.ndarray, random: np.random.Generator) -> Body:
    """Draw a pole, a ball or a box that hides a part of an object from a camera.

    It has no key: nothing in another view corresponds to it.

    Args:
        camera: it stands in front of it.
        vertices: of the object, in the world.
        random: decides what and where.
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
    solid = (_pole, _ball, _box)[which]()
    extent = np.ptp(solid.vertices, axis=0)
    return Topology(
        name=f"occluder {solid.name}",
        faces=solid.faces(),
        canonical=solid.vertices / extent.max(),
        part=np.zeros(len(solid.faces()), np.int32),
        sheet=sheets(solid.faces()),
        part_names=(solid.name,),
        finishes=(solid.finish,),
        closed=True,
        landmark_names=(),
        landmark_face=np.zeros(0, np.int32),
        landmark_bary=np.zeros((0, 3), np.float32),
    )


def _pole() -> Solid:
    return tube("pole", "wood", [(0, -3.0, 0), (0, 3.0, 0)], [0.4, 0.4], up=(1.0, 0, 0), rings=6, segments=14)


def _ball() -> Solid:
    return ball("ball", "paint", (0, 0, 0), (1.0, 1.0, 1.0), rings=12, segments=18)


def _box() -> Solid:
    return box("box", "cloth", (-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
