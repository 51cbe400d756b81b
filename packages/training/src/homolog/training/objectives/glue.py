"""What a glue learns from: keypoints whose true partners follow from a homography, or from depth and pose."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.coords import identity_grid
from homolog.core.errors import ConfigError, DataError
from homolog.core.features import PIXELS, Features
from homolog.core.image import Image
from homolog.core.keypoints import Keypoints
from homolog.core.samples import PairSample
from homolog.core.sampling import warp_maps
from homolog.training.batch import PairBatch
from homolog.training.ground_truth_matches import (
    IGNORED,
    GroundTruthMatches,
    matches_from_depth,
    matches_from_homography,
)
from homolog.training.losses.assignment import assignment_loss
from homolog.training.objective import Step


class GlueObjective(nn.Module):
    """The one term of a matcher whose head assigns keypoints to one another (OmniGlue, section 3.5).

    The detector and the backbone see the images without learning.
    """

    def __init__(
        self,
        *,
        keypoints: int = 512,
        positive: float | int = 3.0,
        negative_homography: float | int = 3.0,
        negative_depth: float | int = 5.0,
        balance: float | int = 0.5,
    ) -> None:
        """Choose the labels.

        Args:
            keypoints: of each image at most, the best ones; what memory grows with. A stage's option of this name
                wins.
            positive: pixels below which mutually nearest keypoints match.
            negative_homography: pixels beyond which a keypoint has no partner.
            negative_depth: the same for pairs with depth.
            balance: of `assignment_loss`.
        """
        super().__init__()
        self.keypoints, self.balance = keypoints, float(balance)
        self.positive = float(positive)
        self.negative_homography, self.negative_depth = float(negative_homography), float(negative_depth)
        self.terms = ("assignment",)

    def forward(self, matcher: nn.Module, batch: PairBatch, step: Step) -> dict[str, Float[Tensor, ""]]:
        """Return the term.

        Raises:
            ConfigError: a matcher that describes keypoints by a map of its backbone.
            DataError: a pair with neither homography nor depth and pose.
        """
        if getattr(matcher, "describe", None) is not None:
            raise ConfigError(
                "glue objective: expected the detector's descriptors; set matcher.describe=null"
            )
        limit = int(step.options.get("keypoints", self.keypoints))
        found: list[list[Keypoints]] = []
        seen: list[Features] = []
        with torch.no_grad():
            for side in (0, 1):
                views = batch.images[:, side]
                features = self._features(matcher, views)
                detected: list[Keypoints] = matcher.detector(views, features)  # type: ignore[operator]
                found.append([keypoints.best(limit) for keypoints in detected])
                seen.append(features)
        head = matcher.head
        points0, points1 = (head.pad(*each) for each in zip(found, seen, strict=True))  # type: ignore[operator]
        assignment: Tensor = head.log_assignment(points0, points1)  # type: ignore[operator]
        truths = [
            self._truth(sample, one.xy, two.xy, batch)
            for sample, one, two in zip(batch.samples, *found, strict=True)
        ]
        matches0, matches1 = (
            _padded([truth[side] for truth in truths], length)
            for side, length in enumerate((assignment.shape[1] - 1, assignment.shape[2] - 1))
        )
        loss = assignment_loss(assignment, matches0, matches1, balance=self.balance)
        return {"assignment": loss.total.mean()}

    def _features(self, matcher: nn.Module, views: Tensor) -> Features:
        backbone = getattr(matcher, "backbone", None)
        if backbone is None:
            size = int(views.shape[-2]), int(views.shape[-1])
            return Features(maps={PIXELS: views[:, None]}, image_size=size)
        return backbone(views[:, None])

    def _truth(self, sample: PairSample, xy0: Tensor, xy1: Tensor, batch: PairBatch) -> GroundTruthMatches:
        frames = [_square(image) for image in (sample.image0, sample.image1)]
        if sample.homography is not None:
            homography = torch.linalg.inv(frames[1]) @ sample.homography.double() @ frames[0]
            return matches_from_homography(
                xy0, xy1, homography.to(xy0), positive=self.positive, negative=self.negative_homography
            )
        depths, cameras = (sample.depth0, sample.depth1), (sample.camera0, sample.camera1)
        if None in depths or None in cameras or sample.pose is None:
            raise DataError(
                f"{sample.name}: expected a homography, or depth, cameras and a pose, to label keypoints by; got neither"
            )
        depth0, depth1 = (_depth(depth, batch).to(xy0) for depth in depths if depth is not None)
        camera0, camera1 = (
            camera.in_frame(image.frame)
            for image, camera in zip((sample.image0, sample.image1), cameras, strict=True)
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
    last = image.frame.new_tensor([[0.0, 0.0, 1.0]])
    return torch.cat((image.frame, last)).double()


def _depth(depth: Tensor, batch: PairBatch) -> Tensor:
    if tuple(depth.shape) == batch.size:
        return depth
    at = identity_grid(batch.size)[None]
    return warp_maps(depth[None, None], at, mode="nearest", padding="border")[0, 0]


def _padded(labels: list[Tensor], length: int) -> Tensor:
    rows = labels[0].new_full((len(labels), length), IGNORED)
    for row, each in zip(rows, labels, strict=True):
        row[: len(each)] = each
    return rows
