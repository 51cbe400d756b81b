"""Small scenes whose truth can be worked out by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from skimage import data

from homolog.synthetic.rendering.lighting import Light
from homolog.synthetic.rendering.look import Look, row
from homolog.synthetic.rendering.scene import Body, Scene, Topology, sheets
from homolog.synthetic.rendering.view import View
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.texturing.texturers import Conditioning


def _quad(name: str, corners: list[tuple[float, float, float]], key: str | None = "quad") -> Body:
    """A rectangle of two triangles, seen from both sides; its canonical positions are its own."""
    vertices = np.array(corners, np.float64)
    faces = np.array(((0, 1, 2), (0, 2, 3)), np.int32)
    topology = Topology(
        name=name,
        faces=faces,
        canonical=vertices / np.ptp(vertices, axis=0).max(),
        part=np.zeros(2, np.int32),
        sheet=sheets(faces),
        part_names=("all",),
        finishes=("paint",),
        closed=False,
        landmark_names=("corner",),
        landmark_face=np.zeros(1, np.int32),
        landmark_bary=np.array(((1.0, 0, 0),), np.float32),
    )
    return Body(topology=topology, vertices=vertices, key=key)


@pytest.fixture
def quad() -> Callable[..., Body]:
    return _quad


@pytest.fixture
def conditioning(quad: Callable[..., Body]) -> Conditioning:
    """A white tile that fills the middle half of a dark picture of 48 x 48; its left side is nearer."""
    body = quad("tile", [(-1, -1, 0.5), (1, -1, -0.5), (1, 1, -0.5), (-1, 1, 0.5)])
    K = np.array(((48.0, 0, 23.5), (0, 48, 23.5), (0, 0, 1)))
    camera = Viewpoint(K=K, R=np.diag((1.0, -1, -1)), t=np.array((0.0, 0, 4.0)), size=(48, 48))
    half = 0.5 * np.ones(3)
    return Conditioning(
        view=View.of(Scene.of([body]), camera),
        looks=(Look(rows=row(np.ones(3), grain=0.0)[None]),),
        light=Light(towards=np.array((0, 0, 1.0)), sun=half, sky=half, ground=half),
        behind=lambda size: np.full((*size, 3), 0.2, np.float32),
    )


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos, one of them in a folder of its own."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    for name, image in (("a.jpg", data.astronaut()), ("more/b.png", data.coffee())):
        PIL.Image.fromarray(image).resize((400, 300)).save(folder / name)
    return folder
