"""What data sets of image pairs share: they are listed at once, and each pair is read on access."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from homolog.core.samples import PairSample

Pair = TypeVar("Pair")


class ListedPairs(ABC, Generic[Pair]):
    """Listed pairs; a subclass sets `_pairs`, and makes a sample of one of them."""

    _pairs: Sequence[Pair]

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> PairSample:
        """Read a pair.

        Raises:
            DataError: a file is missing or damaged, or differs from its annotation.
            MissingDependencyError: a library that reads the files is not installed.
        """
        index = range(len(self))[index]
        return self._read(index, self._pairs[index])

    @abstractmethod
    def _read(self, index: int, pair: Pair, /) -> PairSample: ...
