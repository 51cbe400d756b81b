"""Which 3D Gaussian each pixel of a pair shows: what ties images to a scene of Gaussians."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from homolog.core.errors import ShapeError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownGaussians:
    """The Gaussians that two images show; both count the same ones.

    Attributes:
        id0: [H W] the row of `attributes` that each pixel of image 0 shows most of, -1 for none.
        id1: [h w] the same of image 1.
        attributes: [N A] what each Gaussian is like; what the columns are is told by who made them.
    """

    id0: Int[Tensor, "H W"]
    id1: Int[Tensor, "h w"]
    attributes: Float[Tensor, "N A"]

    def __post_init__(self) -> None:
        """Refuse numbers of no row.

        Raises:
            ShapeError: see above.
        """
        highest = max(int(ids.max()) if ids.numel() else -1 for ids in (self.id0, self.id1))
        if highest >= len(self.attributes):
            raise ShapeError(
                f"expected numbers of Gaussians below {len(self.attributes)}, got {highest}; give the "
                "attributes of all that are shown"
            )

    def swapped(self) -> "ShownGaussians":
        """Return the same with the two images exchanged."""
        return ShownGaussians(id0=self.id1, id1=self.id0, attributes=self.attributes)
