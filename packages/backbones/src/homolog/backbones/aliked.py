"""ALIKED keypoints and descriptors, through kornia.

Source: Zhao et al., "ALIKED: A Lighter Keypoint and Descriptor Extraction Network via Deformable
Transformation" (2023). kornia refines keypoints to fractions of a pixel, with the integers at
pixel centres: nothing to convert.
"""

from pathlib import Path
from typing import Literal

import kornia.feature
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.features import Features
from homolog.core.keypoints import Keypoints
from homolog.core.weights import load_state, restore

Variant = Literal["aliked-t16", "aliked-n16", "aliked-n16rot", "aliked-n32"]


class Aliked(nn.Module):
    """Detects and describes keypoints; a `homolog.core.protocols.Detector`.

    An image of which no pixel scores above the threshold keeps its peaks above the mean score: so
    the authors' code does, and so a dim image still has keypoints.

    Args:
        checkpoint: the official file of the variant, `aliked-n16.pth` and so on; None leaves the
            weights random.
        variant: which network: t16 is tiny with 64-d descriptors, the others have 128-d ones.
        nms_radius: a keypoint has the one highest score of a window of 2 nms_radius + 1 pixels.
        threshold: a peak's score, in [0, 1], is above this; 0 keeps the `max_keypoints` best whatever they score.
        max_keypoints: keep at most this many keypoints of an image, those with the highest peaks before
            they are refined; None keeps up to 20 000.

    Raises:
        WeightsError: the checkpoint does not hold this network.
    """

    # Any size: the network repeats the image's edge up to a multiple of 32 and cuts its maps back.
    multiple: int = 1

    def __init__(
        self,
        *,
        checkpoint: Path | None = None,
        variant: Variant = "aliked-n16",
        nms_radius: int = 2,
        threshold: float = 0.2,
        max_keypoints: int | None = None,
    ) -> None:
        super().__init__()
        self.network = kornia.feature.ALIKED(
            model_name=variant,
            max_num_keypoints=-1 if max_keypoints is None else max_keypoints,
            detection_threshold=threshold,
            nms_radius=nms_radius,
        )
        if checkpoint is not None:
            # Offsets of a window, no weights: kornia lists them in its state, the official files do not.
            offsets = self.network.dkd.get_buffer("hw_grid")
            restore(
                self.network,
                {"dkd.hw_grid": offsets, **load_state(checkpoint)},
                name=f"ALIKED {variant}, {checkpoint}",
            )
        self.eval()

    def forward(self, images: Float[Tensor, "B 3 H W"], features: Features | None = None) -> list[Keypoints]:
        """Find the keypoints of each image, best first, with unit-norm descriptors.

        Args:
            images: RGB in [0, 1].
            features: not read.
        """
        return [
            Keypoints(
                xy=one.keypoints.float(),
                score=one.keypoint_scores.float(),
                descriptor=one.descriptors.float(),
            ).best(None)
            for one in self.network(images)
        ]
