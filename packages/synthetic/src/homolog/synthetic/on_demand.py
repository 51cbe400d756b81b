"""The base of all sources of synthetic data: each sample is made when it is asked for, from its index alone."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import UInt8

from homolog.core.coords import Size
from homolog.core.errors import ConfigError
from homolog.core.samples import PairSample
from homolog.synthetic.correspondence import DenseTruth
from homolog.synthetic.rendering.photometry import as_sample_image
from homolog.synthetic.seeds import Seeds, Split

SMALLEST = 16
"""Smallest side of an image in pixels; less shows nothing that could be matched."""


class OnDemand:
    """A sequence of samples that depend on the settings and the index only, not on the order or the worker."""

    _what: ClassVar[str] = "pair"

    def __init__(self, *, count: int, size: int | Sequence[int], seed: int, split: str) -> None:
        """Raise ConfigError for a negative count, images that are too small, or an unknown split."""
        check_at_least(0, count=count)
        self._count, self._size = count, image_size(size)
        self._seed, self._split = seed, Split.named(split)

    def __len__(self) -> int:
        return self._count

    def _seeds(self, index: int) -> Seeds:
        if not 0 <= index < self._count:
            raise IndexError(f"expected the index of a {self._what} in [0, {self._count}), got {index}")
        return Seeds(seed=self._seed, split=self._split, index=index)

    def _name(self, kind: str, index: int) -> str:
        """Return a name that is unique within the data set."""
        return f"{kind}-{self._split.name}-{self._seed}-{index}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KnownPair(ABC):
    """Everything that is known about a pair; `sample` is the training sample.

    Attributes:
        pictures: pixels of both images.
        truths: the dense truth on image 0, and the one on image 1.
        name: unique within its data set.
    """

    pictures: tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W 3"]]
    truths: tuple[DenseTruth, DenseTruth]
    name: str

    @abstractmethod
    def sample(self) -> PairSample:
        """Return the part that a matcher is trained on."""

    def _sample(self, **known: Any) -> PairSample:
        """Add images, dense truth and name to what else is known."""
        image0, image1 = (
            as_sample_image(picture, f"{self.name}/{side}") for side, picture in enumerate(self.pictures)
        )
        dense0, dense1 = (truth.field() for truth in self.truths)
        return PairSample(image0=image0, image1=image1, dense0=dense0, dense1=dense1, name=self.name, **known)


class PairsOnDemand(OnDemand, ABC):
    """A source of pairs."""

    def __getitem__(self, index: int) -> PairSample:
        return self.pair(index).sample()

    @abstractmethod
    def pair(self, index: int) -> KnownPair:
        """Make one pair with everything that is known about it.

        Raises:
            IndexError: the index is out of range.
            DataError: a file that the pair is made from cannot be used.
        """


def image_size(size: int | Sequence[int]) -> Size:
    """Return (height, width) from one number for both, or from both.

    Raises:
        ConfigError: not one or two numbers, or a side below `SMALLEST`.

    >>> image_size(64), image_size([48, 64])
    ((64, 64), (48, 64))
    """
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or min(sides) < SMALLEST:
        raise ConfigError(
            f"expected a size of at least {SMALLEST}: a number, or [height, width]; got {size!r}"
        )
    return int(sides[0]), int(sides[1])


def check_at_least(low: float | int, **settings: float | int) -> None:
    """Check settings, given by name, against a lower bound.

    Raises:
        ConfigError: one is smaller.
    """
    for name, value in settings.items():
        if value < low:
            raise ConfigError(f"expected {name} >= {low}, got {value}")


def check_within(low: float | int, high: float | int, **settings: float | int) -> None:
    """Check settings, given by name, against both bounds, which are allowed themselves.

    Raises:
        ConfigError: one is outside.
    """
    for name, value in settings.items():
        if not low <= value <= high:
            raise ConfigError(f"expected {name} in [{low}, {high}], got {value}")
