"""What all sources of made-up data have in common: samples are made when asked for, from their index alone."""

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol, runtime_checkable

from homolog.core.coords import Size
from homolog.core.samples import PairSample
from homolog.synthetic.seeds import Seeds, Split


@runtime_checkable
class KnownPair(Protocol):
    """Everything that is known of a pair."""

    def sample(self) -> PairSample:
        """Return what a matcher learns from."""
        ...


class OnDemand:
    """A sequence of samples, each the same whatever was made before and whichever worker makes it."""

    _what: ClassVar[str] = "pair"

    def __init__(self, *, count: int, size: Size, seed: int, split: str) -> None:
        """Choose how many and which.

        Args:
            count: number of samples.
            size: (height, width) of the images in pixels.
            seed: of everything.
            split: equal indices of different splits have nothing in common.

        Raises:
            ConfigError: no split of that name.
        """
        self._count, self._size, self._seed, self._split = count, size, seed, Split.named(split)

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._count

    def _seeds(self, index: int) -> Seeds:
        if not 0 <= index < self._count:
            raise IndexError(f"expected the index of a {self._what} in [0, {self._count}), got {index}")
        return Seeds(seed=self._seed, split=self._split, index=index)

    def _name(self, kind: str, index: int) -> str:
        """Return a name that is unique within the data set."""
        return f"{kind}-{self._split.name}-{self._seed}-{index}"


class PairsOnDemand(OnDemand, ABC):
    """Such a sequence of pairs."""

    def __getitem__(self, index: int) -> PairSample:
        """Make one pair; raises what `pair` raises."""
        return self.pair(index).sample()

    @abstractmethod
    def pair(self, index: int) -> KnownPair:
        """Make one pair with everything that is known of it.

        Raises:
            IndexError: there is no such pair.
            DataError: a file that it is made from cannot be used.
        """
