"""One stage of a training: steps, losses, data, which parameters are trained, and the learning rate."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, get_args

from torch import nn

from homolog.core.errors import ConfigError, one_of

Schedule = Literal["constant", "cosine", "linear"]
Precision = Literal["32-true", "64-true", "bf16-mixed", "bf16-true"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Settings of a stage, from the recipe's YAML.

    Attributes:
        steps: number of optimiser steps.
        losses: weight of each loss term.
        data: weight of each source.
        trainable: patterns of parameter names (`head.*`); all other parameters are frozen.
        batch: pairs per batch and process.
        accumulate: batches per step (gradient accumulation).
        learning_rate: base learning rate.
        factors: factors of the learning rate by pattern of parameter names; the last matching pattern wins.
        weight_decay: AdamW's weight decay.
        warmup: number of steps in which the learning rate rises linearly from 0.
        schedule: after the warm-up, `constant`, or `cosine` or `linear` decay to `floor`.
        floor: final learning rate, as a fraction of `learning_rate`.
        clip: maximum norm of the gradients; None does not clip.
        precision: Lightning's name: `32-true`, `bf16-mixed`. float16 is not offered: its gradient scaler
            overflows by design, and a gradient that is not finite ends the training.
        alternate: sources take turns batch by batch instead of being mixed within a batch.
        options: settings of the objective for this stage only, such as `weighting: active`.
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
        """Validate the settings.

        Raises:
            ConfigError: numbers out of range, no losses, or an unknown precision or schedule.
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
        one_of("precision", self.precision, get_args(Precision))
        one_of("schedule", self.schedule, get_args(Schedule))

    def rate(self, step: int) -> float:
        """Return the learning rate at a step (counted from 0) as a fraction of `learning_rate`.

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


def freeze(module: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Freeze all parameters except those whose names match the patterns.

    Modules with a trainable parameter are put into training mode, all others into evaluation mode.

    Args:
        module: the matcher.
        patterns: shell patterns: `head.*`, `backbone.fusion.blocks.?.*`. A leading `!` excludes parameters
            that earlier patterns selected.

    Returns:
        The names of the trainable parameters.

    Raises:
        ConfigError: a pattern that matches no parameter, or nothing left to train.
    """
    names = [name for name, _ in module.named_parameters()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern.removeprefix("!")) for name in names):
            raise ConfigError(
                f"trainable: no parameter matches {pattern}; parts are {', '.join(_prefixes(names))}"
            )
    trainable = [name for name in names if _selected(name, patterns)]
    if not trainable:
        raise ConfigError(f"trainable: the patterns {list(patterns)} leave nothing to train")
    selected = set(trainable)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in selected)
    _set_modes(module, training=False)
    return trainable


def _set_modes(module: nn.Module, *, training: bool) -> None:
    own = [parameter.requires_grad for parameter in module.parameters()]
    # A module without parameters, such as dropout, follows its parent.
    module.training = any(own) if own else training
    for part in module.children():
        _set_modes(part, training=module.training)


def parameter_groups(module: nn.Module, stage: Stage) -> list[dict[str, object]]:
    """Return the optimiser's parameter groups, one for each learning rate."""
    rates: dict[float, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            rates.setdefault(_factor(name, stage), []).append(parameter)
    return [
        {"params": parameters, "lr": stage.learning_rate * factor}
        for factor, parameters in sorted(rates.items())
    ]


def _selected(name: str, patterns: Sequence[str]) -> bool:
    selected = False
    for pattern in patterns:
        if fnmatchcase(name, pattern.removeprefix("!")):
            selected = not pattern.startswith("!")
    return selected


def _factor(name: str, stage: Stage) -> float:
    matching = [factor for pattern, factor in stage.factors.items() if fnmatchcase(name, pattern)]
    return float(matching[-1]) if matching else 1.0


def _prefixes(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(".".join(name.split(".")[:2]) for name in names))[:12]
