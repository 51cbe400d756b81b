"""MATCHA's attention fusion by the paper: a semantic and a geometric feature become one feature for every task.

What its authors released is another network: `homolog.heads.matcha_fusion`, which lists the differences.

Source: MATCHA, section 3 (eq. 1 to 6). Its symbols: F_h and F_l are the high- and low-level maps of
Stable Diffusion, F_d the tokens of DINOv2; F_s, F_g the fused semantic and geometric features, F_t
their union (MATCHA-Light), F_m the union with F_d (MATCHA). Only F_s and F_g are ever supervised.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from homolog.core.coords import Size
from homolog.core.errors import ConfigError, one_of
from homolog.core.features import Features
from homolog.core.weights import load_state, restore
from homolog.heads.attention import Attention, sine_cosine


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of the maps that are joined.

    Attributes:
        map: its name.
        channels: how many it has.
        stride: keep every n-th channel only.
        weight: of this map in a cosine, relative to the others.
    """

    map: str
    channels: int
    stride: int = 1
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse numbers that leave nothing of the map."""
        if self.channels < 1 or self.stride < 1 or self.weight <= 0:
            raise ConfigError(
                f"concatenation: expected channels and stride of at least 1 and a weight above 0 for {self.map}, "
                f"got {self.channels}, {self.stride} and {self.weight}"
            )


class Concatenation(nn.Module):
    """Concatenates maps, some of them thinned out by a stride over their channels.

    MATCHA's baseline DIFT.Uni is F_l || F_h[::2] (section 3, eq. 6 without fusion). With DINOv2 beside
    it the stride rule of eq. 6 has no solution (1024 / 1280 < 1) and the paper does not say what it
    does; here all of its channels stay.
    """

    def __init__(
        self,
        *,
        parts: Sequence[Mapping[str, Any] | Part],
        merging: Literal["unit_parts", "plain"] = "unit_parts",
        name: str = "unified",
    ) -> None:
        """Choose the maps.

        Args:
            parts: what is joined, in order; the first one's grid is that of the joined map, the others
                are resampled to it.
            merging: `unit_parts` brings each part to unit norm and gives it its weight; `plain` only
                concatenates.
            name: of the joined map.

        Raises:
            ConfigError: no parts, or numbers that leave nothing of one.
        """
        super().__init__()
        if not parts:
            raise ConfigError("concatenation: expected at least one map, got none")
        self.parts = [part if isinstance(part, Part) else Part(**part) for part in parts]
        self.merging, self.name = merging, name
        self.channels = {name: sum(-(-part.channels // part.stride) for part in self.parts)}

    def forward(self, features: Features) -> Features:
        """Return the joined map of each view."""
        first = features[self.parts[0].map]
        size, lead = first.shape[-2:], first.shape[:2]
        total = sum(part.weight for part in self.parts)
        joined: list[torch.Tensor] = []
        for part in self.parts:
            map_ = features[part.map].flatten(0, 1)[:, :: part.stride]
            map_ = _on_grid(map_, (size[0], size[1]))
            if self.merging == "unit_parts":
                map_ = F.normalize(map_, dim=1) * (part.weight / total) ** 0.5
            joined.append(map_)
        maps = {self.name: torch.cat(joined, dim=1).unflatten(0, lead)}
        return Features(maps=maps, image_size=features.image_size)


COARSE, FINE = "coarse", "fine"

PyramidStart = Literal["random", "features"]


class FeaturePyramid(nn.Module):
    """Passes what coarse maps know down to finer ones (FPN, Lin et al. 2017; LoFTR, Sun et al. 2021, section 3.1).

    Each map is projected, the map above is enlarged and added, and a convolution smooths the sum. Out
    come two levels: `coarse`, where cells are matched, and `fine`, where matches are refined.
    """

    def __init__(
        self,
        *,
        levels: Mapping[str, int],
        coarse: str,
        coarse_channels: int = 256,
        fine_channels: int = 128,
        start: PyramidStart = "random",
        checkpoint: Path | None = None,
    ) -> None:
        """Build the pyramid.

        Args:
            levels: channels of each map that is read, by its name, the coarsest first; the last one's
                grid is that of `fine`.
            coarse: the map whose grid is that of `coarse`.
            coarse_channels: of `coarse`, and of all levels down to it.
            fine_channels: of `fine`, and of the levels between.
            start: what an untrained pyramid makes of the map `coarse`: `random` features of it, or the map
                itself, each cell scaled to a root mean square of 1, to which the pyramid learns to add
                (`features`). That is ours: where the map describes cells well already, as XFeat's does, a
                short training begins with what it knows.
            checkpoint: a safetensors file; None starts from random weights.

        Raises:
            ConfigError: fewer than two levels, or a coarse one that is none of them, or the last; no such
                start, or one from a map of another number of channels than `coarse_channels`.
            WeightsError: a checkpoint that does not fit.
        """
        super().__init__()
        names = list(levels)
        if coarse not in names[:-1]:
            raise ConfigError(
                f"pyramid: expected coarse to be one of {', '.join(names[:-1]) or 'two levels or more'}, got {coarse}"
            )
        one_of("start", start, get_args(PyramidStart))
        if start == "features" and levels[coarse] != coarse_channels:
            raise ConfigError(
                f"pyramid: expected coarse_channels to be the {levels[coarse]} of {coarse}, to start from it, got "
                f"{coarse_channels}; set start=random for others"
            )
        self.levels, self.coarse = names, coarse
        widths = [
            coarse_channels if index <= names.index(coarse) else fine_channels for index in range(len(names))
        ]
        self.lateral = nn.ModuleList(
            nn.Conv2d(count, width, 1) for count, width in zip(levels.values(), widths, strict=True)
        )
        self.descend = nn.ModuleList(
            nn.Conv2d(above, width, 1) if above != width else nn.Identity()
            for above, width in pairwise(widths)
        )
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for width in widths[1:])
        self.added = nn.Conv2d(coarse_channels, coarse_channels, 1) if start == "features" else None
        if self.added is not None:
            nn.init.zeros_(self.added.weight)
            nn.init.zeros_(self.added.get_parameter("bias"))
        self.channels = {COARSE: coarse_channels, FINE: fine_channels}
        if checkpoint is not None:
            restore(self, load_state(checkpoint), name=str(checkpoint))

    def forward(self, features: Features) -> Features:
        """Return `coarse` and `fine` of each view."""
        lead = features[self.levels[0]].shape[:2]
        flat = [features[name].flatten(0, 1) for name in self.levels]
        maps: list[Tensor] = [self.lateral[0](flat[0])]
        for index in range(1, len(flat)):
            above = self.descend[index - 1](maps[-1])
            above = F.interpolate(above, size=flat[index].shape[-2:], mode="bilinear", align_corners=False)
            mixed = F.relu(self.lateral[index](flat[index]) + above)
            maps.append(mixed + self.smooth[index - 1](mixed))
        coarse = maps[self.levels.index(self.coarse)]
        if self.added is not None:
            own = flat[self.levels.index(self.coarse)]
            coarse = F.normalize(own, dim=1) * own.shape[1] ** 0.5 + self.added(coarse)
        chosen = {COARSE: coarse, FINE: maps[-1]}
        return Features(
            maps={name: map_.unflatten(0, lead) for name, map_ in chosen.items()},
            image_size=features.image_size,
        )


SEMANTIC, GEOMETRIC, JOINT, UNIFIED, STRIDED = "semantic", "geometric", "joint", "unified", "semantic_strided"
"""Names of F_s, F_g, F_t, F_m, and of the channels of F_s that F_t keeps."""

SEMANTIC_INPUT, GEOMETRIC_INPUT, JOINT_INPUT = "semantic_input", "geometric_input", "joint_input"
"""Names of what F_s, F_g and F_t were before anything was added to them, with `start: union`."""

Reads = Literal["both", "self", "cross", "none"]
Start = Literal["paper", "union"]
Spread = Literal["shuffle", "bilinear"]


class AttentionFusion(nn.Module):
    """Lets two maps of one image attend to themselves and to each other, and merges them with a third.

    Both streams are cut into patches and projected (no weights are shared between them), go through
    `depth` blocks of self- and cross-attention, and come back through a two-layer MLP that reads the
    first and the last tokens (eq. 5) and spreads over its patch by pixel shuffle.

    Where the paper is silent, the reading is an option; see the arguments. `start: union` is ours, not the
    paper's: F_s and F_g are then the two maps themselves, each with unit norm per cell, plus the
    output of the MLPs for the tokens and of a linear map of both for the cell. These last layers start at zero, so
    the untrained joint map is the plain union of both maps, and training can only move away from it.
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
        attention: Reads = "both",
        place: bool = True,
        spread: Spread = "shuffle",
        start: Start = "paper",
        added: float | int = 1.0,
        semantic_channels: int = 768,
        geometric_channels: int = 256,
        strided: bool = True,
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
            attention: what a block has, for ablations; `none` leaves the MLPs alone with the first tokens.
            spread: how the output of a token becomes cells of F_l: each of its own (`shuffle`), or one value that
                is interpolated between patches (`bilinear`), which does not know where patches begin.
            place: whether tokens know where they are; where not, only what a patch shows counts.
            start: `paper` makes F_s and F_g anew from random weights; `union` adds to the two maps, and
                starts as their union (ours, see above): D_s and D_g are then the channels of F_h and F_l.
            added: fraction of the learnt residual that `union` adds; below 1, between its weights and those of no
                training at all, which keeps what was good before (Wortsman et al. 2022 do so with all weights).
            semantic_channels: of F_s (D_s).
            geometric_channels: of F_g (D_g); has to divide D_s, and 2 D_g the channels of F_d.
            strided: whether F_t keeps D_g channels of F_s and F_m 2 D_g of F_d (eq. 6); all of them otherwise,
                and D_s and D_g need not fit each other.
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
        one_of("attention", attention, get_args(Reads))
        one_of("start", start, get_args(Start))
        one_of("spread", spread, get_args(Spread))
        _check(width, depth, heads, patch, align)
        kept_of_other = None if other is None else 2 * geometric_channels if strided else other_channels
        _check_channels(semantic_channels, geometric_channels, other_channels, kept_of_other, strided=strided)
        self.high, self.low, self.other = high, low, other
        self.patch, self.align, self.residual, self.merging = patch, align, residual, merging
        self.place, self.start, self.spread, self.added = place, start, spread, added
        self.part_weights = dict(part_weights or {GEOMETRIC: 1.0, SEMANTIC: 1.0, "other": 1.0})
        kept = geometric_channels if strided else semantic_channels
        self._stride = semantic_channels // kept
        self._stride_other = other_channels // kept_of_other if kept_of_other else 1
        self.channels = {SEMANTIC: semantic_channels, GEOMETRIC: geometric_channels}
        if strided:
            self.channels[STRIDED] = kept
        self.channels[JOINT] = geometric_channels + kept
        if kept_of_other is not None:
            self.channels[UNIFIED] = self.channels[JOINT] + kept_of_other
        cut = patch if align == "fine" else patch // 2
        self.project_high = nn.Conv2d(high_channels, width, cut, stride=cut)
        self.project_low = nn.Conv2d(low_channels, width, patch, stride=patch)
        blocks = 0 if attention == "none" else depth
        self.blocks = nn.ModuleList(_Block(width, heads, residual, attention) for _ in range(blocks))
        own = patch * patch if spread == "shuffle" else 1
        self.out_high = _out(width, semantic_channels * own)
        self.out_low = _out(width, geometric_channels * own)
        if start == "union":
            self._start_as_union(high_channels, low_channels)
        if checkpoint is not None:
            restore(self, load_state(checkpoint), name=str(checkpoint))

    def forward(self, features: Features) -> Features:
        """Fuse the maps of each view by itself.

        Args:
            features: with the maps `high`, `low` and, if it was named, `other`; any B and V.

        Returns:
            `semantic` (F_s), `geometric` (F_g), `joint` (F_t), with `other` also `unified` (F_m), all
            on the grid of F_l; if F_t is strided, `semantic_strided`, the channels of F_s in F_t, so that it
            can be measured what an unsupervised subset of trained channels loses; with `start: union`
            `semantic_input`, `geometric_input` and `joint_input`, what they were before anything was added.
        """
        low = features[self.low]
        lead, grid = low.shape[:2], (low.shape[-2], low.shape[-1])
        dtype = self.project_low.weight.dtype
        flat_low = low.flatten(0, 1).to(dtype)
        flat_high = features[self.high].flatten(0, 1).to(dtype)
        maps = self._fuse(flat_high, flat_low) if self.start == "paper" else self._added(flat_high, flat_low)
        strided = maps[SEMANTIC][:, :: self._stride]
        parts = {GEOMETRIC: maps[GEOMETRIC], SEMANTIC: strided}
        maps |= {STRIDED: strided, JOINT: self._merge(parts)}
        if JOINT_INPUT in self.channels:
            given = maps[SEMANTIC_INPUT][:, :: self._stride]
            maps[JOINT_INPUT] = self._merge({GEOMETRIC: maps[GEOMETRIC_INPUT], SEMANTIC: given})
        if self.other is not None:
            tokens = _on_grid(features[self.other].flatten(0, 1).to(dtype), grid)
            maps[UNIFIED] = self._merge({**parts, "other": tokens[:, :: self._stride_other]})
        return Features(
            maps={name: maps[name].unflatten(0, lead) for name in self.channels},
            image_size=features.image_size,
        )

    def _start_as_union(self, high_channels: int, low_channels: int) -> None:
        wanted = {SEMANTIC: high_channels, GEOMETRIC: low_channels}
        if any(self.channels[name] != channels for name, channels in wanted.items()):
            raise ConfigError(
                "fusion: expected F_s and F_g with the channels of F_h and F_l for start union, got "
                f"{self.channels[SEMANTIC]} and {self.channels[GEOMETRIC]} for {high_channels} and {low_channels}"
            )
        self.direct = nn.Conv2d(high_channels + low_channels, high_channels + low_channels, 1)
        for last in (self.direct, self.out_high[-1], self.out_low[-1]):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)
        self.channels |= {SEMANTIC_INPUT: high_channels, GEOMETRIC_INPUT: low_channels}
        self.channels[JOINT_INPUT] = self.channels[JOINT]

    def _added(self, high: Tensor, low: Tensor) -> dict[str, Tensor]:
        high, low = F.normalize(high, dim=1), F.normalize(low, dim=1)
        semantic = F.normalize(_on_grid(high, (low.shape[-2], low.shape[-1])), dim=1)
        # Projections and norms expect values of about 1.
        more = self._fuse(high * high.shape[1] ** 0.5, low * low.shape[1] ** 0.5)
        direct = self.direct(torch.cat((semantic, low), dim=1)).split([high.shape[1], low.shape[1]], dim=1)
        return {
            SEMANTIC: semantic + self.added * (direct[0] + more[SEMANTIC]),
            GEOMETRIC: low + self.added * (direct[1] + more[GEOMETRIC]),
            SEMANTIC_INPUT: semantic,
            GEOMETRIC_INPUT: low,
        }

    def _fuse(self, high: Tensor, low: Tensor) -> dict[str, Tensor]:
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
        at_high, at_low = first_high, first_low
        if self.place:
            place = sine_cosine(cells, first_low.shape[-1]).to(first_low)
            at_high, at_low = first_high + place, first_low + place
        for block in self.blocks:
            at_high, at_low = block(at_high, at_low)
        semantic = self.out_high(torch.cat((first_high, at_high), dim=-1))
        geometric = self.out_low(torch.cat((first_low, at_low), dim=-1))
        fused = {SEMANTIC: semantic, GEOMETRIC: geometric}
        return {name: self._spread(tokens, cells, grid) for name, tokens in fused.items()}

    def _spread(self, tokens: Tensor, cells: Size, grid: Size) -> Tensor:
        map_ = tokens.transpose(1, 2).unflatten(2, cells)
        if self.spread == "shuffle":
            whole = F.pixel_shuffle(map_, self.patch)
        else:
            whole = _on_grid(map_, (cells[0] * self.patch, cells[1] * self.patch))
        return whole[..., : grid[0], : grid[1]]

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

    def __init__(self, width: int, heads: int, residual: str, attention: Reads) -> None:
        super().__init__()
        self.residual, self.attention = residual, attention
        if attention != "cross":
            self.self_high, self.self_low = Attention(width, heads), Attention(width, heads)
        if attention != "self":
            self.cross_high, self.cross_low = Attention(width, heads), Attention(width, heads)

    def forward(self, high: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
        own_high, own_low = high, low
        if self.attention != "cross":
            own_high, own_low = high + self.self_high(high, high), low + self.self_low(low, low)
        if self.attention == "self":
            return own_high, own_low
        base_high, base_low = (high, low) if self.residual == "paper" else (own_high, own_low)
        return base_high + self.cross_high(own_high, own_low), base_low + self.cross_low(own_low, own_high)


def _check(width: int, depth: int, heads: int, patch: int, align: str) -> None:
    if depth < 1 or heads < 1 or width % heads or width % 4:
        raise ConfigError(
            f"fusion: expected at least one block, and a width that 4 and the heads divide, got depth {depth}, "
            f"width {width}, heads {heads}"
        )
    if patch < 1 or (align == "coarse" and patch % 2):
        raise ConfigError(
            f"fusion: expected a patch of at least 1, and an even one for align coarse, got {patch}"
        )


def _check_channels(semantic: int, geometric: int, other: int, kept: int | None, *, strided: bool) -> None:
    if min(semantic, geometric) < 1 or (strided and semantic % geometric):
        raise ConfigError(
            f"fusion: expected semantic_channels to be a multiple of geometric_channels, got {semantic} and {geometric}"
        )
    if kept is not None and other % kept:
        raise ConfigError(f"fusion: expected F_d with a multiple of {kept} channels, got {other}")


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
