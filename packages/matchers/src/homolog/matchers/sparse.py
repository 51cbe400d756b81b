"""Match images through keypoints: extract each image once, then compare."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.dense import Described, Transfer
from homolog.core.errors import CapabilityError, ConfigError
from homolog.core.io import as_points
from homolog.core.keypoints import Matches
from homolog.core.protocols import (
    Backbone,
    BatchedSparseHead,
    DenseHead,
    Detector,
    ImageLike,
    PointHead,
    Points,
    SimilarityHead,
    SparseHead,
    SparsePair,
    TransferHead,
)
from homolog.matchers.base import FeatureMatcher, ImageFeatures

_NO_TRANSFER = (
    "this matcher finds sparse matches only; to transfer points use one with head nearest and a backbone, such as "
    "matcher=mini"
)

AHEAD = 8
"""Batches of pairs that `match_pairs` reads ahead, to sort them by size and to see which share an image."""


class SparseCorrespondence:
    """Matches between keypoints, and single points transferred through the feature map.

    Everything is computed when it is first needed, and the matches only once.
    """

    def __init__(
        self,
        features0: ImageFeatures,
        features1: ImageFeatures,
        find: Callable[[], Matches],
        *,
        reader: TransferHead | None,
    ) -> None:
        """Store the features and how to compare them.

        Args:
            features0: image 0.
            features1: image 1.
            find: returns the matches in pixels of the images that the networks saw.
            reader: transfers single points; None if there is no map to read.
        """
        self._features0, self._features1 = features0, features1
        self._find, self._reader = find, reader
        self._matches: Matches | None = None

    @property
    def can_transfer(self) -> bool:
        """Whether `transfer` works."""
        return self._reader is not None

    @property
    def keypoints0(self) -> Float[Tensor, "N 2"] | None:
        """All keypoints of image 0, matched or not, in pixels of the original file (float32, on the CPU).

        `index0` of the matches refers to them. None for a matcher without keypoints.
        """
        return self._features0.original_xy

    @property
    def keypoints1(self) -> Float[Tensor, "N 2"] | None:
        """All keypoints of image 1; see `keypoints0`."""
        return self._features1.original_xy

    def matches(self, limit: int | None = None) -> Matches:
        """Return the best matches, best first, in pixels of the original files (float32, on the CPU).

        `index0` and `index1` refer to `keypoints0` and `keypoints1`, and `xy0` equals
        `keypoints0[index0]`. Heads that match without keypoints, or that refine positions, leave them None.

        Args:
            limit: maximum number of matches; None returns all.

        Raises:
            ShapeError: a negative limit.
        """
        if self._matches is None:
            self._matches = self._match()
        return self._matches.best(limit)

    def transfer(self, xy0: Points) -> Transfer:
        """Find points of image 0 in image 1, in pixels of the original files.

        Args:
            xy0: [N 2] of (x, y): a tensor, an array or a list. A point outside image 0 is moved to the
                nearest point on it, and its confidence is 0.

        Returns:
            Positions in image 1 and confidence in [0, 1]; float32, on the CPU.

        Raises:
            CapabilityError: the matcher finds sparse matches only.
            ShapeError: not [N 2].
            DataError: a coordinate that is not finite.
        """
        if self._reader is None:
            raise CapabilityError(_NO_TRANSFER)
        at, on_image = self._network_points(xy0)
        with torch.inference_mode():
            found = self._reader.transfer(at, self._features0.features, self._features1.features)
        confidence = found.confidence.to("cpu", torch.float32) * on_image
        return Transfer(self._features1.geometry.xy_to_original(found.xy), confidence)

    def similarity(self, xy0: Points) -> Float[Tensor, "N h w"]:
        """Compare points of image 0 with every cell of the feature map of image 1.

        Args:
            xy0: [N 2] of (x, y) in pixels of the original file, as for `transfer`.

        Returns:
            Cosine similarities on the grid of the map that points are transferred on, which covers the image
            given as image 1; float32, on the CPU.

        Raises:
            CapabilityError: the matcher compares no maps.
            ShapeError: not [N 2].
            DataError: a coordinate that is not finite.
        """
        if not isinstance(self._reader, SimilarityHead):
            raise CapabilityError(
                "this matcher does not compare points with whole maps; for similarities use one with head nearest "
                "and a backbone, such as matcher=mini"
            )
        at, _ = self._network_points(xy0)
        with torch.inference_mode():
            cosine = self._reader.similarity(at, self._features0.features, self._features1.features)
        # Cloned outside of inference mode, so that callers may use it in autograd.
        return cosine.to("cpu", torch.float32).clone()

    def _network_points(self, xy0: Points) -> tuple[Tensor, Tensor]:
        at, on_image = self._features0.geometry.xy_from_original(as_points(xy0))
        first = next(iter(self._features0.features.maps.values()))
        return at.to(first.device, torch.float32), on_image

    def _match(self) -> Matches:
        with torch.inference_mode():
            found = self._find()
        # Cloned outside of inference mode, so that callers may use it in autograd.
        score = found.score.to("cpu", torch.float32).clone()
        if found.index0 is None or found.index1 is None:
            return Matches(
                xy0=self._features0.geometry.xy_to_original(found.xy0),
                xy1=self._features1.geometry.xy_to_original(found.xy1),
                score=score,
            )
        index0, index1 = found.index0.cpu().clone(), found.index1.cpu().clone()
        keypoints0, keypoints1 = self.keypoints0, self.keypoints1
        assert keypoints0 is not None
        assert keypoints1 is not None
        return Matches(
            xy0=keypoints0[index0], xy1=keypoints1[index1], score=score, index0=index0, index1=index1
        )


class SparseMatcher(FeatureMatcher[SparseCorrespondence]):
    """Head, and detector or backbone or both, as one method.

    With a detector it matches keypoints; with a backbone and a head that can, it transfers points.
    """

    def __init__(
        self,
        *,
        head: SparseHead | TransferHead,
        detector: Detector | None = None,
        backbone: Backbone | None = None,
        descriptor_map: str | None = None,
        resize: int | None = None,
        enlarge: bool = False,
        batch_size: int = 4,
        memory: int = 512_000_000,
    ) -> None:
        """Put the parts together; the matcher starts in evaluation mode.

        Args:
            head: a `SparseHead` pairs the keypoints of the detector; a `TransferHead` transfers points, given a
                backbone. It may be both.
            detector: finds the keypoints; None for a matcher that transfers points only.
            backbone: computes the feature maps; None for a detector that describes its keypoints itself.
            descriptor_map: the map of the backbone that describes the keypoints, and on which points are
                transferred unless the head names its own maps (`reads`); None keeps the descriptors of the
                detector.
            resize: images are scaled down to this longer side, in pixels; None keeps their size up to
                the multiples that the parts require.
            enlarge: also scale smaller images up to `resize`.
            batch_size: images of one size that `extract`, and pairs that `match_pairs`, pass through the
                networks at once, at most.
            memory: bytes of extracted features to keep in memory.

        Raises:
            ConfigError: a dense head, neither detector nor backbone, a map that no backbone has, or a setting out
                of range.
        """
        if detector is None and (backbone is None or not isinstance(head, TransferHead)):
            raise ConfigError(
                "a sparse matcher expects a detector, or a backbone and a head that transfers points, got neither; "
                "set detector, or use matcher=mini"
            )
        if isinstance(head, DenseHead):
            raise ConfigError(
                f"a sparse matcher expects a head that pairs keypoints, such as nearest, got {type(head).__name__}; "
                "use that one with a dense matcher, such as matcher=vggt_semantic"
            )
        super().__init__(
            backbone=backbone,
            detector=detector,
            descriptor_map=descriptor_map,
            keep=getattr(head, "reads", None),
            resize=resize,
            enlarge=enlarge,
            batch_size=batch_size,
            memory=memory,
        )
        self.head = head
        self.eval()

    def match_features(self, features0: ImageFeatures, features1: ImageFeatures) -> SparseCorrespondence:
        """Compare two images by their features, as `extract` returns them.

        Returns:
            The correspondence, in pixels of the original files.

        """
        features0, features1 = features0.to(self.device), features1.to(self.device)
        return self._correspondence(
            features0, features1, partial(self._match_keypoints, features0, features1)
        )

    def match_pairs(
        self, pairs: Iterable[tuple[ImageFeatures, ImageFeatures]], *, batch_size: int | None = None
    ) -> Iterator[SparseCorrespondence]:
        """Compare many pairs of images by their features; faster than `match_features` for each.

            features = matcher.extract(photos)
            pairs = list(itertools.combinations(features, 2))
            for found in matcher.match_pairs(pairs):
                print(len(found.matches()))

        Heads that are a `BatchedSparseHead`, such as LightGlue, compare a batch of pairs at once; others
        compare one pair after another.

        Args:
            pairs: the features of image 0 and of image 1, from `extract`. Eight batches are read at a time.
            batch_size: pairs that pass through the head together; None takes that of the matcher.

        Yields:
            The correspondences in the order of the pairs; they equal those of `match_features` up to
            rounding.

        Raises:
            CapabilityError: features without keypoints, from another kind of matcher.
            ConfigError: a batch size below 1.
        """
        size = self.batch_size if batch_size is None else batch_size
        if size < 1:
            raise ConfigError(f"expected a batch_size of at least 1 pair, got {size}")
        if not isinstance(self.head, BatchedSparseHead):
            for features0, features1 in pairs:
                yield self.match_features(features0, features1)
            return
        rest = iter(pairs)
        while window := list(islice(rest, AHEAD * size)):
            # An image of several pairs is moved once, so that the head sees the same tensors.
            moved = {id(each): each.to(self.device) for pair in window for each in pair}
            placed = [(moved[id(features0)], moved[id(features1)]) for features0, features1 in window]
            with torch.inference_mode():
                found = self.head.match_pairs([_arguments(*pair) for pair in placed], batch_size=size)
            for (features0, features1), matches in zip(placed, found, strict=True):
                yield self._correspondence(features0, features1, partial(_given, matches))

    def _correspondence(
        self, features0: ImageFeatures, features1: ImageFeatures, find: Callable[[], Matches]
    ) -> SparseCorrespondence:
        transfers = isinstance(self.head, TransferHead) and self.backbone is not None
        reader = cast(TransferHead, self.head) if transfers else None
        return SparseCorrespondence(features0, features1, find, reader=reader)

    def point_features(self, images: Iterable[ImageLike]) -> list[ImageFeatures]:
        """Extract what `describe` and `find` read: the same as `extract`."""
        return self.extract(images)

    def _match_keypoints(self, features0: ImageFeatures, features1: ImageFeatures) -> Matches:
        if self.detector is None:
            raise CapabilityError(
                "this matcher transfers points only; for matches set a detector, or use matcher=mini"
            )
        return cast(SparseHead, self.head)(*_arguments(features0, features1))

    def describe(self, features: ImageFeatures, xy: Points) -> Described:
        """Return what the head compares of points of an image; `find` takes points of many images at once.

        Args:
            features: of the image, as `extract` returns them.
            xy: [N 2] of (x, y) in pixels of the original file: a tensor, an array or a list. A point outside the
                image is moved to the nearest point on it, and will be found with confidence 0.

        Raises:
            CapabilityError: the matcher finds sparse matches only.
            ShapeError: not [N 2].
            DataError: a coordinate that is not finite.
        """
        at, on_image = features.geometry.xy_from_original(as_points(xy))
        at = at.to(self.device, torch.float32)
        with torch.inference_mode():
            described = self._point_head().describe(at, features.features.to(self.device))
        return Described(tensors={**described.tensors, "on_image": on_image.to(self.device)})

    def find(self, described: Described, features: ImageFeatures) -> Transfer:
        """Find points of other images on an image.

        Args:
            described: the points, from `describe`.
            features: of the image, as `extract` returns them.

        Returns:
            Positions in pixels of the original file, equal to those of `transfer`, and the confidence in [0, 1] of
            this way alone; float32, on the CPU.

        Raises:
            CapabilityError: the matcher finds sparse matches only.
        """
        with torch.inference_mode():
            found = self._point_head().find(described, features.features.to(self.device))
        confidence = (found.confidence * described.tensors["on_image"]).to("cpu", torch.float32)
        return Transfer(features.geometry.xy_to_original(found.xy), confidence)

    def _point_head(self) -> PointHead:
        if self.backbone is None or not isinstance(self.head, TransferHead):
            raise CapabilityError(_NO_TRANSFER)
        if not isinstance(self.head, PointHead):
            raise CapabilityError(
                "this matcher transfers points between two images only; call match(image0, image1).transfer(xy0)"
            )
        return self.head


def _given(matches: Matches) -> Matches:
    return matches


def _arguments(features0: ImageFeatures, features1: ImageFeatures) -> SparsePair:
    """Return what a head reads of two images."""
    if features0.keypoints is None or features1.keypoints is None:
        raise CapabilityError(
            "expected features with keypoints, got none; use features that this matcher extracted"
        )
    return features0.keypoints, features1.keypoints, features0.features, features1.features
