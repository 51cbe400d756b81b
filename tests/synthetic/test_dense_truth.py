"""Dense truth: hand-made scenes, and real categories against properties that exact labels must have."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from homolog.core.coords import identity_grid
from homolog.synthetic.category import category, topology
from homolog.synthetic.correspondence import dense_truth, world_points
from homolog.synthetic.rendering.scene import Body, Scene
from homolog.synthetic.rendering.view import View
from homolog.synthetic.rendering.viewpoint import Viewpoint, framed
from homolog.synthetic.transfer import Tolerance, transfer

Quad = Callable[..., Body]


def _flat_camera(size: tuple[int, int] = (16, 16), x: float = 0.0) -> Viewpoint:
    """Looks along z from (x, 0, 0); at depth 4 a pixel is 0.5 wide; pixel (8, 8) is on the axis."""
    return Viewpoint(
        K=np.array(((8.0, 0, 8), (0, 8, 8), (0, 0, 1))), R=np.eye(3), t=np.array((-x, 0, 0.0)), size=size
    )


def _wall(
    quad: Quad, name: str = "wall", z: float = 4.0, low: float = -9.0, high: float = 9.0, key: str = "wall"
) -> Body:
    return quad(name, [(low, -9, z), (high, -9, z), (high, 9, z), (low, 9, z)], key)


def _instance(seed: int, azimuth: float, size: tuple[int, int] = (96, 96)) -> View:
    kind, random = category("quadruped"), np.random.default_rng(seed)
    vertices = kind.vertices(kind.draw_shape(random), kind.draw_pose(random))
    camera = framed(
        vertices,
        azimuth=azimuth,
        elevation=0.3,
        roll=0.05,
        focal=1.5,
        fill=0.9,
        shift=(0.02, -0.03),
        size=size,
    )
    return View.of(Scene.of([Body(topology=topology("quadruped"), vertices=vertices, key="animal")]), camera)


def test_a_view_corresponds_to_itself_pixel_by_pixel() -> None:
    view = _instance(1, 0.8)
    for truth in dense_truth(view, view):
        assert truth.fg.sum() > 1000
        assert (truth.valid == truth.fg).all()
        assert (truth.covisible == truth.fg).all()
        grid = truth.field().grid[0].numpy()
        expected = identity_grid(view.size).numpy()
        assert np.abs(grid - expected)[:, truth.valid].max() < 1e-6
        assert np.isnan(truth.xy[~truth.valid]).all()


def test_the_field_lives_on_the_query_and_points_into_the_reference(quad: Quad) -> None:
    # Camera 1 stands 1 to the right: at depth 4 everything moves 2 pixels to the left.
    scene = Scene.of([_wall(quad)])
    view0, view1 = View.of(scene, _flat_camera()), View.of(scene, _flat_camera(x=1.0))
    truth0, truth1 = dense_truth(view0, view1)
    assert truth0.xy[5, 7] == pytest.approx((5.0, 5.0), abs=1e-5)
    assert truth1.xy[5, 7] == pytest.approx((9.0, 5.0), abs=1e-5)
    # What leaves the picture differs: the first two columns of 0, the last two of 1.
    assert np.flatnonzero(~truth0.valid.any(axis=0)).tolist() == [0, 1]
    assert np.flatnonzero(~truth1.valid.any(axis=0)).tolist() == [14, 15]
    assert truth0.fg.all()


def test_the_field_agrees_with_the_record_of_homolog(quad: Quad) -> None:
    scene = Scene.of([_wall(quad)])
    view0, view1 = View.of(scene, _flat_camera()), View.of(scene, _flat_camera((16, 20), x=1.0))
    field = dense_truth(view0, view1)[0].field()
    moved = field.transfer(torch.tensor([[[7.0, 5.0]]]), query_size=(16, 16), reference_size=(16, 20))
    assert moved.xy[0, 0].tolist() == pytest.approx([5.0, 5.0], abs=1e-4)
    assert moved.confidence[0, 0].item() == 1


def test_of_two_planes_the_nearer_one_hides_exactly_what_is_behind_it(quad: Quad) -> None:
    # Seen from 0, a screen at depth 2 from x = -0.875 to 0.875 covers pixels 5 to 11 (4.5 to 11.5).
    # From x = 1 it covers pixels 0.5 to 7.5, that is 1 to 7, which show the far wall's pixels 3 to 9 of view 0.
    screen = quad("screen", [(-0.875, -9, 2), (0.875, -9, 2), (0.875, 9, 2), (-0.875, 9, 2)], "screen")
    scene = Scene.of([_wall(quad), screen])
    view0, view1 = View.of(scene, _flat_camera()), View.of(scene, _flat_camera(x=1.0))
    truth0, _ = dense_truth(view0, view1)
    assert np.flatnonzero(view0.shows(1)[4]).tolist() == [5, 6, 7, 8, 9, 10, 11]
    assert np.flatnonzero(view1.shows(1)[4]).tolist() == [1, 2, 3, 4, 5, 6, 7]
    # Of the wall: 0 and 1 leave the picture, 3 and 4 land behind the screen, 2 and 12 to 15 are in sight.
    # The screen itself moves by 4.
    expected = [False, False, True, False, False, *[True] * 7, *[True] * 4]
    assert (truth0.covisible == expected).all()
    assert truth0.xy[4, 12] == pytest.approx((10.0, 4.0), abs=1e-5)
    assert truth0.xy[4, 5] == pytest.approx((1.0, 4.0), abs=1e-5)
    # 2 lands on pixel 0, whose right neighbour shows the screen: no interpolation there.
    assert not truth0.interior[4, 2]
    assert truth0.interior[4, 12]


def test_what_only_one_scene_has_is_no_foreground(quad: Quad) -> None:
    screen = quad("screen", [(-1, -9, 2), (1, -9, 2), (1, 9, 2), (-1, 9, 2)], None)
    with_screen, without = Scene.of([_wall(quad), screen]), Scene.of([_wall(quad)])
    view0, view1 = View.of(with_screen, _flat_camera()), View.of(without, _flat_camera())
    truth0, truth1 = dense_truth(view0, view1)
    assert (truth0.fg == (view0.object == 0)).all()
    assert (truth0.valid == truth0.fg).all()
    assert truth1.fg.all()
    assert (truth1.covisible == (view0.object == 0)).all()


def test_equal_parts_of_different_bodies_are_not_mixed(quad: Quad) -> None:
    # Both walls have one part with the same number; they meet at x = 0, at pixel 8 of view 0.
    scene = Scene.of([_wall(quad, "a", high=0.0, key="a"), _wall(quad, "b", low=0.0, key="b")])
    truth0, _ = dense_truth(View.of(scene, _flat_camera()), View.of(scene, _flat_camera(x=0.25)))
    seam = truth0.xy[4, 7:9, 0]
    assert seam == pytest.approx((6.5, 7.5), abs=1e-5)
    assert truth0.valid[4, 2:14].all()
    # 8 lands between 7 (a) and 8 (b).
    assert truth0.interior[4, 2:14].sum() == 11


def test_touching_parts_do_not_leak_into_each_other(quad: Quad) -> None:
    # A body of two sheets. In view 0 the first is out of sight; in view 1 it lies 0.01 in front of the second,
    # which by depth alone (1 % of 4) would still be in sight.
    first, second = _wall(quad, z=3.99), _wall(quad, z=4.0)
    faces = np.concatenate((first.topology.faces, second.topology.faces + 4)).astype(np.int32)
    open_, closed = (
        np.concatenate((first.vertices + np.array((shift, 0, 0)), second.vertices)) for shift in (90.0, 0.0)
    )
    both = replace(
        first.topology,
        faces=faces,
        canonical=open_ / 108,
        part=np.array((0, 0, 1, 1), np.int32),
        sheet=np.array((0, 0, 1, 1), np.int32),
    )
    view0, view1 = (
        View.of(Scene.of([Body(topology=both, vertices=vertices, key="x")]), _flat_camera())
        for vertices in (open_, closed)
    )
    assert (view0.part == 1).all()
    assert (view1.part == 0).all()
    assert not dense_truth(view0, view1)[0].covisible.any()
    deaf = Tolerance(canonical=1e9)
    assert dense_truth(view0, view1, tolerance=deaf)[0].covisible.all()


def test_points_of_a_depth_map_lie_on_the_surface(quad: Quad) -> None:
    view = View.of(Scene.of([_wall(quad)]), _flat_camera(x=1.0))
    points = world_points(view.depth, view.viewpoint).reshape(16, 16, 3)
    assert points[5, 9] == pytest.approx((1.5, -1.5, 4.0))
    assert view.scene.positions(view.points()).reshape(16, 16, 3) == pytest.approx(points, abs=1e-5)


def test_a_grid_does_not_depend_on_the_number_of_pixels() -> None:
    kind = [_instance(seed, azimuth) for seed, azimuth in ((4, 0.5), (5, 1.0))]
    # An odd factor: every third pixel of the larger picture has its centre on one of the smaller.
    large = [View.of(view.scene, view.viewpoint.resized((288, 288))) for view in kind]
    small, fine = dense_truth(*kind)[0].field(), dense_truth(*large)[0].field()
    difference = (small.grid - fine.grid[:, :, 1::3, 1::3]).abs()
    both = (small.confidence > 0) & (fine.confidence[:, 1::3, 1::3] > 0)
    assert both.sum() > 0.95 * (small.confidence > 0).sum() > 1000
    assert difference.amax(dim=1)[both].max() < 1e-5


def test_left_stays_left_on_a_mirrored_instance() -> None:
    # The second animal strides with the other legs and is seen from its other side: its picture looks like
    # the first one's mirror image, in which the legs have changed places.
    kind = category("quadruped")
    shape, pose = kind.mean_shape(), kind.rest() | {"stride": 20.0, "stride_hind": 20.0}
    mirrored = {name: -value if name in {"stride", "stride_hind"} else value for name, value in pose.items()}
    views: list[View] = []
    for numbers, azimuth in ((pose, 0.5), (mirrored, -0.5)):
        vertices = kind.vertices(shape, numbers)
        camera = framed(
            vertices,
            azimuth=azimuth,
            elevation=0.2,
            roll=0.0,
            focal=2.0,
            fill=0.9,
            shift=(0.0, 0.0),
            size=(128, 128),
        )
        views.append(
            View.of(Scene.of([Body(topology=topology("quadruped"), vertices=vertices, key="x")]), camera)
        )
    silhouettes = [view.object >= 0 for view in views]
    assert (silhouettes[0] == silhouettes[1][:, ::-1]).mean() > 0.99
    truth = dense_truth(*views)[0]
    names = topology("quadruped").part_names
    for side in ("left", "right"):
        of_leg = truth.interior & (views[0].part == names.index(f"{side} front leg"))
        assert of_leg.sum() > 20
        landed = np.rint(truth.xy[of_leg]).astype(int)
        assert {names[part] for part in views[1].part[landed[:, 1], landed[:, 0]]} == {f"{side} front leg"}


def test_labels_lead_to_the_same_place_of_the_body() -> None:
    view0, view1 = _instance(6, 0.4, (160, 160)), _instance(7, 1.0, (160, 160))
    truth, back = dense_truth(view0, view1)
    assert truth.interior.sum() > 500
    xy, place = truth.xy[truth.interior].astype(np.float64), view1.canonical.astype(np.float64)
    corner = np.floor(xy).astype(int)
    share = xy - corner
    found = sum(
        place[corner[:, 1] + down, corner[:, 0] + right]
        * (np.abs(1 - right - share[:, :1]) * np.abs(1 - down - share[:, 1:]))
        for right in (0, 1)
        for down in (0, 1)
    )
    apart = np.linalg.norm(found - view0.canonical[truth.interior], axis=1)
    assert np.median(apart) < 1e-3
    assert np.percentile(apart, 95) < 2e-2
    there_and_back = dense_truth(view0, view1, two_way=0.5)[0]
    assert truth.valid.sum() > there_and_back.valid.sum() > 0.5 * truth.valid.sum()
    assert (truth.covisible == there_and_back.covisible).all()
    assert back.valid.sum() > 500


def test_a_point_behind_the_camera_is_nowhere(quad: Quad) -> None:
    scene = Scene.of([_wall(quad)])
    view = View.of(scene, _flat_camera())
    turned = View.of(
        scene, Viewpoint(K=view.viewpoint.K, R=np.diag((-1.0, 1, -1)), t=np.zeros(3), size=(16, 16))
    )
    landing = transfer(view.points(), view, turned)
    assert np.isnan(landing.xy).all()
    assert not landing.visible.any()


def test_the_back_of_a_thin_closed_body_is_hidden_by_its_front() -> None:
    view = _instance(2, 0.9)
    behind = View.of(view.scene, _instance(2, 0.9 + np.pi).viewpoint)
    ear = topology("quadruped").part_names.index("left ear")
    points = view.points()
    landing = transfer(points, view, behind)
    on_ear = (view.part == ear).reshape(-1)
    assert on_ear.sum() > 5
    # An ear is thinner than 1 % of the distance, and its sides are canonically as close: only its orientation tells.
    facing = (
        view.scene.vertices[view.scene.faces[view.raster.face.reshape(-1)[on_ear]]] - behind.viewpoint.centre
    )
    normal = np.cross(facing[:, 1] - facing[:, 0], facing[:, 2] - facing[:, 0])
    away = np.einsum("nc,nc->n", normal, facing[:, 0]) >= 0
    assert away.any()
    assert not landing.visible[on_ear][away].any()
