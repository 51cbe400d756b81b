"""Keypoints of a detector, and matches of a matcher."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.core.errors import ShapeError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Keypoints:
    """N points of one image, each with the score of the detector and, if there is one, a descriptor.

    Attributes:
        xy: [N 2] pixel coordinates of the input image of the detector.
        score: [N], unbounded, higher is better.
        descriptor: [N D] or None.
        scale: [N] diameter in pixels of the region in which the point was detected, or None.
        angle: [N] orientation in radians, from x towards y, or None.
    """

    xy: Float[Tensor, "N 2"]
    score: Float[Tensor, " N"]
    descriptor: Float[Tensor, "N D"] | None = None
    scale: Float[Tensor, " N"] | None = None
    angle: Float[Tensor, " N"] | None = None

    def __post_init__(self) -> None:
        """Raise a ShapeError unless all parts have one length."""
        _check_equal_lengths("Keypoints", {name: len(part) for name, part in self.parts().items()})

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.xy)

    def select(self, keep: Int[Tensor, " M"] | Bool[Tensor, " N"]) -> "Keypoints":
        """Return the points of an index or a mask, in its order."""
        return Keypoints(**{name: part[keep] for name, part in self.parts().items()})

    def parts(self) -> dict[str, Tensor]:
        """Return the tensors by name, without those that are None."""
        return _parts(self)

    def to(self, device: torch.device | str) -> "Keypoints":
        """Move all parts to a device."""
        return Keypoints(**{name: part.to(device) for name, part in self.parts().items()})

    def best(self, limit: int | None) -> "Keypoints":
        """Return the `limit` points of highest score, best first; None returns all, best first."""
        return self.select(_best_first(self.score, limit))

    def described_by(self, descriptor: Float[Tensor, "N D"]) -> "Keypoints":
        """Return the same points with another descriptor."""
        return replace(self, descriptor=descriptor)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matches:
    """M pairs of points.

    Attributes:
        xy0: [M 2] pixel coordinates in image 0.
        xy1: [M 2] pixel coordinates in image 1.
        score: [M], higher is better.
        index0: [M] which keypoint of image 0 each match uses; None for a method without keypoints.
        index1: [M] which keypoint of image 1; None exactly when `index0` is.
    """

    xy0: Float[Tensor, "M 2"]
    xy1: Float[Tensor, "M 2"]
    score: Float[Tensor, " M"]
    index0: Int[Tensor, " M"] | None = None
    index1: Int[Tensor, " M"] | None = None

    def __post_init__(self) -> None:
        """Raise a ShapeError unless all parts have one length, and both indices are given or neither."""
        if (self.index0 is None) != (self.index1 is None):
            raise ShapeError(
                "Matches: expected index0 and index1 together, got one of them; pass both or neither"
            )
        _check_equal_lengths("Matches", {name: len(part) for name, part in _parts(self).items()})

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.xy0)

    def select(self, keep: Int[Tensor, " K"] | Bool[Tensor, " M"]) -> "Matches":
        """Return the pairs of an index or a mask, in its order."""
        return Matches(**{name: part[keep] for name, part in _parts(self).items()})

    def best(self, limit: int | None) -> "Matches":
        """Return the `limit` pairs of highest score, best first; None returns all, best first."""
        return self.select(_best_first(self.score, limit))

    def swapped(self) -> "Matches":
        """Return the same pairs with image 0 and image 1 exchanged."""
        return Matches(xy0=self.xy1, xy1=self.xy0, score=self.score, index0=self.index1, index1=self.index0)

    def moved(self, move0: Callable[[Tensor], Tensor], move1: Callable[[Tensor], Tensor]) -> "Matches":
        """Return the pairs with mapped coordinates, as from network pixels to original pixels."""
        return replace(self, xy0=move0(self.xy0), xy1=move1(self.xy1))

    def cpu(self) -> "Matches":
        """Return the matches on the CPU, coordinates and scores in float32, for writing and drawing."""
        parts = {name: part.detach().cpu() for name, part in _parts(self).items()}
        return Matches(
            **{name: part.float() if part.is_floating_point() else part for name, part in parts.items()}
        )


def _parts(value: Keypoints | Matches) -> dict[str, Tensor]:
    named = {each.name: getattr(value, each.name) for each in fields(value)}
    return {name: part for name, part in named.items() if part is not None}


def _best_first(score: Tensor, limit: int | None) -> Tensor:
    if limit is not None and limit < 0:
        raise ShapeError(f"expected a limit of 0 or more, got {limit}; None keeps everything")
    # Stable, so that equal scores keep their order on every device.
    return torch.sort(score, descending=True, stable=True).indices[:limit]


def _check_equal_lengths(what: str, lengths: dict[str, int]) -> None:
    if len(set(lengths.values())) > 1:
        raise ShapeError(f"{what}: expected parts of one length, got {lengths}")
