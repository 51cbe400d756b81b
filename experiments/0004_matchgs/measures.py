"""Measurements of a semi-dense matcher: on synthetic scenes with exact labels, and on photos.

On scenes (`homolog.synthetic.scene_pairs`, test split, 256 pixels; means over pairs):
  matches     of cells, per pair
  precision   share of them whose cell in image 1 is the right one or borders on it no further than half a cell:
              its centre is at most half a cell, in x and y, from where the centre of the cell of image 0 truly is
  recall      share of the true matches of cells that are found
  median, p95 pixels from the truth after refinement, over all right matches of all pairs
  auc         of the pose error at 5, 10 and 20 degrees (homolog's protocol synthetic_geometric/poselib)

On photos, as `experiments/0000_mini_weights/run.py` measures them:
  inliers     matches that agree with one fundamental matrix, per pair; agreeing: their share
  correct     matches of a photo with a known perspective view of it that are off by at most 3 px; exact: their share
"""

import runpy
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from homolog.core.coords import normalised_to_pixel, pixel_to_normalised
from homolog.core.dense import DenseField
from homolog.core.keypoints import Matches
from homolog.core.samples import PairSample
from homolog.core.sampling import sample_points
from homolog.evaluators.predictors import MatchPredictor
from homolog.synthetic.scene_pairs import ScenePairs
from homolog.zoo.build import build
from homolog.zoo.compose import compose

CELL = 8
PHOTOS: Any = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).parents[1] / "0000_mini_weights" / "run.py"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTruth:
    """How the matches of a pair fare.

    Attributes:
        right: of each match with a known truth, whether its cell is right.
        refined: pixels from the truth, of each of these.
        found: right matches by the number of true ones.
    """

    right: Tensor
    refined: Tensor
    found: float


def exact_scenes(count: int) -> list[PairSample]:
    """Make the scenes of the test."""
    source = ScenePairs(count=count, size=256, seed=11, split="test", turn=90.0, overlap=(0.15, 0.9))
    return [source[index] for index in range(count)]


def on_scenes(matcher: Any, samples: Iterable[PairSample], *, cells: bool = True) -> dict[str, Any]:
    """Return the figures of exact scenes; those of cells only for a semi-dense matcher."""
    begin = time.process_time()
    records: list[Any] = []
    judged: list[CellTruth] = []
    for sample in samples:
        records.append(MatchPredictor(max_matches=None)(matcher, sample))
        if cells:
            judged.append(judge(matcher, sample))
    figures: dict[str, Any] = {"matches": float(np.mean([len(record["match0"]) for record in records]))}
    if cells:
        right, refined = (
            torch.cat([getattr(each, part) for each in judged]) for part in ("right", "refined")
        )
        errors = refined[right].double().numpy() if bool(right.any()) else np.array([np.nan])
        figures |= {
            "precision": float(
                np.mean([float(each.right.double().mean()) for each in judged if len(each.right)])
            ),
            "recall": float(np.mean([each.found for each in judged])),
            "median": float(np.median(errors)),
            "p95": float(np.quantile(errors, 0.95)),
            "quantiles": [float(value) for value in np.quantile(errors, np.arange(1, 20) / 20)],
        }
    node = compose("protocol/synthetic_geometric/poselib")["protocol"]["synthetic_geometric"]
    protocol: Any = build({**node, "workers": 1})
    aucs = [score for score in protocol.score(records).scores if score.name.startswith("AUC")]
    figures |= {score.name: float(score.value) for score in aucs}
    return {**figures, "cpu_seconds": time.process_time() - begin}


def judge(matcher: Any, sample: PairSample) -> CellTruth:
    """Hold the cells of a pair's matches, and where refinement moved them, against the truth."""
    field = sample.dense0
    if field is None:
        raise RuntimeError(f"{sample.name}: expected dense truth")
    refined: Matches = matcher.match(sample.image0, sample.image1).matches()
    coarse = _unrefined(matcher, sample)
    truth, known = _truth_at(field, refined.xy0)
    right = (coarse.xy1 - truth).abs().amax(dim=1) <= CELL / 2
    away = (refined.xy1 - truth).norm(dim=1)
    grid = _cell_centres(sample.image0.size)
    possible = int(_truth_at(field, grid)[1].sum())
    return CellTruth(
        right=right[known], refined=away[known], found=float((right & known).sum()) / max(1, possible)
    )


def on_photos(matcher: Any, data: Path) -> dict[str, float]:
    """Return the figures of photos."""
    begin = time.process_time()
    scenes = [PHOTOS.count_inliers(matcher, *pair) for pair in PHOTOS.scene_pairs(data)]
    views = [
        PHOTOS.count_correct(matcher, *view)
        for view in PHOTOS.known_views(sorted((data / "photos").iterdir()))
    ]
    return {
        "inliers": float(np.mean([inliers for inliers, _ in scenes])),
        "agreeing": float(np.mean([inliers / max(1, matches) for inliers, matches in scenes])),
        "correct": float(np.mean([correct for correct, _ in views])),
        "exact": float(np.mean([correct / max(1, matches) for correct, matches in views])),
        "cpu_seconds": time.process_time() - begin,
    }


def _unrefined(matcher: Any, sample: PairSample) -> Matches:
    window, matcher.head.window = matcher.head.window, 1
    try:
        found: Matches = matcher.match(sample.image0, sample.image1).matches()
    finally:
        matcher.head.window = window
    return found


def _truth_at(field: DenseField, xy: Tensor) -> tuple[Tensor, Tensor]:
    """Return where points of image 0 truly are, and whether that is known: in all pixels around them."""
    at = pixel_to_normalised(xy, field.size)[None]
    known = sample_points(field.confidence[:, None], at)[0, :, 0] > 1 - 1e-4
    place = normalised_to_pixel(sample_points(field.grid.nan_to_num(), at)[0], field.size)
    return place, known


def _cell_centres(size: tuple[int, int]) -> Tensor:
    rows, columns = torch.meshgrid(*(torch.arange(side // CELL) for side in size), indexing="ij")
    return torch.stack((columns, rows), dim=-1).reshape(-1, 2) * float(CELL) + (CELL - 1) / 2
