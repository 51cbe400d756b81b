"""What a dense matcher found out about a pair, in pixels of the original files."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.coords import pixel_grid, pixel_to_normalised, resize_pixel
from homolog.core.dense import DenseField, Transfer
from homolog.core.keypoints import Matches
from homolog.core.protocols import Points
from homolog.matchers.points import as_points
from homolog.matchers.side import Side


class DenseCorrespondence:
    """Two fields: where every place of one image is in the other, and the way back.

    Nothing is computed before it is asked for, and fields and matches are computed once.
    """

    can_transfer = True

    def __init__(
        self,
        sides: tuple[Side, Side],
        solve: Callable[[], tuple[DenseField, DenseField]],
        *,
        spacing: int,
        cycle: float | int | None,
    ) -> None:
        """Remember how to find the fields.

        Args:
            sides: image 0 and image 1.
            solve: returns the field that lives on image 0 and the one that lives on image 1 (B = 1).
            spacing: pixels, as the networks see image 0, between the points that `matches` moves.
            cycle: `matches` leaves out points that end farther than this from where they started after
                going there and back, in pixels as the networks see image 0; None leaves out none.
        """
        self._side0, self._side1 = sides
        self._solve: Callable[[], tuple[DenseField, DenseField]] | None = solve
        self._spacing = spacing
        self._cycle = cycle
        self._fields: tuple[DenseField, DenseField] | None = None
        self._matches: Matches | None = None

    @property
    def fields(self) -> tuple[DenseField, DenseField]:
        """The field that lives on image 0 and points to image 1, and the one that lives on image 1.

        Both B = 1, float32, on the CPU. Their coordinates are normalised over the images that were given,
        so no resizing matters to them; see `DenseField.resized` for one cell per pixel.
        """
        if self._fields is None:
            self._fields = self._solved()
        return self._fields

    def matches(self, limit: int | None = None) -> Matches:
        """Return points of an even lattice on image 0 with their places in image 1, surest first.

        The score is the confidence. Points that leave image 1, and those that the cycle check refuses,
        are left out.

        Args:
            limit: how many at most; None returns all.

        Returns:
            Pixels of the originals; float32, on the CPU.

        Raises:
            ShapeError: a negative limit.
        """
        if self._matches is None:
            self._matches = self._match()
        return self._matches.best(limit)

    def transfer(self, xy0: Points) -> Transfer:
        """Say where points of image 0 are in image 1, in pixels of the original files.

        Args:
            xy0: [N 2] of (x, y): a tensor, an array or a list. A point beside image 0 is read at the
                nearest place on it.

        Returns:
            Places in image 1 and confidence in [0, 1]; float32, on the CPU. The confidence is 0 for points
            beside image 0 and for those that leave image 1, which come out at its border.

        Raises:
            ShapeError: not [N 2].
            DataError: a coordinate that is not finite.
        """
        at, on_image = self._side0.xy_from_original(as_points(xy0))
        xy1, confidence = self._there(at.float())
        visible = on_image & _on(xy1, self._side1)
        return Transfer(self._side1.xy_to_original(xy1), confidence * visible)

    def cycle_error(self, xy0: Points) -> Float[Tensor, " N"]:
        """Measure how far points of image 0 land from themselves after going to image 1 and back.

        Args:
            xy0: [N 2], as for `transfer`.

        Returns:
            Distance in pixels of the original of image 0; infinite for points beside image 0 and for those
            that leave image 1. Float32, on the CPU.

        Raises:
            ShapeError: not [N 2].
            DataError: a coordinate that is not finite.
        """
        at, on_image = self._side0.xy_from_original(as_points(xy0))
        xy1, _ = self._there(at.float())
        start, end = (self._side0.xy_to_original(xy, bounded=False) for xy in (at.float(), self._back(xy1)))
        lost = ~on_image | ~_on(xy1, self._side1)
        return (end - start).norm(dim=1).masked_fill(lost, torch.inf)

    def _match(self) -> Matches:
        size = self._side0.seen_size
        cells = (max(1, round(size[0] / self._spacing)), max(1, round(size[1] / self._spacing)))
        xy0 = resize_pixel(pixel_grid(cells), cells, size)
        xy1, confidence = self._there(xy0)
        keep = _on(xy1, self._side1)
        if self._cycle is not None:
            keep &= (self._back(xy1) - xy0).norm(dim=1) <= self._cycle
        found = Matches(xy0=xy0, xy1=xy1, score=confidence).select(keep)
        return found.moved(self._side0.xy_to_original, self._side1.xy_to_original)

    def _there(self, xy0: Tensor) -> Transfer:
        return _moved(self.fields[0], xy0, self._side0, self._side1)

    def _back(self, xy1: Tensor) -> Tensor:
        return _moved(self.fields[1], xy1, self._side1, self._side0).xy

    def _solved(self) -> tuple[DenseField, DenseField]:
        assert self._solve is not None
        with torch.inference_mode():
            found = self._solve()
        self._solve = None  # lets go of the features
        # Cloned outside of inference mode, so that callers may do with them what they like.
        field0, field1 = (
            DenseField(
                grid=field.grid.to("cpu", torch.float32).clone(),
                confidence=field.confidence.to("cpu", torch.float32).clone(),
            )
            for field in found
        )
        return field0, field1


def _on(xy: Tensor, side: Side) -> Tensor:
    """Tell which points lie on an image; those on its very border do, however they were rounded."""
    return (pixel_to_normalised(xy, side.seen_size).abs() <= 1 + 1e-4).all(dim=1)


def _moved(field: DenseField, xy: Tensor, query: Side, reference: Side) -> Transfer:
    moved = field.transfer(xy[None], query_size=query.seen_size, reference_size=reference.seen_size)
    return Transfer(moved.xy[0], moved.confidence[0])
