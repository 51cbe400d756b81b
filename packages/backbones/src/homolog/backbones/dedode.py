"""DeDoDe keypoints and descriptors, through kornia: detector L, descriptor B.

Source: Edstedt, Bökman, Wadenbäck, Felsberg, "DeDoDe: Detect, Don't Describe - Describe, Don't
Detect for Local Feature Matching" (2023); the detector's v2 weights: "DeDoDe v2" (2024). kornia's
`sample_keypoints` answers in normalised coordinates with `align_corners=False`, which are homolog's.

Descriptor G is left out: it needs a DINOv2 of 1.2 GB, which kornia downloads when it is built.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from kornia.enhance import normalize
from kornia.feature.dedode.decoder import ConvRefiner
from kornia.feature.dedode.dedode_models import get_descriptor, get_detector
from kornia.feature.dedode.encoder import VGG19
from kornia.feature.dedode.utils import sample_keypoints
from torch import Tensor, nn

from homolog.core.coords import normalised_to_pixel, pixel_to_normalised
from homolog.core.features import Features
from homolog.core.image import check_multiple
from homolog.core.keypoints import Keypoints
from homolog.core.sampling import sample_points
from homolog.core.weights import load_state, restore

MULTIPLE = 8
"""VGG19's max-pools halve three times; other sizes would lose rows and shift the coarse maps."""


class Dedode(nn.Module):
    """Detects keypoints, and describes them if it is given a descriptor; a `homolog.core.protocols.Detector`.

    The scores are a distribution over the pixels of one image, divided by the root of its local
    density: they rank the points of an image and say nothing across images. The method has no
    threshold and no suppression: every image, even an empty one, has `max_keypoints` keypoints.

    Args:
        checkpoint: official weights of a detector L: `dedode_detector_L_v2.pth`,
            `dedode_detector_L.pth`, or a rotation-robust one; None leaves them random.
        descriptor: network that describes the keypoints; None leaves them undescribed.
        max_keypoints: find this many keypoints in each image.

    Raises:
        WeightsError: the checkpoint does not hold this network.
    """

    multiple: int = MULTIPLE

    def __init__(
        self,
        *,
        checkpoint: Path | None = None,
        descriptor: "DedodeDescriptor | None" = None,
        max_keypoints: int = 2048,
    ) -> None:
        super().__init__()
        self.network = get_detector("L")
        self.descriptor = descriptor
        self.max_keypoints = max_keypoints
        _prepare(self.network, checkpoint, "DeDoDe detector L")
        self.eval()

    def forward(self, images: Float[Tensor, "B 3 H W"], features: Features | None = None) -> list[Keypoints]:
        """Find the keypoints of each image, best first, with unit-norm descriptors.

        Args:
            images: RGB in [0, 1].
            features: not read.

        Raises:
            ShapeError: height or width is no multiple of 8.
        """
        logits = self.network(_normalised(images))[:, 0].float()
        probability = logits.flatten(1).softmax(dim=1).reshape(logits.shape)
        position, score = sample_keypoints(probability, num_samples=self.max_keypoints)
        height, width = logits.shape[1:]
        # Whole pixels, made exact again after their way through normalised coordinates.
        xy = normalised_to_pixel(position, (height, width)).round()
        found = [Keypoints(xy=one, score=its).best(None) for one, its in zip(xy, score, strict=True)]
        if self.descriptor is None:
            return found
        described = self.descriptor(images, torch.stack([one.xy for one in found]))
        return [one.described_by(vectors) for one, vectors in zip(found, described, strict=True)]


class DedodeDescriptor(nn.Module):
    """Describes given points; it knows nothing of how they were found.

    Args:
        checkpoint: official weights of a descriptor B, `dedode_descriptor_B.pth`, or a
            rotation-robust one; None leaves them random.

    Raises:
        WeightsError: the checkpoint does not hold this network.
    """

    def __init__(self, *, checkpoint: Path | None = None) -> None:
        super().__init__()
        self.network = get_descriptor("B")
        _prepare(self.network, checkpoint, "DeDoDe descriptor B")
        self.eval()

    def forward(
        self, images: Float[Tensor, "B 3 H W"], xy: Float[Tensor, "B N 2"]
    ) -> Float[Tensor, "B N 256"]:
        """Return a unit-norm descriptor for each pixel coordinate.

        Raises:
            ShapeError: height or width of the RGB images in [0, 1] is no multiple of 8.
        """
        height, width = int(images.shape[2]), int(images.shape[3])
        maps = self.network(_normalised(images)).float()
        read = sample_points(maps, pixel_to_normalised(xy, (height, width)))
        return nn.functional.normalize(read, dim=-1)


def _normalised(images: Tensor) -> Tensor:
    check_multiple((images.shape[-2], images.shape[-1]), MULTIPLE, name="DeDoDe")
    return normalize(
        images, images.new_tensor((0.485, 0.456, 0.406)), images.new_tensor((0.229, 0.224, 0.225))
    )


def _prepare(network: nn.Module, checkpoint: Path | None, name: str) -> None:
    for part in network.modules():
        if isinstance(part, VGG19 | ConvRefiner):
            part.amp = False  # half precision on CUDA is the caller's choice, not the network's
    if checkpoint is not None:
        restore(network, load_state(checkpoint), name=f"{name}, {checkpoint}")
