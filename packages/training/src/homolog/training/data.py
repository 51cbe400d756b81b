"""Training data: sources, how they are mixed, and the batches of a stage."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Protocol, runtime_checkable

import lightning.pytorch as pl
import numpy as np
from torch.utils.data import DataLoader, Dataset

from homolog.core.coords import Size
from homolog.core.errors import ConfigError, did_you_mean
from homolog.core.samples import PairSample
from homolog.training.batch import collate, swapped
from homolog.training.stage import Stage


@runtime_checkable
class Source(Protocol):
    """A data set of pairs; the same index always gives the same pair."""

    def __len__(self) -> int:
        """Return the number of pairs."""
        ...

    def __getitem__(self, index: int, /) -> PairSample:
        """Return one pair."""
        ...


class Mixture(Dataset[PairSample]):
    """Mixes several sources by weight; sample n depends only on the seed and n.

    A single source, or sources that take turns, are traversed in random order, with a new order in each
    epoch. Where sources are drawn at random, every source advances with every sample, whether it is drawn or
    not. This keeps sample n a function of n, and over many epochs a source is still covered evenly.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        weights: Mapping[str, float | int],
        *,
        count: int,
        seed: int,
        swap: float | int = 0.0,
        cycle: bool = False,
        group: int = 1,
    ) -> None:
        """Set up the mixture.

        Args:
            sources: sources by name.
            weights: weight of each source; they need not sum to 1.
            count: number of samples.
            seed: seed of all random choices.
            swap: probability of swapping the two images of a pair, in [0, 1].
            cycle: sources take turns instead of being drawn at random (MATCHA's alternating batches).
            group: number of consecutive samples that come from one source: the batch size, if a batch must
                not mix sources.

        Raises:
            ConfigError: a weight of an unknown source or below 0, an empty source, or numbers out of range.
        """
        taking = {name: weight for name, weight in weights.items() if weight}
        wrong = [name for name in taking if name not in sources]
        if wrong:
            raise ConfigError(f"no source named {wrong[0]}{did_you_mean(wrong[0], sources)}")
        if not taking or min(taking.values()) < 0 or count < 0 or group < 1 or not 0 <= swap <= 1:
            raise ConfigError(
                "expected weights above 0, a count of 0 or more, groups of at least 1 and swap in [0, 1], got "
                f"{dict(weights)}, {count}, {group} and {swap}"
            )
        empty = [name for name in taking if not len(sources[name])]
        if empty:
            raise ConfigError(f"expected samples in the source {empty[0]}, got none; leave it out or fill it")
        self._sources = [sources[name] for name in taking]
        self._names = tuple(taking)
        self._weights = np.array(list(taking.values())) / sum(taking.values())
        self._count, self._seed, self._swap, self._group = count, seed, swap, group
        self._orders: dict[int, tuple[int, np.ndarray]] = {}
        self._turns = self._in_turn(self._weights) if cycle else None

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._count

    def __getitem__(self, index: int) -> PairSample:
        """Return one sample.

        Raises:
            IndexError: the index is out of range.
        """
        if not 0 <= index < self._count:
            raise IndexError(f"expected a sample in [0, {self._count}), got {index}")
        source, place = self.place(index)
        sample = self._sources[self._names.index(source)][place]
        return swapped(sample) if self._random(2, index).random() < self._swap else sample

    def place(self, index: int) -> tuple[str, int]:
        """Return the source of sample `index` and the index within that source."""
        group, member = divmod(index, self._group)
        which = self._which(group)
        # The number of earlier samples of this source gives the position in its current order.
        before = self._before(group, which) * self._group + member
        turn, step = divmod(before, len(self._sources[which]))
        return self._names[which], int(self._order(which, turn)[step])

    def _which(self, group: int) -> int:
        if self._turns is not None:
            return self._turns[group % len(self._turns)]
        return int(self._random(0, group).choice(len(self._sources), p=self._weights))

    def _before(self, group: int, which: int) -> int:
        if len(self._sources) == 1:
            return group
        if self._turns is not None:
            rounds, rest = divmod(group, len(self._turns))
            return rounds * self._turns.count(which) + self._turns[:rest].count(which)
        return group  # drawn at random: every source advances with every group

    def _order(self, which: int, turn: int) -> np.ndarray:
        if which not in self._orders or self._orders[which][0] != turn:
            order = self._random(1, which, turn).permutation(len(self._sources[which]))
            self._orders[which] = (turn, order)
        return self._orders[which][1]

    def _random(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=key))

    @staticmethod
    def _in_turn(weights: np.ndarray) -> list[int]:
        """Spread the sources over one round of at most 64 groups in proportion to their weights."""
        smallest = weights.min()
        rounds = min(64, max(len(weights), round(1 / smallest)))
        due, turns = np.zeros(len(weights)), list[int]()
        for _ in range(rounds):
            due += weights
            which = int(due.argmax())
            due[which] -= 1
            turns.append(which)
        return turns


class SparseSource:
    """Hides dense labels, depth, poses and homographies of another source: synthetic pairs in place of photos."""

    def __init__(self, source: Source) -> None:
        """Wrap a source."""
        self._source = source

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self._source)

    def __getitem__(self, index: int, /) -> PairSample:
        """Return one pair."""
        hidden = dict.fromkeys(("dense0", "dense1", "depth0", "depth1", "pose", "homography"))
        return replace(self._source[index], **hidden)


def mixed_seed(*numbers: int) -> int:
    """Return one well-mixed seed for several non-negative numbers.

    >>> mixed_seed(0, 1) == mixed_seed(0, 1), mixed_seed(0, 1) == mixed_seed(1, 0)
    (True, False)
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


class StageData(pl.LightningDataModule):
    """The batches of a stage, beginning at the trainer's current step.

    Samples are numbered by step, accumulated batch, process and position in the batch. Therefore two processes
    with batches of 4 see in one step the same pairs as one process with batches of 8, and a resumed training
    continues with the next batch.
    """

    def __init__(
        self,
        *,
        sources: Mapping[str, Source],
        stage: Stage,
        size: Size,
        seed: int,
        swap: float | int,
        workers: int = 0,
    ) -> None:
        """Set up the data of a stage.

        Args:
            sources: the stage's sources by name.
            stage: weights of the sources, batch size and number of steps.
            size: (height, width) of the network's input images.
            seed: seed of the stage.
            swap: probability of swapping the images of a pair.
            workers: number of processes that load samples; 0 loads them in this process.
        """
        super().__init__()
        self._sources, self._stage, self._size = sources, stage, size
        self._seed, self._swap, self._workers = seed, swap, workers

    def train_dataloader(self) -> DataLoader[PairSample]:
        """Return the batches, beginning at the trainer's current step."""
        trainer, stage = self.trainer, self._stage
        if trainer is None:
            raise RuntimeError("StageData: expected a trainer; hand it to Trainer.fit")
        world, begun = trainer.world_size, trainer.global_step * stage.accumulate
        mixture = Mixture(
            self._sources,
            stage.data,
            count=stage.steps * stage.accumulate * world * stage.batch,
            seed=self._seed,
            swap=self._swap,
            cycle=stage.alternate,
            # All processes take turns together.
            group=world * stage.batch if stage.alternate else 1,
        )
        return DataLoader(
            mixture,
            batch_sampler=_Batches(
                begin=begun,
                end=stage.steps * stage.accumulate,
                size=stage.batch,
                rank=trainer.global_rank,
                world=world,
            ),
            collate_fn=partial(collate, size=self._size),
            num_workers=self._workers,
        )


class _Batches:
    """Yields the sample numbers of each batch.

    It has no length: Lightning would compare it with the batches of an epoch, and a resumed epoch has fewer.
    """

    def __init__(self, *, begin: int, end: int, size: int, rank: int, world: int) -> None:
        self._begin, self._end, self._size, self._rank, self._world = begin, end, size, rank, world

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(self._begin, self._end):
            first = (number * self._world + self._rank) * self._size
            yield list(range(first, first + self._size))
