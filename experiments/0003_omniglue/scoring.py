"""Measurements: held-out homographies, synthetic scenes, and real pairs."""

import runpy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from homolog.core.keypoints import Matches
from homolog.core.samples import PairSample
from homolog.evaluators.ground_truth_matches import MatchCounts, count_matches, match_indices
from homolog.synthetic.homography_source import HomographySource
from homolog.synthetic.scene_pairs import ScenePairs
from homolog.training.ground_truth import MatchLabeller

PHOTOS: Any = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).parents[1] / "0000_mini_weights" / "run.py"))
)
"""Experiment 0000, which counts inliers."""

SIZE = (384, 512)
SHARE100 = 100 / 640
"""How far OmniGlue's SH100 moves a corner, as a fraction of the longer side that glue-factory trains on."""

TRUTH = MatchLabeller(positive=3, negative_homography=5, negative_depth=5)
"""OmniGlue, section 4.1: right within 3 px, wrong beyond 5 px, else ignored."""

LABELLED_POINTS, REAL_POINTS = 512, 1024
"""Keypoints of an image at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sets:
    """All pairs.

    Attributes:
        labelled: by name, pairs whose truth is known.
        real: two photos of one scene each.
    """

    labelled: Mapping[str, Sequence[PairSample]]
    real: Sequence[tuple[Any, Any]]


def read_sets(held_out: Path, data: Path, *, pairs: int = 24) -> Sets:
    """Make and read all pairs.

    Args:
        held_out: photos that nothing was trained on.
        data: the folder of photos for development that experiment 0000 describes.
        pairs: of each kind of homography; scenes are two thirds of it.
    """

    def homographies(share: float) -> list[PairSample]:
        source = HomographySource(
            count=pairs, photos=held_out, size=SIZE, displacement=share * SIZE[1], seed=7, split="test"
        )
        return [source[index] for index in range(pairs)]

    scenes = ScenePairs(
        count=max(1, pairs * 2 // 3), size=SIZE, turn=40.0, overlap=[0.3, 0.9], seed=7, split="test"
    )
    return Sets(
        labelled={
            "sh100": homographies(SHARE100),
            "sh200": homographies(2 * SHARE100),
            "scenes": [scenes[index] for index in range(len(scenes))],
        },
        real=PHOTOS.scene_pairs(data),
    )


def figures(on_labelled: Any, on_real: Any, sets: Sets) -> dict[str, float]:
    """Return all figures of a matcher.

    `SET.precision` and `SET.recall` are shares, means over pairs; a pair without a match has precision 0.
    `real.inliers` is a mean over pairs, `real.agreeing` the mean share of matches that agree with one
    fundamental matrix.

    Args:
        on_labelled: the matcher with as many keypoints as pairs of known truth are matched with.
        on_real: the same for real pairs.
        sets: all pairs.
    """
    found: dict[str, float] = {}
    for name, samples in sets.labelled.items():
        counts = [count_right(on_labelled, sample)[0] for sample in samples]
        found[f"{name}.precision"] = float(np.mean([each.precision for each in counts]))
        found[f"{name}.recall"] = float(np.mean([each.recall for each in counts if each.true]))
    real = [PHOTOS.count_inliers(on_real, *pair) for pair in sets.real]
    found["real.matches"] = float(np.mean([matches for _, matches in real]))
    found["real.inliers"] = float(np.mean([inliers for inliers, _ in real]))
    found["real.agreeing"] = float(np.mean([inliers / max(1, matches) for inliers, matches in real]))
    return found


def count_right(matcher: Any, sample: PairSample, minima: Sequence[float] = (-np.inf,)) -> list[MatchCounts]:
    """Count the right matches of a pair among those whose score exceeds each of some minima."""
    with torch.inference_mode():
        found = matcher.match(sample.image0, sample.image1)
        matches = found.matches()
    xy0, xy1 = found.keypoints0.clone(), found.keypoints1.clone()
    true = TRUTH.label(sample, xy0, xy1).matches0.numpy()
    rows, partners = (
        match_indices(points.numpy(), xy.numpy()) for points, xy in ((xy0, matches.xy0), (xy1, matches.xy1))
    )
    counts: list[MatchCounts] = []
    for minimum in minima:
        kept = matches.score.numpy() > minimum
        predicted = np.full(len(true), -1)
        predicted[rows[kept]] = partners[kept]
        counts.append(count_matches(predicted, true))
    return counts


def inliers_of(matcher: Any, pair: Any, minima: Sequence[float]) -> list[tuple[int, int]]:
    """Count inliers and matches of a real pair among those whose score exceeds each of some minima."""
    matches = matcher.match(*pair).matches()
    return [
        PHOTOS.count_inliers(_Found(matches.select(matches.score > minimum)), *pair) for minimum in minima
    ]


class _Found:
    """Answers with matches that are there already."""

    def __init__(self, matches: Matches) -> None:
        self._matches = matches

    def match(self, image0: object, image1: object) -> "_Found":
        del image0, image1
        return self

    def matches(self) -> Matches:
        return self._matches
