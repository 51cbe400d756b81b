"""The noise of DIFT belongs to the image, not to the run."""

import torch
from torch import Tensor

from homolog.backbones.dift_noise import seeded_noise


def test_noise_belongs_to_the_image_exactly() -> None:
    images = torch.rand(3, 3, 64, 128, generator=torch.Generator().manual_seed(2))

    def draw(images: Tensor, members: int, seed: int = 0) -> Tensor:
        noise = seeded_noise(images, seed=seed, members=members, channels=4, size=(8, 16))
        return torch.stack((noise.posterior, noise.diffusion))

    together = draw(images, 8)
    for index, image in enumerate(images):
        assert torch.equal(draw(image[None], 3)[:, 0], together[:, index, :3])
    assert not torch.equal(together[:, 0], together[:, 1])
    assert not torch.equal(together[:, :, 0], together[:, :, 1])
    assert not torch.equal(draw(images, 1, seed=1), together[:, :, :1])
    assert not torch.equal(together[0], together[1])
    assert together.dtype == torch.float32
    assert abs(together.mean().item()) < 0.02
    assert abs(together.std().item() - 1) < 0.02
