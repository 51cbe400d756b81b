"""Validation: loss terms of held-out samples at intervals, without any effect on the training."""

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn

from homolog.core.atomic import write_json
from homolog.core.coords import Size
from homolog.core.errors import ConfigError, DataError
from homolog.training.batch import PairBatch, collate
from homolog.training.callbacks import IntervalCallback
from homolog.training.data import Source, mixed_seed
from homolog.training.module import MatcherModule
from homolog.training.objectives.base import Step

BEST, RECORD = "best", "best.json"
"""Folder of the best weights within a stage's folder, and its record of step and loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Settings of the validation, from the recipe's YAML.

    Attributes:
        source: makes the source of held-out samples; called when a stage begins.
        pairs: number of samples, drawn once with the recipe's seed; at most all of them.
        every: steps between validations; the last step of a stage is always validated.
        keep_best: also export the weights with the lowest validation loss.
    """

    source: Callable[[], Source]
    pairs: int = 64
    every: int = 500
    keep_best: bool = False

    def __post_init__(self) -> None:
        """Validate the settings.

        Raises:
            ConfigError: numbers below 1.
        """
        if self.pairs < 1 or self.every < 1:
            raise ConfigError(
                f"validation: expected pairs and every of at least 1, got {self.pairs} and {self.every}"
            )


class ValidationCallback(IntervalCallback):
    """Logs the unweighted terms of held-out samples as `valid/<term>`, and their weighted sum as `valid/loss`.

    Every validation uses the same samples, batches and random numbers, so results differ by the weights alone.
    The matcher is in evaluation mode meanwhile. Afterwards the random state, the modes and the gradients of the
    training are as before. Every process evaluates all samples, because with sharded weights none could alone.
    """

    def __init__(
        self, validation: Validation, *, size: Size, seed: int, save_best: Callable[[Path], None]
    ) -> None:
        """Draw the samples.

        Args:
            validation: settings of the recipe.
            size: (height, width) of the network's input images.
            seed: seed of the choice of samples and of the objective's random numbers.
            save_best: exports the weights into a folder.

        Raises:
            ConfigError: a source without samples.
        """
        super().__init__(validation.every)
        self.validation, self.size, self.seed, self._export = validation, size, seed, save_best
        self.values: dict[str, Tensor] = {}  # of the last validation
        self._source = validation.source()
        if not len(self._source):
            raise ConfigError("validation: expected samples in its source, got none")
        drawn = np.random.default_rng(np.random.SeedSequence(seed)).permutation(len(self._source))
        self.selected = sorted(int(index) for index in drawn[: validation.pairs])

    def act(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate."""
        step = trainer.global_step
        if not isinstance(pl_module, MatcherModule):
            raise TypeError(f"expected a MatcherModule, got {type(pl_module).__name__}")
        self.values.update(self._terms(trainer, pl_module))
        values = {name: float(value) for name, value in self.values.items()}
        for each in trainer.loggers:
            # Into the row of the step just finished; rows are counted from 0.
            each.log_metrics(values, step=step - 1)
        if self.validation.keep_best and trainer.is_global_zero:
            self._keep(Path(trainer.default_root_dir) / BEST, step, values["valid/loss"])

    def _terms(self, trainer: pl.Trainer, module: MatcherModule) -> dict[str, Tensor]:
        stage = module.stage
        wanted = [name for name, weight in stage.losses.items() if weight]
        sums = {name: torch.zeros((), device=module.device) for name in wanted}
        with _without_trace(module), torch.no_grad(), trainer.precision_plugin.val_step_context():
            for number, batch in enumerate(self._batches(stage.batch)):
                batch = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
                drawn = mixed_seed(self.seed, number)
                torch.manual_seed(drawn)
                generator = torch.Generator().manual_seed(drawn)
                step = Step(wanted=wanted, generator=generator, options=stage.options)
                for name, value in module(batch, step).items():
                    # Terms are means over the pairs of a batch.
                    sums[name] += value.detach() * (len(batch) / len(self.selected))
        total = sum((stage.losses[name] * value for name, value in sums.items()), torch.zeros(()))
        return {
            **{f"valid/{name}": value for name, value in sums.items()},
            "valid/loss": torch.as_tensor(total),
        }

    def _batches(self, count: int) -> Iterator[PairBatch]:
        for first in range(0, len(self.selected), count):
            samples = [self._source[index] for index in self.selected[first : first + count]]
            yield collate(samples, size=self.size)

    def _keep(self, folder: Path, step: int, loss: float) -> None:
        record = folder / RECORD
        # A resumed training repeats the steps since its checkpoint, with the same values.
        if record.is_file() and not loss < _loss_of(record):
            return
        if np.isfinite(loss):
            self._export(folder)
            write_json(record, {"step": step, "loss": loss})


@contextmanager
def _without_trace(module: nn.Module) -> Generator[None]:
    """Put a module into evaluation mode, then restore its modes and the random state."""
    modes = [(part, part.training) for part in module.modules()]
    device = next(module.parameters()).device
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            module.eval()
            yield
    finally:
        for part, mode in modes:
            part.training = mode


def _loss_of(record: Path) -> float:
    try:
        return float(json.loads(record.read_text(encoding="utf-8"))["loss"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{record}: expected the step and the loss of the best weights ({error}); remove it"
        ) from error
