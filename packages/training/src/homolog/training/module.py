"""The LightningModule: a matcher, an objective and a stage."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from homolog.core.atomic import atomic
from homolog.core.errors import HomologError
from homolog.training.batch import PairBatch
from homolog.training.data import mixed_seed
from homolog.training.objectives.base import Objective, Step
from homolog.training.stage import Stage, freeze, parameter_groups


class TrainingError(HomologError, RuntimeError):
    """A loss or gradient is not finite. The weights before the failing step are unchanged."""


def save_batch(
    folder: Path, batch: PairBatch, *, step: int, what: str, values: Mapping[str, Tensor]
) -> TrainingError:
    """Save the batch of a failing step, and return the error that names the file.

    Args:
        folder: where to write; created if missing.
        batch: images and labels.
        step: number of the step.
        what: the value that is not finite: `loss` or `gradient`.
        values: values for the message.
    """
    path = folder / f"step{step}.safetensors"
    tensors = {name: getattr(batch, name) for name in ("images", "xy0", "xy1", "visible", "mask0", "mask1")}
    tensors |= {"grid0": batch.field0.grid, "grid1": batch.field1.grid}
    with atomic(path) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary)
    shown = ", ".join(f"{name} {float(value):g}" for name, value in values.items())
    names = ", ".join(sample.name for sample in batch.samples[:4])
    return TrainingError(
        f"step {step}: expected a finite {what}, got {shown} on {names}; the batch is in {path}: look at it, or "
        "lower the learning rate"
    )


class MatcherModule(pl.LightningModule):
    """Trains the parameters of a stage with the weighted sum of an objective's terms.

    Logs the unweighted terms, their weighted sum, the norm of the gradients before clipping and the learning
    rate (of the first process). If a loss or gradient is not finite, the training ends with a `TrainingError`
    before the weights change, and the batch is saved.
    """

    def __init__(
        self, *, matcher: nn.Module, objective: Objective, stage: Stage, seed: int, failures: Path
    ) -> None:
        """Freeze all parameters that the stage does not train.

        Args:
            matcher: the matcher, with its parts as attributes.
            objective: computes the loss terms.
            stage: weights of the terms, learning rate and schedule.
            seed: together with the number of the step, seeds everything random.
            failures: folder for the batch of a failing step.

        Raises:
            ConfigError: a pattern of the stage that matches no parameter.
        """
        super().__init__()
        self.matcher = matcher
        self.objective = objective
        self.stage, self.seed, self.failures = stage, seed, failures
        freeze(matcher, stage.trainable)
        self.strict_loading = False  # frozen weights are not in the checkpoints

    def forward(self, batch: PairBatch, step: Step) -> dict[str, Tensor]:
        """Return the unweighted terms of a batch."""
        return self.objective(self.matcher, batch, step)

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        number = self.global_step * self.stage.accumulate + batch_idx % self.stage.accumulate
        drawn = mixed_seed(self.seed, number, self.global_rank)
        # Also repeats random numbers drawn without a generator (dropout, diffusion noise) after resuming.
        torch.manual_seed(drawn)
        generator = torch.Generator().manual_seed(drawn)
        wanted = [name for name, weight in self.stage.losses.items() if weight]
        step = Step(wanted=wanted, generator=generator, options=self.stage.options)
        terms = self(batch, step)
        # DDP waits for the gradient of every parameter, also of those that this batch does not use.
        zero = sum(
            (parameter.sum() * 0 for parameter in self._trainable() if not isinstance(parameter, DTensor)),
            torch.zeros((), device=self.device),
        )
        loss = sum((self.stage.losses[name] * value for name, value in terms.items()), zero)
        values = {name: value.detach() for name, value in terms.items()}
        if not bool(loss.isfinite()):
            raise save_batch(self.failures, batch, step=self.global_step, what="loss", values=values)
        self._batch = batch
        self.log_dict({f"terms/{name}": value for name, value in values.items()}, batch_size=len(batch))
        self.log("loss", loss.detach(), batch_size=len(batch))
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Check and log the gradients before they are clipped."""
        gradients = [parameter.grad for parameter in self._trainable() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if isinstance(norm, DTensor):
            norm = norm.full_tensor()
        if not bool(norm.isfinite()):
            raise save_batch(
                self.failures, self._batch, step=self.global_step, what="gradient", values={"norm": norm}
            )
        self.log("gradient_norm", norm)
        self.log("learning_rate", max(float(group["lr"]) for group in optimizer.param_groups))

    def configure_optimizers(self) -> Any:
        """Return AdamW and the stage's schedule, which is updated every step."""
        stage, groups = self.stage, parameter_groups(self.matcher, self.stage)
        if isinstance(self.objective, nn.Module):
            own = [parameter for parameter in self.objective.parameters() if parameter.requires_grad]
            groups += [{"params": own, "lr": stage.learning_rate}] if own else []
        optimizer = torch.optim.AdamW(groups, lr=stage.learning_rate, weight_decay=stage.weight_decay)
        # A plain function: the state of a schedule would include the attributes of any other callable.
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: stage.rate(step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remove frozen parameters: they are loaded from their own files.

        Buffers stay, because they include running statistics of trained parts.
        """
        frozen = {name for name, parameter in self.named_parameters() if not parameter.requires_grad}
        state: dict[str, Tensor] = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: value for name, value in state.items() if name not in frozen}

    def _trainable(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.parameters() if parameter.requires_grad]
