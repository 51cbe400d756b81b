"""What happens beside the steps of a training: checkpoints, and telling how far it is."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from torch import Tensor

Progress = Callable[[str, int, int, Mapping[str, Tensor]], None]
"""Takes the name of the stage, the steps that are done, all of them, and what was logged last."""


class Keeper(pl.Callback):
    """Writes a checkpoint every so many steps and after the last, each over the one before."""

    def __init__(self, path: Path, *, every: int) -> None:
        """Choose where and how often."""
        self.path, self.every = path, every
        self._kept = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember where a resumed training begins: that checkpoint is there."""
        del pl_module
        self._kept = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the step, if it is one of those, when its last batch is done."""
        del pl_module, outputs, batch, batch_idx
        step = trainer.global_step
        if step != self._kept and (step % self.every == 0 or step == trainer.max_steps):
            self._kept = step
            trainer.save_checkpoint(self.path)


class Teller(pl.Callback):
    """Tells how far a stage is."""

    def __init__(self, progress: Progress, *, stage: str, beside: Mapping[str, Tensor]) -> None:
        """Choose who is told.

        Args:
            progress: is told after each batch.
            stage: its name.
            beside: further values, as they are by then.
        """
        self.progress, self.stage, self.beside = progress, stage, beside

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell it, in the first process only."""
        del pl_module, outputs, batch, batch_idx
        if trainer.is_global_zero:
            values = {**trainer.callback_metrics, **self.beside}
            self.progress(self.stage, trainer.global_step, trainer.max_steps, values)
