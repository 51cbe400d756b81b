"""What code that knows nothing of homolog answers about a pair: checked, and put into our words."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.coords import inside
from homolog.core.dense import Transfer
from homolog.core.errors import CapabilityError, DataError
from homolog.core.image import Image
from homolog.core.keypoints import Matches
from homolog.core.protocols import Points
from homolog.matchers.points import as_points


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """How to ask.

    Attributes:
        name: of whoever answers, for messages.
        match: returns (xy0, xy1) or (xy0, xy1, score) in pixels of the two images.
        transfer: takes [N 2] pixels of image 0; returns [N 2] pixels of image 1, or a tuple of them and
            confidence [N]. None for a method that finds matches only.
    """

    name: str
    match: Callable[[], Any]
    transfer: Callable[[np.ndarray], Any] | None = None


class AnsweredCorrespondence:
    """A correspondence whose answers come from elsewhere; asked for when needed, matches once."""

    def __init__(self, image0: Image, image1: Image, answers: Answers) -> None:
        """Remember whom to ask.

        Args:
            image0: as it was given.
            image1: as it was given.
            answers: in pixels of these images; results are in those of their originals.
        """
        self._image0 = image0
        self._image1 = image1
        self._answers = answers
        self._matches: Matches | None = None

    @property
    def can_transfer(self) -> bool:
        """Whether `transfer` works."""
        return self._answers.transfer is not None

    def matches(self, limit: int | None = None) -> Matches:
        """Return the best matches, best first, in pixels of the original files (float32, on the CPU).

        Raises:
            DataError: what came are no matches between these images.
        """
        if self._matches is None:
            found = _matches(self._answers.match(), self._image0, self._image1, self._answers.name)
            self._matches = found.moved(self._image0.xy_to_original, self._image1.xy_to_original)
        return self._matches.best(limit)

    def transfer(self, xy0: Points) -> Transfer:
        """Say where points of image 0 are in image 1, in pixels of the original files (float32, on the CPU).

        Args:
            xy0: [N 2]. A point beside image 0 is asked for at the nearest place on it, and its
                confidence is 0.

        Raises:
            CapabilityError: whoever answers finds matches only.
            ShapeError: not [N 2].
            DataError: what came are no places and confidences.
        """
        if self._answers.transfer is None:
            raise CapabilityError(
                f"{self._answers.name} finds matches only; to transfer points use a matcher that can, such as "
                "matcher=mini, or give matcher=external a transfer function"
            )
        height, width = self._image0.size
        at = self._image0.xy_from_original(as_points(xy0))
        nearest = at.clamp_min(-0.5).minimum(at.new_tensor((width - 0.5, height - 0.5)))
        found = _transfer(self._answers.transfer(nearest.numpy()), len(at), self._answers.name)
        return Transfer(
            self._image1.xy_to_original(found.xy), found.confidence * inside(at, self._image0.size)
        )


def _matches(raw: Any, image0: Image, image1: Image, name: str) -> Matches:
    if not isinstance(raw, tuple | list) or len(cast(list[Any], raw)) not in (2, 3):
        raise DataError(f"{name}: expected (xy0, xy1) or (xy0, xy1, score), got {_told(raw)}; return a tuple")
    parts = cast(list[Any], list(raw))
    xy0, xy1 = (
        _places(part, f"{name}: {word}") for part, word in zip(parts[:2], ("xy0", "xy1"), strict=True)
    )
    if len(xy0) != len(xy1):
        raise DataError(f"{name}: expected as many xy1 as xy0, got {len(xy1)} and {len(xy0)}")
    for xy, image, word in ((xy0, image0, "xy0"), (xy1, image1, "xy1")):
        _check_inside(xy, image, f"{name}: {word}")
    score = (
        torch.ones(len(xy0)) if len(parts) == 2 or parts[2] is None else _numbers(parts[2], f"{name}: score")
    )
    if score.shape != (len(xy0),):
        raise DataError(f"{name}: expected score [{len(xy0)}], got {list(score.shape)}")
    return Matches(xy0=xy0, xy1=xy1, score=score)


def _transfer(raw: Any, count: int, name: str) -> Transfer:
    xy, confidence = cast("tuple[Any, ...]", raw) if isinstance(raw, tuple) and len(raw) == 2 else (raw, None)
    places = _places(xy, f"{name}: xy1")
    sure = torch.ones(count) if confidence is None else _numbers(confidence, f"{name}: confidence")
    if len(places) != count or sure.shape != (count,):
        raise DataError(
            f"{name}: expected xy1 [{count} 2] and confidence [{count}] for {count} points, got "
            f"{list(places.shape)} and {list(sure.shape)}"
        )
    if not bool(((sure >= 0) & (sure <= 1)).all()):
        raise DataError(
            f"{name}: expected confidence in [0, 1], got {float(sure.min()):g} to {float(sure.max()):g}"
        )
    return Transfer(places, sure)


def _places(raw: Any, name: str) -> Float[Tensor, "N 2"]:
    xy = _numbers(raw, name)
    if xy.numel() == 0:
        return torch.zeros(0, 2)
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise DataError(f"{name}: expected [N 2] of (x, y), got {list(xy.shape)}")
    return xy


def _numbers(raw: Any, name: str) -> Tensor:
    try:
        array = (
            raw.detach().cpu()
            if isinstance(raw, Tensor)
            else torch.from_numpy(np.array(raw, dtype=np.float64))
        )
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: expected numbers, got {_told(raw)} ({error})") from error
    values = array.to(torch.float32).clone()  # theirs may be an inference tensor, or change later
    if not bool(values.isfinite().all()):
        raise DataError(f"{name}: expected finite numbers, got NaN or infinity; leave those out")
    return values


def _check_inside(xy: Tensor, image: Image, name: str) -> None:
    beside = ~inside(xy, image.size)
    if bool(beside.any()):
        x, y = xy[beside][0].tolist()
        height, width = image.size
        raise DataError(
            f"{name}: expected pixels of an image of {width} x {height} with integers at pixel centres, got "
            f"({x:g}, {y:g}) and {int(beside.sum()) - 1} more beside it; scale them, or leave them out"
        )


def _told(raw: Any) -> str:
    if isinstance(raw, tuple | list):
        return f"a {type(raw).__name__} of {len(cast(list[Any], raw))}"
    return f"{type(raw).__name__}"
