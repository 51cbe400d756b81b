"""One item of a data set: images, and the ground truth that exists for them."""

from dataclasses import dataclass, field

from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.core.camera import Camera, RelativePose
from homolog.core.dense import DenseField
from homolog.core.errors import ShapeError
from homolog.core.image import Image
from homolog.core.tracks import Tracks


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownGaussians:
    """The 3D Gaussians that two images show, numbered alike in both.

    Attributes:
        id0: [H W] for each pixel of image 0 the row of `attributes` of its dominant Gaussian, -1 for none.
        id1: [h w] the same for image 1.
        attributes: [N A] of each Gaussian; the data set defines the columns.
    """

    id0: Int[Tensor, "H W"]
    id1: Int[Tensor, "h w"]
    attributes: Float[Tensor, "N A"]

    def __post_init__(self) -> None:
        """Raise a ShapeError if a number is beyond the last row."""
        highest = max(int(ids.max()) if ids.numel() else -1 for ids in (self.id0, self.id1))
        if highest >= len(self.attributes):
            raise ShapeError(
                f"expected numbers of Gaussians below {len(self.attributes)}, got {highest}; pass the "
                "attributes of all Gaussians"
            )

    def swapped(self) -> "ShownGaussians":
        """Return the same with the two images exchanged."""
        return ShownGaussians(id0=self.id1, id1=self.id0, attributes=self.attributes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairSample:
    """Two images and their ground truth; coordinates are pixels of the original files.

    Attributes:
        image0: the query image.
        image1: the reference image.
        xy0: [N 2] annotated points of image 0, or None.
        xy1: [N 2] the same points in image 1, or None.
        visible: [N] whether a point is visible in both images, or None if all are.
        groups: [N] by name, whether a point belongs to a subset that a protocol reports by
            (`"geometry_aware"`).
        box0: [4] x, y, width, height of the object in image 0, or None.
        box1: [4] of the object in image 1, or None.
        category: of the object (`"cat"`), or None.
        camera0: intrinsics of image 0, or None.
        camera1: intrinsics of image 1, or None.
        pose: from camera 0 to camera 1, or None.
        homography: [3 3] from pixels of image 0 to pixels of image 1, or None.
        dense0: the true field on image 0, or None; its confidence is 1 where the truth is known.
        dense1: the true field on image 1, or None.
        depth0: [H W] z of image 0 in camera coordinates, NaN where unknown, or None.
        depth1: [h w] z of image 1, or None.
        mask0: [H W] the foreground of image 0, or None.
        mask1: [h w] the foreground of image 1, or None.
        gaussians: which 3D Gaussian every pixel shows, or None.
        name: unique within its data set.
        facts: further annotation by which a protocol groups its results, such as the viewpoint change.
    """

    image0: Image
    image1: Image
    xy0: Float[Tensor, "N 2"] | None = None
    xy1: Float[Tensor, "N 2"] | None = None
    visible: Bool[Tensor, " N"] | None = None
    groups: dict[str, Bool[Tensor, " N"]] = field(default_factory=dict[str, Tensor])
    box0: Float[Tensor, "4"] | None = None
    box1: Float[Tensor, "4"] | None = None
    category: str | None = None
    camera0: Camera | None = None
    camera1: Camera | None = None
    pose: RelativePose | None = None
    homography: Float[Tensor, "3 3"] | None = None
    dense0: DenseField | None = None
    dense1: DenseField | None = None
    depth0: Float[Tensor, "H W"] | None = None
    depth1: Float[Tensor, "h w"] | None = None
    mask0: Bool[Tensor, "H W"] | None = None
    mask1: Bool[Tensor, "h w"] | None = None
    gaussians: ShownGaussians | None = None
    name: str = ""
    facts: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """Raise a ShapeError unless points, flags and images fit together."""
        if (self.xy0 is None) != (self.xy1 is None):
            raise ShapeError(f"{self.name}: expected points in both images or in neither; pass xy0 and xy1")
        if self.xy0 is not None and self.xy1 is not None and self.xy0.shape != self.xy1.shape:
            raise ShapeError(
                f"{self.name}: expected as many points in image 1 as in image 0 ({len(self.xy0)})"
            )
        points = 0 if self.xy0 is None else len(self.xy0)
        odd = [name for name, members in self.groups.items() if len(members) != points]
        if odd:
            raise ShapeError(f"{self.name}: expected one flag per point ({points}) in the group {odd[0]}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VideoSample:
    """A video and the true tracks of some of its points.

    Attributes:
        frames: the images, in order, all of one size.
        tracks: pixel coordinates on those frames.
        name: unique within its data set.
    """

    frames: list[Image]
    tracks: Tracks
    name: str = ""

    def __post_init__(self) -> None:
        """Raise a ShapeError unless the tracks have the length of the video."""
        if self.tracks.xy.shape[1] != len(self.frames):
            raise ShapeError(
                f"{self.name}: expected tracks over {len(self.frames)} frames, got {self.tracks.xy.shape[1]}"
            )
