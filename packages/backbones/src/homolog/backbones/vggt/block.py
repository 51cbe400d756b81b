"""The attention block of VGGT's aggregator and of its camera head, and how blocks are made cheaper."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers.layer_scale import LayerScale
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from homolog.backbones.vggt.rope import Rotation


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
