"""Draw Gaussians on an NVIDIA GPU with gsplat (Apache-2.0), an option for large scenes.

gsplat blends any number of channels, so that normals and distances of planes ride along with the colours and
its kernels need no change. Its own depth modes blend the depths of centres, which is the biased quantity.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.errors import CapabilityError, MissingDependencyError, ShapeError
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.splats.rendering import BLUR, NEAR
from homolog.synthetic.splats.tensors import GaussianTensors, Rendered, finished, project
from homolog.synthetic.splats.tiles import render_tiles


def render_cuda(
    gaussians: GaussianTensors,
    viewpoint: Viewpoint,
    background: Float[Tensor, "3 H W"] | None = None,
    *,
    ids: bool = False,
) -> Rendered:
    """Render Gaussians with gsplat; differentiable in all of them.

    Args:
        gaussians: the scene, on a CUDA device.
        viewpoint: the camera.
        background: RGB behind it, of the viewpoint's size; black by default.
        ids: also find `gaussian_id`. gsplat's public call does not tell which Gaussian is strongest, so the
            tiles of `homolog.synthetic.splats.tiles` are drawn for it, which takes longer than the rest.

    Raises:
        MissingDependencyError: gsplat is not installed.
        CapabilityError: the scene is not on a CUDA device.
        ShapeError: a background of another size.
    """
    try:
        from gsplat import rasterization  # type: ignore[import-not-found]
    except ImportError as error:
        raise MissingDependencyError("gsplat", "drawing Gaussians on CUDA (an NVIDIA GPU)") from error
    device = gaussians.means.device
    if device.type != "cuda":
        raise CapabilityError(
            f"gsplat needs CUDA: expected Gaussians on a CUDA device, got {device}; move them to an NVIDIA GPU, "
            "or draw them with homolog.synthetic.splats.tiles"
        )
    return rasterised(rasterization, gaussians, viewpoint, background, ids=ids)


def rasterised(
    rasterization: Callable[..., tuple[Tensor, Tensor, dict[str, Any]]],
    gaussians: GaussianTensors,
    viewpoint: Viewpoint,
    background: Float[Tensor, "3 H W"] | None = None,
    *,
    ids: bool = False,
) -> Rendered:
    """Render with a function that is called and answers as `gsplat.rasterization` (1.5) does.

    Raises:
        ShapeError: a background of another size.
    """
    height, width = viewpoint.size
    if background is not None and background.shape != (3, height, width):
        raise ShapeError(f"expected a background {[3, height, width]}, got {list(background.shape)}")
    like = gaussians.means
    motion = torch.eye(4).to(like)
    motion[:3, :3] = torch.from_numpy(viewpoint.R.astype(np.float64)).to(like)
    motion[:3, 3] = torch.from_numpy(viewpoint.t.astype(np.float64)).to(like)
    K = torch.from_numpy(viewpoint.K.astype(np.float64)).to(like)
    # gsplat puts the corner of the first pixel at (0, 0); ours has its centre there.
    K[:2, 2] += 0.5
    blended, alpha, _ = rasterization(
        means=gaussians.means,
        quats=gaussians.rotations,
        scales=gaussians.scales,
        opacities=gaussians.opacity,
        colors=project(gaussians, viewpoint).features,
        viewmats=motion[None],
        Ks=K[None],
        width=width,
        height=height,
        near_plane=NEAR,
        eps2d=BLUR,
        packed=False,
    )
    strongest = None
    if ids:
        with torch.no_grad():
            strongest = render_tiles(gaussians, viewpoint).gaussian_id
    return finished(blended[0].permute(2, 0, 1), alpha[0, ..., 0], strongest, viewpoint, background)
