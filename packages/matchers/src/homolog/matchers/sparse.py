"""Match images through keypoints: extract each image once, then compare."""

from itertools import chain
from math import lcm
from typing import cast

import torch
from torch import nn

from homolog.core.errors import ConfigError, did_you_mean
from homolog.core.feature_cache import FeatureCache
from homolog.core.image import Image
from homolog.core.io import as_image
from homolog.core.protocols import Backbone, DenseHead, Detector, ImageLike, SparseHead, TransferHead
from homolog.matchers.correspondence import SparseCorrespondence
from homolog.matchers.extraction import Extraction, extract
from homolog.matchers.fitting import Fitting
from homolog.matchers.remembered import Remembered
from homolog.matchers.side import Side


class SparseMatcher(nn.Module):
    """Detector, head and, if there is one, backbone as one method.

    What was extracted from an image is remembered by the image's content, so that a pair matched
    twice, or one image in many pairs, is extracted once. After changing weights or settings of a
    part in place, call `forget`.
    """

    def __init__(
        self,
        *,
        detector: Detector,
        head: SparseHead,
        backbone: Backbone | None = None,
        descriptor_map: str | None = None,
        resize: int | None = None,
        enlarge: bool = False,
        memory: int = 512_000_000,
    ) -> None:
        """Put the parts together; the matcher starts in evaluation mode.

        Args:
            detector: finds the keypoints.
            head: pairs them; one that is a `TransferHead` too can transfer points, given a backbone.
            backbone: gives the maps; None for a detector that describes its keypoints itself.
            descriptor_map: the backbone's map whose values describe the keypoints, and the one that points
                are transferred on; None keeps the detector's own descriptors, and all maps.
            resize: images are scaled down to this longer side, in pixels; None keeps their size up to
                the multiples that the parts require.
            enlarge: also scale smaller images up to `resize`.
            memory: bytes of extracted features to remember.

        Raises:
            ConfigError: a dense head, a map to describe by without a backbone or that it does not have, or
                sizes out of range.
        """
        super().__init__()
        if isinstance(head, DenseHead):
            raise ConfigError(
                f"a sparse matcher expects a head that pairs keypoints, such as nearest, got {type(head).__name__}; "
                "take that one with a dense matcher, such as matcher=vggt_semantic"
            )
        if descriptor_map is not None and backbone is None:
            raise ConfigError(
                f"expected a backbone that has the map {descriptor_map}, got none; set backbone or descriptor_map=null"
            )
        if descriptor_map is not None and backbone is not None and descriptor_map not in backbone.channels:
            raise ConfigError(
                f"the backbone has no map {descriptor_map}{did_you_mean(descriptor_map, backbone.channels)}"
            )
        self.detector = detector
        self.head = head
        self.backbone = backbone
        self.descriptor_map = descriptor_map
        self.multiple = lcm(detector.multiple, 1 if backbone is None else backbone.multiple)
        self.resize = resize
        self.enlarge = enlarge
        self.fitting()  # refuses what is out of range
        self._remembered = Remembered(memory)
        self.eval()

    def match(self, image0: ImageLike, image1: ImageLike) -> SparseCorrespondence:
        """Match two images; each may be a path, a PIL image, an array or an `Image`.

        Returns:
            The correspondence, in pixels of the images' originals.

        Raises:
            DataError: an image that cannot be read; the message names it.
        """
        given = as_image(image0), as_image(image1)
        with torch.inference_mode():
            seen0, seen1 = self._together(*given) if self._joint else map(self._alone, given)
        side0, side1 = (
            Side(size=image.size, to_original=image.to_original, seen_size=seen.features.image_size)
            for image, seen in zip(given, (seen0, seen1), strict=True)
        )
        reads = isinstance(self.head, TransferHead) and self.backbone is not None
        return SparseCorrespondence(
            (side0, side1), (seen0, seen1), self.head, reader=cast(TransferHead, self.head) if reads else None
        )

    def fitting(self) -> Fitting:
        """Return how images are resized before the parts see them."""
        return Fitting(multiple=self.multiple, resize=self.resize, enlarge=self.enlarge)

    def use_cache(self, cache: FeatureCache, recipe: str) -> None:
        """Keep what is extracted on disk too, where later runs and other processes find it.

        Args:
            cache: where to keep it.
            recipe: hash of all that decides the features but the pixels; `load_matcher` makes it.
        """
        self._remembered.use_cache(cache, recipe)

    def forget(self) -> None:
        """Drop everything that was extracted and is held in memory."""
        self._remembered.forget()

    @property
    def _joint(self) -> bool:
        return self.backbone is not None and self.backbone.joint

    def _alone(self, image: Image) -> Extraction:
        return self._extracted([self.fitting().alone(image)])[0]

    def _together(self, image0: Image, image1: Image) -> list[Extraction]:
        return self._extracted(list(self.fitting().together(image0, image1)))

    def _extracted(self, images: list[Image]) -> list[Extraction]:
        device = self._device

        def make() -> list[Extraction]:
            views = torch.stack([image.pixels for image in images]).to(device)
            return extract(
                views, backbone=self.backbone, detector=self.detector, descriptor_map=self.descriptor_map
            )

        return self._remembered.get(images, make, device=device)

    @property
    def _device(self) -> torch.device:
        held = next(chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if held is None else held.device
