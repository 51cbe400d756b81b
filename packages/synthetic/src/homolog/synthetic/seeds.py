"""One independent source of random numbers per sample and factor."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, cast

import numpy as np
from jaxtyping import UInt64
from numpy.random.bit_generator import ISeedSequence

from homolog.core.errors import ConfigError, did_you_mean
from homolog.synthetic.compiled import compiled

_POOL, _WORD = 4, (1 << 32) - 1


class Split(IntEnum):
    """Part of a data set; equal indices of different splits give unrelated samples."""

    trn = 0
    val = 1
    test = 2

    @classmethod
    def named(cls, name: str) -> "Split":
        """Return a split by its name.

        Raises:
            ConfigError: unknown name.
        """
        if name not in cls.__members__:
            raise ConfigError(f"no split named {name}{did_you_mean(name, cls.__members__)}")
        return cls[name]


class Factor(IntEnum):
    """What a stream of random numbers decides; the values are part of every data set's definition."""

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

    def __post_init__(self) -> None:
        """Raise ConfigError for a negative seed or index."""
        if min(self.seed, self.index) < 0:
            raise ConfigError(f"expected seed and index >= 0, got {self.seed}, {self.index}")

    def generator(self, factor: Factor, member: int = 0) -> np.random.Generator:
        """Return the stream of a factor: that of `SeedSequence(seed, spawn_key=(split, index, factor, member))`.

        Args:
            factor: what it decides.
            member: which of several, such as view 0 or 1 of a pair, or the third object.
        """
        numbers = (self.seed, self.split, self.index, factor, member)
        if max(numbers) <= _WORD:
            entropy = [self.seed, *(0,) * (_POOL - 1), *numbers[1:]]
        else:
            entropy = _words(int(self.seed))
            entropy += [0] * (_POOL - len(entropy))
            entropy += [word for key in numbers[1:] for word in _words(int(key))]
        state = np.empty(4, np.uint64)
        _mix(np.array(entropy, np.uint32), state)
        # Its stubs leave out that PCG64 takes any ISeedSequence.
        return np.random.Generator(np.random.PCG64(cast(np.random.SeedSequence, _Known(state))))


class _Known(ISeedSequence):
    """Returns the state of a `SeedSequence`, which takes ten times as long to make."""

    def __init__(self, state: UInt64[np.ndarray, "4"]) -> None:
        self._state = state

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> UInt64[np.ndarray, "4"]:
        return self._state


def _words(number: int) -> list[int]:
    """Return the digits of a number in base 2^32, the lowest first; one digit at least."""
    words = [number & _WORD]
    while number := number >> 32:
        words.append(number & _WORD)
    return words


@compiled
def _mix(entropy: np.ndarray, state: np.ndarray) -> None:
    """Do what numpy's `SeedSequence` does, which never changes (NEP 19; O'Neill 2015, seed_seq_fe128)."""
    pool, word, high = np.empty(4, np.uint64), np.uint64(0xFFFFFFFF), np.uint64(16)
    constant = np.uint64(0x43B0D7E5)
    for target in range(4):
        value = entropy[target] ^ constant
        constant = (constant * np.uint64(0x931E8875)) & word
        value = (value * constant) & word
        pool[target] = value ^ (value >> high)
    # Every word of the pool into every other one, then those that did not fit into all.
    for source in range(len(entropy)):
        for target in range(4):
            if source == target:
                continue
            value = (pool[source] if source < 4 else np.uint64(entropy[source])) ^ constant
            constant = (constant * np.uint64(0x931E8875)) & word
            value = (value * constant) & word
            value ^= value >> high
            mixed = (pool[target] * np.uint64(0xCA01F9DD) - value * np.uint64(0x4973F715)) & word
            pool[target] = mixed ^ (mixed >> high)
    constant = np.uint64(0x8B51F9DD)
    for n in range(8):
        value = pool[n % 4] ^ constant
        constant = (constant * np.uint64(0x58F38DED)) & word
        value = (value * constant) & word
        value ^= value >> high
        state[n // 2] = value if n % 2 == 0 else state[n // 2] | (value << np.uint64(32))
