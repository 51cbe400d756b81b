"""Ask for the matches of a pair."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from homolog.core.coords import inside
from homolog.core.errors import ConfigError, ShapeError
from homolog.core.image import Image
from homolog.core.keypoints import Matches
from homolog.core.protocols import Matcher
from homolog.core.samples import PairSample, VideoSample
from homolog.evaluators.file_size import file_size
from homolog.evaluators.record import Record


class AskMatches:
    """Asks for the best matches, and keeps whatever truth the sample has: camera poses, homography, points."""

    def __init__(self, *, limit: int | None, foreground: bool = False) -> None:
        """Choose what to keep.

        Args:
            limit: matches of a pair at most, best first; None keeps all.
            foreground: drop matches that leave the foreground mask of either image, as OmniGlue does on
                NAVI; an image without a mask is all foreground. The limit counts before that.

        Raises:
            ConfigError: a negative limit.
        """
        if limit is not None and limit < 0:
            raise ConfigError(f"expected a limit of 0 or more matches, or null for all, got {limit}")
        self.limit = limit
        self.foreground = foreground

    def __call__(self, matcher: Matcher, sample: PairSample | VideoSample, /) -> Record:
        """Return the record of a pair.

        Raises:
            ConfigError: a sample that is no pair.
            ShapeError: a mask of another size than its image.
        """
        if not isinstance(sample, PairSample):
            raise ConfigError(f"{sample.name}: expected a pair, got a video; choose another task")
        found = matcher.match(sample.image0, sample.image1)
        matches = found.matches(self.limit).cpu()
        if self.foreground:
            matches = _on_foreground(matches, sample)
        arrays = {
            "size0": np.array(file_size(sample.image0)),
            "size1": np.array(file_size(sample.image1)),
            "match0": matches.xy0.numpy(),
            "match1": matches.xy1.numpy(),
            "score": matches.score.numpy(),
        }
        # Not every correspondence tells its keypoints, and dense ones have none.
        told = {f"keypoints{side}": getattr(found, f"keypoints{side}", None) for side in (0, 1)}
        return Record(
            name=sample.name,
            category=sample.category or "",
            arrays={**arrays, **_arrays(told), **_arrays(_truth(sample))},
            facts={
                **sample.facts,
                "matches": "all" if self.limit is None else f"best {self.limit}",
                "matches beside the foreground": "dropped" if self.foreground else "kept",
            },
        )


def _truth(sample: PairSample) -> dict[str, Tensor | None]:
    return {
        "K0": None if sample.camera0 is None else sample.camera0.K,
        "K1": None if sample.camera1 is None else sample.camera1.K,
        "R": None if sample.pose is None else sample.pose.R,
        "t": None if sample.pose is None else sample.pose.t,
        "H": sample.homography,
        "xy0": sample.xy0,
        "xy1": sample.xy1,
        "visible": sample.visible,
    }


def _arrays(tensors: Mapping[str, Tensor | None]) -> dict[str, np.ndarray]:
    return {name: part.detach().cpu().numpy() for name, part in tensors.items() if part is not None}


def _on_foreground(matches: Matches, sample: PairSample) -> Matches:
    keep = torch.ones(len(matches), dtype=torch.bool)
    for image, mask, xy in (
        (sample.image0, sample.mask0, matches.xy0),
        (sample.image1, sample.mask1, matches.xy1),
    ):
        if mask is not None:
            keep &= _masked(mask.cpu(), image, xy, sample.name)
    return matches.select(keep)


def _masked(mask: Tensor, image: Image, xy: Tensor, name: str) -> Tensor:
    if tuple(mask.shape) != image.size:
        raise ShapeError(
            f"{name}: expected a mask of the size of its image, {image.size}, got {tuple(mask.shape)}; check the data set"
        )
    at = image.xy_from_original(xy.double())
    on_image = inside(at, image.size)
    height, width = image.size
    x, y = at.nan_to_num(nan=0.0).round().long().unbind(dim=1)
    return on_image & mask[y.clamp(0, height - 1), x.clamp(0, width - 1)]
