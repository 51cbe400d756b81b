"""Match images densely: features of both views, then a head that says where every pixel went."""

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Literal, get_args

import torch
from torch import nn

from homolog.core.dense import DenseField
from homolog.core.errors import ConfigError, did_you_mean
from homolog.core.feature_cache import FeatureCache
from homolog.core.features import Features
from homolog.core.image import Image
from homolog.core.io import as_image
from homolog.core.protocols import Backbone, DenseHead, ImageLike
from homolog.matchers.dense_correspondence import DenseCorrespondence
from homolog.matchers.extraction import Extraction, extract
from homolog.matchers.fitting import Fitting
from homolog.matchers.remembered import Remembered
from homolog.matchers.side import Side

Passes = Literal["one", "mean", "first"]


class DenseMatcher(nn.Module):
    """Backbone and dense head as one method.

    Both images are brought to one size halfway between theirs, and remembered by content as those of
    `SparseMatcher` are: single images, or ordered pairs for a joint backbone. After changing weights or
    settings of the backbone in place, call `forget`.
    """

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
        memory: int = 512_000_000,
    ) -> None:
        """Put the parts together; the matcher starts in evaluation mode.

        Args:
            backbone: gives the maps.
            head: a `DenseHead`.
            passes: how often, and in which order, the images go through. VGGT tells the first view from the
                others, so swapping the images does not swap its answers. `one` goes through once, as
                given, which is the plain reading of the VGGT-prior matcher's "source" and "target". `mean`
                goes through in both orders and averages the two fields of each image; `first` too, and
                takes for each image the field of the pass in which it was first. After both of these,
                swapped images have swapped answers.
            spacing: pixels, as the networks see image 0, between the points that `matches` moves.
            cycle: `matches` leaves out points that end farther than this from where they started after
                going there and back, in pixels as the networks see image 0; None leaves out none.
            resize: images are scaled down to this longer side, in pixels; None keeps their size up to the
                multiple that the backbone requires.
            enlarge: also scale smaller images up to `resize`.
            memory: bytes of extracted features to remember.

        Raises:
            ConfigError: a head of another kind or one that cannot read the backbone's maps, or a setting out
                of range.
        """
        super().__init__()
        if not isinstance(head, DenseHead):
            raise ConfigError(
                f"a dense matcher expects a dense head such as dense_grid, got {type(head).__name__}; "
                "take that one with a sparse matcher, such as matcher=mini"
            )
        if passes not in get_args(Passes):
            raise ConfigError(f"no passes named {passes}{did_you_mean(passes, get_args(Passes))}")
        if spacing < 1 or (cycle is not None and cycle < 0):
            raise ConfigError(
                f"expected spacing of at least 1 pixel, and cycle of 0 pixels or more or null, got {spacing} and {cycle}"
            )
        head.check(backbone)
        self.backbone = backbone
        self.head = head
        self.passes = passes
        self.spacing = spacing
        self.cycle = cycle
        self.multiple = backbone.multiple
        self.resize = resize
        self.enlarge = enlarge
        self.fitting()  # refuses what is out of range
        self._remembered = Remembered(memory)
        self.eval()

    def match(self, image0: ImageLike, image1: ImageLike) -> DenseCorrespondence:
        """Match two images; each may be a path, a PIL image, an array or an `Image`.

        Returns:
            The correspondence, in pixels of the images' originals.

        Raises:
            DataError: an image that cannot be read; the message names it.
        """
        given = as_image(image0), as_image(image1)
        first, second = self.fitting().together(*given)
        orders = [(first, second)] if self.passes == "one" else [(first, second), (second, first)]
        with torch.inference_mode():
            seen = [self._extracted(order) for order in orders]
        side0, side1 = (
            Side(size=image.size, to_original=image.to_original, seen_size=first.size) for image in given
        )
        return DenseCorrespondence(
            (side0, side1), partial(self._solve, seen), spacing=self.spacing, cycle=self.cycle
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

    def _extracted(self, images: tuple[Image, Image]) -> list[Extraction]:
        if self.backbone.joint:
            return self._remember(images)
        return [self._remember([image])[0] for image in images]

    def _remember(self, images: Sequence[Image]) -> list[Extraction]:
        device = self._device

        def make() -> list[Extraction]:
            return extract(torch.stack([image.pixels for image in images]).to(device), backbone=self.backbone)

        return self._remembered.get(images, make, device=device)

    def _solve(self, seen: list[list[Extraction]]) -> tuple[DenseField, DenseField]:
        field0, field1 = self.head(_joined(seen[0]))
        if self.passes == "one":
            return field0, field1
        other1, other0 = self.head(_joined(seen[1]))
        if self.passes == "first":
            return field0, other1
        return _mean(field0, other0), _mean(field1, other1)

    @property
    def _device(self) -> torch.device:
        held = next(chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if held is None else held.device


def _joined(seen: list[Extraction]) -> Features:
    """Return the features of both views as those of one pair, V = 2."""
    first, second = (each.features for each in seen)
    maps = {name: torch.cat((map_, second[name]), dim=1) for name, map_ in first.maps.items()}
    return Features(maps=maps, image_size=first.image_size)


def _mean(one: DenseField, other: DenseField) -> DenseField:
    return DenseField(grid=(one.grid + other.grid) / 2, confidence=(one.confidence + other.confidence) / 2)
