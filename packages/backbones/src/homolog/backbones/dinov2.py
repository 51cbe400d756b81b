"""Patch tokens of DINOv2 and DINOv3 vision transformers, through timm.

Sources: Oquab et al., "DINOv2" (2023); Darcet et al., "Vision Transformers Need Registers" (2024);
Siméoni et al., "DINOv3" (2025); timm's `VisionTransformer` and `Eva`.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import timm
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.errors import ConfigError, did_you_mean, one_of
from homolog.core.features import Features
from homolog.core.image import check_multiple
from homolog.core.weights import load_state, restore

Positions = Literal["timm", "meta"]


class Dino(nn.Module):
    """Maps of patch tokens, one for each chosen block, named `block.11` and so on.

    Images of any size that is a multiple of the patch are taken as they are. DINOv2's position
    embedding (a 37 x 37 grid) is resampled to the grid of the image by timm: bicubic, antialiased,
    to the exact size. Meta's own code does the same for models with registers; for those without it
    scales by (cells + 0.1) / 37 and does not antialias, so away from 518 x 518 pixels these features
    differ slightly from the hub's, unless `positions` is `meta`. DINOv3 has rotary positions and nothing to resample.

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
        normalise: bool = True,
        positions: Positions = "timm",
        round_up: bool = False,
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
            normalise: bring pixels to ImageNet's mean and deviation, as in training; MATCHA's release does not.
            positions: how the position embedding is resampled, see above; `meta` is the rule of Meta's code for
                DINOv2 without registers.
            round_up: take images of any size, and enlarge each side to the next multiple of the patch, as
                MATCHA's release does: bilinear, corner pixels on corner pixels. False refuses other sizes.
            architecture: arguments of timm's model that replace those of `model`.

        Raises:
            ConfigError: no such model, no such block, or `positions: meta` for a model that it is not for.
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
        if one_of("positions", positions, get_args(Positions)) == "meta":
            if network.pos_embed is None or network.num_prefix_tokens != 1:
                raise ConfigError(
                    f"{model}: positions=meta is for DINOv2 without registers; timm resamples as Meta does for others"
                )
            # The one place where timm adds positions.
            network._pos_embed = partial(_with_metas_positions, network)
        if checkpoint is not None:
            restore(network, to_timm(load_state(checkpoint)), name=f"{model} from {checkpoint.name}")
        self._blocks = sorted(set(blocks))
        self._norm, self._normalise = norm, normalise
        self._mean, self._std = network.pretrained_cfg["mean"], network.pretrained_cfg["std"]
        network.prune_intermediate_layers(self._blocks, prune_norm=not norm)
        self.network = network.eval()
        self._patch: int = network.patch_embed.patch_size[0]
        self.multiple: int = 1 if round_up else self._patch
        self.channels: dict[str, int] = {f"block.{block}": network.embed_dim for block in self._blocks}

    def forward(self, images: Float[Tensor, "B V 3 H W"]) -> Features:
        """Map RGB in [0, 1] to patch tokens; ImageNet's normalisation happens here, unless it was turned off.

        Returns:
            One map [B V C H/patch W/patch] per block (rounded up with `round_up`), in the dtype of the weights.

        Raises:
            ShapeError: a side of the images is no multiple of the patch.
        """
        size = (images.shape[-2], images.shape[-1])
        check_multiple(size, self.multiple, name="DINO")
        pixels = images.flatten(0, 1)
        whole = [-(-side // self._patch) * self._patch for side in size]
        if whole != list(size):
            pixels = F.interpolate(pixels, size=whole, mode="bilinear", align_corners=True)
        if self._normalise:
            mean, std = images.new_tensor(self._mean), images.new_tensor(self._std)
            pixels = (pixels - mean[:, None, None]) / std[:, None, None]
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


def _with_metas_positions(network: Any, patches: Float[Tensor, "N h w C"]) -> Float[Tensor, "N L C"]:
    """Prepend the class token and add positions, resampled by (cells + 0.1) / 37 without antialiasing.

    The 0.1 keeps the resampled grid from being a cell too small; it also moves every position a little.
    """
    cells = patches.shape[1:3]
    tokens = torch.cat((network.cls_token.expand(len(patches), -1, -1), patches.flatten(1, 2)), dim=1)
    first, positions = network.pos_embed[:, :1], network.pos_embed[:, 1:]
    side = round(positions.shape[1] ** 0.5)
    if tuple(cells) != (side, side):
        grid = positions.float().mT.unflatten(2, (side, side))
        scale = [(count + 0.1) / side for count in cells]
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic", align_corners=False)
        positions = grid.flatten(2).mT.to(positions.dtype)
    return tokens + torch.cat((first, positions), dim=1)


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
