"""DIFT: the maps inside Stable Diffusion's U-Net as features, and the noise that they need.

Source: Tang et al., "Emergent Correspondence from Image Diffusion" (2023), `src/models/dift_sd.py`;
for the clean variant Stracke et al., "CleanDIFT" (2025).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.backbones.diffusion import Tap, build_network, load_network
from homolog.backbones.dift_prompt import read_embedding
from homolog.core.coords import Size
from homolog.core.errors import ConfigError, ShapeError, WeightsError
from homolog.core.features import Features
from homolog.core.image import Image, check_multiple


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Noise:
    """Standard normal noise for N images and E ensemble members.

    Attributes:
        posterior: [N E C h w], picks the sample of the autoencoder's posterior.
        diffusion: [N E C h w], is added to the latent.
    """

    posterior: Float[Tensor, "N E C h w"]
    diffusion: Float[Tensor, "N E C h w"]

    def to(self, device: torch.device) -> "Noise":
        """Move both to a device."""
        return Noise(posterior=self.posterior.to(device), diffusion=self.diffusion.to(device))


def seeded_noise(
    images: Float[Tensor, "N 3 H W"], *, seed: int, members: int, channels: int, size: Size
) -> Noise:
    """Draw the noise that belongs to each image.

    The generator of a member is seeded by the global seed, the content of the image and the number
    of the member, and draws float32 on the CPU. So the same pixels meet the same noise in any batch,
    order, device and dtype of the network, and an ensemble of eight contains that of four.
    (Upstream draws unseeded noise: no two of its runs agree.)

    Args:
        images: as the backbone was given them; equal content means equal float32 pixels.
        seed: chooses another draw for all images.
        members: size of the ensemble.
        channels: of the latent.
        size: (height, width) of the latent.
    """
    digests = [Image(pixels=image).digest() for image in images]
    drawn = [
        [_draw(f"{seed}:{digest}:{member}", (2, channels, *size)) for member in range(members)]
        for digest in digests
    ]
    noise = torch.stack([torch.stack(members_of_image) for members_of_image in drawn])
    return Noise(posterior=noise[:, :, 0], diffusion=noise[:, :, 1])


def _draw(key: str, shape: tuple[int, ...]) -> Tensor:
    number = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=7).digest())
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(number), dtype=torch.float32)


CELL = 8
"""A latent has one cell for 8 x 8 pixels."""

CONTEXT_LENGTH = 77


class Dift(nn.Module):
    """Maps of up blocks, each at its timestep, averaged over an ensemble of noises.

    The published settings (README of DIFT): semantic matching reads block 1 at timestep 261 ("high",
    1280 channels at 1/16), geometric matching block 2 at timestep 0 ("low", 640 channels at 1/8), both
    with 8 members, images of 768 x 768, and no prompt for the latter.

    An image is encoded once, whatever the ensemble and the number of maps; all members draw from the
    mean and deviation that the encoder gives. Maps at the same timestep share one pass of the U-Net,
    and a pass ends at its deepest map.
    """

    joint = False

    def __init__(
        self,
        checkpoint: Path | None,
        maps: Mapping[str, Mapping[str, int | None]],
        *,
        unet_checkpoint: Path | str | None = None,
        prompt: str = "",
        image_range: Sequence[float | int] = (-1, 1),
        variant: Literal["noisy", "clean"] = "noisy",
        ensemble: int = 8,
        posterior: Literal["sample", "mode"] = "sample",
        seed: int = 0,
        chunk: int = 8,
        multiple: int = 64,
        dtype: Literal["float32", "bfloat16"] = "float32",
        frozen: bool = True,
        architecture: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Load the networks up to the deepest map.

        Args:
            checkpoint: a folder as diffusers writes it (`homolog.backbones.diffusion`); None
                leaves the weights random and the prompt's embedding zero.
            maps: name to `{block: 1, timestep: 261}`; `layer` may be added (`Tap`).
            unet_checkpoint: other weights for the U-Net; CleanDIFT publishes just these.
            prompt: whose embedding conditions the U-Net. It is read from the folder, where
                `homolog.backbones.dift_prompt` put it: no text encoder runs here.
            image_range: the values that the image encoder gets for black and for white. Stable Diffusion was
                trained with -1 and 1; MATCHA's release passes 0 and 1.
            variant: `noisy` adds noise to the latent as DIFT does; `clean` adds none, for weights that
                were trained for that (CleanDIFT).
            ensemble: members to average over; must be 1 when neither noise nor posterior varies.
            posterior: draw the latent from the encoder's posterior, as upstream does, or take its mode.
            seed: of the noise.
            chunk: latents in one pass of the U-Net.
            multiple: that sides of images must be multiples of. 8 is enough for the networks; with 64
                the maps cover the image exactly, while otherwise the U-Net rounds the size of a
                coarse map up and its cells lie a little off.
            dtype: of weights and maps; latents, noise and averages are float32.
            frozen: whether the weights take no gradient.
            architecture: configs for `checkpoint=None`; default Stable Diffusion 2.1.

        Raises:
            ConfigError: settings that do not go together.
            WeightsError: a file is missing, damaged, or does not fit.
        """
        super().__init__()
        self._taps = _checked_taps(maps)
        if ensemble < 1 or chunk < 1 or multiple < CELL or multiple % CELL:
            raise ConfigError(
                f"DIFT: expected ensemble and chunk of at least 1 and a multiple of {CELL}, "
                f"got {ensemble}, {chunk}, {multiple}"
            )
        if len(image_range) != 2 or not image_range[0] < image_range[1]:
            raise ConfigError(
                f"DIFT: expected an image_range of two rising values, such as [-1, 1], got {list(image_range)}"
            )
        if variant == "clean" and posterior == "mode" and ensemble > 1:
            raise ConfigError(f"DIFT: without noise all {ensemble} members would be equal; set ensemble=1")
        deepest = max(tap.block for tap in self._taps.values())
        weights_dtype = getattr(torch, dtype)
        if checkpoint is None:
            self.network = build_network(architecture or {}, deepest=deepest, dtype=weights_dtype)
            width = self.network.unet.config["cross_attention_dim"]
            context = torch.zeros(1, CONTEXT_LENGTH, width)
        else:
            if architecture:
                raise ConfigError("DIFT: a checkpoint brings its architecture; leave architecture empty")
            self.network = load_network(
                checkpoint,
                unet=Path(unet_checkpoint) if unet_checkpoint else None,
                deepest=deepest,
                dtype=weights_dtype,
            )
            width = self.network.unet.config["cross_attention_dim"]
            context = read_embedding(checkpoint, prompt)
        if context.shape[-1] != width:
            raise WeightsError(
                f"{checkpoint}: expected a prompt embedding of {width} channels, got {list(context.shape)}; "
                "encode it with the text encoder of the same model"
            )
        # Part of the state: two backbones that differ in the prompt alone must not look alike.
        self.register_buffer("context", context)
        self.context: Tensor
        channels = self.network.unet.config["block_out_channels"][::-1]
        self.channels = {f"dift.{name}": channels[tap.block] for name, tap in self._taps.items()}
        self.multiple = multiple
        self._clean, self._sampled = variant == "clean", posterior == "sample"
        self._ensemble, self._seed, self._chunk = ensemble, seed, chunk
        self._image_range = tuple(image_range)
        self.requires_grad_(not frozen).eval()

    def forward(self, images: Float[Tensor, "B V 3 H W"]) -> Features:
        """Map RGB in [0, 1] to the maps `dift.<name>`, with the noise that belongs to each image.

        Raises:
            ShapeError: a side of the images is no multiple of `multiple`.
        """
        size = (images.shape[-2], images.shape[-1])
        check_multiple(size, self.multiple, name="DIFT")
        views = images.flatten(0, 1)
        noise = seeded_noise(
            views,
            seed=self._seed,
            members=self._ensemble,
            channels=self.network.encoder.config["latent_channels"],
            size=(size[0] // CELL, size[1] // CELL),
        )
        maps = self.extract(views, noise)
        return Features(
            maps={name: map_.unflatten(0, images.shape[:2]) for name, map_ in maps.items()}, image_size=size
        )

    def extract(self, images: Float[Tensor, "N 3 H W"], noise: Noise) -> dict[str, Tensor]:
        """Map RGB in [0, 1] to maps [N C h w] by name, with given noise.

        Raises:
            ShapeError: the noise is not for these images.
        """
        posterior = self.network.encode(images, image_range=self._image_range)
        noise = noise.to(posterior.mean.device)
        expected = (len(images), *posterior.mean.shape[1:])
        if (noise.posterior.shape[0], *noise.posterior.shape[2:]) != expected:
            raise ShapeError(
                f"DIFT: expected noise [N E C h w] with N, C, h, w = {list(expected)}, "
                f"got {list(noise.posterior.shape)}"
            )
        spread = noise.posterior if self._sampled else torch.zeros_like(noise.posterior)
        latents = posterior.mean[:, None] + posterior.std[:, None] * spread
        latents = latents * self.network.latent_scale
        maps: dict[str, Tensor] = {}
        for timestep in dict.fromkeys(tap.timestep for tap in self._taps.values()):
            maps |= self._pass(latents, noise.diffusion, timestep)
        return {name: maps[name] for name in self.channels}

    def _pass(
        self, latents: Float[Tensor, "N E C h w"], noise: Float[Tensor, "N E C h w"], timestep: int
    ) -> dict[str, Tensor]:
        chosen = {name: tap for name, tap in self._taps.items() if tap.timestep == timestep}
        members, taps = latents.shape[:2], list(chosen.values())
        seen = latents.flatten(0, 1)
        if not self._clean:
            seen = self.network.noisy(seen, noise.flatten(0, 1), timestep)
        parts = [self.network.read(part, timestep, self.context, taps) for part in seen.split(self._chunk)]
        maps = [torch.cat(part).unflatten(0, members) for part in zip(*parts, strict=True)]
        means = [map_.mean(dim=1, dtype=torch.float32).to(map_.dtype) for map_ in maps]
        return {f"dift.{name}": mean for name, mean in zip(chosen, means, strict=True)}


def _checked_taps(maps: Mapping[str, Mapping[str, int | None]]) -> dict[str, Tap]:
    if not maps:
        raise ConfigError("DIFT: expected at least one map, such as high={block: 1, timestep: 261}")
    taps: dict[str, Tap] = {}
    for name, where in maps.items():
        block, timestep = where.get("block"), where.get("timestep")
        if block is None or timestep is None or not where.keys() <= {"block", "timestep", "layer"}:
            raise ConfigError(
                f"DIFT: expected the map {name} as {{block: 1, timestep: 261}}, with layer if wanted, "
                f"got {dict(where)}"
            )
        if not 0 <= timestep < 1000:
            raise ConfigError(f"DIFT: expected a timestep of 0 to 999 for the map {name}, got {timestep}")
        taps[name] = Tap(block=block, timestep=timestep, layer=where.get("layer"))
    return taps
