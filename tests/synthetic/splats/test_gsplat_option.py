"""The wrapper of gsplat, as far as it can be tested without an NVIDIA GPU: what it refuses, passes and does."""

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
from homolog.synthetic.splats.cuda import rasterised, render_cuda
from homolog.synthetic.splats.gaussians import Gaussians
from homolog.synthetic.splats.tensors import GaussianTensors
from homolog.synthetic.splats.tiles import render_tiles

Made = Callable[..., Gaussians]


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
        rasterised(_as_gsplat, gaussians, camera, behind, ids=True),
        render_tiles(gaussians, camera, behind),
    )
    assert bool(plain.plane_depth.isfinite().any())
    for name in ("rgb", "alpha", "expected_depth", "plane_depth", "normal", "distance"):
        one, other = getattr(wrapped, name), getattr(plain, name)
        assert torch.allclose(one, other, atol=1e-6, equal_nan=True)
    assert np.array_equal(wrapped.rendering().gaussian_id, plain.rendering().gaussian_id)


def test_ids_are_found_only_if_asked_for(scattered: Made, camera: Viewpoint) -> None:
    gaussians = GaussianTensors.of(scattered(5), dtype=torch.float64)
    drawn = rasterised(_as_gsplat, gaussians, camera)
    assert drawn.gaussian_id is None
    with pytest.raises(ShapeError, match="render with ids=True"):
        drawn.rendering()
    with pytest.raises(ShapeError, match="expected a background"):
        rasterised(_as_gsplat, gaussians, camera, torch.zeros(3, 4, 4))


def test_without_gsplat_the_error_says_what_to_install(
    scattered: Made, camera: Viewpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gsplat", None)
    with pytest.raises(
        MissingDependencyError, match=r"CUDA \(an NVIDIA GPU\) needs the package gsplat; run: pip install"
    ):
        render_cuda(GaussianTensors.of(scattered(5)), camera)


def test_without_cuda_the_error_says_so(
    scattered: Made, camera: Viewpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = ModuleType("gsplat")
    installed.rasterization = _as_gsplat  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gsplat", installed)
    with pytest.raises(
        CapabilityError, match="gsplat needs CUDA: expected Gaussians on a CUDA device, got cpu"
    ):
        render_cuda(GaussianTensors.of(scattered(5)), camera)


@pytest.mark.gpu
def test_gsplat_draws_what_we_draw(scattered: Made, camera: Viewpoint) -> None:
    K = camera.K.copy()
    K[0, 1] = 0  # gsplat's kernels know no skew
    straight = Viewpoint(K=K, R=camera.R, t=camera.t, size=camera.size)
    gaussians = GaussianTensors.of(scattered(300, 3, size=0.3), device=torch.device("cuda"))
    fast, plain = (
        render_cuda(gaussians, straight, ids=True).rendering(),
        render_tiles(gaussians, straight).rendering(),
    )
    assert np.quantile(np.abs(fast.rgb - plain.rgb), 0.999) < 1e-3
    both = np.isfinite(fast.plane_depth) & np.isfinite(plain.plane_depth)
    assert both.any()
    assert np.quantile(np.abs(fast.plane_depth - plain.plane_depth)[both], 0.99) < 1e-3
