"""The two networks of Stable Diffusion as a source of maps: its image encoder and its U-Net.

Both are stock diffusers models. What features never reach is cut off: the decoder of the
autoencoder, the later up blocks of the U-Net and its output layers.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.errors import ConfigError, MissingDependencyError

try:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
except ImportError as error:
    raise MissingDependencyError("homolog-backbones[dift]", "a diffusion backbone") from error

__all__ = [
    "AutoencoderKL",
    "DDIMScheduler",
    "DiffusionNetwork",
    "Posterior",
    "Tap",
    "UNet2DConditionModel",
    "cut_autoencoder",
    "cut_unet",
]


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

    The stock forward tells every up block but the last which size its upsampler has to hit. Without
    a tail the last kept block would be told nothing, and a latent that is no multiple of 8 would
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

    def encode(self, images: Float[Tensor, "N 3 H W"]) -> Posterior:
        """See images (RGB in [0, 1]) as Gaussians over latents, float32, one image at a time.

        At 768 x 768 the encoder costs more than the U-Net and its first maps fill 0.3 GB each:
        a batch would gain nothing and need all of that at once.
        """
        pixels = (2 * images - 1).to(self.unet.dtype)
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
