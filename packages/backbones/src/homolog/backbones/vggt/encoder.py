"""VGGT's patch encoder: DINOv2 ViT-L/14 with registers, built by timm, or another backbone in its place."""

from functools import partial

import torch
from jaxtyping import Float
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from homolog.backbones.vggt.layers import Architecture, Norm
from homolog.core.errors import ConfigError, ShapeError
from homolog.core.protocols import Backbone

# ImageNet statistics, as in DINOv2 (RGB).
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def build_encoder(architecture: Architecture) -> VisionTransformer:
    """Return timm's network of the encoder.

    `no_embed_class` keeps the registers free of positions; the class token's position is added to
    the token itself when weights are loaded. timm resizes the position grid as VGGT does: bicubic,
    antialiased, by target size, untouched at the native size.
    """
    return VisionTransformer(
        img_size=architecture.encoder_image_size,
        patch_size=architecture.patch,
        embed_dim=architecture.width,
        depth=architecture.encoder_depth,
        num_heads=architecture.encoder_attention_heads,
        mlp_ratio=architecture.encoder_mlp_ratio,
        init_values=1.0,
        no_embed_class=True,
        reg_tokens=architecture.registers,
        dynamic_img_size=True,
        num_classes=0,
        global_pool="",
        norm_layer=partial(Norm, eps=1e-6),
    )


class BackboneEncoder(nn.Module):
    """Makes patch tokens of a map of a backbone: normalised per cell, projected, with positions added.

    VGGT starts from a pretrained DINOv2. A small VGGT has none of its size, so it starts from another pretrained
    backbone and only learns how views relate to each other.
    """

    def __init__(self, backbone: Backbone, architecture: Architecture, map: str | None = None) -> None:
        """Put a projection and positions behind a backbone.

        Args:
            backbone: sees each image alone; has one cell for each patch in the chosen map.
            architecture: of the VGGT it serves.
            map: of the backbone; None takes its only one.

        Raises:
            ConfigError: views that know of each other, no such map, or several of which none was chosen.
        """
        super().__init__()
        if backbone.joint:
            raise ConfigError("VGGT: expected an encoder that sees each image alone, got one that sees all")
        if map not in backbone.channels and (map is not None or len(backbone.channels) != 1):
            raise ConfigError(
                f"VGGT: expected one of the encoder's maps {', '.join(backbone.channels)}, got {map}; set encoder_map"
            )
        self.backbone = backbone
        self.map = next(iter(backbone.channels)) if map is None else map
        self.patch = architecture.patch
        side = architecture.encoder_image_size // architecture.patch
        self.norm = nn.LayerNorm(backbone.channels[self.map])
        self.project = nn.Linear(backbone.channels[self.map], architecture.width)
        self.position = nn.Parameter(torch.empty(1, side * side, architecture.width))
        nn.init.normal_(
            self.position, std=0.5
        )  # as large as what is projected: a place counts like a content

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B P C"]:
        """Return the tokens of patches, row by row.

        Args:
            images: RGB in [0, 1], of a size that both the patch and the backbone's multiple divide.

        Raises:
            ShapeError: a map with other cells than patches.
        """
        found = self.backbone(images[:, None])[self.map][:, 0]
        cells, wanted = (
            tuple(found.shape[-2:]),
            (images.shape[-2] // self.patch, images.shape[-1] // self.patch),
        )
        if cells != wanted:
            raise ShapeError(
                f"VGGT: expected {wanted[0]} x {wanted[1]} cells from its encoder, one for each patch of "
                f"{self.patch} pixels, got {cells[0]} x {cells[1]}; choose another map or patch"
            )
        cells_first = self.norm(found.flatten(2).mT.float()).to(self.project.weight.dtype)
        tokens = self.project(cells_first).float()
        return tokens + resample_abs_pos_embed(self.position, list(cells), num_prefix_tokens=0)


def encode(
    encoder: VisionTransformer | BackboneEncoder, images: Float[Tensor, "B 3 H W"]
) -> Float[Tensor, "B P C"]:
    """Turn images into normalised patch tokens, row by row; class token and registers are left behind.

    Args:
        encoder: as built by `build_encoder`, or the one in its place.
        images: RGB in [0, 1].
    """
    if isinstance(encoder, BackboneEncoder):
        return encoder(images)
    mean, std = (torch.tensor(value, device=images.device)[:, None, None] for value in (MEAN, STD))
    tokens = encoder.forward_features((images.float() - mean) / std)
    return tokens[:, encoder.num_prefix_tokens :]
