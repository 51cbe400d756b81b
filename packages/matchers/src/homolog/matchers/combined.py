"""One matcher for matches, another to transfer points, as one method; transfers follow confident matches.

Keypoints want sharp images and exact positions, points of objects of one category want coarse semantic maps.
So each part has its own networks and its own resizing, and runs only when its answer is asked for.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from itertools import tee
from pathlib import Path
from typing import overload

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL.Image import Image as PILImage
from torch import Tensor, nn

from homolog.core.cache import FeatureCache
from homolog.core.dense import Described, Transfer
from homolog.core.errors import ConfigError
from homolog.core.image import Image
from homolog.core.io import as_image, as_points
from homolog.core.keypoints import Matches
from homolog.core.protocols import ImageLike, Points
from homolog.matchers.base import ImageFeatures
from homolog.matchers.sparse import SparseCorrespondence, SparseMatcher

NEIGHBOURS = 12
"""Matches around a point that decide where it goes."""

RADIUS = 0.08
"""How far from the point they may be, as a fraction of the longer side of image 0."""

TOLERANCE = 0.015
"""How far they may be from a common affine map, as a fraction of the longer side of image 1."""

AGREEING = 0.7
"""The fraction of them that has to be within the tolerance, once the matches that stand alone are dropped."""

STANDING = 0.5
"""A match stands alone if it, or more than this fraction of the matches around it, is beyond the tolerance."""

RIDGE = 0.02
"""Weight of the best rotation and scale beside the affine map, as a fraction of the matches' extent."""

LEAST = 30
"""Matches that have to agree with their neighbours before any is followed: two objects of one category reach few."""


class CombinedFeatures:
    """An image, and its features for each of the two parts, extracted when they are first read."""

    def __init__(self, image: Image, matches: SparseMatcher, points: SparseMatcher) -> None:
        """Store the image; `CombinedMatcher.extract` calls this."""
        self.image = image
        self._matches, self._points = matches, points

    @cached_property
    def matches(self) -> ImageFeatures:
        """Keypoints, for the part that matches."""
        return self._matches.extract(self.image)

    @cached_property
    def points(self) -> ImageFeatures:
        """Maps, for the part that transfers points."""
        return self._points.extract(self.image)


class CombinedCorrespondence:
    """Matches of one part, transfers of the other.

    Attributes:
        can_transfer: True.
    """

    can_transfer = True

    def __init__(
        self,
        size: tuple[float, float],
        matches: Callable[[], SparseCorrespondence],
        points: Callable[[], SparseCorrespondence],
        *,
        follow: bool,
    ) -> None:
        """Store how to get the answers.

        Args:
            size: the longer side of the two original files, in pixels.
            matches: returns the correspondence that matches.
            points: returns the correspondence that transfers points.
            follow: whether transfers follow the matches.
        """
        self._size, self._get_matches, self._get_points = size, matches, points
        self._follow = follow

    @cached_property
    def _matched(self) -> SparseCorrespondence:
        return self._get_matches()

    @cached_property
    def _read(self) -> SparseCorrespondence:
        return self._get_points()

    @property
    def keypoints0(self) -> Float[Tensor, "N 2"] | None:
        """All keypoints of image 0, matched or not; see `SparseCorrespondence`."""
        return self._matched.keypoints0

    @property
    def keypoints1(self) -> Float[Tensor, "N 2"] | None:
        """All keypoints of image 1."""
        return self._matched.keypoints1

    def matches(self, limit: int | None = None) -> Matches:
        """Return the best matches, best first, as `SparseCorrespondence.matches` does."""
        return self._matched.matches(limit)

    def transfer(self, xy0: Points) -> Transfer:
        """Find points of image 0 in image 1, in pixels of the original files (float32, on the CPU).

        Args:
            xy0: [N 2] of (x, y). A point outside image 0 is moved to the nearest point on it, and its
                confidence is 0.

        Raises:
            ShapeError: not [N 2].
            DataError: a coordinate that is not finite.
        """
        found = self._read.transfer(xy0)
        return (
            follow_matches(as_points(xy0), found, self._matched.matches(), self._size)
            if self._follow
            else found
        )

    def similarity(self, xy0: Points) -> Float[Tensor, "N h w"]:
        """Compare points of image 0 with the map of image 1; see `SparseCorrespondence.similarity`."""
        return self._read.similarity(xy0)


class CombinedMatcher(nn.Module):
    """A matcher of keypoints, and a matcher that transfers points, as one."""

    def __init__(self, *, matches: SparseMatcher, points: SparseMatcher, follow: bool = True) -> None:
        """Put the parts together; the matcher starts in evaluation mode.

        Args:
            matches: finds the matches.
            points: transfers points.
            follow: in photos of one scene, where matches are dense and agree, transferred points follow them
                (`follow_matches`). Trackers do without: they read points from frames, not from pairs.

        Raises:
            ConfigError: a joint backbone, or a part that cannot do its work.
        """
        super().__init__()
        if matches.detector is None or points.backbone is None:
            raise ConfigError(
                "a combined matcher expects matches with a detector and points with a backbone, got none"
            )
        if matches.joint or points.joint:
            raise ConfigError(
                "a combined matcher expects parts that see one image at a time, got a joint backbone"
            )
        self.matches, self.points, self.follow = matches, points, follow
        self.eval()

    def match(self, image0: ImageLike, image1: ImageLike) -> CombinedCorrespondence:
        """Match two images; each may be a path, a PIL image, an array or an `Image`.

        Returns:
            The correspondence, in pixels of the original files. Each part runs when it is first asked.

        Raises:
            DataError: an image that cannot be read; the message names it.
        """
        return self.match_features(self.extract(image0), self.extract(image1))

    @overload
    def extract(self, images: ImageLike) -> CombinedFeatures: ...
    @overload
    def extract(self, images: Iterable[ImageLike]) -> list[CombinedFeatures]: ...
    def extract(self, images: ImageLike | Iterable[ImageLike]) -> CombinedFeatures | list[CombinedFeatures]:
        """Read one image or several; their features are extracted when they are first needed.

        Raises:
            DataError: an image that cannot be read; the message names it.
        """
        if isinstance(images, Image | str | Path | PILImage | np.ndarray):
            return CombinedFeatures(as_image(images), self.matches, self.points)
        return [CombinedFeatures(as_image(image), self.matches, self.points) for image in images]

    def match_features(
        self, features0: CombinedFeatures, features1: CombinedFeatures
    ) -> CombinedCorrespondence:
        """Compare two images by their features, as `extract` returns them."""
        return self._correspondence(
            features0, features1, lambda: self.matches.match_features(features0.matches, features1.matches)
        )

    def match_pairs(
        self, pairs: Iterable[tuple[CombinedFeatures, CombinedFeatures]], *, batch_size: int | None = None
    ) -> Iterator[CombinedCorrespondence]:
        """Match many pairs of images by their features; see `SparseMatcher.match_pairs`."""
        given, kept = tee(pairs)
        found = self.matches.match_pairs(((a.matches, b.matches) for a, b in given), batch_size=batch_size)
        for (features0, features1), matched in zip(kept, found, strict=True):
            yield self._correspondence(features0, features1, partial(_given, matched))

    def _correspondence(
        self,
        features0: CombinedFeatures,
        features1: CombinedFeatures,
        matched: Callable[[], SparseCorrespondence],
    ) -> CombinedCorrespondence:
        return CombinedCorrespondence(
            (_longer_side(features0.image), _longer_side(features1.image)),
            matched,
            lambda: self.points.match_features(features0.points, features1.points),
            follow=self.follow,
        )

    def point_features(self, images: Iterable[ImageLike]) -> list[ImageFeatures]:
        """Extract what `describe` and `find` read."""
        return self.points.extract(images)

    def describe(self, features: ImageFeatures, xy: Points) -> Described:
        """Return what is compared of points of an image; see `SparseMatcher.describe`."""
        return self.points.describe(features, xy)

    def find(self, described: Described, features: ImageFeatures) -> Transfer:
        """Find points of other images on an image; see `SparseMatcher.find`. Matches are not followed."""
        return self.points.find(described, features)

    def use_cache(self, cache: FeatureCache, recipe: str) -> None:
        """Also cache extracted features on disk; see `FeatureMatcher.use_cache`."""
        self.matches.use_cache(cache, f"{recipe} matches")
        self.points.use_cache(cache, f"{recipe} points")

    def forget(self) -> None:
        """Drop all features held in memory."""
        self.matches.forget()
        self.points.forget()

    @property
    def joint(self) -> bool:
        """False: each part sees one image at a time."""
        return False

    @property
    def batch_size(self) -> int:
        """Pairs that `match_pairs` compares together, unless told otherwise."""
        return self.matches.batch_size

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self.matches.device


def _given(found: SparseCorrespondence) -> SparseCorrespondence:
    return found


def follow_matches(
    xy0: Float[Tensor, "N 2"], found: Transfer, matches: Matches, size: tuple[float, float]
) -> Transfer:
    """Move transferred points to where the matches around them go, where these are many and agree.

    Of the `NEIGHBOURS` nearest matches of a point those within `RADIUS` define an affine map, robustly and the
    nearer ones more. If most of them obey it within `TOLERANCE`, the point goes with them. Matches that
    stand alone are dropped first; fewer than `LEAST` others change nothing.

    Args:
        xy0: points of image 0.
        found: where they were found in image 1.
        matches: between the images, in the same pixels.
        size: longer side of both images, in pixels.

    Returns:
        Positions in image 1, and confidences: of a point that follows, the larger of its own and the fraction
        of the matches around it that agree.
    """
    start, end = matches.xy0.double() / size[0], matches.xy1.double() / size[1]
    if len(start) < LEAST or not len(xy0):
        return found
    predicted, agreeing = _local_affine(start, start, end, skip_nearest=True)
    steady = (agreeing >= STANDING) & ((predicted - end).norm(dim=1) <= TOLERANCE)
    if int(steady.sum()) < LEAST:
        return found
    goal, agreeing = _local_affine(xy0.double() / size[0], start[steady], end[steady])
    follows = (agreeing >= AGREEING) & (found.confidence > 0)
    xy = torch.where(follows[:, None], (goal * size[1]).to(found.xy), found.xy)
    confidence = torch.where(follows, torch.maximum(found.confidence, agreeing.float()), found.confidence)
    return Transfer(xy, confidence)


def _local_affine(
    at: Float[Tensor, "N 2"],
    start: Float[Tensor, "M 2"],
    end: Float[Tensor, "M 2"],
    *,
    skip_nearest: bool = False,
) -> tuple[Float[Tensor, "N 2"], Float[Tensor, " N"]]:
    """Return where the matches around each point move it, and the fraction of them that agree.

    Args:
        at: points of image 0.
        start: matches in image 0.
        end: the same in image 1.
        skip_nearest: leave out the nearest match, as the points are the matches themselves.
    """
    count = min(NEIGHBOURS + skip_nearest, len(start))
    nearest = [torch.cdist(part, start).topk(count, dim=1, largest=False) for part in at.split(1024)]
    distance = torch.cat([part.values for part in nearest])[:, int(skip_nearest) :]
    index = torch.cat([part.indices for part in nearest])[:, int(skip_nearest) :]
    near: Bool[Tensor, "N K"] = distance <= RADIUS
    weight = near / (1 + (distance / (RADIUS / 4)).square())
    x, y = start[index] - at[:, None], end[index]
    goal, slope = _affine(x, y, weight)
    residual = (goal[:, None] + x @ slope - y).norm(dim=2)
    for _ in range(3):  # reweighted least squares with Cauchy's weights
        goal, slope = _affine(x, y, weight / (1 + (residual / (TOLERANCE / 2)).square()))
        residual = (goal[:, None] + x @ slope - y).norm(dim=2)
    agree = near & (residual <= TOLERANCE)
    # Fewer than half the neighbours within reach cannot vouch for a point.
    return goal, agree.sum(dim=1) / near.sum(dim=1).clamp_min(NEIGHBOURS // 2)


def _affine(
    x: Float[Tensor, "N K 2"], y: Float[Tensor, "N K 2"], weight: Float[Tensor, "N K"]
) -> tuple[Float[Tensor, "N 2"], Float[Tensor, "N 2 2"]]:
    """Return the value at x = 0 and the slope of the affine map from x to y, by weighted least squares."""
    share = (weight / weight.sum(dim=1, keepdim=True).clamp_min(1e-12))[..., None]
    mean_x, mean_y = (share * x).sum(dim=1), (share * y).sum(dim=1)
    dx, dy = x - mean_x[:, None], y - mean_y[:, None]
    spread, moved = (share * dx).transpose(1, 2) @ dx, (share * dx).transpose(1, 2) @ dy
    extent = (spread[:, 0, 0] + spread[:, 1, 1] + 1e-12)[:, None, None]
    # Matches on a line say nothing about what happens across it: a little of the best rotation and scale.
    along, across = moved[:, 0, 0] + moved[:, 1, 1], moved[:, 0, 1] - moved[:, 1, 0]
    similarity = torch.stack((along, across, -across, along), dim=1).unflatten(1, (2, 2)) / extent
    little = RIDGE * extent
    slope = torch.linalg.solve(spread + little * torch.eye(2).to(spread), moved + little * similarity)
    return mean_y - (mean_x[:, None] @ slope)[:, 0], slope


def _longer_side(image: Image) -> float:
    """Return the longer side of an image in pixels of its original file."""
    scale = float(image.to_original[:, :2].abs().max())
    return max(image.size) * scale
