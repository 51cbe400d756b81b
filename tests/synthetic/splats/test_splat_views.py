"""Gates, depth edges and new cameras: each gate rejects what it is for, and only that."""

from dataclasses import replace

import numpy as np
import pytest

from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.splats.analytic import ball_on_plane, slanted_plane
from homolog.synthetic.splats.rendering import Rendering, render
from homolog.synthetic.splats.views import (
    Cause,
    Consistent,
    Covered,
    NearFitted,
    Overlapping,
    Rejection,
    Sharp,
    depth_at,
    depth_edges,
    drawn_pair,
    extent,
    nearest,
    perturbed,
    reframed,
    reprojection_error,
    sharpness,
    without_edges,
)


def _around(
    turn: float = 0.0, distance: float = 3.7, size: tuple[int, int] = (64, 64), elevation: float = 0.6
) -> Viewpoint:
    return Viewpoint.towards(
        np.zeros(3), azimuth=turn, elevation=elevation, distance=distance, focal=1.0, size=size
    )


def _assert_rejected(rejection: Rejection | None, cause: Cause, reason: str) -> None:
    assert rejection is not None
    assert rejection.cause is cause
    assert reason in rejection.reason


def _of_alpha(alpha: np.ndarray) -> Rendering:
    empty = np.zeros(alpha.shape, np.float32)
    return Rendering(
        rgb=np.zeros((*alpha.shape, 3), np.float32),
        alpha=alpha.astype(np.float32),
        expected_depth=empty,
        plane_depth=empty,
        normal=np.zeros((*alpha.shape, 3), np.float32),
        distance=empty,
        gaussian_id=np.zeros(alpha.shape, np.int32),
    )


def test_pictures_with_holes_do_not_pass() -> None:
    alpha = np.full((10, 10), 0.99)
    alpha.flat[:5] = 0.97
    assert Covered()(_of_alpha(alpha)) is None
    alpha.flat[5] = 0.97
    _assert_rejected(
        Covered()(_of_alpha(alpha)), Cause.holes, "expected alpha > 0.98 on 95% of the pixels, got 94.0%"
    )
    assert Covered(fraction=0.9)(_of_alpha(alpha)) is None


def test_cameras_far_from_fitted_ones_do_not_pass() -> None:
    fitted = [_around(turn, distance=4.0) for turn in np.linspace(0, 2 * np.pi, 12, endpoint=False).tolist()]
    # They stand on a circle of radius 4 cos 0.6.
    assert extent(fitted) == pytest.approx(4 * np.cos(0.6))
    gate = NearFitted(distance=0.3, angle=30)
    assert gate(_around(0.1, distance=3.5), fitted) is None
    reason = "expected a fitted camera within 0.3 of the extent and 30 degrees, got none of 12"
    _assert_rejected(gate(_around(0.1, distance=1.5), fitted), Cause.far, reason)
    there = fitted[0]
    turned = replace(there, R=np.diag((-1.0, 1, -1)) @ there.R, t=np.diag((-1.0, 1, -1)) @ there.t)
    assert turned.centre == pytest.approx(there.centre)
    _assert_rejected(gate(turned, fitted), Cause.far, reason)


def test_blurred_pictures_do_not_pass() -> None:
    sharp = np.random.default_rng(0).random((40, 40, 3)).astype(np.float32)
    padded = np.pad(sharp, ((1, 1), (1, 1), (0, 0)), mode="edge")
    soft = np.mean([padded[i : i + 40, j : j + 40] for i in range(3) for j in range(3)], axis=0)
    assert Sharp()(sharp, sharp) is None
    assert Sharp()(sharp, soft) is None
    _assert_rejected(
        Sharp()(soft, sharp),
        Cause.blurred,
        "expected 0.5 of the sharpness of the nearest fitted view, got 0.0",
    )
    assert sharpness(np.full((5, 5, 3), 0.3, np.float32)) == 0


def test_a_laplacian_by_hand() -> None:
    picture = np.zeros((5, 5, 3), np.float32)
    picture[2, 2] = 1
    # -4 in the middle, 1 at its four neighbours, 0 at the corners: mean 0.
    assert sharpness(picture) == pytest.approx((16 + 4) / 9)


def test_exact_depths_lead_there_and_back() -> None:
    scene = ball_on_plane(count=100, seed=0)
    camera0, camera1 = _around(), _around(0.4)
    # Across a step nothing can be interpolated.
    depth0, depth1 = (without_edges(scene.depth(camera), radius=1) for camera in (camera0, camera1))
    error = reprojection_error(depth0, camera0, depth1, camera1)
    known = np.isfinite(error)
    assert 0.3 < known.mean() < 1
    # Interpolation of inverse depth is exact on the floor, and nearly so on the ball.
    assert np.median(error[known]) < 1e-4
    assert np.quantile(error[known], 0.95) < 0.05
    assert Consistent()(depth0, camera0, depth1, camera1) is None


def test_wrong_depths_do_not_come_back() -> None:
    scene = slanted_plane(count=100, seed=0, slant=30.0)
    camera0, camera1 = (_around(turn, elevation=0.0) for turn in (0.0, 0.5))
    depth0, depth1 = scene.depth(camera0), scene.depth(camera1)
    columns = np.indices(depth1.shape)[1]
    wrong = (depth1 * (1 + 0.04 * np.sin(columns / 3))).astype(np.float32)
    reason = "expected 90% of the co-visible pixels to come back within 1 px, got"
    _assert_rejected(Consistent()(depth0, camera0, wrong, camera1), Cause.inconsistent, reason)
    _assert_rejected(Consistent()(wrong, camera1, depth0, camera0), Cause.inconsistent, reason)
    assert Consistent(pixels=3.0, fraction=0.5)(depth0, camera0, wrong, camera1) is None
    nothing = np.full_like(depth0, np.nan)
    _assert_rejected(Consistent()(nothing, camera0, depth1, camera1), Cause.inconsistent, "got 0.0%")


def test_expected_depth_fails_where_plane_depth_passes() -> None:
    scene = slanted_plane(count=2000, seed=0, slant=50.0)
    camera0, camera1 = (_around(turn, 2.5, (128, 128), 0.0) for turn in (-0.2, 0.4))
    one, other = render(scene.gaussians, camera0), render(scene.gaussians, camera1)
    assert Consistent()(one.plane_depth, camera0, other.plane_depth, camera1) is None
    found = Consistent()(one.expected_depth, camera0, other.expected_depth, camera1)
    _assert_rejected(found, Cause.inconsistent, "got")


def test_hidden_places_do_not_count() -> None:
    camera0 = Viewpoint(
        K=np.array(((8.0, 0, 8), (0, 8, 8), (0, 0, 1))), R=np.eye(3), t=np.zeros(3), size=(17, 17)
    )
    camera1 = replace(camera0, t=np.array((-1.0, 0, 0)))
    depth0 = np.full((17, 17), 4.0, np.float32)
    depth1 = depth0.copy()
    depth1[:, 6:9] = 2.0
    error = reprojection_error(depth0, camera0, depth1, camera1)
    # Everything moves by 2; places behind columns 6 to 8 are 8 to 10; 0 and 1 leave the picture. Between the
    # steps, at whole pixels, nothing is interpolated.
    assert np.flatnonzero(np.isnan(error).all(0)).tolist() == [0, 1, 8, 9, 10]
    assert np.nanmax(error) < 1e-9


def test_depth_is_interpolated_exactly_on_planes() -> None:
    rows, columns = np.indices((6, 7))
    depth = (1 / (0.2 + 0.03 * columns + 0.01 * rows)).astype(np.float64)
    at = np.array(((0.0, 0), (6, 5), (2.25, 3.5), (5.99, 0.01)))
    assert depth_at(depth, at) == pytest.approx(1 / (0.2 + 0.03 * at[:, 0] + 0.01 * at[:, 1]))
    assert np.isnan(depth_at(depth, np.array(((-0.1, 2), (6.1, 2), (2, 5.1), (np.nan, 2))))).all()


def test_views_of_different_things_do_not_pass() -> None:
    assert Overlapping(fraction=0.2)(0.2, 0.9) is None
    _assert_rejected(
        Overlapping(fraction=0.2)(0.9, 0.19),
        Cause.little_overlap,
        "expected labels on 20% of either view, got 90.0% and 19.0%",
    )


def test_a_reframed_camera_sees_the_middle_of_what_it_saw() -> None:
    camera = _around(size=(60, 100))
    square = reframed(camera, (128, 128))
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (30, 3))
    old, new = camera.project(points)[0], square.project(points)[0]
    # The shorter side fills the picture: 60 rows become 128.
    scale = 128 / 60
    assert new == pytest.approx((old - (49.5, 29.5)) * scale + 63.5)
    assert square.centre == pytest.approx(camera.centre)


def test_perturbed_cameras_move_as_far_as_given() -> None:
    camera, random = _around(), np.random.default_rng(0)
    moved = [perturbed(camera, random, shift=0.1, turn=0.05) for _ in range(2000)]
    ways = np.stack([view.centre for view in moved]) - camera.centre
    assert ways.std() == pytest.approx(0.1, rel=0.03)
    turns = np.stack([view.R @ camera.R.T for view in moved])
    assert np.abs(turns @ turns.transpose(0, 2, 1) - np.eye(3)).max() < 1e-12
    angles = np.arccos(np.clip((np.trace(turns, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert np.sqrt((angles**2).mean()) == pytest.approx(0.05 * np.sqrt(3), rel=0.03)


def test_pairs_are_drawn_near_two_different_cameras_within_the_angle() -> None:
    fitted = [_around(turn, distance=4.0) for turn in np.linspace(0, 2 * np.pi, 24, endpoint=False).tolist()]
    for seed in range(30):
        pair = drawn_pair(fitted, np.random.default_rng(seed), turn=40.0, stray=0.0, size=(32, 32))
        ends = [nearest(view, fitted) for view in pair]
        assert ends[0] is not ends[1]
        for view, end in zip(pair, ends, strict=True):
            assert view.centre == pytest.approx(end.centre)
        assert np.degrees(np.arccos(pair[0].R[2] @ pair[1].R[2])) <= 40
    lonely = drawn_pair(fitted[::12], np.random.default_rng(0), turn=10.0, stray=0.0, size=(32, 32))
    assert np.linalg.norm(lonely[0].centre - lonely[1].centre) > 6


def test_a_step_is_an_edge_and_its_surroundings_too() -> None:
    depth = np.full((12, 20), 2.0, np.float32)
    depth[:, 10:] = 3.0
    # The second difference is large at 9 and at 10.
    for radius, expected in ((0, [9, 10]), (2, [7, 8, 9, 10, 11, 12])):
        edge = depth_edges(depth, radius=radius)
        assert np.flatnonzero(edge.any(0)).tolist() == expected
        assert (edge.any(0) == edge.all(0)).all()
    assert np.array_equal(depth_edges(depth.T.copy(), radius=2), depth_edges(depth, radius=2).T)


def test_a_plane_has_none_however_slanted() -> None:
    rows, columns = np.indices((30, 40))
    # Inverse depth from 1 / 2 to 1 / 20 across the image.
    depth = (1 / (0.5 - 0.45 * (columns + 0.2 * rows) / 45)).astype(np.float32)
    assert depth[:, 1:].max() / depth[:, 0].min() > 5
    assert not depth_edges(depth).any()


def test_pixels_without_depth_are_edges() -> None:
    depth = np.full((9, 9), 2.0, np.float32)
    depth[4, 4] = np.nan
    edge = depth_edges(depth, radius=1)
    assert edge.sum() == 9
    assert edge[3:6, 3:6].all()
    clean = without_edges(depth, radius=1)
    assert np.array_equal(np.isnan(clean), edge)
    assert np.isnan(depth).sum() == 1


def test_without_them_a_rendered_depth_is_truer() -> None:
    scene = ball_on_plane(count=40_000, seed=0)
    camera = _around(size=(128, 128))
    exact, depth = scene.depth(camera), render(scene.gaussians, camera).plane_depth
    clean = without_edges(depth)
    worst, rest = (float(np.nanpercentile(np.abs(d - exact) / exact, 99.5)) for d in (depth, clean))
    assert np.isfinite(clean).sum() > 0.8 * np.isfinite(depth).sum()
    assert worst > 0.05
    assert rest < 0.3 * worst
