"""Several backbones as one: their maps joined into a single unified feature."""

from collections.abc import Mapping
from math import lcm
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.coords import Size
from homolog.core.errors import ConfigError, did_you_mean
from homolog.core.features import Features
from homolog.core.image import check_multiple, fitted_size
from homolog.core.protocols import Backbone


class Stack(nn.Module):
    """Joins one map of each part into a unified map; all other maps pass through as `part.map`.

    Each part's map is resampled to one grid, brought to unit norm per cell and scaled by the root of
    its share of the weights. The joined map so has unit norm, and the cosine of two of its cells is
    the weighted mean of the parts' cosines.
    """

    def __init__(
        self,
        parts: Mapping[str, Backbone],
        *,
        weights: Mapping[str, float | int] | None = None,
        maps: Mapping[str, str] | None = None,
        grid: str | int = 1,
        name: str = "unified",
        scales: Mapping[str, float | int] | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            parts: the backbones by name.
            weights: of each part whose map is joined, in any unit; a part with weight 0 or none
                runs, but only passes its maps through. None joins nothing: the parts stand side by side.
            maps: which map of each joined part.
            grid: whose grid the unified map has: a part, or a stride in pixels.
            name: of the unified map.
            scales: for parts that shall see the image enlarged or reduced, by how much; each side
                is then rounded to that part's multiple.

        Raises:
            ConfigError: weights, maps, grid or scales that do not fit the parts.
        """
        super().__init__()
        maps = maps or {}
        _check_names(parts, weights or {}, maps, grid, scales or {})
        _check_numbers(weights, grid, scales or {})
        total = sum((weights or {}).values())
        self.parts = nn.ModuleDict({part: cast(nn.Module, backbone) for part, backbone in parts.items()})
        self._shares = {part: weight / total for part, weight in (weights or {}).items() if weight > 0}
        self._maps = dict(maps)
        self._grid = grid
        self._name = name
        self._scales = dict(scales or {})
        unscaled = [backbone.multiple for part, backbone in parts.items() if part not in self._scales]
        self.multiple = lcm(*unscaled, grid if isinstance(grid, int) else 1)
        self.joint = any(backbone.joint for backbone in parts.values())
        self.channels: dict[str, int] = {}
        for part, backbone in parts.items():
            self.channels |= {
                f"{part}.{m}": c for m, c in backbone.channels.items() if not self._joins(part, m)
            }
        if name in self.channels:
            raise ConfigError(f"Stack: expected a name for the joined map that no part uses, got {name}")
        if self._shares:
            self.channels[name] = sum(parts[part].channels[maps[part]] for part in self._shares)

    def forward(self, images: Float[Tensor, "B V 3 H W"]) -> Features:
        """Run every part and join their maps.

        Raises:
            ShapeError: the image's sides are no multiples of `multiple`.
        """
        size = (images.shape[-2], images.shape[-1])
        check_multiple(size, self.multiple, name="Stack")
        found: dict[str, Features] = {
            part: backbone(_seen(images, self._scales.get(part), cast(Backbone, backbone).multiple))
            for part, backbone in self.parts.items()
        }
        maps = {self._name: self._joined(size, found)} if self._shares else {}
        for part, features in found.items():
            maps |= {f"{part}.{m}": map_ for m, map_ in features.maps.items() if not self._joins(part, m)}
        return Features(maps=maps, image_size=size)

    def _joined(self, size: Size, found: Mapping[str, Features]) -> Tensor:
        grid = self._cells(size, found)
        parts = [
            _unit(found[part][self._maps[part]], grid) * share**0.5 for part, share in self._shares.items()
        ]
        return torch.cat(parts, dim=2)

    def _cells(self, size: Size, found: Mapping[str, Features]) -> Size:
        if isinstance(self._grid, int):
            return size[0] // self._grid, size[1] // self._grid
        shape = found[self._grid][self._maps[self._grid]].shape
        return shape[-2], shape[-1]

    def _joins(self, part: str, map_: str) -> bool:
        return part in self._shares and self._maps[part] == map_


def _check_names(
    parts: Mapping[str, Backbone],
    weights: Mapping[str, float | int],
    maps: Mapping[str, str],
    grid: str | int,
    scales: Mapping[str, float | int],
) -> None:
    joined = {*weights, grid} if isinstance(grid, str) else {*weights}
    for part in sorted({*joined, *maps, *scales} - parts.keys()):
        raise ConfigError(f"Stack has no part {part}{did_you_mean(part, parts)}")
    for part in sorted(joined - maps.keys()):
        raise ConfigError(f"Stack: expected the map of {part} to join, got none; set maps.{part}")
    for part, map_ in maps.items():
        if map_ not in parts[part].channels:
            raise ConfigError(f"Stack: {part} has no map {map_}{did_you_mean(map_, parts[part].channels)}")


def _check_numbers(
    weights: Mapping[str, float | int] | None, grid: str | int, scales: Mapping[str, float | int]
) -> None:
    if weights is not None and (min(weights.values(), default=0) < 0 or sum(weights.values()) <= 0):
        raise ConfigError(f"Stack: expected weights of 0 or more, one above 0, got {dict(weights)}")
    if min(scales.values(), default=1) <= 0 or (isinstance(grid, int) and grid < 1):
        raise ConfigError(f"Stack: expected scales and stride above 0, got {dict(scales)} and {grid}")


def _seen(images: Tensor, scale: float | None, multiple: int) -> Tensor:
    if scale is None:
        return images
    wanted = (round(images.shape[-2] * scale), round(images.shape[-1] * scale))
    size = fitted_size(wanted, multiple=multiple)
    flat = F.interpolate(
        images.flatten(0, 1), size=size, mode="bilinear", antialias=True, align_corners=False
    )
    return flat.unflatten(0, images.shape[:2])


def _unit(map_: Tensor, cells: Size) -> Tensor:
    # Normalised before resampling, so that no cell outshouts its neighbours, and after it, so that
    # the cosines add up exactly.
    flat = F.normalize(map_.flatten(0, 1), dim=1)
    if flat.shape[-2:] != cells:
        reduces = cells[0] < flat.shape[-2] or cells[1] < flat.shape[-1]
        flat = F.interpolate(flat, size=cells, mode="bilinear", antialias=reduces, align_corners=False)
    return F.normalize(flat, dim=1).unflatten(0, map_.shape[:2])
