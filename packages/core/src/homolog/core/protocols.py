"""The interfaces between packages: what a part must provide to plug in.

Parts are `torch.nn.Module`s, so both `forward` (which a subclass defines) and `__call__` (which a
caller uses) are declared; a type checker then finds modules that do not fit. Parts do not read files,
choose devices or download anything; that happens before they are built.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from PIL.Image import Image as PILImage
from torch import Tensor, nn

from homolog.core.cache import FeatureCache
from homolog.core.coords import Size
from homolog.core.dense import DenseField, Described, Transfer
from homolog.core.features import Features
from homolog.core.image import Image
from homolog.core.keypoints import Keypoints, Matches
from homolog.core.tracks import Queries, Tracks

ImageLike = Image | str | Path | PILImage | np.ndarray
"""What a user may pass as an image; `homolog.core.io.as_image` reads it.

Arrays are [H W 3] or [H W], uint8 or floating point in [0, 1].
"""

Points = Float[Tensor, "N 2"] | np.ndarray | list[list[float]] | list[tuple[float, float]]
"""What a user may pass as pixel coordinates (x, y); `homolog.core.io.as_points` reads it."""


@runtime_checkable
class Backbone(Protocol):
    """Computes named feature maps of images.

    Attributes:
        multiple: height and width of the images must be multiples of this.
        channels: channels of each map that `forward` returns, by name.
        joint: True if the maps of one view depend on the other views (VGGT), so that a pair
            must be extracted together; False if images are processed independently.
    """

    @property
    def multiple(self) -> int: ...
    @property
    def channels(self) -> dict[str, int]: ...
    @property
    def joint(self) -> bool: ...
    def forward(self, images: Float[Tensor, "B V 3 H W"]) -> Features:
        """Compute features of RGB in [0, 1]; normalisation happens inside."""
        ...

    def __call__(self, images: Float[Tensor, "B V 3 H W"]) -> Features: ...


@runtime_checkable
class Fusion(Protocol):
    """Computes new maps from the maps of a backbone.

    Attributes:
        channels: channels of each map that it returns, by name.
    """

    @property
    def channels(self) -> dict[str, int]: ...
    def forward(self, features: Features) -> Features:
        """Fuse the maps of each view."""
        ...

    def __call__(self, features: Features) -> Features: ...


@runtime_checkable
class Detector(Protocol):
    """Finds keypoints, with or without descriptors.

    Attributes:
        multiple: height and width of the images must be multiples of this.
    """

    @property
    def multiple(self) -> int: ...
    def forward(self, images: Float[Tensor, "B 3 H W"], features: Features | None = None) -> list[Keypoints]:
        """Find the keypoints of each image, in its pixel coordinates, best first.

        Args:
            images: RGB in [0, 1].
            features: maps of these images (V = 1, same B) from the backbone of the matcher. Detectors
                that use a map read it from there; the others ignore it.
        """
        ...

    def __call__(
        self, images: Float[Tensor, "B 3 H W"], features: Features | None = None
    ) -> list[Keypoints]: ...


@runtime_checkable
class SparseHead(Protocol):
    """Pairs the keypoints of two images."""

    def forward(
        self, keypoints0: Keypoints, keypoints1: Keypoints, features0: Features, features1: Features
    ) -> Matches:
        """Return matches in the pixel coordinates of the keypoints.

        If matches are pairs of keypoints, `index0` and `index1` are set, and `xy0` equals
        `keypoints0.xy[index0]`. A head that matches something else, or refines positions, leaves them None.

        Args:
            keypoints0: points of image 0 with descriptors.
            keypoints1: points of image 1 with descriptors.
            features0: maps of image 0 (B = V = 1), and its size.
            features1: maps of image 1 (B = V = 1), and its size.
        """
        ...

    def __call__(
        self, keypoints0: Keypoints, keypoints1: Keypoints, features0: Features, features1: Features
    ) -> Matches: ...


SparsePair = tuple[Keypoints, Keypoints, Features, Features]
"""The arguments of a `SparseHead`: keypoints of image 0 and of image 1, then their maps (B = V = 1)."""


@runtime_checkable
class BatchedSparseHead(SparseHead, Protocol):
    """Pairs the keypoints of many pairs of images together, faster than one after another."""

    def match_pairs(self, pairs: Sequence[SparsePair], *, batch_size: int) -> list[Matches]:
        """Return the matches of each pair, in order; they equal those of `forward` up to rounding.

        Args:
            pairs: the arguments of `forward` for each pair.
            batch_size: pairs that pass through the network together, at most, which bounds memory.
        """
        ...


@runtime_checkable
class TransferHead(Protocol):
    """Finds single points of one image in the feature map of another."""

    def transfer(self, xy0: Float[Tensor, "N 2"], features0: Features, features1: Features) -> Transfer:
        """Transfer pixel coordinates of image 0 to image 1 (both B = V = 1); computes only the N rows.

        The confidence may take the way back into account.
        """
        ...


@runtime_checkable
class PointHead(TransferHead, Protocol):
    """A `TransferHead` whose work splits in two, for callers that search points of many images on one.

    A head that compares both images before it reads a point has only `transfer`.
    """

    def describe(self, xy: Float[Tensor, "N 2"], features: Features) -> Described:
        """Return what is compared of pixel coordinates of an image (B = V = 1), one row per point."""
        ...

    def find(self, described: Described, features: Features) -> Transfer:
        """Find points on the image of `features` (B = V = 1).

        Args:
            described: points of one or several other images, as `describe` returns them.
            features: maps of the image to search.

        Returns:
            Pixel coordinates in the image that `features` describe, and the confidence in [0, 1] of this way
            alone.
        """
        ...


@runtime_checkable
class SimilarityHead(Protocol):
    """Compares single points of one image with every cell of a map of another."""

    def similarity(
        self, xy0: Float[Tensor, "N 2"], features0: Features, features1: Features
    ) -> Float[Tensor, "N h w"]:
        """Return cosine similarities of points of image 0 with the cells of image 1 (both B = V = 1)."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """Computes values per pixel from the maps of a view; the dense head defines their meaning.

    Attributes:
        inputs: channels of each map it reads.
        levels: how many maps it reads.
        last: the convolution that writes the values, for the head to initialise.
    """

    @property
    def inputs(self) -> int: ...
    @property
    def levels(self) -> int: ...
    @property
    def last(self) -> nn.Conv2d: ...
    def forward(
        self, maps: Sequence[Float[Tensor, "B V C h w"]], image_size: Size
    ) -> Float[Tensor, "B V K H W"]:
        """Decode each view into K raw values per pixel of its image; maps are given finest first."""
        ...

    def __call__(
        self, maps: Sequence[Float[Tensor, "B V C h w"]], image_size: Size
    ) -> Float[Tensor, "B V K H W"]: ...


@runtime_checkable
class DenseHead(Protocol):
    """Computes the two fields between two views from their features."""

    def check(self, backbone: Backbone) -> None:
        """Check that this head can read the maps of a backbone, before anything is computed.

        Raises:
            ConfigError: it cannot.
        """
        ...

    def forward(self, features: Features) -> tuple[DenseField, DenseField]:
        """Return the field on view 0 and the field on view 1 (V = 2)."""
        ...

    def __call__(self, features: Features) -> tuple[DenseField, DenseField]: ...


@runtime_checkable
class Correspondence(Protocol):
    """The result of a matcher for one pair, which tasks read.

    Attributes:
        can_transfer: whether `transfer` works.
    """

    @property
    def can_transfer(self) -> bool: ...
    def matches(self, limit: int | None = None) -> Matches:
        """Return the best matches, best first, in pixels of the original files."""
        ...

    def transfer(self, xy0: Points) -> Transfer:
        """Find points of image 0 in image 1, in pixels of the original files.

        Raises:
            CapabilityError: the matcher finds sparse matches only.
        """
        ...


@runtime_checkable
class HasFields(Protocol):
    """A correspondence with dense fields between its two images.

    Attributes:
        fields: the field on image 0 and the field on image 1, B = 1, normalised over the given images.
    """

    @property
    def fields(self) -> tuple[DenseField, DenseField]: ...


@runtime_checkable
class ShowsSimilarity(Protocol):
    """A correspondence that can compare a point of image 0 with all of image 1."""

    def similarity(self, xy0: Points) -> Float[Tensor, "N h w"]:
        """Return cosine similarities of points, in pixels of the original file, with the cells of a map.

        The map covers the whole image given as image 1; its cells are the pixels of an image of size (h, w)
        in the convention of `homolog.core.coords`.

        Raises:
            CapabilityError: this matcher does not compare maps.
        """
        ...


@runtime_checkable
class Matcher(Protocol):
    """A configured method: two images in, a correspondence out."""

    def match(self, image0: ImageLike, image1: ImageLike) -> Correspondence:
        """Match two images; each may be a path, a PIL image, a uint8 array or an `Image`."""
        ...


@runtime_checkable
class ReadsPoints(Protocol):
    """A matcher that can describe points of one image, and find described points on any other.

    Points of many images are searched on one in a single call, and each image is extracted once; `match` would
    compare the images pair by pair. All coordinates are pixels of the original files.
    """

    def point_features(self, images: Iterable[ImageLike]) -> list[Any]:
        """Extract what `describe` and `find` read of several images, in their order."""
        ...

    def describe(self, features: Any, xy: Points) -> Described:
        """Return what is compared of points of an image, one row per point.

        Args:
            features: of the image, from `point_features`.
            xy: [N 2] of (x, y). A point outside the image is moved to the nearest point on it, and will be found
                with confidence 0.

        Raises:
            CapabilityError: the matcher finds sparse matches only.
        """
        ...

    def find(self, described: Described, features: Any) -> Transfer:
        """Find points on an image.

        Args:
            described: points of other images, from `describe`.
            features: of the image, from `point_features`.

        Returns:
            Positions in the image and the confidence in [0, 1] of this way alone; float32, on the CPU.

        Raises:
            CapabilityError: the matcher finds sparse matches only.
        """
        ...


@runtime_checkable
class MatchesPairs(Matcher, Protocol):
    """A matcher that can extract the features of many images, and compare many pairs of them together.

    Attributes:
        joint: True if the features of one image depend on the other image of the pair; then it cannot.
        batch_size: pairs that are compared together.
    """

    @property
    def joint(self) -> bool: ...
    @property
    def batch_size(self) -> int: ...
    def extract(self, images: Iterable[ImageLike]) -> list[Any]:
        """Extract the features of several images, in their order."""
        ...

    def match_pairs(self, pairs: Iterable[tuple[Any, Any]]) -> Iterator[Correspondence]:
        """Compare pairs of images by their features, and yield the correspondences in their order."""
        ...


@runtime_checkable
class KeepsFeatures(Protocol):
    """A matcher that can cache extracted features on disk."""

    def use_cache(self, cache: FeatureCache, recipe: str) -> None:
        """Use a disk cache for extracted features.

        Args:
            cache: where to store them.
            recipe: hash of everything except the pixels that determines the features.
        """
        ...


@runtime_checkable
class Tracker(Protocol):
    """Tracks points through a video."""

    def track(self, frames: list[Image], queries: Queries) -> Tracks:
        """Return where each query is on every frame."""
        ...


@runtime_checkable
class Task(Protocol):
    """A benchmark for matchers: samples, what to ask the matcher about each, and how to score the answers.

    Attributes:
        kind: `semantic`, `geometric`, `temporal` or `dense`.
        headline: the short name of the main protocol of the task.
    """

    @property
    def kind(self) -> str: ...
    @property
    def headline(self) -> str: ...
    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def run(self, matcher: Matcher, *, limit: int | None = None) -> list[Any]:
        """Ask a matcher about the samples, and return the raw answers."""
        ...

    def score(self, records: Sequence[Any]) -> Mapping[str, Any]:
        """Score raw answers by every protocol."""
        ...
