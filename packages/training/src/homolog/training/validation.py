"""Terms of samples that nothing is learnt from, every so many steps, without a trace in the training."""

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn

from homolog.core.atomic import write_json
from homolog.core.coords import Size
from homolog.core.errors import ConfigError, DataError
from homolog.training.batch import PairBatch, collate
from homolog.training.mixture import Source
from homolog.training.module import Learning
from homolog.training.objective import Step
from homolog.training.seeds import mixed_seed

BEST, RECORD = "best", "best.json"
"""A folder of a stage's folder, and what it says there: the step and its loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What is held out, and how often it is looked at; a recipe's YAML gives it.

    Attributes:
        source: makes the held-out samples; when a stage begins.
        pairs: how many of them, drawn once by the recipe's seed; all, if there are no more.
        every: steps between two looks; there is one after the last step of a stage too.
        keep_best: export the weights with the lowest loss on them, beside those of the last step.
    """

    source: Callable[[], Source]
    pairs: int = 64
    every: int = 500
    keep_best: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers that say nothing.

        Raises:
            ConfigError: see above.
        """
        if self.pairs < 1 or self.every < 1:
            raise ConfigError(
                f"validation: expected pairs and every of at least 1, got {self.pairs} and {self.every}"
            )


class Validator(pl.Callback):
    """Logs the unweighted terms of held-out samples as `valid/<term>`, and their weighted sum as `valid/loss`.

    Each look sees the same samples in the same batches, in the order of their files, and lets the objective draw
    the same numbers, so that two looks differ by the weights alone. The matcher is in evaluation mode meanwhile.
    What the training draws, its mode and its gradients are as they were afterwards. Every process does all of
    it, because with sharded weights none could alone.
    """

    def __init__(
        self, validation: Validation, *, size: Size, seed: int, best: Callable[[Path], None]
    ) -> None:
        """Choose the samples.

        Args:
            validation: of the recipe.
            size: (height, width) of the images that networks see.
            seed: of the choice, and of what the objective draws.
            best: exports the weights into a folder.

        Raises:
            ConfigError: a source without samples.
        """
        self.validation, self.size, self.seed, self._export = validation, size, seed, best
        self.values: dict[str, Tensor] = {}  # of the last look
        self._source = validation.source()
        if not len(self._source):
            raise ConfigError("validation: expected samples in its source, got none")
        drawn = np.random.default_rng(np.random.SeedSequence(seed)).permutation(len(self._source))
        self.chosen = sorted(int(index) for index in drawn[: validation.pairs])
        self._looked = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember where a resumed training begins: what was held out was looked at before it was kept."""
        del pl_module
        self._looked = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look, if it is time."""
        del outputs, batch, batch_idx
        step, every = trainer.global_step, self.validation.every
        if step == self._looked or not (step % every == 0 or step == trainer.max_steps):
            return
        self._looked = step
        if not isinstance(pl_module, Learning):
            raise TypeError(f"expected to look at a Learning, got {type(pl_module).__name__}")
        self.values.update(self._terms(trainer, pl_module))
        told = {name: float(value) for name, value in self.values.items()}
        for each in trainer.loggers:
            # Into the row of the step that was just made, whose number is counted from 0.
            each.log_metrics(told, step=step - 1)
        if self.validation.keep_best and trainer.is_global_zero:
            self._keep(Path(trainer.default_root_dir) / BEST, step, told["valid/loss"])

    def _terms(self, trainer: pl.Trainer, learning: Learning) -> dict[str, Tensor]:
        stage = learning.stage
        wanted = [name for name, weight in stage.losses.items() if weight]
        sums = {name: torch.zeros((), device=learning.device) for name in wanted}
        with _aside(learning), torch.no_grad(), trainer.precision_plugin.val_step_context():
            for number, batch in enumerate(self._batches(stage.batch)):
                batch = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
                drawn = mixed_seed(self.seed, number)
                torch.manual_seed(drawn)
                generator = torch.Generator().manual_seed(drawn)
                step = Step(wanted=wanted, generator=generator, options=stage.options)
                for name, value in learning(batch, step).items():
                    # Terms are means over all pairs of their batch.
                    sums[name] += value.detach() * (len(batch) / len(self.chosen))
        total = sum((stage.losses[name] * value for name, value in sums.items()), torch.zeros(()))
        return {
            **{f"valid/{name}": value for name, value in sums.items()},
            "valid/loss": torch.as_tensor(total),
        }

    def _batches(self, count: int) -> Iterator[PairBatch]:
        for first in range(0, len(self.chosen), count):
            samples = [self._source[index] for index in self.chosen[first : first + count]]
            yield collate(samples, size=self.size)

    def _keep(self, folder: Path, step: int, loss: float) -> None:
        record = folder / RECORD
        # After an interruption the steps since the checkpoint come again, and give the same numbers.
        if record.is_file() and not loss < _loss_of(record):
            return
        if np.isfinite(loss):
            self._export(folder)
            write_json(record, {"step": step, "loss": loss})


@contextmanager
def _aside(module: nn.Module) -> Generator[None]:
    """Put a module into evaluation mode, and leave no trace of what is drawn."""
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
