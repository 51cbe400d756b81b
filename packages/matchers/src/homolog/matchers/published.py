"""Features read as the code of a published evaluation reads them, to run its protocol as its authors did."""

from collections.abc import Callable
from itertools import chain
from typing import Protocol, runtime_checkable

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.coords import Size, inside
from homolog.core.dense import Transfer
from homolog.core.errors import CapabilityError, ConfigError, did_you_mean
from homolog.core.feature_cache import FeatureCache
from homolog.core.image import Image
from homolog.core.io import as_image
from homolog.core.keypoints import Matches
from homolog.core.protocols import Backbone, ImageLike, Points
from homolog.matchers.extraction import Extraction, extract
from homolog.matchers.points import as_points
from homolog.matchers.remembered import Remembered

ReadOut = Callable[..., Float[Tensor, "N 2"]]
"""`read_out(map0 [D h w], map1 [D H W], xy0 [N 2], size0=..., size1=...)` gives [N 2] in pixels of image 1."""

_RESAMPLING = {
    "bilinear": PIL.Image.Resampling.BILINEAR,
    "bicubic": PIL.Image.Resampling.BICUBIC,
    "lanczos": PIL.Image.Resampling.LANCZOS,
}


@runtime_checkable
class Canvas(Protocol):
    """A square that the network sees instead of the image.

    Attributes:
        side: of the square, pixels.
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
    """Where an image lies in a frame: points become xy * scale + offset there.

    Attributes:
        scale: of x and y.
        offset: added after that.
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


class PublishedReadOut(nn.Module):
    """A backbone and somebody else's rule for reading points out of its maps.

    It transfers points, with confidence 1, and finds no matches: that is all those evaluations do.
    Convention: within the frame, coordinates are what the official code takes them for, multiplied and
    shifted as there; they are pixels of the original files on both ends.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        map: str,
        canvas: Canvas,
        frame: Callable[[Size], Place],
        read_out: ReadOut,
        resample: str = "bicubic",
        memory: int = 512_000_000,
    ) -> None:
        """Put the parts together; the matcher starts in evaluation mode.

        Args:
            backbone: gives the maps.
            map: which of them is read.
            canvas: what the network sees, such as `homolog.evaluators.image_sizes.PaddedSquare`.
            frame: in which points are read, such as `homolog.evaluators.image_sizes.Original`.
            read_out: such as `homolog.evaluators.read_out.dift`.
            resample: how PIL scales the image to the canvas: bilinear, bicubic or lanczos.
            memory: bytes of extracted features to remember.

        Raises:
            ConfigError: a map that the backbone does not have, or a canvas that it cannot take.
        """
        super().__init__()
        if map not in backbone.channels:
            raise ConfigError(f"the backbone has no map {map}{did_you_mean(map, backbone.channels)}")
        if canvas.side % backbone.multiple:
            raise ConfigError(
                f"expected a canvas in multiples of {backbone.multiple} pixels for this backbone, got {canvas.side}"
            )
        if resample not in _RESAMPLING:
            raise ConfigError(f"no resampling {resample}{did_you_mean(resample, _RESAMPLING)}")
        self.backbone = backbone
        self.map = map
        self.canvas = canvas
        self.frame = frame
        self.read_out = read_out
        self.resample = resample
        self._remembered = Remembered(memory)
        self.eval()

    def match(self, image0: ImageLike, image1: ImageLike) -> "PublishedCorrespondence":
        """Look at two images; each may be a path, a PIL image, an array or an `Image`.

        Raises:
            DataError: an image that cannot be read; the message names it.
        """
        given = as_image(image0), as_image(image1)
        seen = [Image(pixels=self._on_canvas(image), name=image.name) for image in given]
        with torch.inference_mode():
            maps = self._maps(seen) if self.backbone.joint else [self._maps([image])[0] for image in seen]
        return PublishedCorrespondence(given, (maps[0], maps[1]), frame=self.frame, read_out=self.read_out)

    def use_cache(self, cache: FeatureCache, recipe: str) -> None:
        """Keep what is extracted on disk too; arguments as in `SparseMatcher.use_cache`."""
        self._remembered.use_cache(cache, recipe)

    def forget(self) -> None:
        """Drop everything that was extracted and is held in memory."""
        self._remembered.forget()

    def _on_canvas(self, image: Image) -> Float[Tensor, "3 H W"]:
        (top, bottom), (left, right) = self.canvas.content(image.size)
        # Through 8 bits, as they come out of a file: official code resizes with PIL.
        array = (image.pixels.permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8)
        scaled = PIL.Image.fromarray(array).resize((right - left, bottom - top), _RESAMPLING[self.resample])
        pixels = torch.zeros(3, self.canvas.side, self.canvas.side)
        pixels[:, top:bottom, left:right] = torch.from_numpy(np.array(scaled)).permute(2, 0, 1) / 255
        return pixels

    def _maps(self, images: list[Image]) -> list[Float[Tensor, "D h w"]]:
        held = next(chain(self.parameters(), self.buffers()), None)
        device = torch.device("cpu") if held is None else held.device

        def make() -> list[Extraction]:
            views = torch.stack([image.pixels for image in images]).to(device)
            return extract(views, backbone=self.backbone, descriptor_map=self.map)

        found = self._remembered.get(images, make, device=device)
        return [extraction.features[self.map][0, 0].float() for extraction in found]


class PublishedCorrespondence:
    """Points of one image found in another by a published rule.

    Attributes:
        can_transfer: True.
        maps: [D h w] what is read of each image.
    """

    can_transfer = True

    def __init__(
        self,
        images: tuple[Image, Image],
        maps: tuple[Float[Tensor, "D h w"], Float[Tensor, "D H W"]],
        *,
        frame: Callable[[Size], Place],
        read_out: ReadOut,
    ) -> None:
        """Remember what was seen.

        Args:
            images: as they were given.
            maps: of both.
            frame: in which points are read.
            read_out: reads them.
        """
        self._images = images
        self.maps = maps
        self._places = frame(images[0].size), frame(images[1].size)
        self._read_out = read_out

    def matches(self, limit: int | None = None) -> Matches:
        """Refuse: the evaluations that this follows find no matches.

        Raises:
            CapabilityError: always.
        """
        raise CapabilityError(
            "a published read-out transfers points only; for matches take the same backbone with head nearest, "
            "such as matcher=dinov2_nn"
        )

    def transfer(self, xy0: Points) -> Transfer:
        """Say where points of image 0 are in image 1, in pixels of the original files (float32, on the CPU).

        Args:
            xy0: [N 2]. A point beside image 0 is read at the nearest pixel of it, and its confidence is 0.

        Raises:
            ShapeError: not [N 2].
            DataError: a coordinate that is not finite.
        """
        image0, image1 = self._images
        at = image0.xy_from_original(as_points(xy0))
        last = at.new_tensor((image0.size[1] - 1, image0.size[0] - 1))
        first, second = self._places
        asked = _scaled(at.clamp_min(0).minimum(last), first)
        map0, map1 = self.maps
        with torch.inference_mode():
            found = self._read_out(map0, map1, asked.to(map0), size0=first.size, size1=second.size)
        moved = found.cpu().double().clone()  # theirs is an inference tensor
        scale, offset = moved.new_tensor(second.scale), moved.new_tensor(second.offset)
        xy = image1.xy_to_original((moved - offset) / scale).float()
        return Transfer(xy, inside(at, image0.size).float())


def _scaled(xy: Tensor, place: Place) -> Tensor:
    return xy * xy.new_tensor(place.scale) + xy.new_tensor(place.offset)
