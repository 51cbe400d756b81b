"""What happens beside the steps of a training: checkpoints, progress and logs."""

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from homolog.core.atomic import write_bytes
from homolog.core.errors import MissingDependencyError

Progress = Callable[[str, int, int, Mapping[str, Tensor]], None]
"""Called with the name of the stage, the finished steps, the total steps and the last logged values."""


class IntervalCallback(pl.Callback, ABC):
    """Acts every `every` steps and after the last, once per step."""

    def __init__(self, every: int) -> None:
        """Set the interval in steps."""
        self.every, self._done = every, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember the first step of a resumed training: it was done before the training stopped."""
        del pl_module
        self._done = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Act if it is due, after the last batch of a step."""
        del outputs, batch, batch_idx
        step = trainer.global_step
        if step != self._done and (step % self.every == 0 or step == trainer.max_steps):
            self._done = step
            self.act(trainer, pl_module)

    @abstractmethod
    def act(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Act at one of these steps."""


class CheckpointCallback(IntervalCallback):
    """Writes checkpoints; each replaces the one before."""

    def __init__(self, path: Path, *, every: int) -> None:
        """Set the file and the interval in steps."""
        super().__init__(every)
        self.path = path

    def act(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write a checkpoint."""
        del pl_module
        trainer.save_checkpoint(self.path)


class ProgressCallback(pl.Callback):
    """Reports the progress of a stage."""

    def __init__(self, progress: Progress, *, stage: str, extra: Mapping[str, Tensor]) -> None:
        """Set the receiver.

        Args:
            progress: called after each batch.
            stage: name of the stage.
            extra: further values to report, read at each call.
        """
        self.progress, self.stage, self.extra = progress, stage, extra

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report the progress, in the first process only."""
        del pl_module, outputs, batch, batch_idx
        if trainer.is_global_zero:
            values = {**trainer.callback_metrics, **self.extra}
            self.progress(self.stage, trainer.global_step, trainer.max_steps, values)


EXTRAS = {
    "TensorBoardLogger": "homolog-training[tensorboard]",
    "WandbLogger": "homolog-training[wandb]",
}
"""The extra to install for each logger class."""


def make_logger(make: Callable[..., Any], folder: Path) -> Any:
    """Return a logger that writes into a folder.

    Args:
        make: makes one of Lightning's loggers; called with `save_dir`.
        folder: where to write.

    Raises:
        MissingDependencyError: the logger's package is not installed.
    """
    try:
        return make(save_dir=str(folder))
    except ModuleNotFoundError as error:
        name = getattr(getattr(make, "func", make), "__name__", "this logger")
        raise MissingDependencyError(EXTRAS.get(name, error.name or str(error)), name) from error


METRICS = "metrics.csv"


def write_metrics(logs: Path, path: Path) -> None:
    """Merge the logs of all runs of a stage into one table; where runs overlap, the later run wins.

    Args:
        logs: folder with `version_0/metrics.csv` and so on, as Lightning's CSVLogger makes them.
        path: the table to write.
    """
    rows: list[dict[str, str]] = []
    files = sorted(logs.glob(f"version_*/{METRICS}"), key=lambda file: int(file.parent.name.split("_")[1]))
    for file in files:
        with file.open(newline="", encoding="utf-8") as opened:
            read = list(csv.DictReader(opened))
        if read:
            first = int(read[0]["step"])
            rows = [row for row in rows if int(row["step"]) < first] + _by_step(read)
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, ["step", *(name for name in names if name not in {"step", "epoch"})])
    writer.writeheader()
    writer.writerows({name: value for name, value in row.items() if name != "epoch"} for row in rows)
    write_bytes(path, table.getvalue().encode())


def _by_step(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Merge the rows of a step: validation values are logged after training values."""
    joined: dict[str, dict[str, str]] = {}
    for row in rows:
        known = {name: value for name, value in row.items() if value}
        joined[row["step"]] = {**row, **joined.get(row["step"], {}), **known}
    return list(joined.values())
