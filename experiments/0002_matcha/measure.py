"""What a matcher of this experiment is measured on: photos for development, and sets made up for it."""

import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from homolog.core.image import Image
from homolog.evaluators.benchmark import Benchmark
from homolog.synthetic.shards.reading import ShardedPairs
from homolog.zoo.task import load_task

PHOTOS: Any = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).parents[1] / "0000_mini_weights" / "run.py"))
)
"""The protocol of experiment 0000, whose figures these stand beside."""

SLOW = ("pose", "video")
"""Sets that only thorough measurements ask about."""

HELD, MOST = 10, 24
"""Number of homographies of held-out photos, and of synthetic samples of each kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sets:
    """Everything that matchers are asked about, read once."""

    photos: Any
    held: list[tuple[Image, Image, torch.Tensor]]
    tasks: Mapping[str, tuple[Benchmark, Callable[[Any], dict[str, float]]]]


def read_sets(data: Path, synthetic: Path) -> Sets:
    """Read all sets.

    Args:
        data: the development photos.
        synthetic: the generated sets, in folders `semantic_test`, `scenes_test`, `photos_test` and `video_test`.
    """
    photos = PHOTOS.Data(
        scenes=PHOTOS.scene_pairs(data),
        views=PHOTOS.known_views(sorted((data / "photos").iterdir())),
        semantic=PHOTOS.semantic_pairs(data / "semantic"),
    )
    clip = f"data.file={data / 'clip' / 'demo_clip.pkl'}"
    return Sets(
        photos=photos,
        held=_held(synthetic / "photos_test"),
        tasks={
            "clip": (_task("tapvid_file", clip), _tracks("clip")),
            "clip_pck": (
                _task("tapvid_davis_matcha", "data=tapvid", clip, "data.size=[512,512]"),
                _headline("clip_pck", "matcha_paper"),
            ),
            "made_up": (
                _task("synthetic_semantic", "data=sharded_pairs", f"data.root={synthetic / 'semantic_test'}"),
                _headline("made_up_pck"),
            ),
            "pose": (
                _task(
                    "synthetic_geometric",
                    "data=sharded_pairs",
                    f"data.root={synthetic / 'scenes_test'}",
                    "protocols.poselib.workers=1",
                ),
                _headline("pose_auc"),
            ),
            "video": (
                _task("synthetic_video", "data=sharded_videos", f"data.root={synthetic / 'video_test'}"),
                _tracks("video"),
            ),
        },
    )


def figures(matcher: Any, sets: Sets, *, thorough: bool) -> dict[str, float]:
    """Return the figures of one matcher; shares in [0, 1].

    Args:
        matcher: what is measured.
        sets: on what.
        thorough: also the slow measurements: epipolar geometry, poses and synthetic videos.
    """
    photos, found = sets.photos, dict[str, float]()
    if thorough:
        scenes = [PHOTOS.count_inliers(matcher, *pair) for pair in photos.scenes]
        found["inliers"] = _mean(inliers for inliers, _ in scenes)
        found["agreeing"] = _mean(inliers / max(1, matches) for inliers, matches in scenes)
    for prefix, views in (("", photos.views), ("held_", sets.held)):
        counts = [PHOTOS.count_correct(matcher, *view) for view in views]
        found[f"{prefix}correct"] = _mean(correct for correct, _ in counts)
        found[f"{prefix}exact"] = _mean(correct / max(1, matches) for correct, matches in counts)
        points = [PHOTOS.transfer_grid(matcher, *view) for view in views]
        found[f"{prefix}transfer"] = PHOTOS.mean_fraction(points)
        found[f"{prefix}trust"] = PHOTOS.ranking(points)
    annotated = [PHOTOS.transfer_annotated(matcher, pair) for pair in photos.semantic]
    found["pck"], found["pck_trust"] = PHOTOS.mean_fraction(annotated), PHOTOS.ranking(annotated)
    found["pck_curve"] = _mean(_area(matcher, pair) for pair in photos.semantic)
    for name, (benchmark, figure) in sets.tasks.items():
        if thorough or name not in SLOW:
            found |= figure(benchmark.score(benchmark.run(matcher, limit=MOST)))
    return found


def _area(matcher: Any, pair: Any) -> float:
    """Average PCK over the radii 0.05, 0.1, 0.15 and 0.2 of the box: less of a lottery than one of them."""
    xy, _ = matcher.match(pair["image0"], pair["image1"]).transfer(pair["xy0"])
    off = (xy - pair["xy1"]).norm(dim=1) / pair["side"]
    return _mean(float((off <= radius).double().mean()) for radius in (0.05, 0.1, 0.15, 0.2))


def _held(folder: Path) -> list[tuple[Image, Image, torch.Tensor]]:
    pairs: list[tuple[Image, Image, torch.Tensor]] = []
    shards = ShardedPairs(folder)
    for sample in (shards[index] for index in range(min(HELD, len(shards)))):
        if sample.homography is None:
            raise ValueError(f"{sample.name}: expected a homography")
        pairs.append((sample.image0, sample.image1, sample.homography.double()))
    return pairs


def _task(name: str, *overrides: str) -> Benchmark:
    task = load_task(name, *overrides)
    if not isinstance(task, Benchmark):
        raise TypeError(f"{name}: expected a benchmark, got {type(task).__name__}")
    return task


def _headline(name: str, protocol: str | None = None) -> Callable[[Any], dict[str, float]]:
    """Return the first score of a protocol; of the task's first one if none is named."""
    return lambda scored: {name: scored[protocol or next(iter(scored))].scores[0].value}


def _tracks(prefix: str) -> Callable[[Any], dict[str, float]]:
    def read(scored: Any) -> dict[str, float]:
        scores = {score.name: score.value for score in next(iter(scored.values())).scores}
        return {f"{prefix}_aj": scores["AJ"], f"{prefix}_delta": scores["<delta_avg"]}

    return read


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))
