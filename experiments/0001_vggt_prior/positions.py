"""Baselines that do not see the images: they predict a position from the position in the other image."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from homolog.core.coords import identity_grid, normalised_to_pixel, pixel_to_normalised
from homolog.core.dense import Transfer
from homolog.core.io import as_image
from homolog.core.protocols import ImageLike
from homolog.core.samples import PairSample


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """A matcher that moves normalised places by one affine map, the same for all pairs.

    Attributes:
        map: [3 2], applied to (x, y, 1).
        sizes: (height, width) of the two images.
    """

    map: Float64[Tensor, "3 2"]
    sizes: tuple[tuple[int, int], tuple[int, int]] = ((1, 1), (1, 1))

    can_transfer = True

    def match(self, image0: ImageLike, image1: ImageLike) -> "Positions":
        """Read the sizes of the images; nothing else of them is looked at."""
        return Positions(self.map, (as_image(image0).size, as_image(image1).size))

    def matches(self, limit: int | None = None) -> None:
        """Return nothing; nobody asks."""

    def transfer(self, xy0: Tensor) -> Transfer:
        """Move points; all are equally sure."""
        at = pixel_to_normalised(xy0.double(), self.sizes[0])
        there = torch.cat((at, torch.ones_like(at[:, :1])), dim=1) @ self.map
        return Transfer(normalised_to_pixel(there, self.sizes[1]).float(), torch.ones(len(xy0)))


def fitted(samples: Iterable[PairSample]) -> Positions:
    """Return the affine map with the least squared error over the known pixels of pairs, which count equally."""
    squares, products = torch.zeros(3, 3, dtype=torch.float64), torch.zeros(3, 2, dtype=torch.float64)
    for sample in samples:
        if sample.dense0 is None:
            continue
        known = sample.dense0.confidence[0] > 0
        if not bool(known.any()):
            continue
        at = identity_grid(sample.dense0.size)[:, known].T.double()
        at = torch.cat((at, torch.ones_like(at[:, :1])), dim=1)
        squares += at.T @ at / len(at)
        products += at.T @ sample.dense0.grid[0][:, known].T.double() / len(at)
    return Positions(torch.linalg.solve(squares, products))


def same_place() -> Positions:
    """Return the matcher that maps every point to the same position."""
    return Positions(torch.eye(3, 2, dtype=torch.float64))
