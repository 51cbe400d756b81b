"""Keypoints of a view: shared by the triangles around them, and occluded like any surface point."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from homolog.synthetic.category import categories, category, topology
from homolog.synthetic.rendering.scene import Body, Scene
from homolog.synthetic.rendering.view import View
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.transfer import landmarks_in, transfer, turned_towards


def _camera(azimuth: float, elevation: float) -> Viewpoint:
    return Viewpoint.towards(
        np.array((0.0, 0.4, 0.0)),
        azimuth=azimuth,
        elevation=elevation,
        distance=3.0,
        focal=1.6,
        size=(160, 160),
    )


@pytest.fixture(scope="module")
def chair() -> Body:
    kind = category("chair")
    return Body(
        topology=topology("chair"), vertices=kind.vertices(kind.kinds["kitchen"], kind.rest()), key="chair"
    )


def _index(name: str) -> int:
    return topology("chair").landmark_names.index(name)


def test_a_chairs_feet_are_seen_from_above_though_their_soles_are_not(chair: Body) -> None:
    view = View.of(Scene.of([chair]), _camera(np.pi / 4, 0.35))
    foot = _index("right front foot")
    soles = transfer(chair.topology.landmarks(0), view, view)
    marks = landmarks_in(view)
    assert not soles.visible[foot]
    assert marks.visible[foot]
    assert np.array_equal(marks.xy, soles.xy)
    # What the triangle that names a keypoint shows, the other ones around it cannot hide.
    assert (marks.visible >= soles.visible).all()
    assert turned_towards(view.viewpoint, chair)[foot]


@pytest.mark.parametrize("name", categories())
def test_keypoints_of_the_left_are_those_of_the_right_in_a_mirror(name: str) -> None:
    shared = topology(name)
    places = np.einsum(
        "kc,kcx->kx", shared.landmark_bary, shared.canonical[shared.faces[shared.landmark_face]]
    )
    at = dict(zip(shared.landmark_names, places, strict=True))
    # Of two pedals one is in front.
    lefts = [mark for mark in at if mark.startswith("left ") and mark != "left pedal"]
    for mark in lefts:
        assert at[mark] * (1, 1, -1) == pytest.approx(at[mark.replace("left", "right", 1)], abs=1e-9), mark


def test_an_occluded_keypoint_is_not_visible(chair: Body, quad: Callable[..., Body]) -> None:
    camera = _camera(0.0, 0.2)
    board = quad("board", [(0.8, -0.2, -1.0), (0.8, -0.2, 1.0), (0.8, 0.35, 1.0), (0.8, 0.35, -1.0)])
    feet = [_index(f"{side} front foot") for side in ("left", "right")]
    assert landmarks_in(View.of(Scene.of([chair]), camera)).visible[feet].all()
    assert not landmarks_in(View.of(Scene.of([chair, board]), camera)).visible[feet].any()


def test_keypoints_that_face_away_are_not_visible(chair: Body) -> None:
    """The back of a kitchen chair has rear corners of its seat that nothing shows to who stands in front below."""
    front = View.of(Scene.of([chair]), _camera(0.0, 0.0))
    marks = landmarks_in(front)
    assert not marks.visible[[_index("left seat back"), _index("right seat back")]].any()
    assert (marks.visible <= turned_towards(front.viewpoint, chair)).all()


def test_a_keypoint_that_is_on_no_vertex_has_its_own_triangle_only(quad: Callable[..., Body]) -> None:
    board = quad("board", [(0.0, 0.0, -0.5), (0.0, 0.0, 0.5), (0.0, 1.0, 0.5), (0.0, 1.0, -0.5)])
    inner = replace(board.topology, landmark_bary=np.array(((0.5, 0.25, 0.25),), np.float32))
    view = View.of(Scene.of([replace(board, topology=inner)]), _camera(0.0, 0.0))
    assert landmarks_in(view).visible.all()
    bare = replace(
        board.topology,
        landmark_names=(),
        landmark_face=np.zeros(0, np.int32),
        landmark_bary=np.zeros((0, 3), np.float32),
    )
    assert len(landmarks_in(View.of(Scene.of([replace(board, topology=bare)]), _camera(0.0, 0.0))).xy) == 0
