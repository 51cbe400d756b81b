"""VGGT's sizes, and its alternating attention: within each view, then over all views of a scene.

Wang et al., "VGGT: Visual Geometry Grounded Transformer" (CVPR 2025), section 3.2.
"""

from collections.abc import Collection
from typing import NamedTuple

import torch
from jaxtyping import Float
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from homolog.backbones.vggt.encoder import BackboneEncoder, build_encoder, encode
from homolog.backbones.vggt.layers import Architecture, Block, Rotation, patch_rotation


class Stream(NamedTuple):
    """The tokens of all views on their way through the pairs.

    Attributes:
        tokens: [B V N C], each view as camera token, registers, patches row by row.
        rotation: of the V * N tokens of a scene.
    """

    tokens: Float[Tensor, "B V N C"]
    rotation: Rotation


class Pairs(nn.Module):
    """Some consecutive pairs of a frame block and a global block, under their official numbers."""

    def __init__(self, indices: range, architecture: Architecture, *, gradient_checkpointing: bool) -> None:
        """Build the pairs.

        Args:
            indices: numbers of the pairs, from 0.
            architecture: sizes.
            gradient_checkpointing: in training, recompute each block instead of keeping what is inside.
        """
        super().__init__()
        self.indices = indices
        self.gradient_checkpointing = gradient_checkpointing
        self.frame_blocks = nn.ModuleDict({str(index): _block(architecture) for index in indices})
        self.global_blocks = nn.ModuleDict({str(index): _block(architecture) for index in indices})

    def run(
        self, stream: Stream, indices: range, taps: Collection[int]
    ) -> tuple[Stream, dict[int, Float[Tensor, "B V N D"]]]:
        """Send the stream through some of the pairs.

        Args:
            stream: what the pair before the first of them returned.
            indices: numbers of the pairs to run, all of them pairs of this module.
            taps: numbers of those whose output is wanted.

        Returns:
            The stream after the last pair, and per tap the output of both its blocks, frame first (D = 2 C).
        """
        tokens, rotation = stream
        batch, views, count, _ = tokens.shape
        kept: dict[int, Tensor] = {}
        for index in indices:
            frame = self._block(self.frame_blocks[str(index)], tokens.flatten(0, 1), rotation.first(count))
            both = self._block(self.global_blocks[str(index)], frame.view(batch, views * count, -1), rotation)
            tokens = both.view(batch, views, count, -1)
            if index in taps:
                kept[index] = torch.cat((frame.view_as(tokens), tokens), dim=-1)
        return Stream(tokens, rotation), kept

    def _block(self, block: nn.Module, tokens: Tensor, rotation: Rotation) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(block, tokens, rotation, use_reentrant=False)
        return block(tokens, rotation)


class Aggregator(Pairs):
    """Patch encoder, special tokens, and the first of the pairs."""

    def __init__(
        self,
        indices: range,
        architecture: Architecture,
        *,
        gradient_checkpointing: bool,
        encoder: BackboneEncoder | None = None,
    ) -> None:
        """Build the encoder, unless another one is given, the special tokens and the pairs, as in `Pairs`."""
        super().__init__(indices, architecture, gradient_checkpointing=gradient_checkpointing)
        self.architecture = architecture
        self.patch_embed = build_encoder(architecture) if encoder is None else encoder
        if isinstance(self.patch_embed, VisionTransformer):
            self.patch_embed.set_grad_checkpointing(gradient_checkpointing)
        # Slot 0 is for the first view of a scene, slot 1 for every other.
        self.camera_token = nn.Parameter(torch.empty(1, 2, 1, architecture.width))
        self.register_token = nn.Parameter(torch.empty(1, 2, architecture.registers, architecture.width))
        nn.init.normal_(self.camera_token, std=1e-6)
        nn.init.normal_(self.register_token, std=1e-6)

    def embed(self, images: Float[Tensor, "B V 3 H W"]) -> Stream:
        """Encode the patches of every view and put the special tokens before them."""
        batch, views, _, height, width = images.shape
        sizes = self.architecture
        patches = encode(self.patch_embed, images.flatten(0, 1)).unflatten(0, (batch, views))
        special = torch.cat((self.camera_token, self.register_token), dim=2)
        special = torch.cat((special[:, :1], special[:, 1:].expand(-1, views - 1, -1, -1)), dim=1)
        rotation = patch_rotation(
            rows=height // sizes.patch,
            columns=width // sizes.patch,
            specials=sizes.specials,
            views=views,
            head_width=sizes.width // sizes.attention_heads,
            base=sizes.rope_base,
            device=images.device,
        )
        return Stream(torch.cat((special.expand(batch, -1, -1, -1), patches), dim=2), rotation)


def _block(architecture: Architecture) -> Block:
    return Block(architecture.width, architecture.attention_heads, mlp_ratio=architecture.mlp_ratio)
