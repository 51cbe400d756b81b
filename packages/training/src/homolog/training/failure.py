"""What is left behind when a step of a training fails: the batch, to look at, and an error that names it."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from homolog.core.atomic import atomic
from homolog.core.errors import HomologError
from homolog.training.batch import PairBatch


class TrainingError(HomologError, RuntimeError):
    """A training that cannot go on; what it had before the failing step is intact."""


def save_batch(
    folder: Path, batch: PairBatch, *, step: int, what: str, values: Mapping[str, Tensor]
) -> TrainingError:
    """Write the batch of a failing step, and return the error that tells of it.

    Args:
        folder: where to; made if it is not there.
        batch: images and truth.
        step: its number.
        what: was not finite: `loss` or `gradient`.
        values: to name in the message.
    """
    path = folder / f"step{step}.safetensors"
    tensors = {name: getattr(batch, name) for name in ("images", "xy0", "xy1", "seen", "mask0", "mask1")}
    tensors |= {"grid0": batch.field0.grid, "grid1": batch.field1.grid}
    with atomic(path) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary)
    told = ", ".join(f"{name} {float(value):g}" for name, value in values.items())
    names = ", ".join(sample.name for sample in batch.samples[:4])
    return TrainingError(
        f"step {step}: expected a finite {what}, got {told} on {names}; the batch is in {path}: look at it, or "
        "lower the learning rate"
    )
