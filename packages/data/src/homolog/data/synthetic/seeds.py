"""One independent source of random numbers per sample and factor."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from homolog.core.errors import ConfigError, did_you_mean


class Split(IntEnum):
    """Which part of a data set; equal indices of different splits have nothing in common."""

    trn = 0
    val = 1
    test = 2

    @classmethod
    def named(cls, name: str) -> "Split":
        """Return a split by its name.

        Raises:
            ConfigError: there is none of that name.
        """
        if name not in cls.__members__:
            raise ConfigError(f"no split named {name}{did_you_mean(name, cls.__members__)}")
        return cls[name]


class Factor(IntEnum):
    """What a source of random numbers decides; the numbers are part of every data set's definition."""

    choice = 0
    shape = 1
    pose = 2
    camera = 3
    light = 4
    texture = 5
    background = 6
    occluder = 7
    photometry = 8
    layout = 9
    motion = 10
    queries = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """The random numbers of one sample.

    Each factor draws from a stream of its own (spawn keys of `numpy.random.SeedSequence`), so that one can
    be drawn again, or draw more, without any other being changed, and so that neither order nor number of
    workers matters.

    Attributes:
        seed: of the data set.
        split: of the data set.
        index: of the sample.
    """

    seed: int
    split: Split
    index: int

    def generator(self, factor: Factor, member: int = 0) -> np.random.Generator:
        """Return the stream of a factor.

        Args:
            factor: what it decides.
            member: which of several, such as view 0 or 1 of a pair, or the third object.
        """
        key = (int(self.split), self.index, int(factor), member)
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=key)))
