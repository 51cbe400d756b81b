"""Match images densely: features of both images, then a head that computes where every pixel went."""

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.coords import pixel_grid, pixel_to_normalised, resize_pixel
from homolog.core.dense import DenseField, Transfer
from homolog.core.errors import CapabilityError, ConfigError, one_of
from homolog.core.features import Features
from homolog.core.io import as_image, as_points
from homolog.core.keypoints import Matches
from homolog.core.protocols import Backbone, DenseHead, ImageLike, Points
from homolog.matchers.base import FeatureMatcher, ImageFeatures, ImageGeometry

Passes = Literal["one", "mean", "first"]

Pair = tuple[ImageFeatures, ImageFeatures]
"""The features of image 0 and of image 1."""


class DenseCorrespondence:
    """Two fields: where every point of one image is in the other, in both directions.

    Fields and matches are computed when they are first needed, and only once.

    Attributes:
        can_transfer: True.
        keypoints0: None; a dense matcher has no keypoints.
        keypoints1: None.
    """

    can_transfer = True
    keypoints0 = None
    keypoints1 = None

    def __init__(
        self,
        geometry0: ImageGeometry,
        geometry1: ImageGeometry,
        solve: Callable[[], tuple[DenseField, DenseField]],
        *,
        spacing: int,
        cycle: float | int | None,
    ) -> None:
        """Store how to compute the fields.

        Args:
            geometry0: of image 0.
            geometry1: of image 1.
            solve: returns the field on image 0 and the field on image 1 (B = 1).
            spacing: distance between the points that `matches` transfers, in pixels of image 0 as the
                networks see it.
            cycle: `matches` drops points whose cycle error is larger, in the same pixels; None drops none.
        """
        self._geometry0, self._geometry1 = geometry0, geometry1
        self._solve: Callable[[], tuple[DenseField, DenseField]] | None = solve
        self._spacing, self._cycle = spacing, cycle
        self._fields: tuple[DenseField, DenseField] | None = None
        self._matches: Matches | None = None

    @property
    def fields(self) -> tuple[DenseField, DenseField]:
        """The field on image 0, which points into image 1, and the field on image 1.

        Both B = 1, float32, on the CPU. Coordinates are normalised over the given images, so they do not
        depend on resizing; see `DenseField.resized` for one cell per pixel.
        """
        if self._fields is None:
            self._fields = self._solved()
        return self._fields

    def matches(self, limit: int | None = None) -> Matches:
        """Return points of a regular lattice on image 0 and their positions in image 1, best first.

        The score is the confidence. Points that leave image 1, and those that fail the cycle check, are
        dropped.

        Args:
            limit: maximum number of matches; None returns all.

        Returns:
            Pixels of the original files; float32, on the CPU.

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
                nearest point on it.

        Returns:
            Positions in image 1 and confidence in [0, 1]; float32, on the CPU. The confidence is 0 for
            points outside image 0 and for those that leave image 1, which are moved to its border.

        Raises:
            ShapeError: not [N 2].
            DataError: a coordinate that is not finite.
        """
        at, on_image = self._geometry0.xy_from_original(as_points(xy0))
        xy1, confidence = self._forward(at.float())
        visible = on_image & _on(xy1, self._geometry1)
        return Transfer(self._geometry1.xy_to_original(xy1), confidence * visible)

    def cycle_error(self, xy0: Points) -> Float[Tensor, " N"]:
        """Return how far from itself each point of image 0 ends when it is moved to image 1 and back.

        Args:
            xy0: [N 2], as for `transfer`.

        Returns:
            Distance in pixels of the original file of image 0; infinite for points outside image 0 and for
            those that leave image 1. Float32, on the CPU.

        Raises:
            ShapeError: not [N 2].
            DataError: a coordinate that is not finite.
        """
        at, on_image = self._geometry0.xy_from_original(as_points(xy0))
        xy1, _ = self._forward(at.float())
        start, end = (
            self._geometry0.xy_to_original(xy, clamp=False) for xy in (at.float(), self._backward(xy1))
        )
        lost = ~on_image | ~_on(xy1, self._geometry1)
        return (end - start).norm(dim=1).masked_fill(lost, torch.inf)

    def _match(self) -> Matches:
        size = self._geometry0.network_size
        cells = (max(1, round(size[0] / self._spacing)), max(1, round(size[1] / self._spacing)))
        xy0 = resize_pixel(pixel_grid(cells), cells, size)
        xy1, confidence = self._forward(xy0)
        keep = _on(xy1, self._geometry1)
        if self._cycle is not None:
            keep &= (self._backward(xy1) - xy0).norm(dim=1) <= self._cycle
        found = Matches(xy0=xy0, xy1=xy1, score=confidence).select(keep)
        return found.moved(self._geometry0.xy_to_original, self._geometry1.xy_to_original)

    def _forward(self, xy0: Tensor) -> Transfer:
        return _moved(self.fields[0], xy0, self._geometry0, self._geometry1)

    def _backward(self, xy1: Tensor) -> Tensor:
        return _moved(self.fields[1], xy1, self._geometry1, self._geometry0).xy

    def _solved(self) -> tuple[DenseField, DenseField]:
        assert self._solve is not None
        with torch.inference_mode():
            found = self._solve()
        self._solve = None  # frees the features
        # Cloned outside of inference mode, so that callers may use them in autograd.
        field0, field1 = (
            DenseField(
                grid=field.grid.to("cpu", torch.float32).clone(),
                confidence=field.confidence.to("cpu", torch.float32).clone(),
            )
            for field in found
        )
        return field0, field1


def _on(xy: Tensor, geometry: ImageGeometry) -> Tensor:
    """Return which points lie on an image; points exactly on its border do, however they are rounded."""
    return (pixel_to_normalised(xy, geometry.network_size).abs() <= 1 + 1e-4).all(dim=1)


def _moved(field: DenseField, xy: Tensor, query: ImageGeometry, reference: ImageGeometry) -> Transfer:
    moved = field.transfer(xy[None], query_size=query.network_size, reference_size=reference.network_size)
    return Transfer(moved.xy[0], moved.confidence[0])


class DenseMatcher(FeatureMatcher[DenseCorrespondence]):
    """Backbone and dense head as one method.

    The head reads both images at one size. `match` therefore resizes both to a size halfway between
    theirs. `extract` resizes an image without knowing the other one, so `match_features` takes only
    images whose resized sizes are equal, such as frames of a video or photos of one camera.
    """

    backbone: Backbone

    def __init__(
        self,
        *,
        backbone: Backbone,
        head: DenseHead | nn.Module,
        passes: Passes = "one",
        spacing: int = 8,
        cycle: float | int | None = None,
        resize: int | None = None,
        enlarge: bool = False,
        batch_size: int = 4,
        memory: int = 512_000_000,
    ) -> None:
        """Put the parts together; the matcher starts in evaluation mode.

        Args:
            backbone: computes the feature maps.
            head: a `DenseHead`.
            passes: in which orders the pair is processed. VGGT treats the first view differently, so
                swapping the images does not simply swap its answers. `one` processes the pair once, as
                given, which is the plain reading of the "source" and "target" of the VGGT-prior matcher.
                `mean` processes both orders and averages the two fields of each image. `first` processes
                both orders and uses for each image the field of the pass in which it was first. With
                `mean` and `first`, swapped images give swapped answers.
            spacing: distance between the points that `matches` transfers, in pixels of image 0 as the
                networks see it.
            cycle: `matches` drops points whose cycle error is larger, in the same pixels; None drops none.
            resize: images are scaled down to this longer side, in pixels; None keeps their size up to the
                multiple that the backbone requires.
            enlarge: also scale smaller images up to `resize`.
            batch_size: images of one size that `extract` passes through the backbone at once, at most.
            memory: bytes of extracted features to keep in memory.

        Raises:
            ConfigError: a head of another kind or one that cannot read the maps of the backbone, or a
                setting out of range.
        """
        if not isinstance(head, DenseHead):
            raise ConfigError(
                f"a dense matcher expects a dense head such as dense_grid, got {type(head).__name__}; "
                "use that one with a sparse matcher, such as matcher=mini"
            )
        one_of("passes", passes, get_args(Passes))
        if spacing < 1 or (cycle is not None and cycle < 0):
            raise ConfigError(
                f"expected spacing of at least 1 pixel, and cycle of 0 pixels or more or null, got {spacing} and {cycle}"
            )
        head.check(backbone)
        super().__init__(
            backbone=backbone, resize=resize, enlarge=enlarge, batch_size=batch_size, memory=memory
        )
        self.head, self.passes, self.spacing, self.cycle = head, passes, spacing, cycle
        self.eval()

    def match(self, image0: ImageLike, image1: ImageLike) -> DenseCorrespondence:
        """Match two images; each may be a path, a PIL image, an array or an `Image`.

        Returns:
            The correspondence, in pixels of the original files. If the backbone is not joint and the images
            have one size when resized, it equals `match_features(extract(image0), extract(image1))`.

        Raises:
            DataError: an image that cannot be read; the message names it.
        """
        resized0, resized1 = self._resized_pair(as_image(image0), as_image(image1))
        if not self.joint:
            return self.match_features(self._extract_one(resized0), self._extract_one(resized1))
        first, second = self._extract_together((resized0, resized1))
        if self.passes == "one":
            return self._correspondence((first, second), (first, second))
        swapped = self._extract_together((resized1, resized0))
        return self._correspondence((first, second), (swapped[1], swapped[0]))

    def match_features(self, features0: ImageFeatures, features1: ImageFeatures) -> DenseCorrespondence:
        """Compare two images of one size by their features, as `extract` returns them.

        Returns:
            The correspondence, in pixels of the original files.

        Raises:
            CapabilityError: the images were resized to different sizes.
        """
        size0, size1 = (each.geometry.network_size for each in (features0, features1))
        if size0 != size1:
            raise CapabilityError(
                f"a dense matcher compares images of one size, got features of {size0} and {size1}; call "
                "match(image0, image1), which resizes both to a size halfway between theirs"
            )
        pair = features0.to(self.device), features1.to(self.device)
        return self._correspondence(pair, pair)

    def _correspondence(self, pair: Pair, swapped: Pair) -> DenseCorrespondence:
        return DenseCorrespondence(
            pair[0].geometry,
            pair[1].geometry,
            partial(self._solve, pair, swapped),
            spacing=self.spacing,
            cycle=self.cycle,
        )

    def _solve(self, pair: Pair, swapped: Pair) -> tuple[DenseField, DenseField]:
        """Return the fields; `swapped` are the features of image 0 and 1 when image 1 came first."""
        field0, field1 = self.head(_joined(*pair))
        if self.passes == "one":
            return field0, field1
        other1, other0 = self.head(_joined(swapped[1], swapped[0]))
        if self.passes == "first":
            return field0, other1
        return _mean(field0, other0), _mean(field1, other1)


def _joined(first: ImageFeatures, second: ImageFeatures) -> Features:
    """Return the features of two images as those of one pair, V = 2."""
    maps = {
        name: torch.cat((map_, second.features[name]), dim=1) for name, map_ in first.features.maps.items()
    }
    return Features(maps=maps, image_size=first.features.image_size)


def _mean(one: DenseField, other: DenseField) -> DenseField:
    return DenseField(grid=(one.grid + other.grid) / 2, confidence=(one.confidence + other.confidence) / 2)
