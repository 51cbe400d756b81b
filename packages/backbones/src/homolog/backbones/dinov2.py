"""Patch tokens of DINOv2 and DINOv3 vision transformers, through timm.

Sources: Oquab et al., "DINOv2" (2023); Darcet et al., "Vision Transformers Need Registers" (2024);
Siméoni et al., "DINOv3" (2025); timm's `VisionTransformer` and `Eva`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.errors import ConfigError, did_you_mean
from homolog.core.features import Features
from homolog.core.image import check_multiple
from homolog.core.weights import load_state, restore


class Dino(nn.Module):
    """Maps of patch tokens, one for each chosen block, named `block.11` and so on.

    Images of any size that is a multiple of the patch are taken as they are. DINOv2's position
    embedding (a 37 x 37 grid) is resampled to the grid of the image by timm: bicubic, antialiased,
    to the exact size. Meta's own code does the same for models with registers; for those without it
    scales by (cells + 0.1) / 37 and does not antialias, so away from 518 x 518 pixels these features
    differ slightly from the hub's. DINOv3 has rotary positions and nothing to resample.

    Nothing runs after the last chosen block, and nothing behind it is kept in memory.
    """

    joint = False

    def __init__(
        self,
        model: str,
        checkpoint: Path | None,
        *,
        blocks: Sequence[int],
        norm: bool = True,
        architecture: Mapping[str, Any] | None = None,
    ) -> None:
        """Build the network up to the last of the blocks.

        Args:
            model: timm's name, such as `vit_small_patch14_dinov2`, `vit_base_patch14_reg4_dinov2` or
                `vit_large_patch16_dinov3`.
            checkpoint: weights with timm's key names, or with those of Meta's DINOv2 files; None
                leaves them random.
            blocks: which blocks to read, counted from 0.
            norm: pass every map through the final layer norm, as DINO's own features are.
            architecture: arguments of timm's model that replace those of `model`.

        Raises:
            ConfigError: no such model, or no such block.
            WeightsError: the file is damaged or does not fit.
        """
        super().__init__()
        known = timm.list_models("*dinov[23]*")
        if model not in known:
            raise ConfigError(f"timm has no DINO model {model}{did_you_mean(model, known)}")
        # timm builds a different class for each family; what is used below is common to them.
        network: Any = timm.create_model(
            model, pretrained=False, num_classes=0, dynamic_img_size=True, **dict(architecture or {})
        )
        depth = len(network.blocks)
        if not blocks or not set(blocks) <= set(range(depth)):
            raise ConfigError(f"{model}: expected blocks of 0 to {depth - 1}, got {list(blocks)}")
        if checkpoint is not None:
            restore(network, to_timm(load_state(checkpoint)), name=f"{model} from {checkpoint.name}")
        self._blocks = sorted(set(blocks))
        self._norm = norm
        self._mean, self._std = network.pretrained_cfg["mean"], network.pretrained_cfg["std"]
        network.prune_intermediate_layers(self._blocks, prune_norm=not norm)
        self.network = network.eval()
        self.multiple: int = network.patch_embed.patch_size[0]
        self.channels: dict[str, int] = {f"block.{block}": network.embed_dim for block in self._blocks}

    def forward(self, images: Float[Tensor, "B V 3 H W"]) -> Features:
        """Map RGB in [0, 1] to patch tokens; ImageNet's normalisation happens here.

        Returns:
            One map [B V C H/patch W/patch] per block, in the dtype of the weights.

        Raises:
            ShapeError: a side of the images is no multiple of the patch.
        """
        size = (images.shape[-2], images.shape[-1])
        check_multiple(size, self.multiple, name="DINO")
        mean, std = images.new_tensor(self._mean), images.new_tensor(self._std)
        pixels = (images.flatten(0, 1) - mean[:, None, None]) / std[:, None, None]
        maps: list[Tensor] = self.network.forward_intermediates(
            pixels.to(self.network.patch_embed.proj.weight.dtype),
            indices=self._blocks,
            norm=self._norm,
            stop_early=True,
            intermediates_only=True,
        )
        batch = images.shape[:2]
        return Features(
            maps={name: map_.unflatten(0, batch) for name, map_ in zip(self.channels, maps, strict=True)},
            image_size=size,
        )


def to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of Meta's DINOv2 files to timm's names; timm's own pass through.

    Meta's files carry a `mask_token`, which only pretraining needs. Its models with registers give
    the class token a position too, which timm adds to the token once and for all; its giant model
    calls the two layers of the SwiGLU w12 and w3.

    Args:
        state: of `dinov2_vit{s,b,l,g}14[_reg4]_pretrain.pth`, or of timm's files.
    """
    if "mask_token" not in state:
        return dict(state)
    named = {_timm_name(key): value for key, value in state.items() if key != "mask_token"}
    if "reg_token" in named and "pos_embed" in named and "cls_token" in named:
        positions = named["pos_embed"]
        named["cls_token"] = named["cls_token"] + positions[:, :1]
        named["pos_embed"] = positions[:, 1:]
    return named


def _timm_name(key: str) -> str:
    return (
        key.replace("register_tokens", "reg_token")
        .replace(".mlp.w12.", ".mlp.fc1.")
        .replace(".mlp.w3.", ".mlp.fc2.")
    )
