"""How a method turns a batch into the terms of a loss: the seam between training and methods."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.training.batch import PairBatch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """What an objective may know beside the batch.

    Attributes:
        wanted: the terms that have a weight; others need not be computed.
        generator: of whatever is drawn; a function of the seed and the step alone.
        options: of the stage.
    """

    wanted: Collection[str]
    generator: torch.Generator
    options: Mapping[str, Any]


@runtime_checkable
class Objective(Protocol):
    """Turns a batch into terms.

    Attributes:
        terms: the names of all terms it knows.
    """

    @property
    def terms(self) -> tuple[str, ...]:
        """See above."""
        ...

    def __call__(self, matcher: nn.Module, batch: PairBatch, step: Step) -> dict[str, Float[Tensor, ""]]:
        """Return the unweighted terms that are wanted and that this batch has truth for."""
        ...
