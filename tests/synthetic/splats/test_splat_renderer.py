"""The numba renderer against a slow one of plain numpy, and by hand."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from homolog.core.errors import ShapeError
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.splats.gaussians import Gaussians
from homolog.synthetic.splats.harmonics import constant
from homolog.synthetic.splats.splat import splat

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
    drawn, slow = splat(gaussians, camera), _oracle(gaussians, camera)
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
    drawn, slow = splat(gaussians, inside), _oracle(gaussians, inside)
    assert drawn.rgb == pytest.approx(np.minimum(slow["rgb"], 1), abs=1e-5)
    assert drawn.alpha == pytest.approx(slow["alpha"], abs=1e-5)
    assert np.array_equal(drawn.gaussian_id, slow["gaussian_id"])


def test_equal_calls_give_equal_bits(scattered: Made, camera: Viewpoint) -> None:
    gaussians = scattered(500, 3, degree=3)
    first, second = splat(gaussians, camera), splat(gaussians, camera)
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
    drawn = splat(_ball(2.0, 0.8, (1.0, 0.5, 0.25)), flat)
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
        drawn = splat(scene, flat)
        assert drawn.rgb[3, 4] == pytest.approx((0.9, 0.1 * 0.9, 0), abs=1e-6)
        assert drawn.alpha[3, 4] == pytest.approx(0.99, abs=1e-6)
        assert drawn.expected_depth[3, 4] == pytest.approx((0.9 * 2 + 0.09 * 4) / 0.99, rel=1e-6)
    assert splat(near.joined(far), flat).gaussian_id[3, 4] == 0
    assert splat(far.joined(near), flat).gaussian_id[3, 4] == 1


def test_the_background_shines_through(flat: Viewpoint) -> None:
    behind = np.random.default_rng(0).random((7, 9, 3)).astype(np.float32)
    scene = _ball(2.0, 0.8, (0, 0, 0), scale=0.1)
    drawn = splat(scene, flat, behind)
    assert drawn.rgb == pytest.approx((1 - drawn.alpha)[..., None] * behind, abs=1e-6)
    assert (drawn.gaussian_id[0] == -1).all()
    with pytest.raises(ShapeError, match=r"expected a background \[7, 9, 3\], got \[7, 8, 3\]"):
        splat(scene, flat, behind[:, :8])


def test_what_is_behind_the_camera_or_transparent_is_not_drawn(flat: Viewpoint) -> None:
    for scene in (_ball(-2.0, 0.9, (1, 1, 1)), _ball(0.005, 0.9, (1, 1, 1)), _ball(2.0, 0.003, (1, 1, 1))):
        drawn = splat(scene, flat)
        assert not drawn.alpha.any()
        assert (drawn.gaussian_id == -1).all()


def test_colours_beyond_white_are_cut_off(flat: Viewpoint) -> None:
    assert splat(_ball(2.0, 0.9, (3, 1, 0)), flat).rgb[3, 4] == pytest.approx((1, 0.9, 0), abs=1e-6)


def test_a_finer_image_of_the_same_view_shows_the_same_places(scattered: Made, camera: Viewpoint) -> None:
    # Twice the pixels over the same field of view: four of them are one coarse pixel, not one half a pixel aside.
    gaussians = scattered(80, 7, size=0.5)
    fine = splat(gaussians, camera.resized((40, 56)))
    mean = fine.rgb.reshape(20, 2, 28, 2, 3).mean((1, 3))
    errors: list[float] = []
    for aside in (0.0, 0.5, -0.5):
        K = camera.K.copy()
        K[:2, 2] += aside
        errors.append(float(np.abs(mean - splat(gaussians, replace(camera, K=K)).rgb).mean()))
    assert errors[0] < 0.25 * min(errors[1:])
