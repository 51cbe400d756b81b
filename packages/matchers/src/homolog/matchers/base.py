"""The base of all matchers that extract features: resizing, extraction, caching and device in one place.

A matcher extracts features from each image, then compares two images:

    features = [matcher.extract(image) for image in images]  # or matcher.extract(images), in batches
    found = matcher.match_features(features[0], features[1])

`match(image0, image1)` does both. Extracted features are cached by the content of the image, in memory
and, after `use_cache`, on disk, so each image is processed once, however many pairs use it.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import lcm
from pathlib import Path
from typing import Generic, TypeVar, overload

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL.Image import Image as PILImage
from torch import Tensor, nn

from homolog.core.cache import FeatureCache, LRUCache, content_key
from homolog.core.coords import Size, apply_affine, inside, invert_affine, resize_pixel
from homolog.core.errors import CapabilityError, ConfigError, did_you_mean
from homolog.core.features import PIXELS, Features
from homolog.core.image import Image, fit, fitted_size, resize
from homolog.core.io import as_image
from homolog.core.keypoints import Keypoints
from homolog.core.protocols import Backbone, Correspondence, Detector, ImageLike

Found = TypeVar("Found", bound=Correspondence)
"""The type of correspondence that a matcher returns."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageGeometry:
    """How pixels of the image that the networks see relate to pixels of the original file.

    Attributes:
        size: (height, width) of the image as given.
        to_original: affine map from its pixels to those of the original file.
        network_size: (height, width) to which it was resized for the networks.
    """

    size: Size
    to_original: Float[Tensor, "2 3"]
    network_size: Size

    def xy_to_original(self, xy: Float[Tensor, "N 2"], *, clamp: bool = True) -> Float[Tensor, "N 2"]:
        """Map pixel coordinates of the resized image to the original file; float32, on the CPU.

        Args:
            xy: pixel coordinates of the resized image.
            clamp: move points beyond the outermost pixel centres of the given image onto them. Where
                resizing enlarged the image, the outermost centres of the resized image are up to half a
                pixel beyond those of the given one.
        """
        height, width = self.size
        at = resize_pixel(xy.cpu().double(), self.network_size, self.size)
        if clamp:
            at = at.clamp_min(0).minimum(at.new_tensor((width - 1, height - 1)))
        return apply_affine(self.to_original, at).float()

    def xy_from_original(self, xy: Float[Tensor, "N 2"]) -> tuple[Float[Tensor, "N 2"], Bool[Tensor, " N"]]:
        """Map pixel coordinates of the original file to the resized image.

        Returns:
            Coordinates in the resized image, and whether each point lies on the given image. A point
            outside it is moved to the nearest point on it.
        """
        height, width = self.size
        at = apply_affine(invert_affine(self.to_original), xy.double())
        nearest = at.clamp_min(-0.5).minimum(at.new_tensor((width - 0.5, height - 0.5)))
        return resize_pixel(nearest, self.size, self.network_size), inside(at, self.size)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageFeatures:
    """What a matcher extracted from one image; `FeatureMatcher.match_features` compares two of them.

    The tensors are made under `torch.inference_mode`; `clone()` them before using them in autograd.

    Attributes:
        features: the feature maps, B = V = 1.
        keypoints: in pixels of the image that the networks saw; None for a matcher without keypoints.
        geometry: leads from these pixels to those of the original file.
    """

    features: Features
    keypoints: Keypoints | None
    geometry: ImageGeometry

    @property
    def original_xy(self) -> Float[Tensor, "N 2"] | None:
        """The keypoints in pixels of the original file (float32, on the CPU), or None."""
        return None if self.keypoints is None else self.geometry.xy_to_original(self.keypoints.xy)

    def to(self, device: torch.device | str) -> "ImageFeatures":
        """Move all tensors to a device, such as "cpu" to keep the features of many images."""
        keypoints = None if self.keypoints is None else self.keypoints.to(device)
        return replace(self, features=self.features.to(device), keypoints=keypoints)


Resized = tuple[Image, ImageGeometry]
"""An image as the networks see it, and its geometry."""

Extracted = tuple[Features, Keypoints | None]
"""Feature maps (B = V = 1) and keypoints of an image as the networks see it: what is cached by content."""


class FeatureMatcher(nn.Module, ABC, Generic[Found]):
    """Extracts features from images and compares them.

    Subclasses implement `match_features`. Extracted features are cached by the content of the resized
    image; call `forget` after changing weights or settings of the backbone or the detector in place.
    """

    def __init__(
        self,
        *,
        backbone: Backbone | None = None,
        detector: Detector | None = None,
        descriptor_map: str | None = None,
        keep: Sequence[str] | None = None,
        multiple: int = 1,
        resize: int | None = None,
        enlarge: bool = False,
        batch_size: int = 4,
        memory: int = 512_000_000,
    ) -> None:
        """Store the parts.

        Args:
            backbone: computes the feature maps; None leaves the pixels as the only map.
            detector: finds the keypoints; None for a matcher without keypoints.
            descriptor_map: the map of the backbone that describes the keypoints; None keeps the descriptors of
                the detector.
            keep: the maps of the backbone to keep; None keeps `descriptor_map`, or all without it.
            multiple: sides of resized images are multiples of this, and of what the parts require.
            resize: images are scaled down to this longer side, in pixels; None only rounds each side to a multiple.
            enlarge: also scale smaller images up to `resize`.
            batch_size: images of one size that `extract` passes through the networks at once, at most.
            memory: bytes of extracted features to keep in memory.

        Raises:
            ConfigError: a descriptor map that no backbone has, or a setting out of range.
        """
        super().__init__()
        if resize is not None and resize < 1:
            raise ConfigError(f"expected resize of at least 1 pixel or null, got {resize}")
        if batch_size < 1:
            raise ConfigError(f"expected a batch_size of at least 1 image, got {batch_size}")
        if descriptor_map is not None and backbone is None:
            raise ConfigError(
                f"expected a backbone that has the map {descriptor_map}, got none; set backbone or descriptor_map=null"
            )
        if keep is None and descriptor_map is not None:
            keep = [descriptor_map]
        for name in [*([] if descriptor_map is None else [descriptor_map]), *(keep or [])]:
            if backbone is None or name not in backbone.channels:
                maps = {} if backbone is None else backbone.channels
                raise ConfigError(f"the backbone has no map {name}{did_you_mean(name, maps)}")
        self.backbone, self.detector, self.descriptor_map = backbone, detector, descriptor_map
        self.keep = None if keep is None else tuple(keep)
        self.multiple = lcm(multiple, *(part.multiple for part in (backbone, detector) if part is not None))
        self.resize, self.enlarge, self.batch_size = resize, enlarge, batch_size
        self._memory: LRUCache[list[Extracted]] = LRUCache(memory)
        self._disk: tuple[FeatureCache, str] | None = None

    # --- what users call ------------------------------------------------------------------------------

    def match(self, image0: ImageLike, image1: ImageLike) -> Found:
        """Match two images; each may be a path, a PIL image, an array or an `Image`.

        Returns:
            The correspondence, in pixels of the original files. For a backbone that is not joint it equals
            `match_features(extract(image0), extract(image1))` bit for bit.

        Raises:
            DataError: an image that cannot be read; the message names it.
        """
        image0, image1 = as_image(image0), as_image(image1)
        if self.joint:
            return self.match_features(*self._extract_together(self._resized_pair(image0, image1)))
        return self.match_features(
            self._extract_one(self._resized(image0)), self._extract_one(self._resized(image1))
        )

    @overload
    def extract(self, images: ImageLike) -> ImageFeatures: ...
    @overload
    def extract(self, images: Iterable[ImageLike]) -> list[ImageFeatures]: ...
    def extract(self, images: ImageLike | Iterable[ImageLike]) -> ImageFeatures | list[ImageFeatures]:
        """Extract the features of one image or of several.

        Args:
            images: a path, a PIL image, an array or an `Image`; or a list or an iterator of them. Images
                that have one size when resized pass through the networks in batches of `batch_size`.
                Batches may round differently from single images.

        Returns:
            The features of the image; for several images a list in their order.

        Raises:
            CapabilityError: the backbone is joint: its features of an image depend on the other image.
            DataError: an image that cannot be read; the message names it.
        """
        if self.joint:
            raise CapabilityError(
                "this matcher has a joint backbone, which extracts the two images of a pair together; "
                "call match(image0, image1) instead of extract"
            )
        if isinstance(images, Image | str | Path | PILImage | np.ndarray):
            return self._extract_one(self._resized(as_image(images)))
        return self._extract_many(self._resized(as_image(image)) for image in images)

    @abstractmethod
    def match_features(self, features0: ImageFeatures, features1: ImageFeatures) -> Found:
        """Compare two images by their features, as `extract` returns them."""

    def use_cache(self, cache: FeatureCache, recipe: str) -> None:
        """Also cache extracted features on disk, for later runs and other processes.

        Args:
            cache: where to store them.
            recipe: hash of every other input of the features: weights, settings and code; `load_matcher`
                computes it.
        """
        self._disk = cache, recipe
        self.forget()

    def forget(self) -> None:
        """Drop all features held in memory."""
        self._memory.clear()

    @property
    def joint(self) -> bool:
        """Whether the features of one image depend on the other image of the pair."""
        return self.backbone is not None and self.backbone.joint

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        tensor = next(chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if tensor is None else tensor.device

    # --- resizing -------------------------------------------------------------------------------------

    def _resized(self, image: Image) -> Resized:
        """Resize a single image for the networks."""
        resized = fit(image, longer_side=self.resize, multiple=self.multiple, enlarge=self.enlarge)
        return resized, _geometry(image, resized)

    def _resized_pair(self, image0: Image, image1: Image) -> tuple[Resized, Resized]:
        """Resize two images to one size, halfway between the sizes that they would have alone.

        Halfway, so that neither image is squeezed more than the other.
        """
        size0, size1 = (
            fitted_size(image.size, longer_side=self.resize, multiple=self.multiple, enlarge=self.enlarge)
            for image in (image0, image1)
        )
        halfway = (size0[0] + size1[0]) // 2, (size0[1] + size1[1]) // 2
        size = fitted_size(halfway, multiple=self.multiple)
        resized0, resized1 = resize(image0, size), resize(image1, size)
        return (resized0, _geometry(image0, resized0)), (resized1, _geometry(image1, resized1))

    # --- extraction -----------------------------------------------------------------------------------

    def _views(self, pixels: Float[Tensor, "N 3 H W"]) -> list[Extracted]:
        """Run the networks on images of one size: independent images, or views of one scene if joint."""
        size = (pixels.shape[-2], pixels.shape[-1])
        maps: Features | None = None
        if self.backbone is not None:
            maps = self.backbone(pixels[None] if self.joint else pixels[:, None])
            if self.joint:
                views = {name: map_.transpose(0, 1) for name, map_ in maps.maps.items()}
                maps = Features(maps=views, image_size=maps.image_size)
        detected = None if self.detector is None else self.detector(pixels, maps)
        if maps is None:
            maps = Features(maps={PIXELS: pixels[:, None]}, image_size=size)
        found: list[Extracted] = []
        for index in range(len(pixels)):
            features = maps.item(index)
            keypoints = None if detected is None else detected[index]
            if self.descriptor_map is not None and keypoints is not None:
                keypoints = keypoints.described_by(features.at(self.descriptor_map, keypoints.xy))
            if self.keep is not None:
                features = features.select(self.keep)
            found.append((features, keypoints))
        return found

    def _compute(self, resized: Sequence[Resized]) -> list[Extracted]:
        with torch.inference_mode():
            views = self._views(torch.stack([image.pixels for image, _ in resized]).to(self.device))
            return [(_compact(features), keypoints) for features, keypoints in views]

    def _extract_one(self, resized: Resized) -> ImageFeatures:
        return self._extract_together((resized,))[0]

    def _extract_together(self, resized: Sequence[Resized]) -> list[ImageFeatures]:
        """Return the features of one image, or of the two of a pair for a joint backbone."""
        digests = [image.digest() for image, _ in resized]
        found = self._look_up(digests)
        if found is None:
            found = self._store(digests, self._compute(resized))
        return [_image_features(each, geometry) for each, (_, geometry) in zip(found, resized, strict=True)]

    def _extract_many(self, resized: Iterable[Resized]) -> list[ImageFeatures]:
        """Return the features of independent images, computed in batches of one size."""
        found: dict[int, ImageFeatures] = {}
        # For each size the images to compute, by digest, with the indices at which they occur.
        waiting: dict[Size, dict[str, list[tuple[int, Resized]]]] = defaultdict(dict)
        for index, each in enumerate(resized):
            image, geometry = each
            digest = image.digest()
            cached = self._look_up([digest])
            if cached is not None:
                found[index] = _image_features(cached[0], geometry)
                continue
            batch = waiting[image.size]
            batch.setdefault(digest, []).append((index, each))
            if len(batch) == self.batch_size:
                found |= self._extract_batch(batch)
                batch.clear()
        for batch in waiting.values():
            if batch:
                found |= self._extract_batch(batch)
        return [found[index] for index in range(len(found))]

    def _extract_batch(self, batch: Mapping[str, list[tuple[int, Resized]]]) -> dict[int, ImageFeatures]:
        computed = self._compute([places[0][1] for places in batch.values()])
        found: dict[int, ImageFeatures] = {}
        for (digest, places), one in zip(batch.items(), computed, strict=True):
            (stored,) = self._store([digest], [one])
            found |= {index: _image_features(stored, geometry) for index, (_, geometry) in places}
        return found

    # --- caching --------------------------------------------------------------------------------------

    def _look_up(self, digests: Sequence[str]) -> list[Extracted] | None:
        """Return what was extracted together from images of these digests, from memory or from disk."""
        found = self._memory.get((str(self.device), *digests))
        if found is None and self._disk is not None:
            cache, recipe = self._disk
            tensors = cache.load(self._key(recipe, cache, digests))
            if tensors is not None:
                found = self._remember(digests, _from_tensors(tensors, device=self.device))
        return found

    def _store(self, digests: Sequence[str], found: list[Extracted]) -> list[Extracted]:
        """Cache new features, and return them as a later look-up will.

        With a disk cache they pass through its precision, so that a second run gives the same results.
        """
        if self._disk is not None:
            cache, recipe = self._disk
            tensors = _to_tensors(found, dtype=cache.dtype)
            cache.save(self._key(recipe, cache, digests), tensors)
            found = _from_tensors(tensors, device=self.device)
        return self._remember(digests, found)

    def _key(self, recipe: str, cache: FeatureCache, digests: Sequence[str]) -> str:
        # Which maps are kept depends on the head, which is no part of the recipe.
        return content_key(recipe, str(cache.dtype), " ".join(self.keep or ()), *digests)

    def _remember(self, digests: Sequence[str], found: list[Extracted]) -> list[Extracted]:
        self._memory.put((str(self.device), *digests), found, sum(_nbytes(*each) for each in found))
        return found


def _geometry(image: Image, resized: Image) -> ImageGeometry:
    return ImageGeometry(size=image.size, to_original=image.to_original, network_size=resized.size)


def _image_features(extracted: Extracted, geometry: ImageGeometry) -> ImageFeatures:
    features, keypoints = extracted
    return ImageFeatures(features=features, keypoints=keypoints, geometry=geometry)


def _compact(features: Features) -> Features:
    """Copy maps that share the memory of other images, so that each image can be dropped on its own."""
    maps = {
        name: map_.clone() if map_.untyped_storage().nbytes() > map_.nbytes else map_
        for name, map_ in features.maps.items()
    }
    return Features(maps=maps, image_size=features.image_size)


def _nbytes(features: Features, keypoints: Keypoints | None) -> int:
    """Return the bytes that the tensors keep in memory."""
    parts = [*features.maps.values(), *(() if keypoints is None else keypoints.parts().values())]
    # Views of a larger tensor keep all of it alive.
    return sum(
        {part.untyped_storage().data_ptr(): part.untyped_storage().nbytes() for part in parts}.values()
    )


def _to_tensors(found: Sequence[Extracted], *, dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Return what was extracted together as named tensors.

    Args:
        found: one image, or the two of a pair.
        dtype: of maps and descriptors (bfloat16 halves them); None keeps theirs. Coordinates, scores,
            scales and angles always keep theirs.
    """
    # Contiguous, as they are when loaded: sums over another memory layout would round differently.
    tensors: dict[str, Tensor] = {}
    for index, (features, keypoints) in enumerate(found):
        tensors[f"{index}.image_size"] = torch.tensor(features.image_size)
        for name, map_ in features.maps.items():
            tensors[f"{index}.map.{name}"] = map_.to(dtype).contiguous()
        for name, part in keypoints.parts().items() if keypoints is not None else ():
            tensors[f"{index}.{name}"] = part.to(dtype).contiguous() if name == "descriptor" else part
    return tensors


def _from_tensors(tensors: Mapping[str, Tensor], *, device: torch.device) -> list[Extracted]:
    """Undo `_to_tensors`, on a device; half precision becomes float32."""
    found: list[Extracted] = []
    for index in range(sum(name.endswith(".image_size") for name in tensors)):
        height, width = (int(side) for side in tensors[f"{index}.image_size"])
        start = f"{index}.map."
        maps = {
            name.removeprefix(start): _widened(part, device)
            for name, part in tensors.items()
            if name.startswith(start)
        }
        points = {
            name: _widened(tensors[f"{index}.{name}"], device)
            for name in ("xy", "score", "descriptor", "scale", "angle")
            if f"{index}.{name}" in tensors
        }
        features = Features(maps=maps, image_size=(height, width))
        found.append((features, Keypoints(**points) if points else None))
    return found


def _widened(part: Tensor, device: torch.device) -> Tensor:
    return part.to(device, torch.promote_types(part.dtype, torch.float32))
