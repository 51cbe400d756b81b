"""What a sparse matcher found out about a pair, in pixels of the original files."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.core.coords import Size, apply_frame, inside, invert_frame, resize_pixel
from homolog.core.dense import Transfer
from homolog.core.errors import CapabilityError, DataError, ShapeError
from homolog.core.keypoints import Matches
from homolog.core.protocols import Points, SparseHead, TransferHead
from homolog.matchers.extraction import Extraction


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """One image of a pair, as the user gave it and as the networks saw it.

    Attributes:
        size: (height, width) of the image that was given.
        frame: from its pixels to those of the original file.
        seen: what was extracted after resizing it.
    """

    size: Size
    frame: Float[Tensor, "2 3"]
    seen: Extraction

    def to_original(self, xy: Float[Tensor, "N 2"]) -> Float[Tensor, "N 2"]:
        """Move points from the resized image to the original; float32, on the CPU.

        Where resizing enlarged the image, its outermost pixel centres lie up to half a pixel beyond
        those of the given one; they are brought back onto them.
        """
        height, width = self.size
        at = resize_pixel(xy.cpu().double(), self.seen.features.image_size, self.size)
        at = at.clamp_min(0).minimum(at.new_tensor((width - 1, height - 1)))
        return apply_frame(self.frame, at).float()

    def from_original(self, xy: Float[Tensor, "N 2"]) -> tuple[Float[Tensor, "N 2"], Bool[Tensor, " N"]]:
        """Move points of the original to the resized image, and tell which lie on the given image.

        Those that do not come out at the nearest place that does.
        """
        height, width = self.size
        at = apply_frame(invert_frame(self.frame), xy.double())
        nearest = at.clamp_min(-0.5).minimum(at.new_tensor((width - 0.5, height - 0.5)))
        return resize_pixel(nearest, self.size, self.seen.features.image_size), inside(at, self.size)


class SparseCorrespondence:
    """Matches between keypoints, and single points transferred through the feature map.

    Nothing is computed before it is asked for, and matches are computed once.
    """

    def __init__(self, side0: Side, side1: Side, head: SparseHead, *, reader: TransferHead | None) -> None:
        """Remember both sides.

        Args:
            side0: image 0.
            side1: image 1.
            head: pairs the keypoints.
            reader: finds single points; None when there is no map to find them on.
        """
        self._side0 = side0
        self._side1 = side1
        self._head = head
        self._reader = reader
        self._matches: Matches | None = None

    @property
    def can_transfer(self) -> bool:
        """Whether `transfer` works."""
        return self._reader is not None

    def matches(self, limit: int | None = None) -> Matches:
        """Return the best matches, best first, in pixels of the original files (float32, on the CPU).

        Args:
            limit: how many at most; None returns all.

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
                nearest place on it, and its confidence is 0.

        Returns:
            Places in image 1 and confidence in [0, 1]; float32, on the CPU.

        Raises:
            CapabilityError: the matcher finds sparse matches only.
            ShapeError: not [N 2].
            DataError: a coordinate that is not finite.
        """
        if self._reader is None:
            raise CapabilityError(
                "this matcher finds sparse matches only; to transfer points use one with head nearest and a "
                "backbone, such as matcher=mini"
            )
        seen0, seen1 = self._side0.seen.features, self._side1.seen.features
        at, on_image = self._side0.from_original(_points(xy0))
        first = next(iter(seen0.maps.values()))
        with torch.inference_mode():
            found = self._reader.transfer(at.to(first.device, torch.float32), seen0, seen1)
        confidence = found.confidence.to("cpu", torch.float32) * on_image
        return Transfer(self._side1.to_original(found.xy), confidence)

    def _match(self) -> Matches:
        seen0, seen1 = self._side0.seen, self._side1.seen
        with torch.inference_mode():
            found = self._head(seen0.keypoints, seen1.keypoints, seen0.features, seen1.features)
        # Cloned outside of inference mode, so that callers may do with it what they like.
        score = found.score.to("cpu", torch.float32).clone()
        return Matches(
            xy0=self._side0.to_original(found.xy0), xy1=self._side1.to_original(found.xy1), score=score
        )


def _points(xy: Points) -> Tensor:
    try:
        points = torch.as_tensor(xy if isinstance(xy, Tensor) else np.asarray(xy, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise ShapeError(f"expected points [[x, y], ...], got {type(xy).__name__}: {error}") from error
    if points.numel() == 0:
        return torch.zeros(0, 2, dtype=torch.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ShapeError(f"expected points [N 2], got {list(points.shape)}; write one point as [[x, y]]")
    points = points.detach().to("cpu", torch.float64)
    if not bool(points.isfinite().all()):
        raise DataError("the points: expected finite coordinates, got NaN or infinity; leave those out")
    return points
