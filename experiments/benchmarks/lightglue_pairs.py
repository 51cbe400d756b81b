"""How many pairs a second does LightGlue match in batches, against kornia's LightGlue called pair after pair?

Both start from the same keypoints with the same weights, and settings such as early exit are those of the
product. Both must find the same matches, or nothing is printed; scores may differ by rounding (`apart`: the
largest difference). `without` is how many of the matches of either the other one lacks.

What counts is CPU time of the process, of the fastest run of each; on a GPU the time until it is idle. Runs
alternate in one process. Extraction is not timed.

Run: `python experiments/benchmarks/lightglue_pairs.py PHOTOS` (hours on one core for 30 photos and 200 pairs;
`--photos 6 --pairs 12` takes minutes). Weights that are not installed are given as files:
`--set lightglue_aliked:detector.checkpoint=aliked-n16.pth lightglue_aliked:head.checkpoint=aliked_lightglue.pth`.
"""

import argparse
import itertools
import random
import time
from pathlib import Path
from typing import Any

import torch
from timing import alternating, circumstances
from torch import Tensor

from homolog.core.device import autocast, choose_device
from homolog.core.io import read_image
from homolog.heads.lightglue import LightGlue
from homolog.matchers.base import ImageFeatures
from homolog.matchers.sparse import SparseMatcher
from homolog.zoo.model import load_matcher

ASKED = 1.3
"""How many times as many pairs a second are asked for."""

DIFFERENT = 0.002
"""Fraction of matches that may differ: rounding decides on points that are pruned by a hair's breadth."""

Pairs = list[tuple[ImageFeatures, ImageFeatures]]


def main() -> None:
    """Measure and print the tables."""
    options = _options()
    torch.set_num_threads(options.threads)
    print(circumstances("torch", "kornia", "homolog-heads", "homolog-matchers"))
    files = sorted(
        path for path in options.photos_folder.rglob("*") if path.suffix.lower() in (".jpg", ".png")
    )
    photos = [read_image(path) for path in files[: options.photos]]
    print(f"{len(photos)} photos, {options.pairs} pairs, batches of {options.batch}")
    print("\n| matcher | keypoints | matches | kornia pairs/s | homolog pairs/s | ratio | without | apart |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.matchers:
        own = [each.removeprefix(f"{name}:") for each in options.set if each.startswith(f"{name}:")]
        matcher = load_matcher(name, *own, device=options.device)
        if not isinstance(matcher, SparseMatcher) or not isinstance(matcher.head, LightGlue):
            raise SystemExit(f"expected a matcher with LightGlue, got {name}")
        features = matcher.extract(photos)
        pairs = list(itertools.combinations(features, 2))
        # The order of a folder, in which neighbours share a photo, thinned to the number asked for.
        chosen = sorted(random.Random(0).sample(range(len(pairs)), min(options.pairs, len(pairs))))
        print(
            _row(name, matcher, matcher.head.network, [pairs[index] for index in chosen], options), flush=True
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos_folder", type=Path, metavar="PHOTOS", help="folder of photos of a few scenes")
    parser.add_argument("--photos", type=int, default=30, help="how many of them (default: 30)")
    parser.add_argument("--pairs", type=int, default=200, help="pairs among them (default: 200)")
    parser.add_argument("--batch", type=int, default=4, help="pairs at a time (default: 4)")
    parser.add_argument("--repeats", type=int, default=2, help="timed runs of each (default: 2)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--half", action="store_true", help="run both in float16 autocast")
    parser.add_argument(
        "--matchers", nargs="+", default=["xfeat_lighterglue", "lightglue_aliked"], help="default: both"
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="MATCHER:KEY=VALUE", help="settings")
    return parser.parse_args()


@torch.inference_mode()
def _row(name: str, matcher: SparseMatcher, network: Any, pairs: Pairs, options: argparse.Namespace) -> str:
    device = choose_device(options.device)
    half = torch.float16 if options.half else None
    sides = {id(each): _side(each) for pair in pairs for each in pair}

    theirs: list[dict[tuple[int, int], float]] = []
    mine: list[dict[tuple[int, int], float]] = []

    def kornia() -> None:
        with autocast(device, half):
            # One after the other: what kornia returns of a pair holds 16 MB of scores.
            theirs[:] = [_of_kornia(network, sides[id(one)], sides[id(other)]) for one, other in pairs]

    def ours() -> None:
        with autocast(device, half):
            found = [each.matches() for each in matcher.match_pairs(pairs, batch_size=options.batch)]
        mine[:] = [_scores((each.index0, each.index1), each.score) for each in found]

    clock = time.process_time if device.type == "cpu" else _when_idle
    # Runs last minutes: what a first one takes more does not count.
    times = alternating([kornia, ours], options.repeats, clock=clock, warm_up=False)
    slow, fast = (len(pairs) / min(each) for each in times)
    count = sum(map(len, theirs))
    without = sum(len(one.keys() ^ other.keys()) for one, other in zip(theirs, mine, strict=True))
    apart = max(
        abs(one[key] - other[key])
        for one, other in zip(theirs, mine, strict=True)
        for key in one.keys() & other.keys()
    )
    if without > DIFFERENT * count and not options.half:
        raise RuntimeError(
            f"expected the matches of kornia, got {without} of {count} others; the times mean nothing"
        )
    short = "" if fast >= ASKED * slow else f" (less than {ASKED})"
    keypoints = sum(len(each["keypoints"][0]) for each in sides.values()) / len(sides)
    return (
        f"| {name} | {keypoints:.0f} | {count / len(pairs):.0f} | {slow:.3f} | {fast:.3f} "
        f"| {fast / slow:.2f}{short} | {without} | {apart:.1e} |"
    )


def _of_kornia(
    network: Any, side0: dict[str, Tensor], side1: dict[str, Tensor]
) -> dict[tuple[int, int], float]:
    found: dict[str, Any] = network({"image0": side0, "image1": side1})
    return _scores(found["matches"][0].unbind(1), found["scores"][0])


def _side(features: ImageFeatures) -> dict[str, Tensor]:
    assert features.keypoints is not None
    assert features.keypoints.descriptor is not None
    height, width = features.features.image_size
    xy = features.keypoints.xy
    return {
        "keypoints": xy[None],
        "descriptors": features.keypoints.descriptor[None],
        "image_size": xy.new_tensor([[width, height]]),
    }


def _scores(index: Any, score: Tensor) -> dict[tuple[int, int], float]:
    index0, index1 = (each.tolist() for each in index)
    return dict(zip(zip(index0, index1, strict=True), score.tolist(), strict=True))


def _when_idle() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
