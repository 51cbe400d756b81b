"""The attention block of VGGT, its rotary position embedding, and how blocks are made cheaper.

The embedding: Su et al., "RoFormer" (2021), section 3.4.2, applied per axis. The first half of a head's
channels turns with the patch row, the second half with its column. Channel k of a half turns together
with channel k + half/2 ("split halves", not neighbours).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers.layer_scale import LayerScale
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from homolog.core.errors import ConfigError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Every number that a weight file of VGGT implies.

    Attributes:
        width: channels of a token.
        depth: pairs of one frame block and one global block.
        attention_heads: of frame and global blocks.
        registers: register tokens per view, beside one camera token.
        mlp_ratio: hidden width of the MLP in frame and global blocks, in multiples of `width`.
        rope_base: of the rotary embedding's wavelengths.
        patch: side of a patch in pixels.
        encoder_depth: blocks of the patch encoder (DINOv2 ViT-L with registers).
        encoder_attention_heads: of the patch encoder.
        encoder_mlp_ratio: of the patch encoder's blocks.
        encoder_image_size: side in pixels of the square image that its position grid was made for.
        decoder_taps: pairs that the depth and point decoders read, finest first.
        decoder_width: channels inside these decoders.
        decoder_channels: channels of each tap after its projection.
        decoder_hidden: channels before the last convolution of these decoders.
        camera_depth: blocks of the camera head.
        camera_attention_heads: of the camera head.
        camera_mlp_ratio: of the camera head's blocks, in multiples of twice `width`.
        camera_iterations: how often the camera head refines its estimate.
    """

    width: int = 1024
    depth: int = 24
    attention_heads: int = 16
    registers: int = 4
    mlp_ratio: float | int = 4
    rope_base: float | int = 100
    patch: int = 14
    encoder_depth: int = 24
    encoder_attention_heads: int = 16
    encoder_mlp_ratio: float | int = 4
    encoder_image_size: int = 518
    decoder_taps: Sequence[int] = (4, 11, 17, 23)
    decoder_width: int = 256
    decoder_channels: Sequence[int] = (256, 512, 1024, 1024)
    decoder_hidden: int = 32
    camera_depth: int = 4
    camera_attention_heads: int = 16
    camera_mlp_ratio: float | int = 4
    camera_iterations: int = 4

    def __post_init__(self) -> None:
        """Refuse sizes that no network has.

        Raises:
            ConfigError: heads that do not divide the width into fours (the rotary embedding turns
                pairs of channels along two axes), or decoder taps beyond the last pair.
        """
        if self.width % (4 * self.attention_heads):
            raise ConfigError(
                f"VGGT: expected a width that 4 x attention_heads divides, "
                f"got {self.width} and {self.attention_heads} heads"
            )
        if self.encoder_image_size % self.patch:
            raise ConfigError(
                f"VGGT: expected encoder_image_size to be a multiple of {self.patch}, got {self.encoder_image_size}"
            )
        if max(self.decoder_taps) >= self.depth or min(self.decoder_taps) < 0:
            raise ConfigError(
                f"VGGT: expected decoder_taps from 0 to {self.depth - 1}, got {list(self.decoder_taps)}"
            )

    @property
    def specials(self) -> int:
        """Tokens of a view that stand before its patches: the camera token and the registers."""
        return 1 + self.registers


class Rotation(NamedTuple):
    """Cosines and sines for a sequence of tokens, always float32.

    In bfloat16 an angle of 37 is off by 0.1 rad, so tables never take the dtype of the features.
    They are made anew for every call: a table kept from inference mode could not be used in training.

    Attributes:
        cos: [N 2 K] for N tokens, the axes (y, x), and K channel pairs per axis.
        sin: [N 2 K].
    """

    cos: Float[Tensor, "N 2 K"]
    sin: Float[Tensor, "N 2 K"]

    def first(self, tokens: int) -> "Rotation":
        """Return the rotation of the first tokens only, without a copy."""
        return Rotation(self.cos[:tokens], self.sin[:tokens])

    def apply(self, x: Float[Tensor, "B H N D"]) -> Float[Tensor, "B H N D"]:
        """Turn the channels of queries or keys (D = 4 K) of H heads by the position of their token."""
        a, b = x.unflatten(-1, (2, 2, -1)).unbind(-2)
        turned = torch.stack((a * self.cos - b * self.sin, b * self.cos + a * self.sin), dim=-2)
        return turned.flatten(-3)


def patch_rotation(
    *,
    rows: int,
    columns: int,
    specials: int,
    views: int,
    head_width: int,
    base: float | int,
    device: torch.device,
) -> Rotation:
    """Return the rotation of all tokens of all views of a scene.

    Patches have the positions (row + 1, column + 1); the special tokens before them stay at (0, 0),
    where nothing turns. A position does not say which view it is on: all views repeat the same.

    Args:
        rows: patch rows of a view.
        columns: patch columns of a view.
        specials: tokens before the patches of each view.
        views: how many views follow each other.
        head_width: channels of one attention head, a multiple of 4.
        base: of the wavelengths; VGGT uses 100.
        device: where the tables are needed.

    Returns:
        Tables for `views * (specials + rows * columns)` tokens; those of the first view come first.
    """
    y = torch.arange(1, rows + 1, dtype=torch.float32, device=device)[:, None].expand(rows, columns)
    x = torch.arange(1, columns + 1, dtype=torch.float32, device=device).expand(rows, columns)
    patches = torch.stack((y, x), dim=-1).flatten(0, 1)
    positions = torch.cat((patches.new_zeros(specials, 2), patches)).repeat(views, 1)
    half = head_width // 2
    frequency = 1.0 / base ** (torch.arange(0, half, 2, dtype=torch.float32, device=device) / half)
    # A product by broadcasting: a matmul would be rounded under autocast.
    angle = positions[:, :, None] * frequency
    return Rotation(angle.cos(), angle.sin())


class Norm(nn.LayerNorm):
    """Layer normalisation that computes in the precision of its own weights.

    Attributes:
        output_dtype: dtype of the layer it feeds; None keeps the precision of the weights.
    """

    output_dtype: torch.dtype | None = None

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the last axis."""
        return super().forward(input.to(self.weight.dtype)).to(self.output_dtype or self.weight.dtype)


class Attention(nn.Module):
    """Multi-head attention, with or without normalised and rotated queries and keys."""

    def __init__(self, width: int, heads: int, *, normalise: bool, epsilon: float) -> None:
        """Build the layer.

        Args:
            width: channels in and out.
            heads: they share `width` evenly.
            normalise: put queries and keys through a layer norm that all heads share.
            epsilon: of those norms.
        """
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = Norm(width // heads, eps=epsilon) if normalise else nn.Identity()
        self.k_norm = Norm(width // heads, eps=epsilon) if normalise else nn.Identity()
        self.proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "B N C"], rotation: Rotation | None) -> Float[Tensor, "B N C"]:
        """Let every token look at all others of its sequence."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = self.q_norm(q), self.k_norm(k)
        if rotation is not None:
            q, k = rotation.apply(q), rotation.apply(k)
        out = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v)
        return self.proj(out.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and MLP, each normalised before, scaled per channel, and added to the stream."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        mlp_ratio: float | int = 4,
        normalise: bool = True,
        # Unlike the ViT's 1e-6: VGGT's own blocks keep torch's default.
        epsilon: float = 1e-5,
        initial_scale: float = 0.01,
    ) -> None:
        """Build the block.

        Args:
            width: channels of the stream.
            heads: attention heads.
            mlp_ratio: hidden width of the MLP in multiples of `width`.
            normalise: layer norm on queries and keys.
            epsilon: of all norms.
            initial_scale: of both branches before training.
        """
        super().__init__()
        self.norm1 = Norm(width, eps=epsilon)
        self.attn = Attention(width, heads, normalise=normalise, epsilon=epsilon)
        self.ls1 = LayerScale(width, init_values=initial_scale)
        self.norm2 = Norm(width, eps=epsilon)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.ls2 = LayerScale(width, init_values=initial_scale)

    def forward(self, x: Float[Tensor, "B N C"], rotation: Rotation | None = None) -> Float[Tensor, "B N C"]:
        """Update a sequence of tokens; the stream stays in the precision it came in."""
        x = x + self.ls1(self.attn(self.norm1(x), rotation))
        return x + self.ls2(self.mlp(self.norm2(x)))


def lower_precision(blocks: nn.Module, dtype: torch.dtype) -> None:
    """Cast the linear layers of blocks once; norms, scales and the stream stay as they are.

    Works on this file's blocks and on timm's: both name their norms `norm1` and `norm2`. A norm
    answers in the new dtype, the layers after it compute in it, and the float32 scale brings the
    result back to float32, where it joins the stream.

    Args:
        blocks: a module that holds blocks; changed in place.
        dtype: of the linear layers' weights.
    """
    for module in blocks.modules():
        if isinstance(module, nn.Linear):
            module.to(dtype)
        for name in ("norm1", "norm2"):
            if isinstance(norm := getattr(module, name, None), Norm):
                norm.output_dtype = dtype
