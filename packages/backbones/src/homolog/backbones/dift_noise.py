"""The Gaussian noise of DIFT, drawn so that it belongs to an image and not to a run."""

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.coords import Size
from homolog.core.image import Image


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
