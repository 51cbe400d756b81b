"""A dense correspondence field between two images.

The field lives on the **query** image; each of its cells has a position in the **reference** image.
Papers use arrows instead: `G_{s->t}` of the VGGT-prior matcher (eq. 3, I_{s->t} = W(I_s, G_{s->t}))
is indexed by target pixels and stores source positions, so its query is the target and its reference
the source. To transfer a source keypoint to the target, read `G_{t->s}`, whose query is the source.
homolog does not use arrows: a point moves with the field whose query image it lies on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.core.coords import Size, identity_grid, normalised_to_pixel, pixel_to_normalised
from homolog.core.errors import ShapeError
from homolog.core.sampling import sample_points, warp_maps


class Transfer(NamedTuple):
    """Positions in another image of some points, and the confidence of each.

    Attributes:
        xy: [... N 2] pixel coordinates in the other image.
        confidence: [... N] in [0, 1].
    """

    xy: Float[Tensor, "*batch N 2"]
    confidence: Float[Tensor, "*batch N"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Described:
    """What a `PointHead` compares of N points of one image, such as their descriptors.

    Only the head that made it knows what the tensors mean. Points of several images can be joined, so that
    all of them are searched on another image at once.

    Attributes:
        tensors: by name, each [N ...], one row per point.
    """

    tensors: dict[str, Tensor]

    def __post_init__(self) -> None:
        """Raise a ShapeError without tensors, or unless all have one row per point."""
        rows = {name: len(tensor) for name, tensor in self.tensors.items()}
        if len(set(rows.values())) != 1:
            raise ShapeError(f"Described: expected tensors with one row per point, got rows {rows}")

    def __len__(self) -> int:
        """Return the number of points."""
        return len(next(iter(self.tensors.values())))

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def select(self, rows: Int[Tensor, " M"] | Bool[Tensor, " N"]) -> "Described":
        """Return the points of an index or a mask, in its order."""
        return Described(tensors={name: tensor[rows] for name, tensor in self.tensors.items()})

    @staticmethod
    def cat(parts: Sequence["Described"]) -> "Described":
        """Join the points of several images, in their order.

        Raises:
            ShapeError: no parts, or parts with different tensors.
        """
        if len({tuple(sorted(part.tensors)) for part in parts}) != 1:
            raise ShapeError(
                f"Described: expected parts with the same tensors, got {[sorted(part.tensors) for part in parts]}"
            )
        return Described(
            tensors={name: torch.cat([part.tensors[name] for part in parts]) for name in parts[0].tensors}
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DenseField:
    """For each cell of the query image, the position in the reference image.

    Attributes:
        grid: [B 2 H W], normalised (x, y) positions in the reference; values beyond [-1, 1]
            are outside of it.
        confidence: [B H W] in [0, 1].
    """

    grid: Float[Tensor, "B 2 H W"]
    confidence: Float[Tensor, "B H W"]

    def __post_init__(self) -> None:
        """Raise a ShapeError unless grid and confidence have one size."""
        grid, confidence = self.grid.shape, self.confidence.shape
        if len(grid) != 4 or grid[1] != 2 or (grid[0], *grid[2:]) != tuple(confidence):
            raise ShapeError(
                f"expected grid [B 2 H W] and confidence [B H W], got {list(grid)} and {list(confidence)}"
            )

    @classmethod
    def identity(cls, size: Size, *, batch: int = 1, device: torch.device | None = None) -> "DenseField":
        """Return the field of an image onto itself, with full confidence."""
        grid = identity_grid(size, device=device).expand(batch, 2, *size)
        return cls(grid=grid, confidence=grid.new_ones(batch, *size))

    @property
    def size(self) -> Size:
        """(height, width) of the grid, in cells."""
        return int(self.grid.shape[2]), int(self.grid.shape[3])

    def warp(self, reference: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C H W"]:
        """Warp maps or pixels of the reference image onto the query; zero outside the reference."""
        return warp_maps(reference, self.grid)

    def transfer(self, xy: Float[Tensor, "B N 2"], *, query_size: Size, reference_size: Size) -> Transfer:
        """Transfer points from the query image to the reference image.

        Args:
            xy: pixel coordinates in a query image of `query_size`.
            query_size: (height, width) in pixels.
            reference_size: (height, width) in pixels.

        Returns:
            Pixel coordinates in the reference and their confidence.
        """
        position, confidence = self._read(pixel_to_normalised(xy, query_size))
        return Transfer(normalised_to_pixel(position, reference_size), confidence)

    def resized(self, size: Size) -> "DenseField":
        """Return the same field with one cell per pixel of a query image of `size`, as needed for warping."""
        at = identity_grid(size, device=self.grid.device, dtype=self.grid.dtype).flatten(1).T
        position, confidence = self._read(at.expand(len(self.grid), -1, -1))
        batch = len(self.grid)
        return DenseField(
            grid=position.transpose(1, 2).reshape(batch, 2, *size),
            confidence=confidence.reshape(batch, *size),
        )

    def compose(self, onward: "DenseField") -> "DenseField":
        """Chain two fields: from this query through this reference to the reference of `onward`.

        `onward` lives on this field's reference. The confidence is the product of both; it is zero
        where this field leaves the image that `onward` lives on.
        """
        seen = (self.grid.abs() <= 1).all(dim=1)
        reach, trust = onward._read(self.grid.flatten(2).transpose(1, 2))
        return DenseField(
            grid=reach.transpose(1, 2).reshape(self.grid.shape),
            confidence=self.confidence * trust.reshape(self.confidence.shape) * seen,
        )

    def cycle_error(self, backward: "DenseField", *, query_size: Size) -> Float[Tensor, "B H W"]:
        """Return how far from itself each query cell ends when it is moved to the reference and back.

        Args:
            backward: the field that lives on the reference of this field and points to its query.
            query_size: (height, width) in pixels of the query image; the error is in its pixels.

        Returns:
            Distance in pixels; infinite where the field leaves the reference.
        """
        returned = self.compose(backward).grid.permute(0, 2, 3, 1)
        start = identity_grid(self.size, device=self.grid.device, dtype=self.grid.dtype).permute(1, 2, 0)
        offset = normalised_to_pixel(returned, query_size) - normalised_to_pixel(start, query_size)
        seen = (self.grid.abs() <= 1).all(dim=1)
        return offset.norm(dim=-1).masked_fill(~seen, torch.inf)

    def _read(self, at: Float[Tensor, "B N 2"]) -> tuple[Float[Tensor, "B N 2"], Float[Tensor, "B N"]]:
        """Return reference position and confidence at normalised query points."""
        # Cells store the value of their centres. In the half cell between the outermost centres and the
        # border of the image the field is extrapolated linearly: repeating the last value would move every
        # point near the border inwards by up to half a cell (7 px for patches of 14).
        height, width = self.size
        shrink = at.new_tensor((width / (width + 2), height / (height + 2)))
        position = sample_points(_with_linear_rim(self.grid), at * shrink)
        confidence = sample_points(self.confidence[:, None], at)[..., 0]
        return position, confidence.clamp(0, 1)


def _with_linear_rim(grid: Float[Tensor, "B 2 H W"]) -> Float[Tensor, "B 2 H+2 W+2"]:
    for dim in (2, 3):
        first, last = grid.narrow(dim, 0, 1), grid.narrow(dim, grid.shape[dim] - 1, 1)
        if grid.shape[dim] > 1:
            before = 2 * first - grid.narrow(dim, 1, 1)
            after = 2 * last - grid.narrow(dim, grid.shape[dim] - 2, 1)
        else:
            before, after = first, last
        grid = torch.cat((before, grid, after), dim=dim)
    return grid
