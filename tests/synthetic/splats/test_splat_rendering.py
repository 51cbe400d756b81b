"""The numba renderer: images of hand-computed scenes, and plane depth without bias."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from homolog.core.errors import ShapeError
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.splats.analytic import AnalyticScene, Plane, ball_on_plane, slanted_plane
from homolog.synthetic.splats.gaussians import Gaussians, constant
from homolog.synthetic.splats.rendering import plane_depth, render

Made = Callable[..., Gaussians]


def _oracle(gaussians: Gaussians, viewpoint: Viewpoint) -> dict[str, np.ndarray]:
    """Blend pixel by pixel, with whole matrices and nothing left out before it is looked at."""
    K, R, t = viewpoint.K, viewpoint.R, viewpoint.t
    height, width = viewpoint.size
    axes, colours = gaussians.axes(), gaussians.colours(viewpoint.centre).astype(np.float64)
    seen = gaussians.means.astype(np.float64) @ R.T + t
    low = np.array((-0.5, -0.5)) - K[:2, 2]
    high = np.array((width - 0.5, height - 0.5)) - K[:2, 2]
    focal = np.array((K[0, 0], K[1, 1]))
    out = {
        "rgb": np.zeros((height, width, 3)),
        "alpha": np.zeros((height, width)),
        "depth": np.zeros((height, width)),
        "normal": np.zeros((height, width, 3)),
        "distance": np.zeros((height, width)),
        "gaussian_id": np.full((height, width), -1),
    }
    splats: list[tuple[int, np.ndarray, np.ndarray, np.ndarray, float]] = []
    for n in np.argsort(seen[:, 2], kind="stable").tolist():
        x, y, z = seen[n]
        if z < 0.01:
            continue
        near = np.clip(
            np.array((x, y)) / z, (low - 0.15 * (high - low)) / focal, (high + 0.15 * (high - low)) / focal
        )
        J = K[:2, :2] @ np.array(((1, 0, -near[0]), (0, 1, -near[1]))) / z
        cov = axes[n] @ np.diag(gaussians.scales[n].astype(np.float64) ** 2) @ axes[n].T
        flat = J @ R @ cov @ R.T @ J.T + 0.3 * np.eye(2)
        normal = R @ axes[n][:, int(gaussians.scales[n].argmin())]
        normal = normal if normal @ seen[n] < 0 else -normal
        splats.append((n, (K @ seen[n] / z)[:2], np.linalg.inv(flat), normal, float(-normal @ seen[n])))
    for v in range(height):
        for u in range(width):
            light, best = 1.0, 0.0
            for n, centre, inverse, normal, distance in splats:
                away = np.array((u, v)) - centre
                alpha = min(float(gaussians.opacity[n]) * float(np.exp(-0.5 * away @ inverse @ away)), 0.999)
                if alpha < 1 / 255:
                    continue
                if light * (1 - alpha) <= 1e-4:
                    break
                weight = alpha * light
                light *= 1 - alpha
                out["rgb"][v, u] += weight * colours[n]
                out["alpha"][v, u] += weight
                out["depth"][v, u] += weight * seen[n, 2]
                out["normal"][v, u] += weight * normal
                out["distance"][v, u] += weight * distance
                if weight > best:
                    best = weight
                    out["gaussian_id"][v, u] = n
    return out


@pytest.mark.parametrize(("seed", "count", "size"), [(0, 250, 0.15), (1, 60, 0.4), (2, 400, 0.05)])
def test_the_renderer_equals_the_slow_one(
    scattered: Made, camera: Viewpoint, seed: int, count: int, size: float
) -> None:
    gaussians = scattered(count, seed, degree=2, size=size)
    drawn, slow = render(gaussians, camera), _oracle(gaussians, camera)
    assert (slow["alpha"] > 0.95).any()
    assert drawn.rgb == pytest.approx(np.minimum(slow["rgb"], 1), abs=1e-5)
    for name in ("alpha", "normal", "distance"):
        assert getattr(drawn, name) == pytest.approx(slow[name], abs=1e-5)
    solid = slow["alpha"] >= 0.95
    assert np.array_equal(np.isfinite(drawn.expected_depth), solid)
    assert drawn.expected_depth[solid] == pytest.approx(slow["depth"][solid] / slow["alpha"][solid], rel=1e-5)
    assert np.array_equal(drawn.gaussian_id, slow["gaussian_id"])
    rows, columns = np.indices(solid.shape)
    rays = np.stack((columns, rows, np.ones_like(rows)), -1) @ np.linalg.inv(camera.K).T
    slope = (slow["normal"] * rays).sum(-1)
    planar = solid & (slope <= -0.05)
    assert np.array_equal(np.isfinite(drawn.plane_depth), planar)
    assert drawn.plane_depth[planar] == pytest.approx(-slow["distance"][planar] / slope[planar], rel=1e-4)


def test_the_renderer_equals_the_slow_one_from_within_the_scene(scattered: Made) -> None:
    # Gaussians all around: behind, beside, and right before the camera.
    inside = Viewpoint.towards(
        np.zeros(3), azimuth=0.3, elevation=0.1, distance=0.3, focal=0.6, size=(24, 20)
    )
    gaussians = scattered(200, 5)
    drawn, slow = render(gaussians, inside), _oracle(gaussians, inside)
    assert drawn.rgb == pytest.approx(np.minimum(slow["rgb"], 1), abs=1e-5)
    assert drawn.alpha == pytest.approx(slow["alpha"], abs=1e-5)
    assert np.array_equal(drawn.gaussian_id, slow["gaussian_id"])


def test_equal_calls_give_equal_bits(scattered: Made, camera: Viewpoint) -> None:
    gaussians = scattered(500, 3, degree=3)
    first, second = render(gaussians, camera), render(gaussians, camera)
    for name in ("rgb", "alpha", "expected_depth", "plane_depth", "normal", "distance", "gaussian_id"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


def _ball(z: float, opacity: float, colour: tuple[float, float, float], scale: float = 0.5) -> Gaussians:
    return Gaussians(
        means=np.array(((0, 0, z),), np.float32),
        scales=np.full((1, 3), scale, np.float32),
        rotations=np.array(((1, 0, 0, 0),), np.float32),
        opacity=np.array((opacity,), np.float32),
        harmonics=constant(np.array((colour,), np.float64)).astype(np.float32),
    )


@pytest.fixture
def flat() -> Viewpoint:
    """Looks along z from the origin; pixel (4, 3) is on the axis; at depth 2 a pixel is 0.25 wide."""
    return Viewpoint(K=np.array(((8.0, 0, 4), (0, 8, 3), (0, 0, 1))), R=np.eye(3), t=np.zeros(3), size=(7, 9))


def test_one_gaussian_by_hand(flat: Viewpoint) -> None:
    # 8 px per unit of x / z, at depth 2: 0.5 is 2 px, so the variance is 4 + 0.3.
    drawn = render(_ball(2.0, 0.8, (1.0, 0.5, 0.25)), flat)
    expected = 0.8 * np.exp(-0.5 * np.array((0, 1, 4, 9, 16)) / 4.3)
    assert drawn.alpha[3, 4:] == pytest.approx(expected, abs=1e-6)
    assert drawn.alpha[3, 4::-1] == pytest.approx(expected, abs=1e-6)
    assert drawn.alpha[3::-1, 4] == pytest.approx(expected[:4], abs=1e-6)
    assert drawn.rgb[3, 6] == pytest.approx(expected[2] * np.array((1, 0.5, 0.25)), abs=1e-6)
    assert (drawn.gaussian_id == 0).all()
    # 0.8 is no solid surface.
    assert np.isnan(drawn.expected_depth).all()


def test_the_nearer_gaussian_hides_the_farther_one_whatever_their_order(flat: Viewpoint) -> None:
    near, far = _ball(2.0, 0.9, (1, 0, 0)), _ball(4.0, 0.9, (0, 1, 0), scale=1.0)
    for scene in (near.joined(far), far.joined(near)):
        drawn = render(scene, flat)
        assert drawn.rgb[3, 4] == pytest.approx((0.9, 0.1 * 0.9, 0), abs=1e-6)
        assert drawn.alpha[3, 4] == pytest.approx(0.99, abs=1e-6)
        assert drawn.expected_depth[3, 4] == pytest.approx((0.9 * 2 + 0.09 * 4) / 0.99, rel=1e-6)
    assert render(near.joined(far), flat).gaussian_id[3, 4] == 0
    assert render(far.joined(near), flat).gaussian_id[3, 4] == 1


def test_the_background_shines_through(flat: Viewpoint) -> None:
    behind = np.random.default_rng(0).random((7, 9, 3)).astype(np.float32)
    scene = _ball(2.0, 0.8, (0, 0, 0), scale=0.1)
    drawn = render(scene, flat, behind)
    assert drawn.rgb == pytest.approx((1 - drawn.alpha)[..., None] * behind, abs=1e-6)
    assert (drawn.gaussian_id[0] == -1).all()
    with pytest.raises(ShapeError, match=r"expected a background \[7, 9, 3\], got \[7, 8, 3\]"):
        render(scene, flat, behind[:, :8])


def test_what_is_behind_the_camera_or_transparent_is_not_drawn(flat: Viewpoint) -> None:
    for scene in (_ball(-2.0, 0.9, (1, 1, 1)), _ball(0.005, 0.9, (1, 1, 1)), _ball(2.0, 0.003, (1, 1, 1))):
        drawn = render(scene, flat)
        assert not drawn.alpha.any()
        assert (drawn.gaussian_id == -1).all()


def test_colours_beyond_white_are_cut_off(flat: Viewpoint) -> None:
    assert render(_ball(2.0, 0.9, (3, 1, 0)), flat).rgb[3, 4] == pytest.approx((1, 0.9, 0), abs=1e-6)


def test_a_finer_image_of_the_same_view_shows_the_same_places(scattered: Made, camera: Viewpoint) -> None:
    # Twice the pixels over the same field of view: four of them are one coarse pixel, not one half a pixel aside.
    gaussians = scattered(80, 7, size=0.5)
    fine = render(gaussians, camera.resized((40, 56)))
    mean = fine.rgb.reshape(20, 2, 28, 2, 3).mean((1, 3))
    errors: list[float] = []
    for aside in (0.0, 0.5, -0.5):
        K = camera.K.copy()
        K[:2, 2] += aside
        errors.append(float(np.abs(mean - render(gaussians, replace(camera, K=K)).rgb).mean()))
    assert errors[0] < 0.25 * min(errors[1:])


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
    drawn, exact = render(scene.gaussians, camera), scene.depth(camera)
    solid = drawn.alpha >= 0.95
    assert solid.mean() > 0.6
    assert np.array_equal(np.isfinite(drawn.plane_depth), solid)
    assert _error(drawn.plane_depth, exact).max() < 1e-4
    biased = _error(drawn.expected_depth, exact)
    assert np.median(biased) > 3e-3


def test_a_plane_parallel_to_the_image_has_no_bias_to_repair() -> None:
    scene, camera = slanted_plane(count=3000, seed=3, slant=0.0), _view()
    drawn, exact = render(scene.gaussians, camera), scene.depth(camera)
    assert _error(drawn.expected_depth, exact).max() < 1e-5
    assert _error(drawn.plane_depth, exact).max() < 1e-5


def test_on_a_curved_surface_plane_depth_is_the_better_one() -> None:
    scene, camera = ball_on_plane(count=20_000, seed=0), _view(elevation=0.6)
    drawn, exact = render(scene.gaussians, camera), scene.depth(camera)
    assert np.median(_error(drawn.plane_depth, exact)) < 1e-3
    assert np.median(_error(drawn.expected_depth, exact)) > 1e-2


def test_plane_depth_repairs_bias_but_not_wrong_geometry() -> None:
    errors: dict[float, tuple[float, float]] = {}
    for jitter in (0.0, 0.005, 0.02):
        scene = slanted_plane(count=20_000, seed=3, slant=60.0, jitter=jitter)
        drawn, exact = render(scene.gaussians, _view()), scene.depth(_view())
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
    drawn = render(scene.gaussians, camera)
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
