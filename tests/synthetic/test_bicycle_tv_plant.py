"""Bicycles, televisions and potted plants: one topology, closed, symmetric where they should be, and varied."""

from itertools import combinations

import numpy as np
import pytest

from homolog.synthetic.categories.bicycle import wire
from homolog.synthetic.category import Numbers, category, topology
from homolog.synthetic.modelling.panels import sheet
from homolog.synthetic.modelling.solids import Solid
from homolog.synthetic.rendering.rasteriser import resolved
from homolog.synthetic.rendering.scene import Body, Scene
from homolog.synthetic.rendering.view import View
from homolog.synthetic.rendering.viewpoint import framed
from homolog.synthetic.transfer import transfer

NAMES = ("bicycle", "tv_monitor", "potted_plant")
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


def _mean(name: str) -> dict[str, Solid]:
    kind = category(name)
    return {solid.name: solid for solid in kind.build(kind.mean_shape(), kind.rest())}


def _view(name: str, vertices: np.ndarray, azimuth: float, elevation: float, size: int = 128) -> View:
    camera = framed(
        vertices,
        azimuth=azimuth,
        elevation=elevation,
        roll=0.0,
        focal=2.0,
        fill=0.95,
        shift=(0.0, 0.0),
        size=(size, size),
    )
    return View.of(Scene.of([Body(topology=topology(name), vertices=vertices, key="it")]), camera)


def _around(name: str, vertices: np.ndarray, size: int = 128) -> list[View]:
    turns = np.linspace(0.2, 0.2 + 2 * np.pi, 8, endpoint=False)
    return [_view(name, vertices, float(turn), rise, size) for turn in turns for rise in (-0.35, 0.1, 0.9)]


def _same_places(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two sets of points are equal, whatever their order."""
    distance = np.linalg.norm(one[:, None] - other[None], axis=2)
    return bool(max(distance.min(axis=0).max(), distance.min(axis=1).max()) < 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_all_instances_have_the_same_parts_and_triangles(name: str) -> None:
    shared, kind = topology(name), category(name)
    assert 2000 <= len(shared.faces) <= 12000
    grids = [(s.name, s.kind, s.rings, s.segments, len(s.vertices)) for s in _mean(name).values()]
    for shape, pose in _draws(name, 10):
        solids = kind.build(shape, pose)
        assert [(s.name, s.kind, s.rings, s.segments, len(s.vertices)) for s in solids] == grids
        assert np.isfinite(np.concatenate([solid.vertices for solid in solids])).all()


@pytest.mark.parametrize("name", NAMES)
def test_every_part_encloses_a_volume_from_outside(name: str) -> None:
    shared, kind = topology(name), category(name)
    for shape, pose in _draws(name, 12, seed=1):
        a, b, c = np.moveaxis(kind.vertices(shape, pose)[shared.faces], 1, 0)
        volume = np.bincount(shared.part, np.einsum("nc,nc->n", a, np.cross(b, c)) / 6)
        assert (volume > 0).all(), shared.part_names[int(volume.argmin())]


@pytest.mark.parametrize("name", NAMES)
def test_no_triangle_is_seen_from_behind(name: str) -> None:
    kind = category(name)
    for number, (shape, pose) in enumerate(_draws(name, 6, seed=2)):
        view = _view(name, kind.vertices(shape, pose), 1.1 * number, 0.3, size=192)
        both = resolved(view.seen, view.scene.faces, view.viewpoint, one_sided=False)
        differ = (both.face != view.raster.face) & ~np.isclose(both.depth, view.depth, rtol=2e-3)
        assert (view.raster.face >= 0).sum() > 1500
        assert differ.sum() <= 0.001 * (view.raster.face >= 0).sum()


@pytest.mark.parametrize("name", NAMES)
def test_the_mean_instance_is_its_own_mirror_image(name: str) -> None:
    solids = _mean(name)
    sided = 0
    for part, solid in solids.items():
        if part in RIGHT_ONLY or part.split(" ", 1)[-1] in OPPOSED:
            continue
        other = (
            part.replace("left ", "right ") if part.startswith("left ") else part.replace("right ", "left ")
        )
        sided += other != part
        assert _same_places(solid.vertices * MIRROR, solids[other].vertices), part
        if part.startswith("left "):
            assert solid.vertices[:, 2].mean() < 0 < solids[other].vertices[:, 2].mean()
    assert sided >= 4


def test_cranks_and_pedals_are_opposite_each_other() -> None:
    solids = _mean("bicycle")
    axle = solids["crank axle"].vertices.mean(axis=0)
    for part in OPPOSED:
        assert _same_places(2 * axle - solids[f"left {part}"].vertices, solids[f"right {part}"].vertices), (
            part
        )
    assert all(solids[part].vertices[:, 2].min() > 0 for part in RIGHT_ONLY)


@pytest.mark.parametrize("name", NAMES)
def test_keypoints_lie_on_their_parts_and_mirror_each_other(name: str) -> None:
    shared, kind = topology(name), category(name)
    assert 18 <= len(shared.landmark_names) <= 28
    corners = shared.faces[shared.landmark_face]
    places = np.einsum("kc,kcx->kx", shared.landmark_bary, shared.canonical[corners])
    by_name = dict(zip(shared.landmark_names, places, strict=True))
    assert (shared.landmark_bary.sum(axis=1) == 1).all()
    for part, anchor in zip(shared.part[shared.landmark_face], kind.anchors.values(), strict=True):
        assert shared.part_names[part] == anchor.part
    middle = (shared.canonical[:, 2].max() + shared.canonical[:, 2].min()) / 2
    origin = -_offset(name)[2]
    assert abs(middle) < 1e-12
    for left, place in by_name.items():
        if "left" not in left or "pedal" in left:
            continue
        mirrored = by_name[left.replace("left", "right")] * MIRROR + (0, 0, 2 * origin)
        assert place == pytest.approx(mirrored, abs=1e-9), left
    gaps = np.linalg.norm(places[:, None] - places[None], axis=2)[np.triu_indices(len(places), 1)]
    assert gaps.min() > 0.005


def _offset(name: str) -> np.ndarray:
    """How far the model's origin was moved to make canonical coordinates, in those."""
    vertices = np.concatenate([solid.vertices for solid in _mean(name).values()])
    return (vertices.max(axis=0) + vertices.min(axis=0)) / 2 / np.ptp(vertices, axis=0).max()


@pytest.mark.parametrize("name", NAMES)
def test_each_keypoint_is_in_sight_from_somewhere_and_many_at_once(name: str) -> None:
    kind = category(name)
    instances = [
        kind.vertices(kind.mean_shape(), kind.rest()),
        *(kind.vertices(*draw) for draw in _draws(name, 2)),
    ]
    marks = topology(name).landmarks(0)
    seen = [transfer(marks, view, view).visible for vertices in instances for view in _around(name, vertices)]
    assert np.any(seen[:24], axis=0).all()
    assert np.sum(seen, axis=1).mean() >= 6


@pytest.mark.parametrize("name", NAMES)
def test_kinds_look_different(name: str) -> None:
    kind = category(name)
    assert len(kind.kinds) >= 4
    shapes: list[np.ndarray] = []
    for numbers in kind.kinds.values():
        vertices = kind.vertices(numbers, kind.rest())
        vertices = vertices - (vertices.max(axis=0) + vertices.min(axis=0)) / 2
        shapes.append(vertices / np.ptp(vertices, axis=0).max())
    for one, other in combinations(shapes, 2):
        assert np.linalg.norm(one - other, axis=1).mean() > 0.02
    apart = [np.linalg.norm(one - other, axis=1).mean() for one, other in combinations(shapes, 2)]
    assert np.mean(apart) > 0.05


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


def test_poses_are_all_tested() -> None:
    assert {(case[0], case[1]) for case in MOVES} == {
        (name, number) for name in NAMES for number in category(name).poses
    }


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
def test_what_an_instance_does_not_have_is_never_seen(
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


@pytest.mark.parametrize("name", NAMES)
def test_the_mean_instance_shows_every_part(name: str) -> None:
    # Patterns and the tests of visibility live on it: a part that is tucked away there has no place of its own.
    kind = category(name)
    views = _around(name, kind.vertices(kind.mean_shape(), kind.rest()), size=256)
    seen = np.unique(np.concatenate([np.unique(view.part) for view in views]))
    hidden = set(range(len(topology(name).part_names))) - set(seen.tolist())
    assert {topology(name).part_names[part] for part in hidden} == set()


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


def test_a_sheet_is_closed_and_its_places_are_where_it_says() -> None:
    y, z = np.meshgrid(np.linspace(0, 2, 5), np.linspace(-1, 1, 4), indexing="ij")
    front = np.stack((np.full_like(y, 0.1), y, z), axis=-1)
    made = sheet("pane", "glass", front, front * (0, 1, 1))
    for row in range(5):
        for column in range(4):
            assert made.vertices[
                made.vertex(row / 4 if 0 < row < 4 else abs(row / 4 - 1e-3), column / 8)
            ] == (pytest.approx(front[row, column]))
    assert made.vertices[made.vertex(0, 0)] == pytest.approx((0.05, 0, 0))
    a, b, c = np.moveaxis(made.vertices[made.faces()], 1, 0)
    # 0.1 thick, 2 high, 2 wide.
    assert np.einsum("nc,nc->n", a, np.cross(b, c)).sum() / 6 == pytest.approx(0.4)


def test_a_wire_keeps_its_thickness_and_does_not_twist() -> None:
    # Right, forwards, down, back: no direction is one that this path never comes near.
    path = [(0, 0, 0), (0, 0, 1), (1, 0, 1.4), (1.1, -1, 1.4), (0, -1.5, 1.4)]
    made = wire("bar", "metal", path, 0.1, start=(1.0, 0.0, 0.0), rings=41, segments=8)
    rings = made.vertices[:-2].reshape(41, 8, 3)
    centres = rings.mean(axis=1)
    spokes = rings - centres[:, None]
    assert np.linalg.norm(spokes, axis=2) == pytest.approx(0.1)
    assert centres[::10] == pytest.approx(np.array(path, float))
    assert spokes[0, 0] == pytest.approx((0.1, 0, 0))
    # A circle turns with the path and no farther: each spoke as far as the tangent does, at most.
    ahead = np.cross(spokes[:, 0], spokes[:, 2])
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    bend = np.linalg.norm(np.diff(ahead, axis=0), axis=1)
    assert (np.linalg.norm(np.diff(spokes, axis=0), axis=2).max(axis=1) / 0.1 <= 1.02 * bend + 1e-9).all()


def test_a_wire_on_a_straight_path_is_a_prism() -> None:
    made = wire("bar", "metal", [(0, 0, 0), (0, 0, 3.0)], 0.5, start=(0.0, 1.0, 0.0), rings=4, segments=4)
    assert made.vertices[made.vertex(1 / 3, 0.0)] == pytest.approx((0, 0.5, 1))
    a, b, c = np.moveaxis(made.vertices[made.faces()], 1, 0)
    assert np.einsum("nc,nc->n", a, np.cross(b, c)).sum() / 6 == pytest.approx(0.5 * 3)
