"""The procedural categories: one topology each, closed, symmetric, and varied in shape, pose and outline."""

from itertools import combinations

import numpy as np
import pytest

from homolog.synthetic.category import Numbers, categories, category, topology
from homolog.synthetic.rendering.rasteriser import rasterise
from homolog.synthetic.rendering.scene import Body, Scene, Topology
from homolog.synthetic.rendering.view import View
from homolog.synthetic.rendering.viewpoint import Viewpoint, framed
from homolog.synthetic.transfer import transfer

DETAILED = ("aeroplane", "bicycle", "car", "fish", "potted_plant", "tv_monitor")
"""Categories that are symmetric at rest, and have twenty keypoints or so."""
WAYS = ((0.5, 0.3), (2.3, 0.1), (4.0, 0.6), (5.5, -0.3))
"""Azimuth and elevation of a few cameras."""
RIGHT_ONLY = {
    "chainring",
    *(f"chainring arm {k}" for k in range(1, 6)),
    "sprocket",
    "upper chain",
    "lower chain",
}
OPPOSED = {"crank", "pedal", "pedal axle"}
MIRROR = np.array((1.0, 1.0, -1.0))
MOVES = (
    ("bicycle", "steer", "road", ("front tyre", "left grip", "stem"), ("rear tyre", "head tube", "saddle")),
    ("bicycle", "crank", "road", ("left crank", "right pedal"), ("front tyre", "crank axle", "left grip")),
    ("tv_monitor", "tilt", "monitor", ("screen", "bezel", "back"), ("base", "neck")),
    ("tv_monitor", "swivel", "monitor", ("screen", "neck"), ("base",)),
    ("tv_monitor", "spread", "portable", ("left antenna", "right antenna"), ("screen", "left foot")),
    ("tv_monitor", "antenna_pitch", "portable", ("left antenna",), ("screen", "right foot")),
    ("potted_plant", "bend_ahead", "bushy", ("stem", "left leaf 9"), ("pot", "soil", "saucer")),
    ("potted_plant", "bend_aside", "bushy", ("stem", "right leaf 9"), ("pot", "soil", "saucer")),
    ("potted_plant", "lift", "bushy", ("left leaf 1", "right leaf 12"), ("stem", "pot")),
    ("potted_plant", "sag", "bushy", ("left leaf 1", "right leaf 12"), ("stem", "pot")),
    ("potted_plant", "stir", "bushy", ("left leaf 2", "right leaf 12"), ("stem", "pot")),
    ("potted_plant", "turn", "bushy", ("left leaf 2", "right leaf 12"), ("stem", "pot")),
)
"""Category, number of the pose, kind, parts that it moves, parts that it does not."""


def _draws(name: str, count: int, seed: int = 0) -> list[tuple[Numbers, Numbers]]:
    kind, random = category(name), np.random.default_rng(seed)
    return [(kind.draw_shape(random), kind.draw_pose(random)) for _ in range(count)]


def _mean(name: str) -> np.ndarray:
    kind = category(name)
    return kind.vertices(kind.mean_shape(), kind.rest())


def _mean_parts(name: str) -> dict[str, np.ndarray]:
    return _parts(name, _mean(name))


def _parts(name: str, vertices: np.ndarray) -> dict[str, np.ndarray]:
    """The vertices of each part."""
    shared = topology(name)
    return {
        part: vertices[np.unique(shared.faces[shared.part == index])]
        for index, part in enumerate(shared.part_names)
    }


def _camera(vertices: np.ndarray, azimuth: float, elevation: float, size: int = 128) -> Viewpoint:
    return framed(
        vertices, azimuth=azimuth, elevation=elevation, roll=0.0, focal=2.0, fill=0.95, shift=(0.0, 0.0), size=(size, size)
    )  # fmt: skip


def _view(name: str, vertices: np.ndarray, azimuth: float, elevation: float, size: int = 128) -> View:
    scene = Scene.of([Body(topology=topology(name), vertices=vertices, key="it")])
    return View.of(scene, _camera(vertices, azimuth, elevation, size))


def _around(name: str, vertices: np.ndarray, size: int = 128) -> list[View]:
    turns = np.linspace(0.2, 0.2 + 2 * np.pi, 8, endpoint=False)
    return [_view(name, vertices, float(turn), rise, size) for turn in turns for rise in (-0.35, 0.1, 0.9)]


def _seen_parts(name: str, vertices: np.ndarray) -> set[str]:
    shown = [np.unique(_view(name, vertices, *way).part) for way in WAYS]
    return {topology(name).part_names[part] for part in np.unique(np.concatenate(shown)) if part >= 0}


def _same_places(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two sets of points are equal in any order."""
    distance = np.linalg.norm(one[:, None] - other[None], axis=2)
    return bool(max(distance.min(axis=0).max(), distance.min(axis=1).max()) < 1e-9)


def _swapped(part: str) -> str:
    """The name of the part on the other side."""
    return part.replace("left ", "right ") if part.startswith("left ") else part.replace("right ", "left ")


@pytest.mark.parametrize("name", categories())
def test_all_instances_have_the_same_closed_surface(name: str) -> None:
    kind, shared = category(name), topology(name)
    mean = kind.build(kind.mean_shape(), kind.rest())
    assert (2_000 if name in DETAILED else 100) < len(shared.faces) < 14_000
    assert len(shared.landmark_names) >= 12
    assert np.ptp(shared.canonical, axis=0).max() == pytest.approx(1.0)
    assert _open_edges(shared) == 0
    assert tuple(part.name for part in mean) == shared.part_names
    assert len({part.name for part in mean}) == len(mean)
    everywhere = [part for part in shared.part_names if part.startswith("left ")]
    assert {f"right {part[5:]}" for part in everywhere} <= set(shared.part_names)
    extremes = [kind.rest() | {key: value[end] for key, value in kind.poses.items()} for end in (0, 2)]
    draws = _draws(name, 10) + [(dict(shape), pose) for shape in kind.kinds.values() for pose in extremes]
    for shape, pose in draws:
        for part, like in zip(kind.build(shape, pose), mean, strict=True):
            assert (part.name, part.finish) == (like.name, like.finish)
            assert part.vertices.shape == like.vertices.shape
            assert np.isfinite(part.vertices).all()
            # Anti-clockwise from outside is decided on the mean instance: it must be right on all of them.
            assert np.array_equal(part.faces(), like.faces()), part.name


def _open_edges(shared: Topology) -> int:
    """Edges, by position, that do not have as many triangles on the one side as on the other."""
    places = np.unique(shared.canonical.round(9), axis=0, return_inverse=True)[1].reshape(-1)[shared.faces]
    balance: dict[tuple[int, int], int] = {}
    for a, b in np.concatenate([places[:, [k, (k + 1) % 3]] for k in range(3)]).tolist():
        if a != b:
            edge, sign = ((a, b), 1) if a < b else ((b, a), -1)
            balance[edge] = balance.get(edge, 0) + sign
    return sum(value != 0 for value in balance.values())


@pytest.mark.parametrize("name", DETAILED)
def test_every_part_encloses_a_volume_from_outside(name: str) -> None:
    shared, kind = topology(name), category(name)
    for shape, pose in _draws(name, 12, seed=1):
        a, b, c = np.moveaxis(kind.vertices(shape, pose)[shared.faces], 1, 0)
        volume = np.bincount(shared.part, np.einsum("nc,nc->n", a, np.cross(b, c)) / 6)
        assert (volume > 0).all(), shared.part_names[int(volume.argmin())]


@pytest.mark.parametrize("name", DETAILED)
def test_no_triangle_is_seen_from_behind(name: str) -> None:
    kind, faces = category(name), topology(name).faces
    for number, draw in enumerate(_draws(name, 6, seed=2)):
        vertices = kind.vertices(*draw)
        camera = _camera(vertices, *WAYS[number % len(WAYS)], size=192)
        both, front = (rasterise(vertices, faces, camera, one_sided=sided) for sided in (False, True))
        shown = front.face >= 0
        assert shown.sum() > 1500
        assert ((both.face >= 0) == shown).mean() > 0.999
        assert (
            (both.face != front.face) & ~np.isclose(both.depth, front.depth, rtol=2e-3)
        ).sum() <= 0.001 * shown.sum()


@pytest.mark.parametrize("name", DETAILED)
def test_the_mean_instance_is_its_own_mirror_image(name: str) -> None:
    parts = _mean_parts(name)
    assert sum(part.startswith("left ") for part in parts) >= 2
    for part, vertices in parts.items():
        if part in RIGHT_ONLY or part.split(" ", 1)[-1] in OPPOSED:
            continue
        assert _same_places(vertices * MIRROR, parts[_swapped(part)]), part
        if part.startswith("left "):
            assert vertices[:, 2].mean() < 0 < parts[_swapped(part)][:, 2].mean()


@pytest.mark.parametrize("name", DETAILED)
def test_keypoints_lie_on_their_parts_and_mirror_each_other(name: str) -> None:
    shared, kind = topology(name), category(name)
    vertices = _mean(name)
    places = np.einsum("kc,kcx->kx", shared.landmark_bary, vertices[shared.faces[shared.landmark_face]])
    by_name = dict(zip(shared.landmark_names, places, strict=True))
    assert 18 <= len(places) <= 40
    assert (shared.landmark_bary.sum(axis=1) == 1).all()
    for mark, face in zip(shared.landmark_names, shared.landmark_face, strict=True):
        part = kind.anchors[mark].part
        assert shared.part_names[shared.part[face]] == part
        assert np.linalg.norm(_parts(name, vertices)[part] - by_name[mark], axis=1).min() < 1e-6
        if "left" in mark and "pedal" not in mark:
            assert by_name[mark][2] < 0
            assert by_name[mark] == pytest.approx(
                by_name[mark.replace("left", "right")] * MIRROR, abs=1e-9
            ), mark
    gaps = np.linalg.norm(places[:, None] - places[None], axis=2)[np.triu_indices(len(places), 1)]
    assert gaps.min() > 0


@pytest.mark.parametrize("name", DETAILED)
def test_each_keypoint_is_visible_from_somewhere_and_many_at_once(name: str) -> None:
    kind = category(name)
    instances = [_mean(name), *(kind.vertices(*draw) for draw in _draws(name, 2))]
    marks = topology(name).landmarks(0)
    seen = [transfer(marks, view, view).visible for vertices in instances for view in _around(name, vertices)]
    assert np.any(seen[:24], axis=0).all()
    assert np.sum(seen, axis=1).mean() >= 6


@pytest.mark.parametrize("name", DETAILED)
def test_kinds_differ_in_shape_and_outline(name: str) -> None:
    kind = category(name)
    assert len(kind.kinds) >= 4
    shapes: dict[str, np.ndarray] = {}
    outlines: dict[str, np.ndarray] = {}
    for typical, numbers in kind.kinds.items():
        vertices = kind.vertices(dict(numbers), kind.rest())
        centred = vertices - (vertices.max(axis=0) + vertices.min(axis=0)) / 2
        shapes[typical] = centred / np.ptp(centred, axis=0).max()
        outlines[typical] = np.stack(
            [_view(name, vertices, *way, 96).object >= 0 for way in ((np.pi / 2, 0.0), (0.7, 0.4))]
        )
    pairs = list(combinations(kind.kinds, 2))
    apart = [np.linalg.norm(shapes[one] - shapes[two], axis=1).mean() for one, two in pairs]
    common = [(outlines[a] & outlines[b]).sum() / (outlines[a] | outlines[b]).sum() for a, b in pairs]
    assert min(apart) > 0.015, pairs[int(np.argmin(apart))]
    assert np.mean(apart) > 0.045
    assert max(common) < 0.95, pairs[int(np.argmax(common))]


@pytest.mark.parametrize("name", ["aeroplane", "car", "fish"])
def test_no_two_parts_share_a_surface(name: str) -> None:
    """Parts may cross in a line. Where they lie on each other over an area, both would flicker."""
    kind, shared = category(name), topology(name)
    for seed, way in enumerate(WAYS):
        vertices = kind.vertices(*_draws(name, 1, seed)[0])
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


@pytest.mark.parametrize("name", ["bicycle", "tv_monitor", "potted_plant"])
def test_the_mean_instance_shows_every_part(name: str) -> None:
    # Patterns and the tests of visibility live on it: a part that is tucked away there has no place of its own.
    kind = category(name)
    views = _around(name, kind.vertices(kind.mean_shape(), kind.rest()), size=256)
    seen = np.unique(np.concatenate([np.unique(view.part) for view in views]))
    hidden = set(range(len(topology(name).part_names))) - set(seen.tolist())
    assert {topology(name).part_names[part] for part in hidden} == set()


@pytest.mark.parametrize(("name", "number", "kind_name", "moves", "stays"), MOVES)
def test_a_pose_moves_what_it_should_and_nothing_else(
    name: str, number: str, kind_name: str, moves: tuple[str, ...], stays: tuple[str, ...]
) -> None:
    kind = category(name)
    low, _, high = kind.poses[number]
    ends = [
        {solid.name: solid for solid in kind.build(kind.kinds[kind_name], {**kind.rest(), number: value})}
        for value in (low, 0.9 * high)
    ]
    for part in moves:
        assert np.linalg.norm(ends[0][part].vertices - ends[1][part].vertices, axis=1).max() > 0.01, part
    for part in stays:
        assert np.array_equal(ends[0][part].vertices, ends[1][part].vertices), part


def test_every_pose_number_has_a_case() -> None:
    assert {(case[0], case[1]) for case in MOVES} == {
        (name, number)
        for name in ("bicycle", "tv_monitor", "potted_plant")
        for number in category(name).poses
    }


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


@pytest.mark.parametrize(
    ("name", "number", "limit", "parts"),
    [
        ("bicycle", "guard", 0.5, ("front mudguard", "rear mudguard")),
        ("tv_monitor", "feet", 0.45, ("left foot", "right foot")),
        ("tv_monitor", "feet", -0.55, ("neck", "base")),
        ("tv_monitor", "antenna", 0.15, ("left antenna", "right antenna", "antenna base")),
        ("potted_plant", "arm", 0.075, ("left arm", "right arm")),
        ("potted_plant", "saucer", 1.05, ("saucer",)),
    ],
)
def test_parts_that_an_instance_lacks_are_not_visible(
    name: str, number: str, limit: float, parts: tuple[str, ...]
) -> None:
    kind, names = category(name), topology(name).part_names
    wanted = [names.index(part) for part in parts]
    with_it, without = 0, 0
    for shape, pose in _draws(name, 24, seed=3):
        has = shape[number] >= limit if limit > 0 else shape[number] < -limit
        if (with_it if has else without) >= 4:
            continue
        views = _around(name, kind.vertices(shape, pose), size=96)
        seen = [np.isin(view.part, wanted).any() for view in views]
        assert any(seen) == has
        with_it, without = with_it + has, without + (not has)
    assert with_it >= 2
    assert without >= 2


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
def test_parts_that_a_kind_lacks_are_not_visible(
    name: str, typical: str, present: set[str], absent: set[str]
) -> None:
    seen = _seen_parts(
        name, category(name).vertices(dict(category(name).kinds[typical]), category(name).rest())
    )
    assert present <= seen
    assert not absent & seen


def test_cranks_and_pedals_are_opposite_each_other() -> None:
    parts = _mean_parts("bicycle")
    axle = parts["crank axle"].mean(axis=0)
    for part in OPPOSED:
        assert _same_places(2 * axle - parts[f"left {part}"], parts[f"right {part}"]), part
    assert all(parts[part][:, 2].min() > 0 for part in RIGHT_ONLY)


def test_bicycles_stand_on_the_ground_and_saddles_above_the_frame() -> None:
    for shape, pose in _draws("bicycle", 30, seed=4):
        parts = {
            solid.name: solid.vertices for solid in category("bicycle").build(shape, {**pose, "steer": 0.0})
        }
        lowest = [parts[tyre][:, 1].min() for tyre in ("front tyre", "rear tyre")]
        assert lowest == pytest.approx([0.0, 0.0], abs=1e-9)
        assert min(part[:, 1].min() for part in parts.values()) > -1e-9
        assert parts["saddle"][:, 1].max() > parts["seat tube"][:, 1].max()
        assert parts["front tyre"][:, 0].min() > parts["rear tyre"][:, 0].max() - 0.02
        bottom = parts["bottom bracket"].mean(axis=0)
        for tyre in ("front tyre", "rear tyre"):
            assert np.linalg.norm(parts[tyre][:, :2] - bottom[:2], axis=1).min() > 0.02


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
