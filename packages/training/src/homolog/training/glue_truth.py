"""Which keypoints of a pair truly match, in the pixels that the networks see."""

import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.coords import Size, identity_grid
from homolog.core.errors import ConfigError, DataError
from homolog.core.image import Image
from homolog.core.samples import PairSample
from homolog.core.sampling import warp_maps
from homolog.training.ground_truth_matches import (
    GroundTruthMatches,
    matches_from_depth,
    matches_from_homography,
)


class GlueTruth:
    """Labels keypoints by a pair's homography, or by its depth and pose."""

    def __init__(
        self,
        *,
        positive: float | int = 3.0,
        negative_homography: float | int = 3.0,
        negative_depth: float | int = 5.0,
    ) -> None:
        """Choose the distances, in pixels of the images that the networks see.

        Args:
            positive: below which mutually nearest keypoints match.
            negative_homography: beyond which a keypoint has no partner.
            negative_depth: the same for pairs with depth.

        Raises:
            ConfigError: a negative distance below the positive one.
        """
        if not 0 < positive <= min(negative_homography, negative_depth):
            raise ConfigError(
                "glue truth: expected negative distances of at least the positive one, above 0, got "
                f"{negative_homography}, {negative_depth} and {positive}"
            )
        self.positive = float(positive)
        self.negative_homography, self.negative_depth = float(negative_homography), float(negative_depth)

    def of(
        self, sample: PairSample, xy0: Float[Tensor, "N 2"], xy1: Float[Tensor, "M 2"]
    ) -> GroundTruthMatches:
        """Label the keypoints of a pair.

        Args:
            sample: its images are those that the networks saw; their frames lead to the files that
                homography and cameras are about.
            xy0: pixels of image 0.
            xy1: pixels of image 1.

        Raises:
            DataError: a pair with neither homography nor depth and pose.
        """
        if sample.homography is not None:
            frames = [_square(image) for image in (sample.image0, sample.image1)]
            homography = torch.linalg.inv(frames[1]) @ sample.homography.double() @ frames[0]
            return matches_from_homography(
                xy0, xy1, homography.to(xy0), positive=self.positive, negative=self.negative_homography
            )
        depths, cameras = (sample.depth0, sample.depth1), (sample.camera0, sample.camera1)
        if None in depths or None in cameras or sample.pose is None:
            raise DataError(
                f"{sample.name}: expected a homography, or depth, cameras and a pose, to label keypoints by; got neither"
            )
        images = (sample.image0, sample.image1)
        depth0, depth1 = (
            _depth(depth, image.size).to(xy0)
            for depth, image in zip(depths, images, strict=True)
            if depth is not None
        )
        camera0, camera1 = (
            camera.resampled(image.to_original)
            for image, camera in zip(images, cameras, strict=True)
            if camera is not None
        )
        return matches_from_depth(
            xy0,
            xy1,
            depth0=depth0,
            depth1=depth1,
            camera0=camera0,
            camera1=camera1,
            pose=sample.pose,
            positive=self.positive,
            negative=self.negative_depth,
        )


def _square(image: Image) -> Float[Tensor, "3 3"]:
    last = image.to_original.new_tensor([[0.0, 0.0, 1.0]])
    return torch.cat((image.to_original, last)).double()


def _depth(depth: Tensor, size: Size) -> Tensor:
    if tuple(depth.shape) == size:
        return depth
    at = identity_grid(size)[None]
    return warp_maps(depth[None, None], at, mode="nearest", padding="border")[0, 0]
