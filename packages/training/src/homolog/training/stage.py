"""One stage of a training: what is learnt, from what, how long and how fast."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from homolog.core.errors import ConfigError, did_you_mean

Schedule = Literal["constant", "cosine", "linear"]
Precision = Literal["32-true", "64-true", "bf16-mixed", "bf16-true"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Plain numbers; the recipe's YAML gives them.

    Attributes:
        steps: how many times the optimiser moves.
        losses: weight of each term.
        data: share of each source.
        trainable: patterns of parameter names (`head.*`); everything else is frozen.
        batch: pairs per step and process.
        accumulate: batches per step.
        learning_rate: of the parameters.
        factors: of the learning rate, by pattern of parameter names; the last that fits counts.
        weight_decay: of AdamW.
        warmup: steps in which the learning rate grows from 0.
        schedule: what it does afterwards: stays, or falls to `floor` along a cosine or a line.
        floor: share of the learning rate at the end.
        clip: gradients are scaled down to this norm; None leaves them.
        precision: of Lightning: `32-true`, `bf16-mixed`; float16 is none of them, its gradients overflow by
            design and would end a training.
        alternate: sources take turns batch by batch, instead of being mixed within batches.
        options: settings of the objective that only this stage has, such as an active confidence.
    """

    steps: int
    losses: Mapping[str, float | int]
    data: Mapping[str, float | int]
    trainable: Sequence[str]
    batch: int = 8
    accumulate: int = 1
    learning_rate: float | int = 1e-4
    factors: Mapping[str, float | int] = field(default_factory=dict[str, float | int])
    weight_decay: float | int = 0.0
    warmup: int = 0
    schedule: Schedule = "constant"
    floor: float | int = 0.0
    clip: float | int | None = 1.0
    precision: Precision = "32-true"
    alternate: bool = False
    options: Mapping[str, object] = field(default_factory=dict[str, object])

    def __post_init__(self) -> None:
        """Refuse numbers that no training can run with.

        Raises:
            ConfigError: see above.
        """
        if self.steps < 1 or self.batch < 1 or self.accumulate < 1 or self.learning_rate <= 0:
            raise ConfigError(
                "expected steps, batch and accumulate of at least 1 and a learning rate above 0, got "
                f"{self.steps}, {self.batch}, {self.accumulate} and {self.learning_rate}"
            )
        if not any(self.losses.values()) or not self.trainable:
            raise ConfigError(
                "expected at least one loss with a weight and one pattern of trainable parameters, got "
                f"{dict(self.losses)} and {list(self.trainable)}"
            )
        if self.precision not in get_args(Precision):
            raise ConfigError(
                f"no precision {self.precision}{did_you_mean(self.precision, get_args(Precision))}"
            )
        if self.schedule not in get_args(Schedule):
            raise ConfigError(f"no schedule {self.schedule}{did_you_mean(self.schedule, get_args(Schedule))}")

    def rate(self, step: int) -> float:
        """Return the share of the learning rate at a step, counted from 0.

        >>> Stage(steps=9, losses={"dense": 1}, data={"a": 1}, trainable=["*"], warmup=2).rate(0)
        0.5
        """
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.schedule == "constant":
            return 1.0
        done = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        fall = done if self.schedule == "linear" else (1 - math.cos(math.pi * done)) / 2
        return 1 - (1 - self.floor) * fall
