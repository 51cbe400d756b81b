"""DISK keypoints and descriptors, through kornia.

Source: Tyszkiewicz, Fua, Trulls, "DISK: Learning local features with policy gradient" (2020).
kornia places keypoints at integer pixels, meant as their centres: nothing to convert.
"""

from pathlib import Path

import kornia.feature
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.features import Features
from homolog.core.image import check_multiple
from homolog.core.keypoints import Keypoints
from homolog.core.weights import load_state, restore


class Disk(nn.Module):
    """Detects and describes keypoints; a `homolog.core.protocols.Detector`.

    Args:
        checkpoint: the official `depth-save.pth` or `epipolar-save.pth`, which keep the weights in
            an entry `extractor`, or those weights alone as safetensors; None leaves them random.
        descriptor_dim: channels of a descriptor.
        nms_radius: a keypoint has the one highest score within this many pixels, horizontally and vertically.
        threshold: a keypoint's score, a logit, is above this.
        max_keypoints: keep at most this many keypoints of an image; None keeps all.

    Raises:
        WeightsError: the checkpoint does not hold this network.
    """

    multiple: int = 16

    def __init__(
        self,
        *,
        checkpoint: Path | None = None,
        descriptor_dim: int = 128,
        nms_radius: int = 2,
        threshold: float = 0.0,
        max_keypoints: int | None = None,
    ) -> None:
        super().__init__()
        self.network = kornia.feature.DISK(desc_dim=descriptor_dim)
        self.nms_radius = nms_radius
        self.threshold = threshold
        self.max_keypoints = max_keypoints
        if checkpoint is not None:
            nested = None if checkpoint.suffix == ".safetensors" else "extractor"
            restore(self.network, load_state(checkpoint, key=nested), name=f"DISK, {checkpoint}")
        self.eval()

    def forward(self, images: Float[Tensor, "B 3 H W"], features: Features | None = None) -> list[Keypoints]:
        """Find the keypoints of each image, best first, with unit-norm descriptors.

        Args:
            images: RGB in [0, 1].
            features: not read.

        Raises:
            ShapeError: height or width is no multiple of 16.
        """
        check_multiple((images.shape[-2], images.shape[-1]), self.multiple, name="DISK")
        found = self.network(
            images, n=self.max_keypoints, window_size=2 * self.nms_radius + 1, score_threshold=self.threshold
        )
        return [
            Keypoints(
                xy=one.keypoints.float(),
                score=one.detection_scores.float(),
                descriptor=one.descriptors.float(),
            ).best(None)
            for one in found
        ]
