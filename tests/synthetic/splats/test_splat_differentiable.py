"""The torch renderer agrees with the numba one and with finite differences; the wrapper of gsplat follows its interface."""

import sys
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from homolog.core.errors import CapabilityError, MissingDependencyError, ShapeError
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.splats.analytic import ball_on_plane
from homolog.synthetic.splats.differentiable import (
    GaussianTensors,
    render_gsplat,
    render_tiles,
    render_with,
)
from homolog.synthetic.splats.gaussians import Gaussians
from homolog.synthetic.splats.rendering import render

Made = Callable[..., Gaussians]
MAPS = ("rgb", "alpha", "expected_depth", "plane_depth", "normal", "distance")


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference; NaN has to be in the same places."""
    assert np.array_equal(np.isnan(one), np.isnan(other))
    return float(np.nan_to_num(np.abs(one - other)).max())


@pytest.mark.parametrize(("seed", "size"), [(0, 0.15), (1, 0.4)])
def test_both_renderers_agree(scattered: Made, camera: Viewpoint, seed: int, size: float) -> None:
    gaussians = scattered(300, seed, degree=3, size=size)
    behind = np.random.default_rng(seed).random((*camera.size, 3)).astype(np.float32)
    numba = render(gaussians, camera, behind)
    tiled = render_tiles(
        GaussianTensors.of(gaussians, dtype=torch.float64),
        camera,
        torch.from_numpy(behind.astype(np.float64)).permute(2, 0, 1),
    ).rendering()
    assert (numba.alpha > 0.95).any()
    # Both compute in double precision; quaternions and colours are single precision in one of them.
    for name in MAPS:
        assert _apart(getattr(numba, name), getattr(tiled, name)) < 2e-5
    assert np.array_equal(numba.gaussian_id, tiled.gaussian_id)


def test_both_renderers_agree_on_a_scene_of_discs() -> None:
    scene = ball_on_plane(count=2000, seed=0)
    camera = Viewpoint.towards(
        np.zeros(3), azimuth=0.1, elevation=0.6, distance=3.7, focal=1.0, size=(48, 56)
    )
    numba = render(scene.gaussians, camera)
    for dtype, near in ((torch.float64, 1e-5), (torch.float32, 1e-4)):
        tiled = render_tiles(GaussianTensors.of(scene.gaussians, dtype=dtype), camera).rendering()
        for name in MAPS:
            difference = np.abs(getattr(numba, name) - getattr(tiled, name))
            # In single precision a pixel that one Gaussian more or less ends may differ by 1e-3.
            assert np.nanquantile(difference, 0.999) < near
            assert np.nanmax(difference) < 2e-3
        assert (numba.gaussian_id != tiled.gaussian_id).mean() < 1e-3


@pytest.mark.parametrize("tile", [1, 7, 64])
def test_tiles_do_not_show(scattered: Made, camera: Viewpoint, tile: int) -> None:
    gaussians = GaussianTensors.of(scattered(120, 4), dtype=torch.float64)
    one, other = render_tiles(gaussians, camera), render_tiles(gaussians, camera, tile=tile)
    for name in MAPS:
        assert _apart(getattr(one, name).numpy(), getattr(other, name).numpy()) < 1e-12
    assert np.array_equal(one.rendering().gaussian_id, other.rendering().gaussian_id)


def test_an_empty_picture_is_the_background(camera: Viewpoint, scattered: Made) -> None:
    gaussians = scattered(5)
    aside = GaussianTensors.of(replace(gaussians, means=gaussians.means + np.float32(100)))
    behind = torch.rand(3, *camera.size, generator=torch.Generator().manual_seed(0))
    drawn = render_tiles(aside, camera, behind)
    assert torch.equal(drawn.rgb, behind)
    assert (drawn.rendering().gaussian_id == -1).all()
    with pytest.raises(ShapeError, match=r"expected a background \[3, 20, 28\], got \[3, 20, 27\]"):
        render_tiles(aside, camera, behind[:, :, 1:])
    with pytest.raises(ShapeError, match="a tile of at least one pixel"):
        render_tiles(aside, camera, tile=0)


NAMES = ("means", "scales", "rotations", "opacity", "harmonics")


def _parts(gaussians: Gaussians) -> tuple[Tensor, ...]:
    made = GaussianTensors.of(gaussians, dtype=torch.float64)
    return tuple(getattr(made, name).clone().requires_grad_() for name in NAMES)


def _of(parts: tuple[Tensor, ...]) -> GaussianTensors:
    return GaussianTensors(**dict(zip(NAMES, parts, strict=True)))


def test_gradients_are_those_of_finite_differences(scattered: Made) -> None:
    tiny = Viewpoint.towards(np.zeros(3), azimuth=0.2, elevation=0.3, distance=3.0, focal=0.9, size=(5, 6))
    gaussians = scattered(6, 8, degree=1, size=0.6)

    def maps(*parts: Tensor) -> tuple[Tensor, ...]:
        drawn = render_tiles(_of(parts), tiny, tile=3)
        return drawn.rgb, drawn.alpha, drawn.normal, drawn.distance

    assert bool(torch.autograd.gradcheck(maps, _parts(gaussians), eps=1e-6, atol=1e-6, fast_mode=True))


def test_gradients_of_both_depths_are_those_of_finite_differences(scattered: Made) -> None:
    tiny = Viewpoint.towards(np.zeros(3), azimuth=0.2, elevation=0.3, distance=3.0, focal=0.9, size=(5, 6))
    gaussians = scattered(12, 8, size=0.8)
    gaussians.opacity[:] = 0.9
    valid = render_tiles(_of(_parts(gaussians)), tiny)
    solid, planar = ~valid.expected_depth.isnan(), ~valid.plane_depth.isnan()
    assert int(planar.sum()) >= 8

    def depths(*parts: Tensor) -> tuple[Tensor, Tensor]:
        drawn = render_tiles(_of(parts), tiny)
        return drawn.expected_depth[solid], drawn.plane_depth[planar]

    assert bool(torch.autograd.gradcheck(depths, _parts(gaussians), eps=1e-6, atol=1e-5, fast_mode=True))


def test_pixels_without_a_depth_do_not_spoil_gradients(scattered: Made, camera: Viewpoint) -> None:
    parts = _parts(scattered(60, 2, size=0.3))
    drawn = render_tiles(_of(parts), camera)
    assert bool(drawn.plane_depth.isnan().any())
    drawn.plane_depth[drawn.plane_depth.isfinite()].sum().backward()
    for part in parts:
        assert part.grad is None or bool(part.grad.isfinite().all())
    assert parts[0].grad is not None


def test_gaussians_behind_the_camera_get_no_gradient(scattered: Made) -> None:
    inside = Viewpoint.towards(
        np.zeros(3), azimuth=0.3, elevation=0.1, distance=0.3, focal=0.6, size=(24, 20)
    )
    parts = _parts(scattered(80, 5))
    render_tiles(_of(parts), inside).rgb.sum().backward()
    assert parts[0].grad is not None
    behind = (parts[0].detach().numpy() @ inside.R.T + inside.t)[:, 2] < 0.01
    assert behind.any()
    assert bool((parts[0].grad[torch.from_numpy(behind)] == 0).all())
    assert bool(parts[0].grad.isfinite().all())


def test_a_fit_to_pictures_lowers_the_photometric_loss(scattered: Made) -> None:
    true = GaussianTensors.of(scattered(25, 6, size=0.35))
    cameras = [
        Viewpoint.towards(np.zeros(3), azimuth=turn, elevation=0.3, distance=4.0, focal=1.1, size=(20, 20))
        for turn in (0.0, 1.3)
    ]
    wanted = [render_tiles(true, camera, tile=20).rgb for camera in cameras]
    random = torch.Generator().manual_seed(0)
    means = (true.means + 0.08 * torch.randn(25, 3, generator=random)).requires_grad_()
    logs = (true.scales.log() + 0.2 * torch.randn(25, 3, generator=random)).requires_grad_()
    turns = true.rotations.clone().requires_grad_()
    logits = torch.zeros(25, requires_grad=True)
    harmonics = torch.zeros(25, 1, 3, requires_grad=True)

    def loss() -> Tensor:
        scene = GaussianTensors(
            means=means, scales=logs.exp(), rotations=turns, opacity=logits.sigmoid(), harmonics=harmonics
        )
        apart = [
            (render_tiles(scene, c, tile=20).rgb - w).square().mean()
            for c, w in zip(cameras, wanted, strict=True)
        ]
        return torch.stack(apart).mean()

    optimizer = torch.optim.Adam(
        [{"params": [means, logs, turns], "lr": 0.01}, {"params": [logits, harmonics], "lr": 0.08}]
    )
    before = loss().item()
    for _ in range(30):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    # The mean square error falls to less than a tenth, by more than 10 dB.
    assert loss().item() < 0.1 * before


def _as_gsplat(**given: Any) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Blend any channels as gsplat documents it: plainly, with its axes and its pixels (centres at halves)."""
    means, scales, colours = given["means"], given["scales"], given["colors"]
    view, K = given["viewmats"][0], given["Ks"][0]
    count = len(means)
    assert view.shape == (4, 4)
    assert K.shape == (3, 3)
    assert given["quats"].shape == (count, 4)
    assert given["opacities"].shape == (count,)
    assert colours.shape == (count, 8)
    assert given["eps2d"] == 0.3
    w, x, y, z = torch.nn.functional.normalize(given["quats"], dim=1).T
    turn = torch.stack(
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
         2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
         2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)), 1
    ).reshape(count, 3, 3)  # fmt: skip
    seen = means @ view[:3, :3].T + view[:3, 3]
    blended = torch.zeros(given["height"], given["width"], 8, dtype=means.dtype)
    light = torch.ones(given["height"], given["width"], dtype=means.dtype)
    ended = torch.zeros(given["height"], given["width"], dtype=torch.bool)
    rows, columns = torch.meshgrid(
        torch.arange(given["height"]) + 0.5, torch.arange(given["width"]) + 0.5, indexing="ij"
    )
    for n in seen[:, 2].argsort().tolist():
        px, py, pz = seen[n]
        if pz < given["near_plane"]:
            continue
        J = torch.stack((K[0, 0] / pz, K[0, 1] / pz, -(K[0, 0] * px + K[0, 1] * py) / pz**2,
                         0 * pz, K[1, 1] / pz, -K[1, 1] * py / pz**2)).reshape(2, 3)  # fmt: skip
        spread = J @ view[:3, :3] @ turn[n] @ torch.diag(scales[n])
        inverse = torch.linalg.inv(spread @ spread.T + 0.3 * torch.eye(2, dtype=means.dtype))
        centre = (K @ seen[n] / pz)[:2]
        away = torch.stack((columns, rows), -1).to(means.dtype) - centre
        alpha = given["opacities"][n] * torch.exp(-0.5 * (away @ inverse * away).sum(-1))
        alpha = alpha.clamp(max=0.999)
        alpha = torch.where(alpha < 1 / 255, 0, alpha)
        ended |= light * (1 - alpha) <= 1e-4
        alpha = torch.where(ended, 0, alpha)
        blended = blended + (alpha * light)[..., None] * colours[n]
        light = light * (1 - alpha)
    return blended[None], (1 - light)[None, ..., None], {}


def test_the_wrapper_speaks_the_convention_of_gsplat(scattered: Made, camera: Viewpoint) -> None:
    # Well within the picture: further out gsplat, as we do, linearises elsewhere, which the plain twin does not.
    crowd = scattered(60, 3, degree=2, size=0.2)
    gaussians = GaussianTensors.of(replace(crowd, means=crowd.means * np.float32(0.5)), dtype=torch.float64)
    behind = torch.rand(3, *camera.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wrapped, plain = (
        render_with(_as_gsplat, gaussians, camera, behind, ids=True),
        render_tiles(gaussians, camera, behind),
    )
    assert bool(plain.plane_depth.isfinite().any())
    for name in ("rgb", "alpha", "expected_depth", "plane_depth", "normal", "distance"):
        one, other = getattr(wrapped, name), getattr(plain, name)
        assert torch.allclose(one, other, atol=1e-6, equal_nan=True)
    assert np.array_equal(wrapped.rendering().gaussian_id, plain.rendering().gaussian_id)


def test_ids_are_found_only_if_asked_for(scattered: Made, camera: Viewpoint) -> None:
    gaussians = GaussianTensors.of(scattered(5), dtype=torch.float64)
    drawn = render_with(_as_gsplat, gaussians, camera)
    assert drawn.gaussian_id is None
    with pytest.raises(ShapeError, match="render with ids=True"):
        drawn.rendering()
    with pytest.raises(ShapeError, match="expected a background"):
        render_with(_as_gsplat, gaussians, camera, torch.zeros(3, 4, 4))


def test_without_gsplat_the_error_says_what_to_install(
    scattered: Made, camera: Viewpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gsplat", None)
    with pytest.raises(
        MissingDependencyError, match=r"CUDA \(an NVIDIA GPU\) needs the package gsplat; run: pip install"
    ):
        render_gsplat(GaussianTensors.of(scattered(5)), camera)


def test_without_cuda_the_error_says_so(
    scattered: Made, camera: Viewpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = ModuleType("gsplat")
    installed.rasterization = _as_gsplat  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gsplat", installed)
    with pytest.raises(
        CapabilityError, match="gsplat needs CUDA: expected Gaussians on a CUDA device, got cpu"
    ):
        render_gsplat(GaussianTensors.of(scattered(5)), camera)


@pytest.mark.gpu
def test_gsplat_draws_what_we_draw(scattered: Made, camera: Viewpoint) -> None:
    K = camera.K.copy()
    K[0, 1] = 0  # gsplat's kernels know no skew
    straight = Viewpoint(K=K, R=camera.R, t=camera.t, size=camera.size)
    gaussians = GaussianTensors.of(scattered(300, 3, size=0.3), device=torch.device("cuda"))
    fast, plain = (
        render_gsplat(gaussians, straight, ids=True).rendering(),
        render_tiles(gaussians, straight).rendering(),
    )
    assert np.quantile(np.abs(fast.rgb - plain.rgb), 0.999) < 1e-3
    both = np.isfinite(fast.plane_depth) & np.isfinite(plain.plane_depth)
    assert both.any()
    assert np.quantile(np.abs(fast.plane_depth - plain.plane_depth)[both], 0.99) < 1e-3
