"""Stable Diffusion and DINO fused for a pair, as in Zhang et al., "A Tale of Two Features" (2023).

Source: `pck_spair_pascal.py` and `co_pca` of Junyi42/sd-dino, with its default metric l2.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.coords import Size
from homolog.core.errors import ConfigError, did_you_mean
from homolog.core.features import Features
from homolog.core.image import check_multiple
from homolog.core.protocols import Backbone


class SdDino(nn.Module):
    """One map per image, `sd_dino.fused`: reduced diffusion maps beside DINO's patch tokens.

    The diffusion maps are those that enter the last layer of up blocks 0, 1 and 2 (s5, s4, s3 at 1/64,
    1/32 and 1/16). Each is reduced by a principal component analysis of the cells of both images
    together; then they are brought to the grid of the last, joined, and given unit norm per cell, as
    is DINO's map; and both are joined. DINO sees the image enlarged or reduced such that one patch is
    one cell of that grid (840 pixels for 960, as upstream); upstream takes its tokens as the block leaves
    them, without the final norm.

    The components depend on the pair, so the fused map does too (`joint`). What is worth keeping per
    image are the maps of the two parts, which are backbones of their own.

    What differs from upstream: its diffusion model is Stable Diffusion 1.5 inside ODISE, here it is
    whatever `diffusion` loads, with stock diffusers; its noise is one fixed draw for all images, here
    it belongs to the image; its prompt is a caption or the category, here what `diffusion` has; and its
    randomised `pca_lowrank` is an exact, deterministic decomposition here.
    """

    joint = True

    def __init__(
        self,
        diffusion: Backbone,
        dino: Backbone,
        *,
        diffusion_maps: Sequence[str],
        dino_map: str,
        components: int = 256,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        """Put the two parts together.

        Args:
            diffusion: gives the maps to reduce.
            dino: gives the map to join.
            diffusion_maps: from the coarsest to the finest, whose grid the result has.
            dino_map: name of DINO's map.
            components: channels that each diffusion map is reduced to (fewer if it has fewer).
            weights: of `diffusion` and `dino`, both 1 if not given.

        Raises:
            ConfigError: a part has no such map.
        """
        super().__init__()
        for name, part in [*((name, diffusion) for name in diffusion_maps), (dino_map, dino)]:
            if name not in part.channels:
                raise ConfigError(f"SD+DINO: no map {name}{did_you_mean(name, part.channels)}")
        if not diffusion_maps or components < 1:
            raise ConfigError(f"SD+DINO: expected maps and components, got {diffusion_maps}, {components}")
        self.diffusion, self.dino = cast(nn.Module, diffusion), cast(nn.Module, dino)
        self._maps, self._dino_map, self._components = list(diffusion_maps), dino_map, components
        self._weights = {"diffusion": 1.0, "dino": 1.0, **(weights or {})}
        self._patch = dino.multiple
        self.multiple = diffusion.multiple
        reduced = sum(min(components, diffusion.channels[name]) for name in diffusion_maps)
        self.channels = {"sd_dino.fused": reduced + dino.channels[dino_map]}

    def forward(self, images: Float[Tensor, "B V 3 H W"]) -> Features:
        """Map RGB in [0, 1] of the V views that belong together to the fused map.

        Raises:
            ShapeError: a side of the images is no multiple of `multiple`.
        """
        size = (images.shape[-2], images.shape[-1])
        check_multiple(size, self.multiple, name="SD+DINO")
        raw: Features = self.diffusion(images)
        fused = reduce_jointly(raw[self._maps[0]], self._components)
        for name in self._maps[1:]:
            finer = reduce_jointly(raw[name], self._components)
            fused = torch.cat((_resampled(fused, _grid(finer)), finer), dim=2)
        dino: Features = self.dino(self._for_dino(images, _grid(fused)))
        tokens = _resampled(dino[self._dino_map].to(fused.dtype), _grid(fused))
        parts = (
            F.normalize(fused, dim=2) * self._weights["diffusion"],
            F.normalize(tokens, dim=2) * self._weights["dino"],
        )
        return Features(maps={"sd_dino.fused": torch.cat(parts, dim=2)}, image_size=size)

    def _for_dino(self, images: Tensor, grid: Size) -> Tensor:
        size = (grid[0] * self._patch, grid[1] * self._patch)
        flat = images.flatten(0, 1)
        seen = F.interpolate(flat, size=size, mode="bilinear", antialias=True, align_corners=False)
        return seen.clamp(0, 1).unflatten(0, images.shape[:2])


def reduce_jointly(maps: Float[Tensor, "B V C h w"], components: int) -> Float[Tensor, "B V K h w"]:
    """Project the cells of all views onto their first principal components.

    The decomposition is exact (of the covariance, in float64) and its signs are fixed (the largest entry
    of a component is positive), so equal maps have equal projections. No gradient flows into the basis.

    Args:
        maps: V views that belong together.
        components: K is this or C, whichever is smaller.
    """
    cells = maps.permute(0, 1, 3, 4, 2).flatten(1, 3).float()
    centred = cells - cells.mean(dim=1, keepdim=True)
    basis = _principal_axes(centred, components)
    batch, views, _, height, width = maps.shape
    # The basis is exact; autocast would round the projection onto it.
    with torch.autocast(maps.device.type, enabled=False):
        projected = centred @ basis
    return projected.reshape(batch, views, height, width, -1).permute(0, 1, 4, 2, 3)


@torch.no_grad()
def _principal_axes(centred: Tensor, components: int) -> Tensor:
    # Apple's GPUs know neither float64 nor `eigh`.
    device = torch.device("cpu") if centred.device.type == "mps" else centred.device
    wide = centred.to(device).double()
    basis = torch.linalg.eigh(wide.mT @ wide).eigenvectors.flip(-1)[..., :components]
    largest = basis.gather(1, basis.abs().argmax(dim=1, keepdim=True))
    return (basis * largest.sign()).to(centred)


def _grid(maps: Tensor) -> Size:
    return maps.shape[-2], maps.shape[-1]


def _resampled(maps: Tensor, grid: Size) -> Tensor:
    if _grid(maps) == grid:
        return maps
    flat = F.interpolate(maps.flatten(0, 1), size=grid, mode="bilinear", align_corners=False)
    return flat.unflatten(0, maps.shape[:2])
