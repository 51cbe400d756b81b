"""How a matcher does on synthetic pairs whose whole truth is known; each figure is a mean over pairs unless it says so.

epe         distance between found and true place of the object's pixels (every fourth of a row and column), px
epe_share   the same as a share of the side of the image, per cent
warp        warp error of Synthetic Dense as homolog defines it, x 1000
dense_A     Synthetic Dense: share of these pixels within A of the side of the image, per cent
pck_A       share of the keypoints within A of the longer side of the target's box, per cent
left_right  share of the keypoints with a mirror image in sight that landed nearer to that, per cent, all points
fold        share of the lattice's cells on the object that turn the image over, per cent
trust       how often a pixel found within 0.1 of the side has a higher confidence than one that is not
            (area under the ROC curve, all pixels of all pairs; 50 is chance)

Sizes of the sets and their seeds are in `run.py`.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from homolog.core.coords import pixel_to_normalised
from homolog.core.io import read_image
from homolog.core.protocols import Correspondence, ImageLike, Matcher
from homolog.core.samples import PairSample
from homolog.evaluators.benchmark import Benchmark
from homolog.evaluators.records import Record
from homolog.synthetic.semantic_pairs import SemanticPair, SemanticPairs
from homolog.training.measures import fold_over_rate, left_right_confusion
from homolog.zoo import load_task

ALPHAS = (0.01, 0.05, 0.1)
PHOTO_ALPHAS = (0.1, 0.2)
STRIDE = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """A pair with what is asked beside its sample.

    Attributes:
        sample: see there.
        counterparts: [N 1 2] of its keypoints, their mirror images in image 1; NaN where there is none in sight.
    """

    sample: PairSample
    counterparts: Tensor


class Once:
    """A matcher that matches each pair once, however often it is asked about it."""

    def __init__(self, matcher: Matcher) -> None:
        """Wrap a matcher."""
        self._matcher = matcher
        self._found: dict[tuple[int, int], tuple[object, object, Correspondence]] = {}

    def match(self, image0: ImageLike, image1: ImageLike) -> Correspondence:
        """Match, or remember. Images are kept, so that none gets the number of another."""
        key = id(image0), id(image1)
        if key not in self._found:
            self._found[key] = image0, image1, self._matcher.match(image0, image1)
        return self._found[key][2]


def drawn_pairs(
    count: int, size: int, *, names: Sequence[str], turn: float, beyond: float = 0.0, seed: int = 0
) -> list[Pair]:
    """Make pairs of the test split whose cameras look in directions at least `beyond` degrees apart."""
    source = SemanticPairs(count=20 * count, size=size, seed=seed, split="test", names=list(names), turn=turn)
    pairs: list[Pair] = []
    for index in range(len(source)):
        pair = source.pair(index)
        known = int((pair.truths[0].valid & pair.views[0].shows(0)).sum())
        if _angle(pair) >= beyond and known >= 100:
            pairs.append(Pair(sample=pair.sample(), counterparts=_counterparts(pair)))
        if len(pairs) == count:
            break
    return pairs


def score(matcher: Matcher, pairs: Sequence[Pair]) -> dict[str, float]:
    """Return the figures."""
    samples = [pair.sample for pair in pairs]
    dense = _records("synthetic_dense", matcher, samples, f"protocols.homolog.alphas={list(ALPHAS)}")
    points = _records("synthetic_semantic", matcher, samples)
    side = samples[0].image0.size[0]
    off = [np.hypot(*(record["predicted"] - record["xy1"]).T) for record in dense[0]]
    epe = float(np.mean([each.mean() for each in off]))
    figures = {
        "epe": epe,
        "epe_share": 100 * epe / side,
        "warp": 1000 * _value(dense, "warp error"),
        **{
            f"dense_{alpha:g}": 100 * float(np.mean([(each <= alpha * side).mean() for each in off]))
            for alpha in ALPHAS
        },
        **{f"pck_{alpha:g}": 100 * _value(points, f"PCK@{alpha:g}") for alpha in reversed(ALPHAS)},
        "left_right": 100 * _confusion(points[0], pairs),
        "fold": 100 * float(np.nanmean([_folds(matcher, sample) for sample in samples])),
        "trust": 100
        * ranking(np.concatenate(off) <= 0.1 * side, np.concatenate([r["confidence"] for r in dense[0]])),
    }
    return {name: round(value, 3) for name, value in figures.items()}


def ranking(right: np.ndarray, confidence: np.ndarray) -> float:
    """Return the area under the ROC curve; ties count half."""
    order = np.argsort(confidence, kind="stable")
    _, place, count = np.unique(confidence[order], return_inverse=True, return_counts=True)
    middle = np.cumsum(count) - (count - 1) / 2
    ranks = np.empty(len(order))
    ranks[order] = middle[place]
    good, bad = int(right.sum()), int((~right).sum())
    if not good or not bad:
        return float("nan")
    return float((ranks[right].sum() - good * (good + 1) / 2) / (good * bad))


@cache
def _task(name: str, *overrides: str) -> Benchmark:
    return cast(Benchmark, load_task(name, *overrides))


def _records(
    task: str, matcher: Matcher, samples: Sequence[PairSample], *overrides: str
) -> tuple[list[Record], dict[str, Any]]:
    benchmark = _task(task, *overrides)
    benchmark.data = samples
    records = benchmark.run(matcher)
    scored = benchmark.score(records)["homolog"]
    return records, {score.name: score.value for score in reversed(scored.scores)}


def _value(scored: tuple[list[Record], dict[str, Any]], name: str) -> float:
    """Return the first score whose name begins so."""
    found = [value for known, value in reversed(scored[1].items()) if known.startswith(name)]
    return float(found[0])


def _confusion(records: Sequence[Record], pairs: Sequence[Pair]) -> float:
    parts = [
        (torch.from_numpy(record["predicted"]), torch.from_numpy(record["xy1"]), pair.counterparts)
        for record, pair in zip(records, pairs, strict=True)
    ]
    found, truth, counterparts = (torch.cat(column) for column in zip(*parts, strict=True))
    return float(left_right_confusion(found, truth, counterparts))


def _folds(matcher: Matcher, sample: PairSample) -> float:
    size, mask = sample.image0.size, sample.mask0
    rows, columns = (torch.arange((STRIDE - 1) // 2, side, STRIDE) for side in size)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    xy0 = torch.stack((x, y), dim=-1).reshape(-1, 2).float()
    found = matcher.match(sample.image0, sample.image1).transfer(xy0).xy
    grid = pixel_to_normalised(found, sample.image1.size).T.reshape(1, 2, len(rows), len(columns))
    return float(fold_over_rate(grid, None if mask is None else mask[y, x][None]))


def _angle(pair: SemanticPair) -> float:
    first, second = (view.viewpoint.R[2] for view in pair.views)
    return float(np.degrees(np.arccos(np.clip(first @ second, -1, 1))))


def _counterparts(pair: SemanticPair) -> Tensor:
    marks0, marks1 = pair.landmarks
    names = list(pair.views[0].scene.bodies[0].topology.landmark_names)
    both = marks0.visible & marks1.visible
    rows: list[np.ndarray] = []
    for name, seen in zip(names, both, strict=True):
        if not seen:
            continue
        other = mirrored(name)
        place = names.index(other) if other in names and other != name else None
        there = place is not None and bool(marks1.visible[place])
        rows.append(marks1.xy[place] if there and place is not None else np.full(2, np.nan, np.float32))
    return torch.from_numpy(np.array(rows, np.float32).reshape(-1, 1, 2))


def mirrored(name: str) -> str:
    """Return the name of a keypoint's mirror image: the other side's.

    >>> mirrored("left eye"), mirrored("nose")
    ('right eye', 'nose')
    """
    other = {"left": "right", "right": "left"}
    return re.sub(r"\b(left|right)\b", lambda side: other[side[0]], name)


def score_photos(matcher: Matcher, data: Path) -> dict[str, float]:
    """Score annotated development photos, which nothing was trained on or chosen by.

    Return PCK (share of the longer side of the target's box, per cent, mean over pairs) and mean error.
    """
    folder = data / "semantic"
    facts: dict[str, Any] = json.loads((folder / "pairs.json").read_text(encoding="utf-8"))
    shares: list[list[float]] = []
    for pair in facts["pairs"]:
        source, target = (facts["images"][pair[side]] for side in ("src", "trg"))
        xy0, xy1 = (
            torch.tensor([image["keypoints"][name] for name in pair["names"]]) for image in (source, target)
        )
        images = [read_image(folder / image["file"]) for image in (source, target)]
        off = (matcher.match(*images).transfer(xy0).xy - xy1).norm(dim=1) / max(target["bbox"][2:])
        shares.append([*((off <= alpha).double().mean().item() for alpha in PHOTO_ALPHAS), off.mean().item()])
    names = [*(f"pck_{alpha:g}" for alpha in PHOTO_ALPHAS), "error_share"]
    return {
        name: round(100 * float(value), 2) for name, value in zip(names, np.mean(shares, axis=0), strict=True)
    }
