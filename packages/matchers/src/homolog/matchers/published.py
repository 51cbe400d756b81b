"""Read feature maps as the official code of a published evaluation does, to reproduce its protocol."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.coords import Size, apply_affine, inside, invert_affine
from homolog.core.dense import Transfer
from homolog.core.errors import CapabilityError, ConfigError, one_of
from homolog.core.image import Image
from homolog.core.io import as_points
from homolog.core.keypoints import Matches
from homolog.core.protocols import Backbone, Points
from homolog.matchers.base import FeatureMatcher, ImageFeatures, ImageGeometry, Resized

ReadOut = Callable[..., Float[Tensor, "N 2"]]
"""`read_out(map0 [D h w], map1 [D H W], xy0 [N 2], size0=..., size1=...)` gives [N 2] in pixels of image 1."""

_RESAMPLING = {
    "bilinear": PIL.Image.Resampling.BILINEAR,
    "bicubic": PIL.Image.Resampling.BICUBIC,
    "lanczos": PIL.Image.Resampling.LANCZOS,
}


@runtime_checkable
class Canvas(Protocol):
    """The square image that the network sees instead of the given one.

    Attributes:
        side: of the square, in pixels.
    """

    @property
    def side(self) -> int:
        """See above."""
        ...

    def content(self, size: Size) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the rows and columns that show an image of `size`, as first and last + 1."""
        ...


@runtime_checkable
class Place(Protocol):
    """The position of an image in a frame: points become xy * scale + offset.

    Attributes:
        scale: of x and y.
        offset: added after scaling.
        size: (height, width) of the frame.
    """

    @property
    def scale(self) -> tuple[float, float]:
        """See above."""
        ...

    @property
    def offset(self) -> tuple[int, int]:
        """See above."""
        ...

    @property
    def size(self) -> Size:
        """See above."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _OnCanvas:
    """An image on its canvas, with the scale of its sides: x * 512 / W, whatever the corners do."""

    scale: tuple[float, float]
    offset: tuple[int, int]
    size: Size


class PublishedCorrespondence:
    """Points of one image found in another by a published rule.

    Attributes:
        can_transfer: True.
        maps: [D h w], the map of each image.
        keypoints0: None; these evaluations have no keypoints.
        keypoints1: None.
    """

    can_transfer = True
    keypoints0 = None
    keypoints1 = None

    def __init__(
        self,
        geometries: tuple[ImageGeometry, ImageGeometry],
        maps: tuple[Float[Tensor, "D h w"], Float[Tensor, "D H W"]],
        *,
        frame: Callable[[Size], Place],
        read_out: ReadOut,
    ) -> None:
        """Store the maps.

        Args:
            geometries: of both images.
            maps: of both images.
            frame: in which points are read.
            read_out: reads them.
        """
        self._geometries = geometries
        self.maps = maps
        self._places = frame(geometries[0].size), frame(geometries[1].size)
        self._read_out = read_out

    def matches(self, limit: int | None = None) -> Matches:
        """Raise an error: the published evaluations find no matches.

        Raises:
            CapabilityError: always.
        """
        raise CapabilityError(
            "a published read-out transfers points only; for matches use the same backbone with head nearest, "
            "such as matcher=dinov2_nn"
        )

    def transfer(self, xy0: Points) -> Transfer:
        """Find points of image 0 in image 1, in pixels of the original files (float32, on the CPU).

        Args:
            xy0: [N 2]. A point outside image 0 is moved to the nearest pixel of it, and its confidence is 0.

        Raises:
            ShapeError: not [N 2].
            DataError: a coordinate that is not finite.
        """
        geometry0, geometry1 = self._geometries
        place0, place1 = self._places
        at = apply_affine(invert_affine(geometry0.to_original), as_points(xy0))
        last = at.new_tensor((geometry0.size[1] - 1, geometry0.size[0] - 1))
        query = _scaled(at.clamp_min(0).minimum(last), place0)
        map0, map1 = self.maps
        with torch.inference_mode():
            found = self._read_out(map0, map1, query.to(map0), size0=place0.size, size1=place1.size)
        moved = found.cpu().double().clone()  # outside of inference mode
        scale, offset = moved.new_tensor(place1.scale), moved.new_tensor(place1.offset)
        xy = apply_affine(geometry1.to_original, (moved - offset) / scale).float()
        return Transfer(xy, inside(at, geometry0.size).float())


class PublishedReadOut(FeatureMatcher[PublishedCorrespondence]):
    """A backbone, and the published rule by which points are read from its maps.

    It transfers points, with confidence 1, and finds no matches, as in the published evaluations.
    Convention: within the frame, coordinates are multiplied and shifted as in the official code; on both
    ends they are pixels of the original files.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        map: str,
        canvas: Canvas,
        read_out: ReadOut,
        frame: Callable[[Size], Place] | None = None,
        resample: str = "bicubic",
        batch_size: int = 4,
        memory: int = 512_000_000,
    ) -> None:
        """Put the parts together; the matcher starts in evaluation mode.

        Args:
            backbone: computes the maps.
            map: the map that is read.
            canvas: what the network sees, such as `homolog.evaluators.image_sizes.PaddedSquare`.
            read_out: such as `homolog.evaluators.read_out.dift`.
            frame: in which points are read, such as `homolog.evaluators.image_sizes.Original`. None takes the canvas,
                and scales points by its sides, x * 512 / W, as MATCHA's release does.
            resample: how PIL scales the image to the canvas: bilinear, bicubic or lanczos.
            batch_size: images that `extract` passes through the backbone at once, at most.
            memory: bytes of extracted features to keep in memory.

        Raises:
            ConfigError: a map that the backbone does not have, or a canvas that it cannot take.
        """
        super().__init__(backbone=backbone, descriptor_map=map, batch_size=batch_size, memory=memory)
        if canvas.side % backbone.multiple:
            raise ConfigError(
                f"expected a canvas in multiples of {backbone.multiple} pixels for this backbone, got {canvas.side}"
            )
        self.map, self.canvas, self.read_out = map, canvas, read_out
        self.frame = self._on_canvas if frame is None else frame
        self.resample = one_of("resample", resample, _RESAMPLING)
        self.eval()

    def match_features(self, features0: ImageFeatures, features1: ImageFeatures) -> PublishedCorrespondence:
        """Compare two images by their features, as `extract` returns them.

        Returns:
            The correspondence, in pixels of the original files.
        """
        map0, map1 = (
            each.to(self.device).features[self.map][0, 0].float() for each in (features0, features1)
        )
        return PublishedCorrespondence(
            (features0.geometry, features1.geometry), (map0, map1), frame=self.frame, read_out=self.read_out
        )

    def _on_canvas(self, size: Size) -> Place:
        (top, bottom), (left, right) = self.canvas.content(size)
        scale = ((right - left) / size[1], (bottom - top) / size[0])
        return _OnCanvas(scale=scale, offset=(left, top), size=(self.canvas.side, self.canvas.side))

    def _resized(self, image: Image) -> Resized:
        """Scale an image onto the canvas. Its geometry leads to the original from the image as given."""
        (top, bottom), (left, right) = self.canvas.content(image.size)
        # Through 8 bits, as read from a file: the official code resizes with PIL.
        array = (image.pixels.permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8)
        scaled = PIL.Image.fromarray(array).resize((right - left, bottom - top), _RESAMPLING[self.resample])
        pixels = torch.zeros(3, self.canvas.side, self.canvas.side)
        pixels[:, top:bottom, left:right] = torch.from_numpy(np.array(scaled)).permute(2, 0, 1) / 255
        geometry = ImageGeometry(
            size=image.size, to_original=image.to_original, network_size=(bottom - top, right - left)
        )
        return Image(pixels=pixels, name=image.name), geometry

    def _resized_pair(self, image0: Image, image1: Image) -> tuple[Resized, Resized]:
        return self._resized(image0), self._resized(image1)


def _scaled(xy: Tensor, place: Place) -> Tensor:
    return xy * xy.new_tensor(place.scale) + xy.new_tensor(place.offset)
