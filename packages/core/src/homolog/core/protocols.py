"""Every seam between packages: what a part must offer to plug in, and nothing more.

Parts are `torch.nn.Module`s, so both `forward` (what a subclass defines) and `__call__` (what a
caller uses) are declared: a checker then sees a mismatched module. No part reads a file, chooses a
device or fetches anything; all of that happened before it was built.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from PIL.Image import Image as PILImage
from torch import Tensor, nn

from homolog.core.cache import FeatureCache
from homolog.core.coords import Size
from homolog.core.dense import DenseField, Transfer
from homolog.core.features import Features
from homolog.core.image import Image
from homolog.core.keypoints import Keypoints, Matches
from homolog.core.tracks import Queries, Tracks

ImageLike = Image | str | Path | PILImage | np.ndarray
"""What a user may hand over as an image; `homolog.core.io.as_image` reads all of them.

Arrays are [H W 3] or [H W], uint8 or floating point in [0, 1]; any other gets a `DataError` there.
"""

Points = Float[Tensor, "N 2"] | np.ndarray | list[list[float]] | list[tuple[float, float]]
"""What a user may hand over as pixel coordinates (x, y)."""


@runtime_checkable
class Backbone(Protocol):
    """Turns images into named feature maps.

    Attributes:
        multiple: height and width of the images must be multiples of this.
        channels: channels of each map that `forward` returns, by name.
        joint: True when the maps of one view depend on the other views (VGGT), so that a pair
            has to be extracted together; False when every image stands for itself.
    """

    @property
    def multiple(self) -> int: ...
    @property
    def channels(self) -> dict[str, int]: ...
    @property
    def joint(self) -> bool: ...
    def forward(self, images: Float[Tensor, "B V 3 H W"]) -> Features:
        """Map RGB in [0, 1] to features; any normalisation happens inside."""
        ...

    def __call__(self, images: Float[Tensor, "B V 3 H W"]) -> Features: ...


@runtime_checkable
class Fusion(Protocol):
    """Turns the maps of a backbone into others.

    Attributes:
        channels: of each map that it returns, by name.
    """

    @property
    def channels(self) -> dict[str, int]: ...
    def forward(self, features: Features) -> Features:
        """Fuse the maps of each view."""
        ...

    def __call__(self, features: Features) -> Features: ...


@runtime_checkable
class Detector(Protocol):
    """Finds keypoints, described or not.

    Attributes:
        multiple: height and width of the images must be multiples of this.
    """

    @property
    def multiple(self) -> int: ...
    def forward(self, images: Float[Tensor, "B 3 H W"], features: Features | None = None) -> list[Keypoints]:
        """Find the keypoints of each image, in its pixel coordinates, best first.

        Args:
            images: RGB in [0, 1].
            features: what the matcher's backbone said of these images (V = 1, same B). A
                detector that reads a score map finds it there; the others ignore it.
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


@runtime_checkable
class TransferHead(Protocol):
    """Finds single points of one image in the feature map of another."""

    def transfer(self, xy0: Float[Tensor, "N 2"], features0: Features, features1: Features) -> Transfer:
        """Move pixel coordinates of image 0 to image 1 (both B = V = 1), at the cost of the N rows only."""
        ...


@runtime_checkable
class SimilarityHead(Protocol):
    """Compares single points of one image with every cell of a map of another."""

    def similarity(
        self, xy0: Float[Tensor, "N 2"], features0: Features, features1: Features
    ) -> Float[Tensor, "N h w"]:
        """Return the cosines of pixel coordinates of image 0 with the cells of image 1 (both B = V = 1)."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """Turns the maps of a view into values per pixel of its image; a dense head says what they mean.

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
        """Decode every view by itself into K raw values per pixel of its image, finest map first."""
        ...

    def __call__(
        self, maps: Sequence[Float[Tensor, "B V C h w"]], image_size: Size
    ) -> Float[Tensor, "B V K H W"]: ...


@runtime_checkable
class DenseHead(Protocol):
    """Turns the features of two views into the two fields between them."""

    def check(self, backbone: Backbone) -> None:
        """Refuse a backbone whose maps this head cannot read, before anything is computed.

        Raises:
            ConfigError: what it expected, and what the backbone has.
        """
        ...

    def forward(self, features: Features) -> tuple[DenseField, DenseField]:
        """Return the field that lives on view 0 and the field that lives on view 1 (V = 2)."""
        ...

    def __call__(self, features: Features) -> tuple[DenseField, DenseField]: ...


@runtime_checkable
class Correspondence(Protocol):
    """What a matcher found out about one pair; the one hinge between methods and tasks.

    Attributes:
        can_transfer: whether `transfer` works.
    """

    @property
    def can_transfer(self) -> bool: ...
    def matches(self, limit: int | None = None) -> Matches:
        """Return the best matches, best first, in pixels of the original files."""
        ...

    def transfer(self, xy0: Points) -> Transfer:
        """Say where points of image 0 are in image 1, in pixels of the original files.

        Raises:
            CapabilityError: the matcher finds sparse matches only.
        """
        ...


@runtime_checkable
class HasFields(Protocol):
    """A correspondence that knows the whole fields between its two images.

    Attributes:
        fields: the field that lives on image 0 and the one that lives on image 1, B = 1, normalised
            over the images that were given.
    """

    @property
    def fields(self) -> tuple[DenseField, DenseField]: ...


@runtime_checkable
class ShowsSimilarity(Protocol):
    """A correspondence that can show what a point of image 0 resembles in image 1."""

    def similarity(self, xy0: Points) -> Float[Tensor, "N h w"]:
        """Return the cosines of points, in pixels of the original file, with the cells of a map.

        The map covers the whole of the image that was given as image 1; its cells follow
        `homolog.core.coords` as pixels of an image of size (h, w) do.

        Raises:
            CapabilityError: this matcher compares no maps.
        """
        ...


@runtime_checkable
class Matcher(Protocol):
    """A configured method: two images in, a correspondence out."""

    def match(self, image0: ImageLike, image1: ImageLike) -> Correspondence:
        """Match two images; each may be a path, a PIL image, a uint8 array or an `Image`."""
        ...


@runtime_checkable
class KeepsFeatures(Protocol):
    """A matcher that can keep what it extracts on disk, beyond the run."""

    def use_cache(self, cache: FeatureCache, recipe: str) -> None:
        """Look in a cache before extracting.

        Args:
            cache: where extractions are kept.
            recipe: hash of all that decides them but the pixels.
        """
        ...


@runtime_checkable
class Tracker(Protocol):
    """Follows points through a video."""

    def track(self, frames: list[Image], queries: Queries) -> Tracks:
        """Return where each query is on every frame."""
        ...


@runtime_checkable
class Task(Protocol):
    """What a matcher is measured on: samples, what is asked for each, and how answers are scored.

    Attributes:
        kind: `semantic`, `geometric`, `temporal` or `dense`.
        headline: the short name of the protocol that stands for the task.
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
