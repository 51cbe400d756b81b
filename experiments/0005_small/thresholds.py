"""ALIKED + LightGlue at several detection thresholds and numbers of keypoints.

    uv run python experiments/0005_small/thresholds.py --data DATA --out OUT [--half tune] [--sets pose_room]

Each photo is extracted once, with threshold 0 and the largest number of keypoints; every other setting takes a
subset of these keypoints, as the detector itself would (it compares the peak's score before refining it, here the
score at the refined position is compared, which is at most a little lower). Prints a row for each setting: keypoints
per photo, matches per pair, CPU seconds per pair without extraction, and the scores of both protocols.
"""

import argparse
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from run import SETS, make_configs
from sets import HALVES, fetched_sources, make_sets

from homolog.core import FeatureCache
from homolog.zoo import load_matcher, load_task

THRESHOLDS = (0.2, 0.1, 0.05, 0.02, 0.0)
KEYPOINTS = (1024, 2048, 4096)
RESIZES = (1024,)
GEOMETRIC = tuple(name for name in SETS if name.startswith(("homography", "pose")))


class Subset:
    """A matcher that keeps only the best keypoints above a threshold."""

    def __init__(self, matcher: Any, threshold: float, max_keypoints: int) -> None:
        """Set what is kept of the keypoints of `matcher`."""
        self.matcher, self.threshold, self.max_keypoints = matcher, threshold, max_keypoints
        self.kept: list[int] = []

    def match(self, image0: Any, image1: Any) -> Any:
        """Match the kept keypoints of two images."""
        return self.matcher.match_features(*(self._extract(image) for image in (image0, image1)))

    def _extract(self, image: Any) -> Any:
        features = self.matcher.extract(image)
        best = features.keypoints.best(self.max_keypoints)
        if self.threshold > 0:
            best = best.select(best.score > self.threshold)
        self.kept.append(len(best))
        return replace(features, keypoints=best)


def main() -> None:
    """Print a row for each setting on each set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--half", choices=HALVES, default="tune")
    parser.add_argument("--sets", nargs="+", choices=GEOMETRIC, default=GEOMETRIC)
    parser.add_argument("--thresholds", nargs="+", type=float, default=THRESHOLDS)
    parser.add_argument("--keypoints", nargs="+", type=int, default=KEYPOINTS)
    parser.add_argument("--resizes", nargs="+", type=int, default=RESIZES)
    parser.add_argument("--weights", type=Path, help="folder of weight files that the YAMLs do not find")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    out = arguments.out.resolve()
    make_sets(fetched_sources(arguments.data.resolve(), out / "sources"), out / "sets", arguments.sets)
    configs = make_configs(out, arguments.data.resolve(), arguments.weights)
    print("| set | resize | max_keypoints | threshold | keypoints | matches | s | poselib | opencv |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, resize in product(arguments.sets, arguments.resizes):
        most = ("detector.threshold=0", f"detector.max_keypoints={max(arguments.keypoints)}")
        cache = FeatureCache(folder=out / "cache" / "features")
        matcher: Any = load_matcher(
            "lightglue_aliked", *most, f"resize={resize}", device="cpu", configs=configs, cache=cache
        )
        task: Any = load_task(f"{name}_{arguments.half}", configs=configs)
        for sample in (task.data[index] for index in range(len(task.data))):
            matcher.extract(sample.image0)
            matcher.extract(sample.image1)
        for keypoints, threshold in product(arguments.keypoints, arguments.thresholds):
            subset = Subset(matcher, threshold, keypoints)
            start = time.process_time()
            records = list(task.answers(subset))
            seconds = (time.process_time() - start) / len(records)
            matches = sum(len(record.arrays["match0"]) for record in records) / len(records)
            kept = sum(subset.kept) / len(subset.kept)
            cells = [f"{kept:.0f}", f"{matches:.0f}", f"{seconds:.2f}"]
            scored = task.score(records)
            cells += [
                "/".join(
                    f"{100 * score.value:.1f}" for score in scored[key].scores if score.name.startswith("AUC")
                )
                for key in ("poselib", "opencv")
            ]
            print(
                "| " + " | ".join([name, str(resize), str(keypoints), f"{threshold:g}", *cells]) + " |",
                flush=True,
            )


if __name__ == "__main__":
    main()
