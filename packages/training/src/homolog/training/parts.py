"""Parts of a matcher as objectives ask for them: what a head must offer to be trained, and nothing more."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.coords import Size
from homolog.core.errors import ConfigError
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints

Part = TypeVar("Part")


@runtime_checkable
class AssigningHead(Protocol):
    """A head that assigns keypoints to one another; how it pads them is its own affair."""

    def pad(self, keypoints: Sequence[Keypoints], features: Features) -> Any:
        """Prepare the keypoints of B images of one size."""
        ...

    def join(
        self,
        keypoints: Sequence[Keypoints],
        image_sizes: Sequence[Size],
        guidance: Sequence[Tensor] | None,
    ) -> Any:
        """Prepare keypoints whose guidance was looked up before."""
        ...

    def log_assignment(self, points0: Any, points1: Any) -> Float[Tensor, "B rows columns"]:
        """Assign prepared keypoints; the last row and column are for those without a partner."""
        ...


@runtime_checkable
class CellHead(Protocol):
    """A head that matches cells, then refines the places of those that match.

    Attributes:
        coarse: name of the map whose cells are matched.
        fine: name of the map that refinement reads.
        window: side of what refinement looks at, in cells of that map.
        temperature: that cosines of cells are divided by.
    """

    @property
    def coarse(self) -> str:
        """See above."""
        ...

    @property
    def fine(self) -> str:
        """See above."""
        ...

    @property
    def window(self) -> int:
        """See above."""
        ...

    @property
    def temperature(self) -> float:
        """See above."""
        ...

    def tokens(self, features0: Features, features1: Features) -> tuple[Tensor, Tensor]:
        """Return unit descriptors of the coarse cells of both images, [B N D] and [B M D]."""
        ...

    def refine(
        self, xy0: Float[Tensor, "M 2"], xy1: Float[Tensor, "M 2"], features0: Features, features1: Features
    ) -> Float[Tensor, "M 2"]:
        """Move places of image 1 (B = V = 1)."""
        ...

    def aligned(self, features: Features) -> Float[Tensor, "B N A"]:
        """Return what is drawn to encoded Gaussians."""
        ...


def part(matcher: nn.Module, name: str, kind: type[Part]) -> Part:
    """Return a part of a matcher.

    Args:
        matcher: what is trained.
        name: of the part, such as `head`.
        kind: a protocol of this module or of `homolog.core.protocols`.

    Raises:
        ConfigError: the matcher has no such part, or one of another kind.
    """
    found = getattr(matcher, name, None)
    if not isinstance(found, kind):
        got = f"no {name}" if found is None else f"the {name} {type(found).__name__}"
        raise ConfigError(
            f"expected a matcher with a {kind.__name__} for this objective, got one with {got}; "
            "choose another matcher or objective in the recipe"
        )
    return found
