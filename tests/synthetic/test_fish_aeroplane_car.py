"""Fish, aeroplanes and cars: whole from every side, alike on left and right, and clearly different from one another."""

from itertools import combinations

import numpy as np
import pytest

from homolog.core.errors import ShapeError
from homolog.synthetic.category import Category, Numbers, category, topology
from homolog.synthetic.modelling.panels import cover, loft, mirrored
from homolog.synthetic.modelling.solids import Solid, box, tube
from homolog.synthetic.rendering.rasteriser import rasterise
from homolog.synthetic.rendering.scene import Body, Scene
from homolog.synthetic.rendering.view import View
from homolog.synthetic.rendering.viewpoint import Viewpoint, framed
from homolog.synthetic.transfer import transfer

NAMES = ("aeroplane", "car", "fish")
VIEWS = ((0.5, 0.3), (2.3, 0.1), (4.0, 0.6), (5.5, -0.3))


def _drawn(kind: Category, seed: int) -> tuple[Numbers, Numbers]:
    random = np.random.default_rng(seed)
    return kind.draw_shape(random), kind.draw_pose(random)


def _camera(vertices: np.ndarray, azimuth: float, elevation: float, size: int = 128) -> Viewpoint:
    return framed(
        vertices, azimuth=azimuth, elevation=elevation, roll=0.0, focal=2.0, fill=0.95, shift=(0.0, 0.0), size=(size, size)
    )  # fmt: skip


def _view(name: str, vertices: np.ndarray, azimuth: float, elevation: float, size: int = 128) -> View:
    scene = Scene.of([Body(topology=topology(name), vertices=vertices, key="x")])
    return View.of(scene, _camera(vertices, azimuth, elevation, size))


def _kind(name: str, typical: str) -> np.ndarray:
    kind = category(name)
    return kind.vertices(dict(kind.kinds[typical]), kind.rest())


def _parts(name: str, vertices: np.ndarray) -> dict[str, np.ndarray]:
    """The vertices of each part."""
    shared = topology(name)
    return {
        part: vertices[np.unique(shared.faces[shared.part == index])]
        for index, part in enumerate(shared.part_names)
    }


def _seen_parts(name: str, vertices: np.ndarray) -> set[str]:
    shown = [np.unique(_view(name, vertices, *way).part) for way in VIEWS]
    return {topology(name).part_names[part] for part in np.unique(np.concatenate(shown)) if part >= 0}


@pytest.mark.parametrize("name", NAMES)
def test_every_part_keeps_its_triangles_and_their_orientation(name: str) -> None:
    kind = category(name)
    mean = kind.build(kind.mean_shape(), kind.rest())
    assert 2_000 < len(topology(name).faces) < 14_000
    assert len({part.name for part in mean}) == len(mean)
    extremes = [kind.rest() | {key: value[end] for key, value in kind.poses.items()} for end in (0, 2)]
    draws = [_drawn(kind, seed) for seed in range(5)]
    draws += [(dict(shape), pose) for shape in kind.kinds.values() for pose in extremes]
    for shape, pose in draws:
        for part, like in zip(kind.build(shape, pose), mean, strict=True):
            assert (part.name, part.finish) == (like.name, like.finish)
            assert np.isfinite(part.vertices).all()
            # Anti-clockwise from outside is decided on the mean instance: it must be right on all of them.
            assert np.array_equal(part.faces(), like.faces()), part.name


@pytest.mark.parametrize("name", NAMES)
def test_no_triangle_is_seen_from_behind(name: str) -> None:
    kind, faces = category(name), topology(name).faces
    for seed in range(4):
        vertices = kind.vertices(*_drawn(kind, seed))
        for way in VIEWS:
            camera = _camera(vertices, *way)
            both, front = (rasterise(vertices, faces, camera, one_sided=sided) for sided in (False, True))
            assert ((both.face >= 0) == (front.face >= 0)).mean() > 0.999
            assert (both.face == front.face)[both.face >= 0].mean() > 0.995


@pytest.mark.parametrize("name", NAMES)
def test_the_mean_instance_is_its_own_mirror_image(name: str) -> None:
    kind = category(name)
    flip = np.array((1.0, 1.0, -1.0))
    parts = {part.name: part.vertices for part in kind.build(kind.mean_shape(), kind.rest())}
    assert sum(part.startswith("left ") for part in parts) >= 5
    for part, vertices in parts.items():
        if part.startswith("left "):
            assert np.array_equal(vertices * flip, parts["right" + part[4:]])
            assert vertices[:, 2].mean() < 0
        elif not part.startswith("right "):
            nearest = np.linalg.norm((vertices * flip)[:, None] - vertices[None], axis=2).min(axis=1)
            assert nearest.max() < 1e-9, part


@pytest.mark.parametrize("name", NAMES)
def test_keypoints_lie_on_their_side_and_all_are_seen_from_somewhere(name: str) -> None:
    kind, shared = category(name), topology(name)
    vertices = kind.vertices(kind.mean_shape(), kind.rest())
    places = np.einsum("kc,kcx->kx", shared.landmark_bary, vertices[shared.faces[shared.landmark_face]])
    assert len(shared.landmark_names) >= 20
    assert len(np.unique(places.round(6), axis=0)) == len(places)
    for landmark, place, face in zip(shared.landmark_names, places, shared.landmark_face, strict=True):
        part = kind.anchors[landmark].part
        assert shared.part_names[shared.part[face]] == part
        side = {"left": -1, "right": 1}.get(landmark.split()[0], 0)
        # A keypoint of the middle may lie on the edge of a fin, which is that thin.
        assert np.sign(place[2]) == side if side else abs(place[2]) < 0.003
        assert np.linalg.norm(_parts(name, vertices)[part] - place, axis=1).min() < 1e-6
    seen = np.zeros(len(places), int)
    ways = [(azimuth, elevation) for azimuth in np.arange(0.2, 6.2, 0.5) for elevation in (-0.5, 0.15, 0.6)]
    for way in ways:
        view = _view(name, vertices, *way)
        seen += transfer(shared.landmarks(0), view, view).visible
    # From an eighth of all sides at least.
    assert seen.min() > len(ways) / 8, shared.landmark_names[int(seen.argmin())]
    left = [k for k, landmark in enumerate(shared.landmark_names) if landmark.startswith("left ")]
    right = [shared.landmark_names.index("right" + shared.landmark_names[k][4:]) for k in left]
    assert places[left] * (1, 1, -1) == pytest.approx(places[right], abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_typical_instances_differ_in_outline(name: str) -> None:
    kind = category(name)
    assert len(kind.kinds) >= 5
    outlines: dict[str, np.ndarray] = {}
    for typical in kind.kinds:
        vertices = _kind(name, typical)
        outlines[typical] = np.stack(
            [_view(name, vertices, *way, 96).object >= 0 for way in ((np.pi / 2, 0.0), (0.7, 0.4))]
        )
    for one, two in combinations(outlines, 2):
        common = (outlines[one] & outlines[two]).sum() / (outlines[one] | outlines[two]).sum()
        assert common < 0.95, (one, two)


@pytest.mark.parametrize("name", NAMES)
def test_no_two_parts_share_a_surface(name: str) -> None:
    """Parts may cross in a line. Where they lie on each other over an area, both would flicker."""
    kind, shared = category(name), topology(name)
    for seed, way in enumerate(VIEWS):
        vertices = kind.vertices(*_drawn(kind, seed))
        camera = _camera(vertices, *way)
        depths = [
            rasterise(vertices, shared.faces[shared.part == part], camera, one_sided=True).depth
            for part in range(len(shared.part_names))
        ]
        near = np.sort(np.nan_to_num(np.stack(depths), nan=np.inf), axis=0)[:2]
        both = np.isfinite(near[1])
        close = np.zeros(both.shape, bool)
        close[both] = near[1][both] - near[0][both] < 2e-4 * np.ptp(vertices, axis=0).max()
        area = close[1:-1, 1:-1] & close[:-2, 1:-1] & close[2:, 1:-1] & close[1:-1, :-2] & close[1:-1, 2:]
        assert not area.any()


def _moved(name: str, pose: str) -> set[str]:
    """The parts that a number of the pose moves on the mean instance."""
    kind = category(name)
    shape, rest = kind.mean_shape(), kind.rest()
    changed = rest | {pose: kind.poses[pose][2]}
    return {
        before.name
        for before, after in zip(kind.build(shape, rest), kind.build(shape, changed), strict=True)
        if not np.allclose(before.vertices, after.vertices, rtol=0, atol=1e-9)
    }


def test_poses_move_what_they_are_named_after() -> None:
    assert _moved("aeroplane", "flaps") == {"left flap", "right flap"}
    assert _moved("aeroplane", "ailerons") == {"left aileron", "right aileron"}
    assert _moved("aeroplane", "elevators") == {"left elevator", "right elevator"}
    assert _moved("aeroplane", "rudder") == {"rudder"}
    assert _moved("aeroplane", "propeller") == {"upper blade", "lower blade"}
    assert _moved("car", "steer") == {
        f"{side} front {part}" for side in ("left", "right") for part in ("tyre", "rim", "hub", *(f"spoke {k}" for k in range(1, 6)))
    }  # fmt: skip
    assert _moved("fish", "gape") == {"lower jaw", "mouth"}
    assert _moved("fish", "pectoral_left") == {"left pectoral fin"}
    assert "lower jaw" not in _moved("fish", "bend")
    assert {"tail fin", "anal fin", "dorsal fin", "body"} <= _moved("fish", "bend")


def test_gear_is_inside_when_retracted() -> None:
    kind = category("aeroplane")
    shape = dict(kind.kinds["airliner"])
    down, up = (kind.vertices(shape, kind.rest() | {"gear": gear}) for gear in (1.0, 0.0))
    wheels = {"left wheel", "right wheel", "nose wheel"}
    assert wheels <= _seen_parts("aeroplane", down)
    assert not wheels & _seen_parts("aeroplane", up)


def test_both_front_wheels_steer_to_the_same_side() -> None:
    kind = category("car")
    vertices = kind.vertices(kind.mean_shape(), kind.rest() | {"steer": 20.0})
    for side in ("left", "right"):
        tyre = _parts("car", vertices)[f"{side} front tyre"]
        ahead = tyre[:, 0] > tyre[:, 0].mean()
        # Angles are positive to the right.
        assert tyre[ahead, 2].mean() - tyre[~ahead, 2].mean() > 0.1


@pytest.mark.parametrize(
    ("name", "typical", "present", "absent"),
    [
        ("aeroplane", "airliner", {"left engine", "left window 4", "left winglet"}, {"upper blade", "left strut"}),
        ("aeroplane", "glider", {"canopy", "left winglet"}, {"upper blade", "left engine", "left window 4", "left strut"}),
        ("aeroplane", "high wing", {"upper blade", "left strut", "right window 2"}, {"left engine", "left exhaust"}),
        ("car", "saloon", {"left rear window", "left mirror", "rear plate"}, set()),
        ("car", "van", {"left front window", "rear window"}, {"left rear window"}),
    ],
)  # fmt: skip
def test_what_a_kind_lacks_is_out_of_sight(
    name: str, typical: str, present: set[str], absent: set[str]
) -> None:
    seen = _seen_parts(name, _kind(name, typical))
    assert present <= seen
    assert not absent & seen


def test_a_bent_fish_is_as_long_as_a_straight_one() -> None:
    kind = category("fish")
    lengths: list[float] = []
    for bend, wave in ((0.0, 0.0), (1.0, 0.0), (-1.0, 1.0), (0.0, -1.0)):
        body = kind.build(kind.mean_shape(), kind.rest() | {"bend": bend, "wave": wave})[0]
        ridges = body.vertices[:-2].reshape(body.rings, body.segments, 3)[:, [0, body.segments // 2]]
        steps = np.linalg.norm(np.diff(ridges, axis=0), axis=-1)
        lengths.append(float(steps.sum()))
    assert lengths == pytest.approx([lengths[0]] * 4, rel=2e-3)
    straight, bent = (kind.vertices(kind.mean_shape(), kind.rest() | {"bend": bend}) for bend in (0.0, 1.0))
    assert np.ptp(bent[:, 2]) > np.ptp(straight[:, 2]) + 0.1


def test_a_bed_leaves_room_for_the_wheels() -> None:
    kind = category("car")
    shape = dict(kind.kinds["pickup"]) | {"bed": 0.8}
    body = kind.build(shape, kind.rest())[0]
    top = body.vertices[0 : -2 : body.segments]
    over = np.abs(top[:, 0] + shape["base"]) < shape["wheel"]
    assert top[over, 1].min() < shape["deck"] - 0.2
    seen = _seen_parts("car", kind.vertices(shape, kind.rest()))
    assert "left rear tyre" in seen
    above = _view("car", kind.vertices(shape, kind.rest()), np.pi, 1.2)
    names = topology("car").part_names
    assert not {names.index(f"{side} rear arch") for side in ("left", "right")} & set(np.unique(above.part))


def _pipe() -> Solid:
    return tube(
        "pipe", "metal", [(0, 0, 0), (2, 0, 0), (4, 0, 0)], [1.0] * 3, rings=21, segments=64, bulge=(0.0, 0.0)
    )


def test_a_cover_follows_a_tube_at_its_height() -> None:
    pipe = _pipe()
    along, around = np.meshgrid(np.linspace(0.3, 0.7, 5), np.linspace(-0.1, 0.1, 7), indexing="ij")
    for part in (pipe, pipe.replaced(pipe.vertices * (1, 1, -1)), pipe.replaced(pipe.vertices * (-1, 1, 1))):
        pane = cover("pane", "glass", part, along, around, proud=0.05, sunk=0.1)
        rings = pane.vertices[:-2].reshape(5, 14, 3)
        radius = np.hypot(rings[..., 1], rings[..., 2])
        # A polygon of 64 sides is up to 0.0012 inside of its circle.
        assert radius[:, :7] == pytest.approx(np.full((5, 7), 1.05), abs=2e-3)
        assert radius[:, 7:] == pytest.approx(np.full((5, 7), 0.90), abs=2e-3)
        assert rings[:, 3, 1] == pytest.approx(np.full(5, 1.05), abs=2e-3)
        assert np.abs(rings[:, 3, 2]).max() < 1e-12
    hill = cover("hill", "glass", pipe, along, around, proud=np.abs(around))
    assert np.hypot(*hill.vertices[:7, 1:].T) == pytest.approx(1 + np.abs(around[0]), abs=2e-3)
    with pytest.raises(ShapeError, match="expected a tube to lie on, got a slab: crate"):
        cover("pane", "glass", box("crate", "wood", (0, 0, 0), (1, 1, 1)), along, around, proud=0.1)


def test_a_loft_of_squares_is_a_box() -> None:
    square = np.array(((0, 1, 1), (0, 1, -1), (0, -1, -1), (0, -1, 1)), np.float64)
    made = loft("crate", "wood", np.stack((square, square + np.array((3.0, 0, 0)))))
    faces = made.faces()
    a, b, c = (made.vertices[faces[:, k]] for k in range(3))
    assert np.einsum("nc,nc->", a, np.cross(b, c)) / 6 == pytest.approx(12.0)
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2 == pytest.approx(2 * 4 + 4 * 6)
    other = mirrored(made.replaced(made.vertices + np.array((0, 0, 5.0))), "other crate")
    assert (other.name, other.finish) == ("other crate", "wood")
    assert other.vertices[:, 2].max() == -4
    a, b, c = (other.vertices[other.faces()[:, k]] for k in range(3))
    assert np.einsum("nc,nc->", a, np.cross(b, c)) / 6 == pytest.approx(12.0)
