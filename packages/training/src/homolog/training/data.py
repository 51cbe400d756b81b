"""What a stage sees, batch by batch: a function of the number of the step alone."""

from collections.abc import Iterator, Mapping
from functools import partial

import lightning.pytorch as pl
from torch.utils.data import DataLoader, Dataset

from homolog.core.coords import Size
from homolog.core.samples import PairSample
from homolog.training.batch import collate
from homolog.training.mixture import Mixture, Source
from homolog.training.stage import Stage


class StageData(pl.LightningDataModule):
    """The batches of a stage, from the step at which the training stands.

    Samples are counted through steps, batches of a step, processes and places in a batch. So two processes
    with batches of four see in a step what one with batches of eight sees, and a resumed training goes on
    with the batch that comes next.
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
        """Choose the data.

        Args:
            sources: by name; those of the stage.
            stage: shares, sizes of batches and the number of steps.
            size: (height, width) of the images that networks see.
            seed: of the stage.
            swap: how often the images of a pair change places.
            workers: processes that read samples; 0 reads them in this one.
        """
        super().__init__()
        self._sources, self._stage, self._size = sources, stage, size
        self._seed, self._swap, self._workers = seed, swap, workers

    def train_dataloader(self) -> DataLoader[PairSample]:
        """Return the batches from the trainer's present step on."""
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
            # All processes take the same turn.
            group=world * stage.batch if stage.alternate else 1,
        )
        return DataLoader(
            _Samples(mixture),
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


class _Samples(Dataset[PairSample]):
    def __init__(self, mixture: Mixture) -> None:
        self._mixture = mixture

    def __getitem__(self, index: int) -> PairSample:
        return self._mixture[index]


class _Batches:
    """Numbers of samples, batch by batch.

    Without a length: Lightning would count batches of an epoch, and a resumed one has fewer.
    """

    def __init__(self, *, begin: int, end: int, size: int, rank: int, world: int) -> None:
        self._begin, self._end, self._size, self._rank, self._world = begin, end, size, rank, world

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(self._begin, self._end):
            first = (number * self._world + self._rank) * self._size
            yield list(range(first, first + self._size))
