"""The LightningModule: a matcher, an objective and a stage; it knows no method."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from homolog.training.batch import PairBatch
from homolog.training.failure import save_batch
from homolog.training.objective import Objective, Step
from homolog.training.seeds import mixed_seed
from homolog.training.stage import Stage
from homolog.training.trainable import freeze, groups


class Learning(pl.LightningModule):
    """Trains what a stage names, by the weighted sum of the terms of an objective.

    The unweighted terms, their sum, the norm of the gradients before clipping and the learning rate are
    logged, those of the first process where there are several. A step whose loss or gradient is not finite
    ends the training with a `TrainingError`, before anything was changed by it; its batch is left as a file.
    """

    def __init__(
        self, *, matcher: nn.Module, objective: Objective, stage: Stage, seed: int, failures: Path
    ) -> None:
        """Freeze what does not learn.

        Args:
            matcher: its parts as attributes.
            objective: makes the terms.
            stage: the weights of the terms, and how fast to learn.
            seed: of what the objective draws, together with the number of the step.
            failures: folder for the batch of a step that failed.

        Raises:
            ConfigError: a pattern of the stage that fits no parameter.
        """
        super().__init__()
        self.matcher = matcher
        self.objective = objective
        self.stage, self.seed, self.failures = stage, seed, failures
        self.learning = freeze(matcher, stage.trainable)
        self.strict_loading = False  # frozen weights are not in the checkpoints

    def forward(self, batch: PairBatch, step: Step) -> dict[str, Tensor]:
        """Return the unweighted terms of a batch."""
        return self.objective(self.matcher, batch, step)

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        number = self.global_step * self.stage.accumulate + batch_idx % self.stage.accumulate
        drawn = mixed_seed(self.seed, number, self.global_rank)
        # What draws without a generator (dropout, noise of diffusion) draws the same after resuming too.
        torch.manual_seed(drawn)
        generator = torch.Generator().manual_seed(drawn)
        wanted = [name for name, weight in self.stage.losses.items() if weight]
        step = Step(wanted=wanted, generator=generator, options=self.stage.options)
        terms = self(batch, step)
        # Where processes wait for gradients, one that a batch does not ask for has to come too.
        zero = sum(
            (parameter.sum() * 0 for parameter in self._learning() if not isinstance(parameter, DTensor)),
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
        """Look at the gradients before they are clipped and used."""
        gradients = [parameter.grad for parameter in self._learning() if parameter.grad is not None]
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
        """Return AdamW and the stage's schedule, which moves with every step."""
        own = [parameter for parameter in _parameters_of(self.objective) if parameter.requires_grad]
        learning = groups(self.matcher, self.stage)
        if own:
            learning.append({"params": own, "lr": self.stage.learning_rate})
        optimizer = torch.optim.AdamW(
            learning, lr=self.stage.learning_rate, weight_decay=self.stage.weight_decay
        )
        stage = self.stage
        # A plain function: of any other callable the schedule's state holds the attributes.
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: stage.rate(step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out what is frozen: it comes back from where it came from.

        Buffers are kept: running statistics of trained parts are among them.
        """
        frozen = {name for name, parameter in self.named_parameters() if not parameter.requires_grad}
        state: dict[str, Tensor] = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: value for name, value in state.items() if name not in frozen}

    def _learning(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.parameters() if parameter.requires_grad]


def _parameters_of(objective: Objective) -> list[nn.Parameter]:
    return list(objective.parameters()) if isinstance(objective, nn.Module) else []
