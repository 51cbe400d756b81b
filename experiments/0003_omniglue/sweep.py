"""Heads compared at equal numbers of matches: their least sure matches are left out, step by step.

    uv run python experiments/0003_omniglue/sweep.py --head HEAD --photos PHOTOS --data DATA --out FILE

A head that returns fewer matches has a higher precision; only at the same recall, or the same number of inliers, does a precision say which
head is better. Every pair is matched once without a minimum; then a minimum is set for all pairs of a set at once, so that
certain shares of all matches are left.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from scoring import LABELLED_POINTS, REAL_POINTS, Sets, count_right, inliers_of, read_sets

from homolog.core.atomic import write_json
from homolog.zoo import load_matcher
from homolog.zoo.build import build
from homolog.zoo.compose import compose

KEPT = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Shares of all matches of a set."""


def main() -> None:
    """Match all pairs with all heads, and write what is left at each step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--head", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    sets = read_sets(arguments.photos / "heldout", arguments.data)
    heads = {
        "mutual nearest": ["head=nearest"],
        "untrained, nearest start": ["head.checkpoint=null", "head.match_threshold=0.0"],
        "full, seed 0": [f"head.checkpoint={arguments.head}", "head.match_threshold=0.0"],
        "LighterGlue": ["head=lighterglue", "head.match_threshold=0.0"],
    }
    found: dict[str, dict[str, list[dict[str, float]]]] = {name: {} for name in heads}
    matchers: list[Any] = [
        load_matcher("mini_omniglue", f"detector.max_keypoints={points}", "+memory=4000000000", device="cpu")
        for points in (REAL_POINTS, LABELLED_POINTS)
    ]
    for name, overrides in heads.items():
        for matcher in matchers:
            matcher.head = build(compose("match", ["matcher=mini_omniglue", *overrides])["head"])
        found[name]["real"] = real_pairs(matchers[0], sets)
        for of in ("sh100", "sh200"):
            found[name][of] = homographies(matchers[1], sets.labelled[of])
        write_json(arguments.out, found)
        print(name, found[name], flush=True)


def homographies(matcher: Any, samples: Any) -> list[dict[str, float]]:
    """Return precision and recall, as means over pairs, at each share of the matches."""
    pairs = [(sample.image0, sample.image1) for sample in samples]
    minima = _minima(matcher, pairs)
    counts = [count_right(matcher, sample, minima) for sample in samples]
    return [
        {
            "minimum": minimum,
            "precision": float(np.mean([each[index].precision for each in counts])),
            "recall": float(np.mean([each[index].recall for each in counts if each[index].true])),
        }
        for index, minimum in enumerate(minima)
    ]


def real_pairs(matcher: Any, sets: Sets) -> list[dict[str, float]]:
    """Return matches, inliers and the share that agrees, as means over pairs, at each share of the matches."""
    minima = _minima(matcher, sets.real)
    counts = np.array([inliers_of(matcher, pair, minima) for pair in sets.real], dtype=np.float64)
    return [
        {
            "minimum": minimum,
            "matches": float(counts[:, index, 1].mean()),
            "inliers": float(counts[:, index, 0].mean()),
            "agreeing": float((counts[:, index, 0] / np.maximum(1, counts[:, index, 1])).mean()),
        }
        for index, minimum in enumerate(minima)
    ]


def _minima(matcher: Any, pairs: Any) -> list[float]:
    scores = np.concatenate([matcher.match(*pair).matches().score.numpy() for pair in pairs])
    # Scores are compared with `>`: the last minimum is below the lowest.
    return [float(np.quantile(scores, 1 - kept)) - (1e-6 if kept == 1 else 0.0) for kept in KEPT]


if __name__ == "__main__":
    main()
