"""VGGT's patch encoder, DINOv2 ViT-L/14 with registers, hosted by timm."""

from functools import partial

import torch
from jaxtyping import Float
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from homolog.backbones.vggt.architecture import Architecture
from homolog.backbones.vggt.block import Norm
from homolog.backbones.vggt.guest_encoder import GuestEncoder

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


def encode(
    encoder: VisionTransformer | GuestEncoder, images: Float[Tensor, "B 3 H W"]
) -> Float[Tensor, "B P C"]:
    """Turn images into normalised patch tokens, row by row; class token and registers are left behind.

    Args:
        encoder: as built by `build_encoder`, or the one in its place.
        images: RGB in [0, 1].
    """
    if isinstance(encoder, GuestEncoder):
        return encoder(images)
    mean, std = (torch.tensor(value, device=images.device)[:, None, None] for value in (MEAN, STD))
    tokens = encoder.forward_features((images.float() - mean) / std)
    return tokens[:, encoder.num_prefix_tokens :]
