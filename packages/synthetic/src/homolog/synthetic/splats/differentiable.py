"""Render Gaussians with gradients: in plain torch on any device, or with gsplat on an NVIDIA GPU."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from homolog.core.camera import Camera
from homolog.core.coords import Size, pixel_grid
from homolog.core.errors import CapabilityError, MissingDependencyError, ShapeError
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.splats.gaussians import Gaussians, shade
from homolog.synthetic.splats.rendering import (
    BEYOND,
    BLUR,
    GRAZING,
    LARGEST_ALPHA,
    NEAR,
    SMALLEST_ALPHA,
    SMALLEST_LIGHT,
    SOLID,
    Rendering,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GaussianTensors:
    """The same as `Gaussians`, with gradients, on any device and in any precision.

    Quaternions (w, x, y, z) may have any length but 0.
    """

    means: Float[Tensor, "N 3"]
    scales: Float[Tensor, "N 3"]
    rotations: Float[Tensor, "N 4"]
    opacity: Float[Tensor, " N"]
    harmonics: Float[Tensor, "N K 3"]

    @classmethod
    def of(
        cls, gaussians: Gaussians, *, device: torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> "GaussianTensors":
        """Copy Gaussians to a device."""
        parts = gaussians.parts()
        return cls(**{name: torch.tensor(parts[name], device=device, dtype=dtype) for name in parts})

    def gaussians(self) -> Gaussians:
        """Copy them back, without gradients."""
        turned = replace(self, rotations=torch.nn.functional.normalize(self.rotations, dim=1))
        return Gaussians(**{field.name: _array(getattr(turned, field.name)) for field in fields(turned)})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendered:
    """The same as `Rendering`, with gradients; channels come first.

    `rgb` is not clipped at 1, `gaussian_id` is None if it was not asked for. Select the valid pixels of a
    depth before a loss: NaN times 0 is NaN.
    """

    rgb: Float[Tensor, "3 H W"]
    alpha: Float[Tensor, "H W"]
    expected_depth: Float[Tensor, "H W"]
    plane_depth: Float[Tensor, "H W"]
    normal: Float[Tensor, "3 H W"]
    distance: Float[Tensor, "H W"]
    gaussian_id: Int64[Tensor, "H W"] | None

    def rendering(self) -> Rendering:
        """Copy it to arrays, without gradients.

        Raises:
            ShapeError: it has no `gaussian_id`.
        """
        if self.gaussian_id is None:
            raise ShapeError("expected a rendering with gaussian_id, got one without; render with ids=True")
        return Rendering(
            rgb=_array(self.rgb.permute(1, 2, 0).clamp(max=1)),
            alpha=_array(self.alpha),
            expected_depth=_array(self.expected_depth),
            plane_depth=_array(self.plane_depth),
            normal=_array(self.normal.permute(1, 2, 0)),
            distance=_array(self.distance),
            gaussian_id=self.gaussian_id.cpu().to(torch.int32).numpy(),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Splats:
    """Gaussians as ellipses in an image: centres and half extents in pixels, inverse covariance (xx, xy, yy).

    `features` are what is blended: RGB, depth, normal towards the camera in its frame, distance of the plane.
    `visible` splats lie in front of the camera and reach into the image.
    """

    xy: Float[Tensor, "N 2"]
    inverse: Float[Tensor, "N 3"]
    half: Float[Tensor, "N 2"]
    opacity: Float[Tensor, " N"]
    features: Float[Tensor, "N 8"]
    visible: Bool[Tensor, " N"]


def project(gaussians: GaussianTensors, viewpoint: Viewpoint) -> Splats:
    """Project Gaussians, by the rules of `homolog.synthetic.splats.rendering`."""
    like = gaussians.means
    K, R, t = (
        torch.from_numpy(part.astype(np.float64)).to(like) for part in (viewpoint.K, viewpoint.R, viewpoint.t)
    )
    height, width = viewpoint.size
    seen = like @ R.T + t
    # What lies behind the camera is not drawn; a depth of 1 keeps its gradients finite.
    before = seen[:, 2] >= NEAR
    z = torch.where(before, seen[:, 2], 1)
    xy = torch.stack((K[0, 0] * seen[:, 0] + K[0, 1] * seen[:, 1], K[1, 1] * seen[:, 1]), 1) / z[:, None]
    xy = xy + K[:2, 2]
    axes = R @ rotation_matrices(gaussians.rotations)
    place = seen[:, :2] / z[:, None]
    tx = _kept(place[:, 0], -0.5 - K[0, 2], width - 0.5 - K[0, 2], K[0, 0])[:, None]
    ty = _kept(place[:, 1], -0.5 - K[1, 2], height - 0.5 - K[1, 2], K[1, 1])[:, None]
    right, down = axes[:, 0] - tx * axes[:, 2], axes[:, 1] - ty * axes[:, 2]
    across = (K[0, 0] * right + K[0, 1] * down) / z[:, None] * gaussians.scales
    along = K[1, 1] * down / z[:, None] * gaussians.scales
    xx, cross, yy = (across**2).sum(1) + BLUR, (across * along).sum(1), (along**2).sum(1) + BLUR
    inverse = torch.stack((yy, -cross, xx), 1) / (xx * yy - cross**2)[:, None]
    opacity = gaussians.opacity
    with torch.no_grad():
        reach = (2 * torch.log((opacity / SMALLEST_ALPHA).clamp(min=1))).sqrt()
        half = reach[:, None] * torch.stack((xx, yy), 1).sqrt()
        corner = torch.tensor((width - 1, height - 1), device=like.device)
        visible = before & (opacity >= SMALLEST_ALPHA)
        visible &= ((xy + half >= 0) & (xy - half <= corner)).all(1)
    normal, distance = _planes(axes, gaussians.scales, seen)
    centre = torch.from_numpy(viewpoint.centre.astype(np.float64)).to(like)
    colour = shade(gaussians.harmonics, torch.nn.functional.normalize(like - centre, dim=1))
    features = torch.cat((colour, z[:, None], normal, distance[:, None]), 1)
    return Splats(xy=xy, inverse=inverse, half=half, opacity=opacity, features=features, visible=visible)


def finished(
    blended: Float[Tensor, "8 H W"],
    alpha: Float[Tensor, "H W"],
    gaussian_id: Int64[Tensor, "H W"] | None,
    viewpoint: Viewpoint,
    background: Float[Tensor, "3 H W"] | None,
) -> Rendered:
    """Turn blended features into images and depths; see `homolog.synthetic.splats.rendering.plane_depth`."""
    rgb, depth, normal, distance = blended[:3], blended[3], blended[4:7], blended[7]
    if background is not None:
        rgb = rgb + (1 - alpha) * background
    slope = (normal * pixel_rays(viewpoint.K, viewpoint.size, blended)).sum(0)
    solid = alpha >= SOLID
    planar = solid & (slope <= -GRAZING)
    # Divisors of discarded pixels are replaced first, or their gradients would be NaN.
    mean = depth / torch.where(solid, alpha, 1)
    plane = -distance / torch.where(planar, slope, 1)
    return Rendered(
        rgb=rgb,
        alpha=alpha,
        expected_depth=torch.where(solid, mean, torch.nan),
        plane_depth=torch.where(planar, plane, torch.nan),
        normal=normal,
        distance=distance,
        gaussian_id=gaussian_id,
    )


def pixel_rays(K: np.ndarray, size: Size, like: Tensor) -> Float[Tensor, "3 H W"]:
    """Return the direction with z = 1 through the centre of every pixel."""
    xy = pixel_grid(size, device=like.device).to(like.dtype)
    camera = Camera(K=torch.from_numpy(K.astype(np.float64)).to(like))
    return camera.rays(xy).T.reshape(3, *size)


def rotation_matrices(quaternions: Float[Tensor, "N 4"]) -> Float[Tensor, "N 3 3"]:
    """Return the rotations of quaternions (w, x, y, z) of any length but 0."""
    w, x, y, z = torch.nn.functional.normalize(quaternions, dim=1).unbind(1)
    rows = (
        torch.stack((1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)), 1),
        torch.stack((2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)), 1),
        torch.stack((2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)), 1),
    )
    return torch.stack(rows, 1)


def _kept(place: Tensor, low: Tensor, high: Tensor, focal: Tensor) -> Tensor:
    margin = (BEYOND - 1) * 0.5 * (high - low)
    return place.clamp((low - margin) / focal, (high + margin) / focal)


def _planes(axes: Tensor, scales: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Return normals towards the camera in its frame, and the distances of the planes from it."""
    thin = scales.argmin(1)
    normal = axes[torch.arange(len(axes), device=axes.device), :, thin]
    distance = -(normal * seen).sum(1)
    sign = torch.where(distance < 0, -1.0, 1.0).to(axes)
    return normal * sign[:, None], distance * sign


def _array(values: Tensor) -> Float32[np.ndarray, "..."]:
    return values.detach().cpu().to(torch.float32).contiguous().numpy()


def render_tiles(
    gaussians: GaussianTensors,
    viewpoint: Viewpoint,
    background: Float[Tensor, "3 H W"] | None = None,
    *,
    tile: int = 16,
) -> Rendered:
    """Render Gaussians tile by tile in plain torch, on any device; differentiable in all parameters.

    Slower than `homolog.synthetic.splats.rendering.render`, with which it agrees. Device and precision are
    those of the Gaussians; the background is RGB of the viewpoint's size, black by default. The side of a
    tile in pixels changes memory and speed, not the image.

    Raises:
        ShapeError: a background of another size, or no positive tile.
    """
    _check_background(background, viewpoint)
    height, width = viewpoint.size
    if tile < 1:
        raise ShapeError(f"expected a tile of at least one pixel, got {tile}")
    splats = project(gaussians, viewpoint)
    order = _front_to_back(splats)
    with torch.no_grad():
        low, high = splats.xy[order] - splats.half[order], splats.xy[order] + splats.half[order]
    rows: list[Tensor] = []
    for top in range(0, height, tile):
        bottom = min(top + tile, height)
        reached = (high[:, 1] >= top) & (low[:, 1] <= bottom - 1)
        low_x, high_x, of_row = low[reached, 0], high[reached, 0], order[reached]
        cells: list[Tensor] = []
        for left in range(0, width, tile):
            right = min(left + tile, width)
            index = of_row[(high_x >= left) & (low_x <= right - 1)]
            cells.append(_tile(splats, index, top, bottom, left, right))
        rows.append(torch.cat(cells, 2))
    whole = torch.cat(rows, 1)
    # As floats, ids are exact up to 2^24 in single precision; `_tile` refuses more.
    return finished(whole[:8], whole[8], whole[9].detach().long(), viewpoint, background)


def _check_background(background: Tensor | None, viewpoint: Viewpoint) -> None:
    if background is not None and background.shape != (3, *viewpoint.size):
        raise ShapeError(f"expected a background {[3, *viewpoint.size]}, got {list(background.shape)}")


def _front_to_back(splats: Splats) -> Tensor:
    depth = splats.features[:, 3].detach()
    if len(depth) >= 1 << 24:
        raise ShapeError(f"expected fewer than {1 << 24} Gaussians, got {len(depth)}; render with gsplat")
    drawn = splats.visible.nonzero()[:, 0]
    return drawn[depth[drawn].sort(stable=True).indices]


def _tile(
    splats: Splats, index: Tensor, top: int, bottom: int, left: int, right: int
) -> Float[Tensor, "10 h w"]:
    """Return the blended features, alpha and the id of the strongest Gaussian of each pixel of a tile."""
    like, size = splats.xy, (bottom - top, right - left)
    if len(index) == 0:
        empty = like.new_zeros(10, *size)
        empty[9] = -1
        return empty
    y, x = torch.meshgrid(
        torch.arange(top, bottom, device=like.device, dtype=like.dtype),
        torch.arange(left, right, device=like.device, dtype=like.dtype),
        indexing="ij",
    )
    dx = x.reshape(-1, 1) - splats.xy[index, 0]
    dy = y.reshape(-1, 1) - splats.xy[index, 1]
    xx, xy, yy = splats.inverse[index].unbind(1)
    power = 0.5 * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
    alpha = (splats.opacity[index] * torch.exp(-power)).clamp(max=LARGEST_ALPHA)
    alpha = torch.where(alpha < SMALLEST_ALPHA, 0, alpha)
    through = torch.cumprod(1 - alpha, dim=1)
    before = torch.cat((torch.ones_like(through[:, :1]), through[:, :-1]), dim=1)
    # Transmittance only shrinks, so that the blended Gaussians are a prefix.
    weight = torch.where(through > SMALLEST_LIGHT, alpha * before, 0)
    strongest, winner = weight.detach().max(dim=1)
    winner = torch.where(strongest > 0, index[winner], -1)
    blended = torch.cat((weight @ splats.features[index], weight.sum(1, keepdim=True)), dim=1)
    return torch.cat((blended.T, winner[None].to(like.dtype)), 0).reshape(10, *size)


def render_gsplat(
    gaussians: GaussianTensors,
    viewpoint: Viewpoint,
    background: Float[Tensor, "3 H W"] | None = None,
    *,
    ids: bool = False,
) -> Rendered:
    """Render Gaussians with gsplat (Apache-2.0) on an NVIDIA GPU, for large scenes; differentiable in all parameters.

    gsplat blends any number of channels, so that normals and distances of planes are blended with the colours and
    its kernels need no change. Its own depth modes blend the depths of centres, which are biased.

    Args:
        gaussians: the scene, on a CUDA device.
        viewpoint: the camera.
        background: RGB behind it, of the viewpoint's size; black by default.
        ids: also find `gaussian_id`. gsplat's public call does not return the strongest Gaussian, so
            `render_tiles` runs for it, which takes longer than the rest.

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
            "or use render_tiles"
        )
    return render_with(rasterization, gaussians, viewpoint, background, ids=ids)


def render_with(
    rasterization: Callable[..., tuple[Tensor, Tensor, dict[str, Any]]],
    gaussians: GaussianTensors,
    viewpoint: Viewpoint,
    background: Float[Tensor, "3 H W"] | None = None,
    *,
    ids: bool = False,
) -> Rendered:
    """Render with a function that has the interface of `gsplat.rasterization` (1.5).

    Raises:
        ShapeError: a background of another size.
    """
    _check_background(background, viewpoint)
    height, width = viewpoint.size
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
