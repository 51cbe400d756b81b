"""The two networks of Stable Diffusion as a source of maps: its image encoder and its U-Net.

Both are stock diffusers models. Whatever the features never reach is cut off: the decoder of the
autoencoder, the later up blocks of the U-Net and its output layers.
"""

import json
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.errors import ConfigError, MissingDependencyError, WeightsError
from homolog.core.weights import load_state, restore

try:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
except ImportError as error:
    raise MissingDependencyError("homolog-backbones[dift]", "a diffusion backbone") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """Where a map is read.

    Attributes:
        block: index of the up block, from the coarsest.
        timestep: index into the noise schedule; it sets the noise and conditions the U-Net.
        layer: None reads the output of the block, after its upsampler; a number reads the output
            of that layer inside the block, before it.
    """

    block: int
    timestep: int
    layer: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Posterior:
    """The Gaussian over latents that the autoencoder sees in an image: its mean and its deviation."""

    mean: Float[Tensor, "N C h w"]
    std: Float[Tensor, "N C h w"]


class _Tail(nn.Module):
    """A last up block that does nothing.

    The stock forward tells every up block but the last which size its upsampler must reach. Without
    a tail the last kept block would not know it, and a latent whose sides are no multiples of 8 would
    come out at a wrong size.
    """

    def __init__(self) -> None:
        super().__init__()
        self.resnets = nn.ModuleList()

    def forward(self, hidden_states: Tensor, **_: object) -> Tensor:
        return hidden_states


class DiffusionNetwork(nn.Module):
    """An image encoder and a U-Net that stops where nothing more is read."""

    def __init__(
        self, *, encoder: AutoencoderKL, unet: UNet2DConditionModel, scheduler: DDIMScheduler, deepest: int
    ) -> None:
        """Take ownership of the networks and cut them.

        Args:
            encoder: the autoencoder.
            unet: as diffusers builds it, or already cut by `cut_unet`.
            scheduler: only its noise schedule is used.
            deepest: the last up block that is read.
        """
        super().__init__()
        self.encoder, self.unet = cut_autoencoder(encoder), cut_unet(unet, deepest)
        self.scheduler = scheduler
        self._deepest = deepest

    def encode(
        self, images: Float[Tensor, "N 3 H W"], *, image_range: Sequence[float | int] = (-1, 1)
    ) -> Posterior:
        """See images (RGB in [0, 1]) as Gaussians over latents, float32, one image at a time.

        At 768 x 768 the encoder costs more than the U-Net and its first maps fill 0.3 GB each:
        a batch would gain nothing and need all of that at once.

        Args:
            images: RGB in [0, 1].
            image_range: what the encoder gets for 0 and for 1.
        """
        black, white = image_range
        pixels = ((white - black) * images + black).to(self.unet.dtype)
        encode: Any = self.encoder.encode
        seen = [encode(image[None]).latent_dist for image in pixels]
        return Posterior(
            mean=torch.cat([one.mean for one in seen]).float(),
            std=torch.cat([one.std for one in seen]).float(),
        )

    @property
    def latent_scale(self) -> float:
        """The U-Net knows latents multiplied by this."""
        return self.encoder.config["scaling_factor"]

    def noisy(
        self, latents: Float[Tensor, "N C h w"], noise: Float[Tensor, "N C h w"], timestep: int
    ) -> Float[Tensor, "N C h w"]:
        """Return sqrt(abar_t) latents + sqrt(1 - abar_t) noise (t = 0 is not free of noise)."""
        scheduler: Any = self.scheduler
        return scheduler.add_noise(latents, noise, torch.tensor([timestep], device=latents.device))

    def read(
        self,
        latents: Float[Tensor, "N C h w"],
        timestep: int,
        context: Float[Tensor, "1 L D"],
        taps: Sequence[Tap],
    ) -> list[Tensor]:
        """Run the U-Net once, up to the deepest of the taps.

        Args:
            latents: input of the U-Net.
            timestep: that conditions it, for all of the taps.
            context: embedding of the prompt.
            taps: what to read.

        Returns:
            One map [N C h w] per tap.
        """
        dtype = self.unet.dtype
        with self._ending_after(max(tap.block for tap in taps)), self._captured(taps) as captured:
            self.unet(
                latents.to(dtype),
                timestep,
                encoder_hidden_states=context.to(dtype).expand(len(latents), -1, -1),
                return_dict=False,
            )
        return [captured[tap] for tap in taps]

    @contextmanager
    def _ending_after(self, block: int) -> Generator[None]:
        whole = self.unet.up_blocks
        if block < self._deepest:
            self.unet.up_blocks = nn.ModuleList([*whole[: block + 1], _Tail()])
        try:
            yield
        finally:
            self.unet.up_blocks = whole

    @contextmanager
    def _captured(self, taps: Sequence[Tap]) -> Generator[dict[Tap, Tensor]]:
        captured: dict[Tap, Tensor] = {}

        def hook(tap: Tap) -> Any:
            def keep(_module: nn.Module, _inputs: object, output: Any) -> None:
                captured[tap] = output[0] if isinstance(output, tuple) else output

            return keep

        handles = [self._module(tap).register_forward_hook(hook(tap)) for tap in taps]
        try:
            yield captured
        finally:
            for handle in handles:
                handle.remove()

    def _module(self, tap: Tap) -> nn.Module:
        block: Any = self.unet.up_blocks[tap.block]
        if tap.layer is None:
            return block
        # A layer is a residual block and, where the block attends, a transformer behind it.
        layers = block.attentions if getattr(block, "has_cross_attention", False) else block.resnets
        if not 0 <= tap.layer < len(layers):
            raise ConfigError(f"up block {tap.block} has layers 0 to {len(layers) - 1}, got {tap.layer}")
        return layers[tap.layer]


def cut_unet(unet: UNet2DConditionModel, deepest: int) -> UNet2DConditionModel:
    """Drop what lies behind an up block; changes and returns the network.

    Raises:
        ConfigError: there is no such block.
    """
    blocks = len(unet.config["up_block_types"])
    if not 0 <= deepest < blocks:
        raise ConfigError(f"expected an up block of 0 to {blocks - 1}, got {deepest}")
    if deepest + 1 < blocks:
        unet.up_blocks = nn.ModuleList([*unet.up_blocks[: deepest + 1], _Tail()])
    network: Any = unet
    network.conv_norm_out, network.conv_out = None, nn.Identity()
    return unet


def cut_autoencoder(autoencoder: AutoencoderKL) -> AutoencoderKL:
    """Drop the decoder; changes and returns the network."""
    network: Any = autoencoder
    network.decoder, network.post_quant_conv = None, None
    return autoencoder


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
    configs: dict[str, Any] = {**STABLE_DIFFUSION_2_1, **architecture}
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
