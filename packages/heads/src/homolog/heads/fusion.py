"""MATCHA's attention fusion: a semantic and a geometric feature become one feature for every task.

Source: MATCHA, section 3 (eq. 1 to 6). Its symbols: F_h and F_l are the high- and low-level maps of
Stable Diffusion, F_d the tokens of DINOv2; F_s, F_g the fused semantic and geometric features, F_t
their union (MATCHA-Light), F_m the union with F_d (MATCHA). Only F_s and F_g are ever supervised.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from homolog.core.coords import Size
from homolog.core.errors import ConfigError
from homolog.core.features import Features
from homolog.core.weights import load_state, restore
from homolog.heads.attention import Attention, sine_cosine

SEMANTIC, GEOMETRIC, JOINT, UNIFIED, STRIDED = "semantic", "geometric", "joint", "unified", "semantic_strided"
"""Names of F_s, F_g, F_t, F_m, and of the channels of F_s that F_t keeps."""


class AttentionFusion(nn.Module):
    """Lets two maps of one image attend to themselves and to each other, and merges them with a third.

    Both streams are cut into patches and projected (no weights are shared between them), go through
    `depth` blocks of self- and cross-attention, and come back through a two-layer MLP that reads the
    first and the last tokens (eq. 5) and spreads over its patch by pixel shuffle.

    Where the paper is silent, the reading is an option; see the arguments.
    """

    def __init__(
        self,
        *,
        high: str,
        low: str,
        high_channels: int,
        low_channels: int,
        other: str | None = None,
        other_channels: int = 1024,
        width: int = 768,
        depth: int = 4,
        heads: int = 12,
        patch: int = 2,
        align: Literal["fine", "coarse"] = "fine",
        residual: Literal["paper", "sequential"] = "paper",
        semantic_channels: int = 768,
        geometric_channels: int = 256,
        merging: Literal["unit_parts", "plain"] = "unit_parts",
        part_weights: Mapping[str, float] | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        """Build the network.

        Args:
            high: name of the map F_h, the coarser one.
            low: name of the map F_l; fused maps have its grid.
            high_channels: of F_h.
            low_channels: of F_l.
            other: name of the map F_d that F_m adds as it is; None for MATCHA-Light, which has no F_m.
            other_channels: of F_d.
            width: of the tokens (D_h; not given in the paper).
            depth: number of blocks (k; not given).
            heads: of each attention (not given).
            patch: side of a patch, in cells of F_l (p; not given).
            align: section 3 patchifies both maps with one p although F_h has half the grid of F_l.
                `fine` first enlarges F_h to the grid of F_l; `coarse` cuts F_h with half of p.
            residual: eq. 3 and 4 as printed add the cross-attention to the features before
                self-attention (`paper`); `sequential` adds it to those after it.
            semantic_channels: of F_s (D_s).
            geometric_channels: of F_g (D_g); has to divide D_s, and 2 D_g the channels of F_d.
            merging: eq. 6 concatenates. `plain` does only that, and the part with the largest norm
                then decides every cosine; `unit_parts` brings each part to unit norm first.
            part_weights: shares of `geometric`, `semantic` and `other` in a cosine, for `unit_parts`;
                None gives each the same.
            checkpoint: a safetensors file; None starts from random weights.

        Raises:
            ConfigError: numbers that do not fit together.
            WeightsError: a checkpoint that does not fit.
        """
        super().__init__()
        _check(width, depth, heads, patch, align, semantic_channels, geometric_channels)
        if other is not None and other_channels % (2 * geometric_channels):
            raise ConfigError(
                f"fusion: expected F_d with a multiple of {2 * geometric_channels} channels, got {other_channels}"
            )
        self.high, self.low, self.other = high, low, other
        self.patch, self.align, self.residual, self.merging = patch, align, residual, merging
        self.part_weights = dict(part_weights or {GEOMETRIC: 1.0, SEMANTIC: 1.0, "other": 1.0})
        self.channels = {
            SEMANTIC: semantic_channels,
            GEOMETRIC: geometric_channels,
            STRIDED: geometric_channels,
            JOINT: 2 * geometric_channels,
        }
        if other is not None:
            self.channels[UNIFIED] = 4 * geometric_channels
        cut = patch if align == "fine" else patch // 2
        self.project_high = nn.Conv2d(high_channels, width, cut, stride=cut)
        self.project_low = nn.Conv2d(low_channels, width, patch, stride=patch)
        self.blocks = nn.ModuleList(_Block(width, heads, residual) for _ in range(depth))
        self.out_high = _out(width, semantic_channels * patch * patch)
        self.out_low = _out(width, geometric_channels * patch * patch)
        if checkpoint is not None:
            restore(self, load_state(checkpoint), name=str(checkpoint))

    def forward(self, features: Features) -> Features:
        """Fuse the maps of each view by itself.

        Args:
            features: with the maps `high`, `low` and, if it was named, `other`; any B and V.

        Returns:
            `semantic` (F_s), `geometric` (F_g), `joint` (F_t), with `other` also `unified` (F_m), all
            on the grid of F_l; and `semantic_strided`, the channels of F_s in F_t, so that it can be
            measured what an unsupervised subset of trained channels loses.
        """
        low = features[self.low]
        lead, grid = low.shape[:2], (low.shape[-2], low.shape[-1])
        dtype = self.project_low.weight.dtype
        flat_low = low.flatten(0, 1).to(dtype)
        flat_high = features[self.high].flatten(0, 1).to(dtype)
        semantic, geometric = self._fuse(flat_high, flat_low)
        stride = self.channels[SEMANTIC] // self.channels[GEOMETRIC]
        strided = semantic[:, ::stride]
        joint = self._merge({GEOMETRIC: geometric, SEMANTIC: strided})
        maps = {SEMANTIC: semantic, GEOMETRIC: geometric, STRIDED: strided, JOINT: joint}
        if self.other is not None:
            tokens = _on_grid(features[self.other].flatten(0, 1).to(dtype), grid)
            kept = tokens[:, :: tokens.shape[1] // self.channels[JOINT]]
            maps[UNIFIED] = self._merge({GEOMETRIC: geometric, SEMANTIC: strided, "other": kept})
        return Features(
            maps={name: map_.unflatten(0, lead) for name, map_ in maps.items()},
            image_size=features.image_size,
        )

    def _fuse(self, high: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
        grid = (low.shape[-2], low.shape[-1])
        # Whole patches only; what the border repeats is cut off again at the end.
        padded = tuple(-(-side // self.patch) * self.patch for side in grid)
        low = _padded(low, (padded[0], padded[1]))
        if self.align == "fine":
            high = _padded(_on_grid(high, grid), (padded[0], padded[1]))
        else:
            high = _on_grid(high, (padded[0] // 2, padded[1] // 2))
        first_low, cells = _tokens(self.project_low(low))
        first_high, _ = _tokens(self.project_high(high))
        place = sine_cosine(cells, first_low.shape[-1]).to(first_low)
        at_high, at_low = first_high + place, first_low + place
        for block in self.blocks:
            at_high, at_low = block(at_high, at_low)
        semantic = self.out_high(torch.cat((first_high, at_high), dim=-1))
        geometric = self.out_low(torch.cat((first_low, at_low), dim=-1))
        spread = [
            F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, cells), self.patch)[..., : grid[0], : grid[1]]
            for tokens in (semantic, geometric)
        ]
        return spread[0], spread[1]

    def _merge(self, parts: dict[str, Tensor]) -> Tensor:
        if self.merging == "plain":
            return torch.cat(list(parts.values()), dim=1)
        total = sum(self.part_weights[name] for name in parts)
        scaled = [
            F.normalize(part, dim=1) * (self.part_weights[name] / total) ** 0.5
            for name, part in parts.items()
        ]
        return torch.cat(scaled, dim=1)


class _Block(nn.Module):
    """Eq. 1 to 4: each stream attends to itself, then to the other one."""

    def __init__(self, width: int, heads: int, residual: str) -> None:
        super().__init__()
        self.residual = residual
        self.self_high, self.self_low = Attention(width, heads), Attention(width, heads)
        self.cross_high, self.cross_low = Attention(width, heads), Attention(width, heads)

    def forward(self, high: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
        own_high, own_low = high + self.self_high(high, high), low + self.self_low(low, low)
        base_high, base_low = (high, low) if self.residual == "paper" else (own_high, own_low)
        return base_high + self.cross_high(own_high, own_low), base_low + self.cross_low(own_low, own_high)


def _check(width: int, depth: int, heads: int, patch: int, align: str, semantic: int, geometric: int) -> None:
    if depth < 1 or heads < 1 or width % heads or width % 4:
        raise ConfigError(
            f"fusion: expected at least one block, and a width that 4 and the heads divide, got depth {depth}, "
            f"width {width}, heads {heads}"
        )
    if patch < 1 or (align == "coarse" and patch % 2):
        raise ConfigError(
            f"fusion: expected a patch of at least 1, and an even one for align coarse, got {patch}"
        )
    if geometric < 1 or semantic % geometric:
        raise ConfigError(
            f"fusion: expected semantic_channels to be a multiple of geometric_channels, got {semantic} and {geometric}"
        )


def _out(width: int, channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, channels))


def _tokens(map_: Tensor) -> tuple[Tensor, Size]:
    return map_.flatten(2).transpose(1, 2), (map_.shape[-2], map_.shape[-1])


def _on_grid(map_: Tensor, grid: Size) -> Tensor:
    if (map_.shape[-2], map_.shape[-1]) == grid:
        return map_
    return F.interpolate(map_, size=grid, mode="bilinear", align_corners=False)


def _padded(map_: Tensor, size: Size) -> Tensor:
    below, right = size[0] - map_.shape[-2], size[1] - map_.shape[-1]
    return F.pad(map_, (0, right, 0, below), mode="replicate") if below or right else map_
