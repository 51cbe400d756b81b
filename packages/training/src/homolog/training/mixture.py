"""Which sample comes when: a pure function of numbers, so that neither workers nor interruptions matter."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from homolog.core.errors import ConfigError, did_you_mean
from homolog.core.samples import PairSample
from homolog.training.batch import swapped


@runtime_checkable
class Source(Protocol):
    """Pairs by number, the same whenever they are asked for."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __getitem__(self, index: int, /) -> PairSample:
        """Return one."""
        ...


class Mixture:
    """Samples of several sources in given shares; the n-th is the same whenever it is asked for.

    A source alone or in turns is gone through in random orders, a new one each time around. Of several
    that are drawn, each has a place of its own for every number, taken or not: that keeps the n-th sample
    a function of n, and over many rounds a source is seen evenly all the same.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        shares: Mapping[str, float | int],
        *,
        count: int,
        seed: int,
        swap: float | int = 0.0,
        cycle: bool = False,
        group: int = 1,
    ) -> None:
        """Choose what to mix.

        Args:
            sources: by name.
            shares: of each source that takes part; relative to their sum.
            count: number of samples.
            seed: of all choices.
            swap: how often the two images of a pair change places, in [0, 1].
            cycle: groups take turns by the shares instead of being drawn: MATCHA's alternating batches.
            group: this many samples in a row come from one source: the size of a batch, where batches
                are not to be mixed.

        Raises:
            ConfigError: a share of no source or below 0, an empty source, or numbers out of range.
        """
        taking = {name: share for name, share in shares.items() if share}
        wrong = [name for name in taking if name not in sources]
        if wrong:
            raise ConfigError(f"no source named {wrong[0]}{did_you_mean(wrong[0], sources)}")
        if not taking or min(taking.values()) < 0 or count < 0 or group < 1 or not 0 <= swap <= 1:
            raise ConfigError(
                "expected shares above 0, a count of 0 or more, groups of at least 1 and swap in [0, 1], got "
                f"{dict(shares)}, {count}, {group} and {swap}"
            )
        empty = [name for name in taking if not len(sources[name])]
        if empty:
            raise ConfigError(f"expected samples in the source {empty[0]}, got none; leave it out or fill it")
        self._sources = [sources[name] for name in taking]
        self._names = tuple(taking)
        self._shares = np.array(list(taking.values())) / sum(taking.values())
        self._count, self._seed, self._swap, self._group = count, seed, swap, group
        self._orders: dict[int, tuple[int, np.ndarray]] = {}
        self._turns = self._in_turn(self._shares) if cycle else None

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._count

    def __getitem__(self, index: int) -> PairSample:
        """Return one sample.

        Raises:
            IndexError: there is none.
        """
        if not 0 <= index < self._count:
            raise IndexError(f"expected a sample in [0, {self._count}), got {index}")
        source, place = self.place(index)
        sample = self._sources[self._names.index(source)][place]
        return swapped(sample) if self._random(2, index).random() < self._swap else sample

    def place(self, index: int) -> tuple[str, int]:
        """Return the source of the n-th sample and its index there."""
        group, member = divmod(index, self._group)
        which = self._which(group)
        # How often this source came before decides how far it has been gone through.
        before = self._before(group, which) * self._group + member
        turn, step = divmod(before, len(self._sources[which]))
        return self._names[which], int(self._order(which, turn)[step])

    def _which(self, group: int) -> int:
        if self._turns is not None:
            return self._turns[group % len(self._turns)]
        return int(self._random(0, group).choice(len(self._sources), p=self._shares))

    def _before(self, group: int, which: int) -> int:
        if len(self._sources) == 1:
            return group
        if self._turns is not None:
            rounds, rest = divmod(group, len(self._turns))
            return rounds * self._turns.count(which) + self._turns[:rest].count(which)
        return group  # drawn anew: each group has a place of its own in every source

    def _order(self, which: int, turn: int) -> np.ndarray:
        if which not in self._orders or self._orders[which][0] != turn:
            order = self._random(1, which, turn).permutation(len(self._sources[which]))
            self._orders[which] = (turn, order)
        return self._orders[which][1]

    def _random(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=key))

    @staticmethod
    def _in_turn(shares: np.ndarray) -> list[int]:
        """Spread the sources over one round of at most 64 groups as evenly as their shares say."""
        smallest = shares.min()
        rounds = min(64, max(len(shares), round(1 / smallest)))
        due, turns = np.zeros(len(shares)), list[int]()
        for _ in range(rounds):
            due += shares
            which = int(due.argmax())
            due[which] -= 1
            turns.append(which)
        return turns
