"""MATCHA's fusion network as its authors released it, with the key names of their checkpoint.

Source: the released inference code (nv-dvl/matcha, weights `matcha_pretrained.pth`). It differs from the
formulas of the paper, which `homolog.heads.fusion.AttentionFusion` follows:

| | paper | released, here |
|---|---|---|
| cross-attention (eq. 3, 4) | added to what came before self-attention | residuals are sequential |
| its keys and values | the other stream after self-attention | the other stream before it, through the norm of that self-attention |
| feed-forward | not mentioned | one per stream and block, after the cross-attention |
| F_s, F_g (eq. 5) | an MLP on first and last tokens | convolutions on the raw map beside the attended one |
| F_m (eq. 6) | one concatenation | one for geometric and temporal, another for semantic matching |

Symbols of the paper: F_h and F_l are the high- and low-level maps of Stable Diffusion, F_d the tokens of
DINOv2; F_s and F_g the fused semantic and geometric features, F_t their union (MATCHA-Light), F_m the union
with F_d. Official names: `f` or `x` is the fine, geometric stream (F_l), `c` or `y` the coarse, semantic one (F_h).
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.coords import Size
from homolog.core.errors import ConfigError, ShapeError, WeightsError
from homolog.core.features import Features
from homolog.core.weights import load_state, restore
from homolog.heads.fusion import GEOMETRIC, JOINT, SEMANTIC, UNIFIED

GEOMETRIC_RAW, UNIFIED_SEMANTIC, HEATMAP = "geometric_raw", "unified_semantic", "heatmap"
"""Names of F_g before its unit norm, of the union for semantic matching, and of the reliability of cells."""

UNUSED = ("keypoint_encoder.", "keypoint_head.", "fine_matcher.", "corr_model.", "dift.", "dinov2.")
"""Parts of the official file that no feature needs: what trains keypoints and offsets, and the backbones."""

LAYER_NORM_EPS = 1e-6


class MatchaFusion(nn.Module):
    """Lets two maps of one image attend to themselves and to each other, and joins them with a third.

    The coarse map is enlarged to the grid of the fine one. Both are cut into patches and projected, and go
    through blocks of self-attention, cross-attention and a feed-forward layer; nothing is shared between the
    streams, and no token knows its position. Patches are spread over their cells by pixel shuffle, and
    convolutions turn each raw map and its attended one into a feature.

    Modules have the official names, so the official file is loaded as it is.
    """

    def __init__(
        self,
        *,
        high: str,
        low: str,
        other: str | None = None,
        high_channels: int = 1280,
        low_channels: int = 640,
        other_channels: int = 1024,
        width: int = 512,
        depth: int = 8,
        heads: int = 8,
        patch: int = 2,
        mlp_ratio: int = 4,
        head_width: int = 1024,
        semantic_channels: int = 768,
        geometric_channels: int = 256,
        heatmap: bool = False,
        checkpoint: Path | None = None,
    ) -> None:
        """Build the network; the defaults are the sizes of the released one.

        Args:
            high: name of the map F_h, the coarser one.
            low: name of the map F_l; fused maps have its grid.
            other: name of the map F_d; None for MATCHA-Light, which has no unified maps.
            high_channels: of F_h.
            low_channels: of F_l.
            other_channels: of F_d.
            width: of the tokens.
            depth: number of blocks.
            heads: of each attention.
            patch: side of a patch, in cells of F_l.
            mlp_ratio: width of the feed-forward layers, relative to `width`.
            head_width: channels between the convolutions.
            semantic_channels: of F_s.
            geometric_channels: of F_g.
            heatmap: also compute the reliability of cells from F_g; no released read-out uses it.
            checkpoint: the official file, or what `homolog train` wrote; None starts from random weights.

        Raises:
            ConfigError: numbers that do not fit together.
            WeightsError: a checkpoint that does not fit.
        """
        super().__init__()
        if min(depth, heads, patch) < 1 or width % heads or width % patch**2:
            raise ConfigError(
                "MATCHA: expected at least one block, head and cell per patch, and a width that the heads and the "
                f"{patch**2} cells divide, got depth {depth}, width {width}, heads {heads}, patch {patch}"
            )
        self.high, self.low, self.other, self.patch = high, low, other, patch
        self.channels = {
            SEMANTIC: semantic_channels,
            GEOMETRIC: geometric_channels,
            GEOMETRIC_RAW: geometric_channels,
            JOINT: _joined_channels(geometric_channels, semantic_channels),
        }
        if other is not None:
            self.channels[UNIFIED] = _joined_channels(self.channels[JOINT], other_channels)
            geometry = _joined_channels(geometric_channels, other_channels)
            self.channels[UNIFIED_SEMANTIC] = _joined_channels(geometry, semantic_channels)
        self.patch_embed_c = _PatchEmbedding(high_channels, width, patch)
        self.patch_embed_f = _PatchEmbedding(low_channels, width, patch)
        self.dec_blocks = nn.ModuleList(_Block(width, heads, mlp_ratio) for _ in range(depth))
        self.dec_norm_c, self.dec_norm_f = _norm(width), _norm(width)
        spread = width // patch**2
        self.fusion_c = _convolutions(high_channels + spread, head_width, semantic_channels)
        self.fusion_f = _convolutions(low_channels + spread, head_width, geometric_channels)
        if heatmap:
            self.channels[HEATMAP] = 1
            self.heatmap_head = nn.Sequential(
                _Convolution(geometric_channels, 64, 3), _Convolution(64, 64, 1), nn.Conv2d(64, 1, 1)
            )
        if checkpoint is not None:
            self._load(checkpoint)

    def forward(self, features: Features) -> Features:
        """Fuse the maps of each view by itself.

        Args:
            features: with the maps `high`, `low` and, if it was named, `other`; any B and V.

        Returns:
            On the grid of F_l, each with unit norm per cell: `semantic` (F_s), `geometric` (F_g) and `joint`
            (F_t); with `other` also `unified` (F_m for geometric and temporal matching) and
            `unified_semantic` (F_m for semantic matching). `geometric_raw` is F_g before its unit norm, and
            `heatmap`, if it was asked for, lies in (0, 1).

        Raises:
            ShapeError: a map is missing, or the grid of F_l is not a whole number of patches.
        """
        low, high = features[self.low], features[self.high]
        lead, grid = low.shape[:2], (low.shape[-2], low.shape[-1])
        if grid[0] % self.patch or grid[1] % self.patch:
            raise ShapeError(
                f"MATCHA: expected a grid of {self.low} in multiples of {self.patch}, got {list(grid)}; "
                f"with cells of 8 pixels, sides of images are multiples of {8 * self.patch}"
            )
        dtype = self.patch_embed_f.proj.weight.dtype
        fine = low.flatten(0, 1).to(dtype)
        coarse = _resampled(high.flatten(0, 1).to(dtype), grid)
        attended_fine, attended_coarse = self._attend(fine, coarse)
        raw = self.fusion_f(torch.cat((fine, attended_fine), dim=1))
        geometric = F.normalize(raw, dim=1)
        semantic = F.normalize(self.fusion_c(torch.cat((coarse, attended_coarse), dim=1)), dim=1)
        maps = {SEMANTIC: semantic, GEOMETRIC: geometric, GEOMETRIC_RAW: raw}
        maps[JOINT] = joined(geometric, semantic)
        if self.other is not None:
            tokens = F.normalize(features[self.other].flatten(0, 1).to(dtype), dim=1)
            maps[UNIFIED] = joined(maps[JOINT], tokens)
            maps[UNIFIED_SEMANTIC] = joined(joined(geometric, tokens), semantic)
        if HEATMAP in self.channels:
            maps[HEATMAP] = self.heatmap_head(raw).sigmoid()
        return Features(
            maps={name: maps[name].unflatten(0, lead) for name in self.channels},
            image_size=features.image_size,
        )

    def _attend(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        cells = (fine.shape[-2] // self.patch, fine.shape[-1] // self.patch)
        x, y = self.patch_embed_f(fine), self.patch_embed_c(coarse)
        for block in self.dec_blocks:
            x, y = block(x, y)
        return self._spread(self.dec_norm_f(x), cells), self._spread(self.dec_norm_c(y), cells)

    def _spread(self, tokens: Tensor, cells: Size) -> Tensor:
        return F.pixel_shuffle(tokens.mT.unflatten(2, cells), self.patch)

    def _load(self, checkpoint: Path) -> None:
        """Load the official names strictly; the official code is not strict, which would hide a wrong file."""
        unused = UNUSED if HEATMAP in self.channels else (*UNUSED, "heatmap_head.")
        counters = {key: value for key, value in self.state_dict().items() if _is_counter(key)}
        state = {
            key: value
            for key, value in _read(checkpoint).items()
            if not key.startswith(unused) and not _is_counter(key)
        }
        restore(self, counters | state, name=f"MATCHA, {checkpoint}")


def joined(fine: Float[Tensor, "N C h w"], coarse: Float[Tensor, "N D H W"]) -> Float[Tensor, "N E h w"]:
    """Join two maps of unit norm as the released code does.

    The coarse map is resampled to the grid of the fine one and brought to unit norm again. Of its channels
    0, d, 2d, ... are kept, d = D // C. They are not brought to unit norm by themselves, so the weight of the coarse
    map in a cosine is the fraction of its norm that these channels have, cell by cell.

    Args:
        fine: whose grid the result has.
        coarse: with at least as many channels.

    Returns:
        The channels of `fine`, then those kept of `coarse`, with unit norm per cell.
    """
    grid = (fine.shape[-2], fine.shape[-1])
    if (coarse.shape[-2], coarse.shape[-1]) != grid:
        coarse = F.normalize(_resampled(coarse, grid), dim=1)
    kept = coarse[:, :: coarse.shape[1] // fine.shape[1]]
    return F.normalize(torch.cat((fine, kept), dim=1), dim=1)


def _joined_channels(fine: int, coarse: int) -> int:
    if fine < 1 or coarse < fine:
        raise ConfigError(
            f"MATCHA: expected to join a map with one of at least as many channels, got {fine} and {coarse}"
        )
    return fine + -(-coarse // (coarse // fine))


def _resampled(map_: Tensor, grid: Size) -> Tensor:
    return F.interpolate(map_, size=grid, mode="bilinear", align_corners=False)


def _is_counter(key: str) -> bool:
    # BatchNorm counts batches only for a running mean without momentum, which this network does not use.
    return key.endswith(".num_batches_tracked")


def _read(checkpoint: Path) -> dict[str, Tensor]:
    try:
        return load_state(checkpoint)
    except WeightsError as error:
        try:
            return load_state(checkpoint, key="state_dict")
        except WeightsError:
            raise error from None


def _norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=LAYER_NORM_EPS)


class _PatchEmbedding(nn.Module):
    def __init__(self, channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, stride=patch)

    def forward(self, map_: Float[Tensor, "B C h w"]) -> Float[Tensor, "B N D"]:
        return self.proj(map_).flatten(2).mT


class _Block(nn.Module):
    """One block of both streams; x is geometric, y semantic."""

    def __init__(self, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.normx1, self.normx2, self.normx3 = _norm(width), _norm(width), _norm(width)
        self.normy1, self.normy2, self.normy3 = _norm(width), _norm(width), _norm(width)
        self.attnx, self.attny = _SelfAttention(width, heads), _SelfAttention(width, heads)
        self.cross_attnx, self.cross_attny = _CrossAttention(width, heads), _CrossAttention(width, heads)
        self.mlpx, self.mlpy = _FeedForward(width, mlp_ratio), _FeedForward(width, mlp_ratio)

    def forward(
        self, x: Float[Tensor, "B N D"], y: Float[Tensor, "B N D"]
    ) -> tuple[Float[Tensor, "B N D"], Float[Tensor, "B N D"]]:
        # Cross-attention reads these too: each stream sees the other as it was before its self-attention.
        context_x, context_y = self.normx1(x), self.normy1(y)
        x, y = x + self.attnx(context_x), y + self.attny(context_y)
        x, y = (
            x + self.cross_attnx(self.normx2(x), context_y),
            y + self.cross_attny(self.normy2(y), context_x),
        )
        return x + self.mlpx(self.normx3(x)), y + self.mlpy(self.normy3(y))


class _SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, tokens: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        query, key, value = self.qkv(tokens).chunk(3, dim=2)
        return self.proj(_attention(query, key, value, self.heads))


class _CrossAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projq, self.projk, self.projv = (nn.Linear(width, width) for _ in range(3))
        self.proj = nn.Linear(width, width)

    def forward(
        self, tokens: Float[Tensor, "B N D"], context: Float[Tensor, "B M D"]
    ) -> Float[Tensor, "B N D"]:
        query, key, value = self.projq(tokens), self.projk(context), self.projv(context)
        return self.proj(_attention(query, key, value, self.heads))


def _attention(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    query, key, value = (
        part.unflatten(2, (heads, -1)).transpose(1, 2) for part in (query, key, value)
    )  # [B heads N D/heads]
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


class _FeedForward(nn.Module):
    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, ratio * width), nn.Linear(ratio * width, width)

    def forward(self, tokens: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        return self.fc2(F.gelu(self.fc1(tokens)))


class _Convolution(nn.Module):
    """A convolution, BatchNorm without parameters of its own, ReLU."""

    def __init__(self, channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(
            nn.Conv2d(channels, out_channels, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(out_channels, affine=False),
            nn.ReLU(),
        )

    def forward(self, map_: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D h w"]:
        return self.layer(map_)


def _convolutions(channels: int, width: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        _Convolution(channels, width, 3), _Convolution(width, width, 3), nn.Conv2d(width, out_channels, 1)
    )
