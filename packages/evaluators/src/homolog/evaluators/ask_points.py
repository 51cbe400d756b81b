"""Ask where annotated points of one image are in the other."""

import numpy as np
import torch
from torch import Tensor

from homolog.core.errors import ConfigError, ShapeError
from homolog.core.protocols import Matcher
from homolog.core.samples import PairSample, VideoSample
from homolog.evaluators.file_size import file_size
from homolog.evaluators.record import Record


class AskPoints:
    """Has a matcher transfer the points of a pair that are seen in both images.

    Only those are asked for and recorded, as only they have a truth, so every row of a record is visible
    and its cost is that of its points. Memberships of points in groups are recorded under the groups'
    names (`geometry_aware`).
    """

    def __call__(self, matcher: Matcher, sample: PairSample | VideoSample, /) -> Record:
        """Return the record of a pair.

        Raises:
            CapabilityError: the matcher cannot transfer points.
            ConfigError: a sample without annotated points.
            ShapeError: the matcher answers something else than it was asked.
        """
        if not isinstance(sample, PairSample) or sample.xy0 is None or sample.xy1 is None:
            raise ConfigError(
                f"{sample.name}: expected a pair with annotated points, got none; choose a semantic task"
            )
        count = len(sample.xy0)
        seen = torch.ones(count, dtype=torch.bool) if sample.visible is None else sample.visible.cpu()
        xy0, xy1 = (xy.cpu()[seen] for xy in (sample.xy0, sample.xy1))
        found = matcher.match(sample.image0, sample.image1).transfer(xy0)
        if found.xy.shape != xy0.shape or found.confidence.shape != xy0.shape[:1]:
            raise ShapeError(
                f"{sample.name}: expected {len(xy0)} places [N 2] and confidences [N] of the matcher, "
                f"got {list(found.xy.shape)} and {list(found.confidence.shape)}"
            )
        arrays: dict[str, np.ndarray] = {
            "size0": np.array(file_size(sample.image0)),
            "size1": np.array(file_size(sample.image1)),
            "xy0": _numbers(xy0),
            "xy1": _numbers(xy1),
            "visible": np.ones(len(xy0), dtype=np.bool_),
            "predicted": _numbers(found.xy),
            "confidence": _numbers(found.confidence),
            **{name: members.cpu()[seen].numpy() for name, members in sample.groups.items()},
        }
        boxes = {"box0": sample.box0, "box1": sample.box1}
        arrays |= {name: _numbers(box) for name, box in boxes.items() if box is not None}
        return Record(
            name=sample.name, category=sample.category or "", arrays=arrays, facts=dict(sample.facts)
        )


def _numbers(values: Tensor) -> np.ndarray:
    values = values.detach().cpu()
    return (values if values.dtype == torch.float64 else values.float()).numpy()
