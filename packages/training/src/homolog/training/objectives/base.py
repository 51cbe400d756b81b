"""The interface of objectives, and what they require of a matcher's parts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.coords import Size
from homolog.core.errors import ConfigError
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints
from homolog.training.batch import PairBatch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """Input of an objective besides the batch.

    Attributes:
        wanted: terms with a weight; others need not be computed.
        generator: random generator that depends only on the seed and the step.
        options: the stage's options.
    """

    wanted: Collection[str]
    generator: torch.Generator
    options: Mapping[str, Any]


@runtime_checkable
class Objective(Protocol):
    """Computes the loss terms of a batch.

    Attributes:
        terms: names of all terms.
    """

    @property
    def terms(self) -> tuple[str, ...]:
        """See the class."""
        ...

    def __call__(self, matcher: nn.Module, batch: PairBatch, step: Step) -> dict[str, Float[Tensor, ""]]:
        """Return the wanted terms, unweighted: means over all pairs of the batch, 0 for a pair without labels."""
        ...


Part = TypeVar("Part")


@runtime_checkable
class AssignmentHead(Protocol):
    """A head of a graph matcher: assigns keypoints of two images to one another."""

    def pad(self, keypoints: Sequence[Keypoints], features: Features) -> Any:
        """Pad the keypoints of B images of one size."""
        ...

    def join(
        self,
        keypoints: Sequence[Keypoints],
        image_sizes: Sequence[Size],
        guidance: Sequence[Tensor] | None,
    ) -> Any:
        """Pad keypoints whose guidance features are given."""
        ...

    def log_assignment(self, points0: Any, points1: Any) -> Float[Tensor, "B rows columns"]:
        """Return the log assignment of padded keypoints; the last row and column are the dustbins."""
        ...


@runtime_checkable
class CoarseToFineHead(Protocol):
    """A head that matches coarse cells, then refines the positions of the matches.

    Attributes:
        coarse: name of the map whose cells are matched.
        fine: name of the map that refinement reads.
        window: side of the refinement window, in cells of the fine map.
        temperature: divides the cosines of cells.
    """

    coarse: str
    fine: str
    window: int
    temperature: float

    def tokens(self, features0: Features, features1: Features) -> tuple[Tensor, Tensor]:
        """Return unit descriptors of the coarse cells of both images, [B N D] and [B M D]."""
        ...

    def refine(
        self, xy0: Float[Tensor, "M 2"], xy1: Float[Tensor, "M 2"], features0: Features, features1: Features
    ) -> Float[Tensor, "M 2"]:
        """Return refined positions in image 1 (B = V = 1)."""
        ...

    def aligned(self, features: Features) -> Float[Tensor, "B N A"]:
        """Return the features that are aligned with encoded Gaussians."""
        ...


def part(matcher: nn.Module, name: str, kind: type[Part]) -> Part:
    """Return a part of a matcher.

    Args:
        matcher: the matcher.
        name: name of the part, such as `head`.
        kind: a protocol of this module or of `homolog.core.protocols`.

    Raises:
        ConfigError: the part is missing or of another kind.
    """
    found = getattr(matcher, name, None)
    if not isinstance(found, kind):
        got = f"no {name}" if found is None else f"the {name} {type(found).__name__}"
        raise ConfigError(
            f"expected a matcher with a {kind.__name__} for this objective, got one with {got}; "
            "choose another matcher or objective in the recipe"
        )
    return found
