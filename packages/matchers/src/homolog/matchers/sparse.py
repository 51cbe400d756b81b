"""Match images through keypoints: extract each image once, then compare."""

from math import lcm
from typing import cast

import torch
from torch import Tensor, nn

from homolog.core.coords import Size
from homolog.core.errors import ConfigError, did_you_mean
from homolog.core.feature_cache import FeatureCache
from homolog.core.image import Image
from homolog.core.protocols import Backbone, Detector, ImageLike, SparseHead, TransferHead
from homolog.core.reading import as_image
from homolog.core.resize import fit, fitted_size, resize
from homolog.matchers.correspondence import Side, SparseCorrespondence
from homolog.matchers.extraction import Extraction, extract
from homolog.matchers.recall import Recall
from homolog.matchers.stored import Stored


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
        describe: str | None = None,
        longest: int | None = None,
        enlarge: bool = False,
        memory: int = 512_000_000,
    ) -> None:
        """Put the parts together; the matcher starts in evaluation mode.

        Args:
            detector: finds the keypoints.
            head: pairs them; one that is a `TransferHead` too can transfer points, given a backbone.
            backbone: gives the maps; None for a detector that describes its keypoints itself.
            describe: the backbone's map whose values describe the keypoints, and the one that points
                are transferred on; None keeps the detector's own descriptors, and all maps.
            longest: images are scaled down to this longer side, in pixels; None keeps their size up to
                the multiples that the parts require.
            enlarge: also scale smaller images up to `longest`.
            memory: bytes of extracted features to remember.

        Raises:
            ConfigError: a map to describe by without a backbone or that it does not have, or sizes out
                of range.
        """
        super().__init__()
        if describe is not None and backbone is None:
            raise ConfigError(
                f"expected a backbone that has the map {describe}, got none; set backbone or describe=null"
            )
        if describe is not None and backbone is not None and describe not in backbone.channels:
            raise ConfigError(
                f"the backbone has no map {describe}{did_you_mean(describe, backbone.channels)}"
            )
        if longest is not None and longest < 1:
            raise ConfigError(f"expected longest of at least 1 pixel or null, got {longest}")
        self.detector = detector
        self.head = head
        self.backbone = backbone
        self.describe = describe
        self.longest = longest
        self.enlarge = enlarge
        self.multiple = lcm(detector.multiple, 1 if backbone is None else backbone.multiple)
        self._recall: Recall[list[Extraction]] = Recall(memory)
        self._stored: Stored | None = None
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
            Side(size=image.size, frame=image.frame, seen=seen)
            for image, seen in zip(given, (seen0, seen1), strict=True)
        )
        reads = isinstance(self.head, TransferHead) and self.backbone is not None
        return SparseCorrespondence(
            side0, side1, self.head, reader=cast(TransferHead, self.head) if reads else None
        )

    def use_cache(self, cache: FeatureCache, recipe: str) -> None:
        """Keep what is extracted on disk too, where later runs and other processes find it.

        Args:
            cache: where to keep it.
            recipe: hash of all that decides the features but the pixels; `load_matcher` makes it.
        """
        self._stored = Stored(cache=cache, recipe=recipe)
        self.forget()

    def forget(self) -> None:
        """Drop everything that was extracted and is held in memory."""
        self._recall.clear()

    @property
    def _joint(self) -> bool:
        return self.backbone is not None and self.backbone.joint

    def _alone(self, image: Image) -> Extraction:
        fitted = fit(image, longest=self.longest, multiple=self.multiple, enlarge=self.enlarge)
        return self._extracted([fitted])[0]

    def _together(self, image0: Image, image1: Image) -> list[Extraction]:
        size = self._common_size(image0.size, image1.size)
        return self._extracted([resize(image0, size), resize(image1, size)])

    def _common_size(self, size0: Size, size1: Size) -> Size:
        # Halfway between the shapes, so that neither image is squeezed more than the other.
        sizes = [
            fitted_size(size, longest=self.longest, multiple=self.multiple, enlarge=self.enlarge)
            for size in (size0, size1)
        ]
        height, width = ((first + second) // 2 for first, second in zip(*sizes, strict=True))
        return fitted_size((height, width), multiple=self.multiple)

    def _extracted(self, images: list[Image]) -> list[Extraction]:
        device = self._device
        digests = [image.digest() for image in images]

        def make() -> list[Extraction]:
            views = torch.stack([image.pixels for image in images]).to(device)
            return extract(views, backbone=self.backbone, detector=self.detector, describe=self.describe)

        def find() -> list[Extraction]:
            return make() if self._stored is None else self._stored.get(digests, make, device=device)

        return self._recall.get(
            (str(device), *digests), find, lambda seen: sum(each.weight() for each in seen)
        )

    @property
    def _device(self) -> torch.device:
        held: list[Tensor] = [*self.parameters(), *self.buffers()]
        return held[0].device if held else torch.device("cpu")
