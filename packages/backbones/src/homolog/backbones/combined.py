"""Backbones made of backbones: followed by a fusion, fed smaller images, or several joined into one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import lcm
from typing import Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.coords import Size
from homolog.core.errors import ConfigError, did_you_mean
from homolog.core.features import Features
from homolog.core.image import check_multiple, fitted_size
from homolog.core.protocols import Backbone, Fusion


class Fused(nn.Module):
    """Any backbone followed by any fusion, as one backbone."""

    def __init__(
        self,
        *,
        backbone: Backbone,
        fusion: Fusion,
        keep: Sequence[str] | None = None,
        through: Sequence[str] = (),
    ) -> None:
        """Put both together.

        Args:
            backbone: gives the maps; frozen or not as it was built.
            fusion: reads the maps that it names.
            keep: which of the fused maps to return; None returns all.
            through: maps of the backbone to return as they are, such as a detector's score map.

        Raises:
            ConfigError: a map that neither makes, or one that both make.
        """
        super().__init__()
        for asked, made in ((keep or [], fusion.channels), (through, backbone.channels)):
            for name in asked:
                if name not in made:
                    raise ConfigError(f"Fused: there is no map {name}{did_you_mean(name, made)}")
        kept = list(fusion.channels) if keep is None else list(keep)
        for name in {*kept} & {*through}:
            raise ConfigError(
                f"Fused: expected different names, got {name} of the backbone and of the fusion"
            )
        self.backbone = cast(nn.Module, backbone)
        self.fusion = cast(nn.Module, fusion)
        self.multiple = backbone.multiple
        self.joint = backbone.joint
        self.channels = {name: fusion.channels[name] for name in kept}
        self.channels |= {name: backbone.channels[name] for name in through}

    def forward(self, images: Float[Tensor, "B V 3 H W"]) -> Features:
        """Run the backbone, fuse its maps, and return those that were asked for."""
        features: Features = self.backbone(images)
        fused: Features = self.fusion(features)
        maps = {**features.maps, **fused.maps}
        return Features(maps={name: maps[name] for name in self.channels}, image_size=features.image_size)


Rounding = Literal["nearest", "down"]
"""Which multiple of the backbone's a side becomes."""


class Resized(nn.Module):
    """Scales images down before a backbone sees them; its maps still cover the whole of what was given.

    So a detector can look for keypoints at full size next to a transformer that was trained at another.
    Images that are small enough pass as they are.
    """

    def __init__(
        self, backbone: Backbone, *, resize: int, rounding: Rounding = "nearest", antialias: bool = True
    ) -> None:
        """Wrap a backbone.

        Args:
            backbone: sees the smaller images.
            resize: the longer side of what it sees, in pixels, at most.
            rounding: to multiples of its own; OmniGlue's release rounds down.
            antialias: filter before reducing; OmniGlue's release does not.

        Raises:
            ConfigError: a side below the backbone's multiple, or an unknown rounding.
        """
        super().__init__()
        if resize < backbone.multiple:
            raise ConfigError(f"Resized: expected resize of at least {backbone.multiple}, got {resize}")
        if rounding not in ("nearest", "down"):
            raise ConfigError(f"Resized: expected the rounding nearest or down, got {rounding}")
        self.backbone = backbone
        self.resize = resize
        self.rounding: Rounding = rounding
        self.antialias = antialias
        self.multiple: int = backbone.multiple
        self.joint: bool = backbone.joint

    @property
    def channels(self) -> dict[str, int]:
        """Channels of each map, by name."""
        return self.backbone.channels

    def forward(self, images: Float[Tensor, "B V 3 H W"]) -> Features:
        """Return the maps of the smaller images as maps of these.

        Raises:
            ShapeError: the image's sides are no multiples of `multiple`.
        """
        size = (images.shape[-2], images.shape[-1])
        check_multiple(size, self.multiple, name="Resized")
        seen = self._seen_size(size)
        if seen != size:
            images = _scaled(images, seen, antialias=self.antialias)
        return replace(self.backbone(images), image_size=size)

    def _seen_size(self, size: Size) -> Size:
        if max(size) <= self.resize:
            return size
        if self.rounding == "nearest":
            return fitted_size(size, longer_side=self.resize, multiple=self.multiple)
        # Scaled first and cut to whole pixels, then down to a multiple: two roundings, as in the release.
        height, width = (side * self.resize // max(size) for side in size)
        height, width = (max(1, side // self.multiple) * self.multiple for side in (height, width))
        return height, width


class Stack(nn.Module):
    """Joins one map of each part into a unified map; all other maps pass through as `part.map`.

    Each part's map is resampled to one grid, brought to unit norm per cell and scaled by the root of
    its fraction of the weights. The joined map therefore has unit norm, and the cosine of two of its cells is
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
        through: Sequence[str] = (),
    ) -> None:
        """Put the parts together.

        Args:
            parts: the backbones by name.
            weights: of each part whose map is joined, in any unit; a part with weight 0 or none
                runs, but only passes its maps through. None joins nothing: the parts stand side by side.
            maps: which map of each joined part.
            grid: which grid the unified map has: that of a part, or a stride in pixels.
            name: of the unified map.
            scales: by how much the image is enlarged or reduced for a part; each side
                is then rounded to that part's multiple.
            through: joined maps, as `part.map`, that pass through as well.

        Raises:
            ConfigError: weights, maps, grid, scales or names that do not fit the parts.
        """
        super().__init__()
        maps = maps or {}
        _check_names(parts, weights or {}, maps, grid, scales or {})
        _check_numbers(weights, grid, scales or {})
        total = sum((weights or {}).values())
        self.parts = nn.ModuleDict({part: cast(nn.Module, backbone) for part, backbone in parts.items()})
        self._fractions = {part: weight / total for part, weight in (weights or {}).items() if weight > 0}
        self._maps = dict(maps)
        self._grid = grid
        self._name = name
        self._scales = dict(scales or {})
        self._through = frozenset(through)
        unscaled = [backbone.multiple for part, backbone in parts.items() if part not in self._scales]
        self.multiple = lcm(*unscaled, grid if isinstance(grid, int) else 1)
        self.joint = any(backbone.joint for backbone in parts.values())
        self.channels: dict[str, int] = {}
        for part, backbone in parts.items():
            self.channels |= {f"{part}.{m}": c for m, c in backbone.channels.items() if self._passes(part, m)}
        for missing in sorted(self._through - self.channels.keys()):
            raise ConfigError(f"Stack: no part has the map {missing}{did_you_mean(missing, self.channels)}")
        if name in self.channels:
            raise ConfigError(f"Stack: expected a name for the joined map that no part uses, got {name}")
        if self._fractions:
            self.channels[name] = sum(parts[part].channels[maps[part]] for part in self._fractions)

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
        maps = {self._name: self._joined(size, found)} if self._fractions else {}
        for part, features in found.items():
            maps |= {f"{part}.{m}": map_ for m, map_ in features.maps.items() if self._passes(part, m)}
        return Features(maps=maps, image_size=size)

    def _joined(self, size: Size, found: Mapping[str, Features]) -> Tensor:
        grid = self._cells(size, found)
        parts = [
            _unit(found[part][self._maps[part]], grid) * fraction**0.5
            for part, fraction in self._fractions.items()
        ]
        return torch.cat(parts, dim=2)

    def _cells(self, size: Size, found: Mapping[str, Features]) -> Size:
        if isinstance(self._grid, int):
            return size[0] // self._grid, size[1] // self._grid
        shape = found[self._grid][self._maps[self._grid]].shape
        return shape[-2], shape[-1]

    def _passes(self, part: str, map_: str) -> bool:
        joined = part in self._fractions and self._maps[part] == map_
        return not joined or f"{part}.{map_}" in self._through


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
    return _scaled(images, fitted_size(wanted, multiple=multiple), antialias=True)


def _scaled(images: Tensor, size: Size, *, antialias: bool) -> Tensor:
    flat = F.interpolate(
        images.flatten(0, 1), size=size, mode="bilinear", antialias=antialias, align_corners=False
    )
    return flat.unflatten(0, images.shape[:2])


def _unit(map_: Tensor, cells: Size) -> Tensor:
    # Normalised before resampling, so that cells with a large norm do not dominate, and after it, so that
    # the cosines add up exactly.
    flat = F.normalize(map_.flatten(0, 1), dim=1)
    if flat.shape[-2:] != cells:
        reduces = cells[0] < flat.shape[-2] or cells[1] < flat.shape[-1]
        flat = F.interpolate(flat, size=cells, mode="bilinear", antialias=reduces, align_corners=False)
    return F.normalize(flat, dim=1).unflatten(0, map_.shape[:2])
