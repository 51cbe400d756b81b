"""Read a folder with a Stable Diffusion model as diffusers writes it, and of it only what features need.

    unet/config.json                 unet/diffusion_pytorch_model.safetensors
    vae/config.json                  vae/diffusion_pytorch_model.safetensors
    scheduler/scheduler_config.json

Safety checker, text encoder and decoder are never read. Networks are laid out on the meta device and
filled from the files: no random weights come in between.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from homolog.backbones.diffusion import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionNetwork,
    UNet2DConditionModel,
    cut_autoencoder,
    cut_unet,
)
from homolog.core.errors import WeightsError
from homolog.core.weights import load_state, restore

NetworkT = TypeVar("NetworkT", bound=nn.Module)

WEIGHTS = "diffusion_pytorch_model.safetensors"

STABLE_DIFFUSION_2_1: dict[str, dict[str, Any]] = {
    "unet": {
        "sample_size": 96,
        "block_out_channels": [320, 640, 1280, 1280],
        "cross_attention_dim": 1024,
        "attention_head_dim": [5, 10, 20, 20],
        "use_linear_projection": True,
    },
    "vae": {
        "sample_size": 768,
        "block_out_channels": [128, 256, 512, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 2,
        "latent_channels": 4,
    },
    "scheduler": {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "v_prediction",
    },
}
"""The configs of the published model, as far as they differ from diffusers' defaults."""


def build_network(
    architecture: Mapping[str, Mapping[str, Any]], *, deepest: int, dtype: torch.dtype
) -> DiffusionNetwork:
    """Build the networks with random weights.

    Args:
        architecture: configs of `unet`, `vae` and `scheduler`; missing ones are Stable Diffusion 2.1's.
        deepest: the last up block that is read.
        dtype: of the weights.
    """
    configs = {**STABLE_DIFFUSION_2_1, **architecture}
    return DiffusionNetwork(
        encoder=_built(AutoencoderKL, configs["vae"]),
        unet=_built(UNet2DConditionModel, configs["unet"]),
        scheduler=_scheduler(configs["scheduler"]),
        deepest=deepest,
    ).to(dtype)


def load_network(folder: Path, *, unet: Path | None, deepest: int, dtype: torch.dtype) -> DiffusionNetwork:
    """Load the networks from a folder, strictly.

    Args:
        folder: as described above.
        unet: other weights for the U-Net of the folder, such as CleanDIFT's.
        deepest: the last up block that is read.
        dtype: of the weights in memory.

    Raises:
        WeightsError: a file is missing, damaged, or does not fit.
    """
    with torch.device("meta"):
        encoder = cut_autoencoder(_built(AutoencoderKL, _config(folder / "vae" / "config.json")))
        network = cut_unet(_built(UNet2DConditionModel, _config(folder / "unet" / "config.json")), deepest)
    encoder_state = _without(load_state(folder / "vae" / WEIGHTS), r"decoder\.|post_quant_conv\.")
    unet_path = unet or folder / "unet" / WEIGHTS
    # The tail of a cut U-Net, if there is one, is numbered like the first dropped block.
    dropped = "|".join(str(index) for index in range(deepest + 1, len(network.config["up_block_types"])))
    unet_state = _without(
        load_state(unet_path), rf"conv_norm_out\.|conv_out\.|up_blocks\.({dropped or '-'})\."
    )
    return DiffusionNetwork(
        encoder=_filled(encoder, _renamed(encoder_state), dtype, name=f"{folder}: vae"),
        unet=_filled(network, unet_state, dtype, name=f"{unet_path}: unet"),
        scheduler=_scheduler(_config(folder / "scheduler" / "scheduler_config.json")),
        deepest=deepest,
    )


def _built(kind: Any, config: Mapping[str, Any]) -> Any:
    return kind.from_config(dict(config))


def _scheduler(config: Mapping[str, Any]) -> DDIMScheduler:
    # Other schedulers of diffusers share the noise schedule but not all options; add_noise needs only these.
    wanted = (
        "num_train_timesteps",
        "beta_start",
        "beta_end",
        "beta_schedule",
        "trained_betas",
        "prediction_type",
    )
    return DDIMScheduler(**{key: config[key] for key in wanted if key in config})


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path}: expected a config as diffusers writes it, got none that can be read ({error}); "
            "give a folder with unet/, vae/ and scheduler/, or fetch it again"
        ) from error
    if not isinstance(config, dict):
        raise WeightsError(f"{path}: expected a JSON object, got {type(config).__name__}")
    return config


def _without(state: Mapping[str, Tensor], pattern: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not re.match(pattern, key)}


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # The published autoencoders are older than diffusers' present names for attention.
    names = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
    pattern = re.compile(r"(?<=\.attentions\.0\.)(query|key|value|proj_attn)(?=\.)")
    return {pattern.sub(lambda match: names[match[1]], key): value for key, value in state.items()}


def _filled(network: NetworkT, state: Mapping[str, Tensor], dtype: torch.dtype, *, name: str) -> NetworkT:
    # Neither network has a buffer, so nothing but what the state holds is left empty.
    # The plain method, because that of diffusers warns of layers to keep in float32 even when there are none.
    nn.Module.to(network, dtype=dtype).to_empty(device="cpu")  # both change the network itself
    restore(network, state, name=name)
    return network
