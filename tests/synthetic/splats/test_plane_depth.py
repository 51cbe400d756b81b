"""Depth of blended planes: exact where surfaces are flat, and honest where it is not."""

import numpy as np
import pytest

from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.splats.analytic import AnalyticScene, Plane, ball_on_plane, slanted_plane
from homolog.synthetic.splats.rendering import plane_depth
from homolog.synthetic.splats.splat import splat


def _view(elevation: float = 0.0, azimuth: float = 0.0) -> Viewpoint:
    return Viewpoint.towards(
        np.zeros(3), azimuth=azimuth, elevation=elevation, distance=3.7, focal=1.0, size=(96, 112), roll=0.1
    )


def _error(depth: np.ndarray, exact: np.ndarray) -> np.ndarray:
    both = np.isfinite(depth) & np.isfinite(exact)
    return np.abs(depth[both] - exact[both]) / exact[both]


@pytest.mark.parametrize("slant", [20.0, 45.0, 65.0])
def test_of_slanted_coplanar_gaussians_plane_depth_is_exact_and_expected_depth_is_not(slant: float) -> None:
    # Thin discs on one plane that is `slant` degrees from facing the camera.
    scene, camera = slanted_plane(count=4000, seed=3, slant=slant), _view(azimuth=0.05)
    drawn, exact = splat(scene.gaussians, camera), scene.depth(camera)
    solid = drawn.alpha >= 0.95
    assert solid.mean() > 0.6
    assert np.array_equal(np.isfinite(drawn.plane_depth), solid)
    assert _error(drawn.plane_depth, exact).max() < 1e-4
    biased = _error(drawn.expected_depth, exact)
    assert np.median(biased) > 3e-3


def test_a_plane_parallel_to_the_image_has_no_bias_to_repair() -> None:
    scene, camera = slanted_plane(count=3000, seed=3, slant=0.0), _view()
    drawn, exact = splat(scene.gaussians, camera), scene.depth(camera)
    assert _error(drawn.expected_depth, exact).max() < 1e-5
    assert _error(drawn.plane_depth, exact).max() < 1e-5


def test_on_a_curved_surface_plane_depth_is_the_better_one() -> None:
    scene, camera = ball_on_plane(count=20_000, seed=0), _view(elevation=0.6)
    drawn, exact = splat(scene.gaussians, camera), scene.depth(camera)
    assert np.median(_error(drawn.plane_depth, exact)) < 1e-3
    assert np.median(_error(drawn.expected_depth, exact)) > 1e-2


def test_plane_depth_repairs_bias_but_not_wrong_geometry() -> None:
    errors: dict[float, tuple[float, float]] = {}
    for jitter in (0.0, 0.005, 0.02):
        scene = slanted_plane(count=20_000, seed=3, slant=60.0, jitter=jitter)
        drawn, exact = splat(scene.gaussians, _view()), scene.depth(_view())
        biased, planar = (_error(depth, exact) for depth in (drawn.expected_depth, drawn.plane_depth))
        errors[jitter] = float(np.median(biased)), float(np.median(planar))
    assert errors[0.0][1] < errors[0.005][1] < errors[0.02][1]
    assert errors[0.005][1] < 0.1 * errors[0.005][0]
    assert errors[0.02][1] > 0.1 * errors[0.02][0]


def test_the_rule_by_hand() -> None:
    # A wall at depth 2 that turns away to the right: n = (-1, 0, -1) / sqrt 2, at distance 2 / sqrt 2.
    K = np.array(((10.0, 0, 2), (0, 10, 0), (0, 0, 1)))
    alpha = np.array(((1.0, 0.96, 1.0, 0.94),))
    normal = alpha[..., None] * np.array((-1, 0, -1)) / np.sqrt(2)
    depth = plane_depth(normal, alpha * np.sqrt(2), alpha, K)
    # r = ((x - 2) / 10, 0, 1): z = 2 / (1 + (x - 2) / 10).
    assert depth[0, :3] == pytest.approx((2.5, 2 / 0.9, 2.0))
    assert np.isnan(depth[0, 3])


@pytest.mark.parametrize("slope", [-0.049, 0.0, 0.049, 0.5])
def test_planes_seen_edge_on_or_from_behind_have_no_depth(slope: float) -> None:
    K = np.array(((1.0, 0, 0), (0, 1, 0), (0, 0, 1)))
    normal = np.array((((1.0, 0, slope),),))
    assert np.isnan(plane_depth(normal, np.ones((1, 1)), np.ones((1, 1)), K)).all()
    assert np.isfinite(
        plane_depth(np.array((((1.0, 0, -0.051),),)), np.ones((1, 1)), np.ones((1, 1)), K)
    ).all()


def test_a_floor_that_runs_to_the_horizon_ends_in_nan_not_in_a_bound() -> None:
    floor = Plane(centre=np.array((0.0, -0.3, 0.0)), normal=np.array((0.0, 1.0, 0.0)), half=60.0)
    scene = AnalyticScene.of([floor], count=60_000, seed=0)
    camera = Viewpoint.towards(
        np.zeros(3), azimuth=0.0, elevation=0.0, distance=2.0, focal=1.0, size=(64, 64)
    )
    drawn = splat(scene.gaussians, camera)
    low = drawn.plane_depth[40:]
    assert np.isfinite(low).mean() > 0.9
    grazing = (drawn.alpha > 0.95) & np.isnan(drawn.plane_depth)
    assert grazing.any()
    # With a slope of 0.05, 0.3 below the camera: nothing farther than 6.
    assert np.nanmax(drawn.plane_depth) < 0.3 / 0.05 * 1.01


def test_exact_depths_by_hand() -> None:
    camera = Viewpoint(
        K=np.array(((8.0, 0, 4), (0, 8, 4), (0, 0, 1))), R=np.eye(3), t=np.array((0, 0, 5.0)), size=(9, 9)
    )
    scene = ball_on_plane(count=100, seed=0)
    depth = scene.depth(camera)
    assert depth[4, 4] == pytest.approx(4.0)
    plane = slanted_plane(count=100, seed=0, slant=0.0)
    side = Viewpoint.towards(np.zeros(3), azimuth=0.0, elevation=0.0, distance=3.0, focal=1.0, size=(9, 9))
    assert plane.depth(side) == pytest.approx(np.full((9, 9), 3.0))
    away = Viewpoint.towards(np.zeros(3), azimuth=0.0, elevation=0.0, distance=20.0, focal=1.0, size=(9, 9))
    assert np.isnan(plane.depth(away)[0, 0])
