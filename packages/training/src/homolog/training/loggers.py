"""Loggers of Lightning beside the table, made from a recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from homolog.core.errors import MissingDependencyError

EXTRAS = {
    "TensorBoardLogger": "homolog-training[tensorboard]",
    "WandbLogger": "homolog-training[wandb]",
}
"""What to install for a logger, by the name of its class; Lightning says it in prose only."""


def make_logger(make: Callable[..., Any], folder: Path) -> Any:
    """Return a logger that writes below a folder.

    Args:
        make: one of Lightning's loggers, with all settings but `save_dir`.
        folder: where to.

    Raises:
        MissingDependencyError: the logger's package is not installed.
    """
    try:
        return make(save_dir=str(folder))
    except ModuleNotFoundError as error:
        name = getattr(getattr(make, "func", make), "__name__", "this logger")
        raise MissingDependencyError(EXTRAS.get(name, error.name or str(error)), name) from error
