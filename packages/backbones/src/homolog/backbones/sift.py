"""SIFT (Lowe, IJCV 2004) through OpenCV: the classic, without learned weights."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from homolog.core.errors import ConfigError, MissingDependencyError
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints
from homolog.core.tensors import move

try:
    import cv2
except ImportError as error:
    raise MissingDependencyError("opencv-python-headless", "the SIFT detector") from error


class Sift(nn.Module):
    """Detector of SIFT keypoints with descriptors of 128 numbers, unit norm.

    A point with two dominant orientations is two keypoints at the same place. Runs on the CPU,
    wherever the images are.
    """

    multiple = 1

    def __init__(
        self,
        *,
        max_keypoints: int | None = 2048,
        contrast: float = 0.04,
        edge: float = 10.0,
        root: bool = True,
    ) -> None:
        """Choose the keypoints and the descriptor.

        Args:
            max_keypoints: how many keypoints to keep at most, the best; None keeps all.
            contrast: threshold on the difference of Gaussians, as OpenCV counts it (shared among
                the 3 layers of an octave); lower finds more.
            edge: largest ratio of principal curvatures; higher finds more points on edges.
            root: compare by Hellinger distance (RootSIFT; Arandjelovic and Zisserman, CVPR 2012).

        Raises:
            ConfigError: max_keypoints below 1.
        """
        super().__init__()
        if max_keypoints is not None and max_keypoints < 1:
            raise ConfigError(f"SIFT: expected max_keypoints of at least 1 or null, got {max_keypoints}")
        self.max_keypoints = max_keypoints
        self.contrast = contrast
        self.edge = edge
        self.root = root

    def forward(self, images: Float[Tensor, "B 3 H W"], features: Features | None = None) -> list[Keypoints]:
        """Find and describe the keypoints of each image; `features` are not needed.

        The score is the absolute difference of Gaussians, as OpenCV scales it.
        """
        # Without the precise upscaling OpenCV finds everything a quarter of a pixel too far right and down.
        sift = cv2.SIFT.create(
            nfeatures=self.max_keypoints or 0,
            contrastThreshold=self.contrast,
            edgeThreshold=self.edge,
            enable_precise_upscale=True,
        )
        found: list[Keypoints] = []
        for image in images:
            points, descriptor = sift.detectAndCompute(_gray(image), None)
            # OpenCV keeps every point that ties with the last one.
            keypoints = _keypoints(points, descriptor, root=self.root).best(self.max_keypoints)
            found.append(move(keypoints, images.device))
        return found


def _gray(image: Float[Tensor, "3 H W"]) -> UInt8[np.ndarray, "H W"]:
    rgb = (image.detach().to("cpu", torch.float32).clamp(0, 1) * 255).round().to(torch.uint8)
    return cv2.cvtColor(rgb.permute(1, 2, 0).contiguous().numpy(), cv2.COLOR_RGB2GRAY).astype(
        np.uint8, copy=False
    )


def _keypoints(points: Sequence[cv2.KeyPoint], descriptor: np.ndarray | None, *, root: bool) -> Keypoints:
    # An image without keypoints has no array of descriptors either.
    read = torch.zeros(0, 128) if descriptor is None else torch.from_numpy(descriptor)
    norm = F.normalize(read, p=1, dim=1).sqrt() if root else F.normalize(read, dim=1)
    xy = torch.tensor([point.pt for point in points], dtype=torch.float32).reshape(-1, 2)
    return Keypoints(
        xy=xy,
        score=torch.tensor([point.response for point in points]),
        descriptor=norm,
        scale=torch.tensor([point.size for point in points]),
        angle=torch.tensor([point.angle for point in points]).deg2rad(),
    )
