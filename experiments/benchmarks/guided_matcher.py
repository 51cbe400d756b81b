"""How fast is the guided matcher against kornia's LightGlue on the same keypoints, in the same process?

Both have random weights and 9 + 9 layers of width 256; LightGlue's early exit and pruning are off, so that
every layer runs on every keypoint. Its time includes reading the guidance (768 numbers), the pruning
and 100 iterations of Sinkhorn. CPU seconds of one thread count.

Run: `OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 python experiments/benchmarks/guided_matcher.py` (two minutes)
Memory: `... guided_matcher.py --peak 4096` runs it alone, once, and prints the process's peak.
"""

import argparse
import resource
import time
from collections.abc import Callable
from statistics import median
from typing import Any, cast

import torch
from kornia.feature import LightGlue
from timing import alternating, circumstances

from homolog.core.features import Features
from homolog.core.keypoints import Keypoints
from homolog.heads.guided_matcher import GuidedMatcher

SIZE = (480, 640)


def main() -> None:
    """Measure and print the table, or the peak."""
    options = _options()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(circumstances("torch", "kornia", "homolog-heads"))
    with torch.inference_mode():
        if options.peak:
            print(_peak(options.peak))
            return
        print(
            "\n| keypoints | LightGlue s | guided matcher s | of LightGlue | guided matcher without guidance s |"
        )
        print("|---|---|---|---|---|")
        for count in options.counts:
            print(_row(count, options.repeats))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", type=int, nargs="+", default=[512, 1024, 2048], help="per image")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each (default: 5)")
    parser.add_argument("--peak", type=int, default=0, help="measure memory at this many keypoints instead")
    return parser.parse_args()


def _row(count: int, repeats: int) -> str:
    sides = _side(count), _side(count)
    guided, unguided = GuidedMatcher(None), GuidedMatcher(None, guidance="none")
    peer = LightGlue(
        cast(str, None), input_dim=256, depth_confidence=-1, width_confidence=-1, filter_threshold=0.1
    ).eval()
    given: dict[str, dict[str, Any]] = {
        f"image{index}": {
            "keypoints": keypoints.xy[None],
            "descriptors": cast(torch.Tensor, keypoints.descriptor)[None],
            "image_size": torch.tensor([[SIZE[1], SIZE[0]]]),
        }
        for index, (keypoints, _) in enumerate(sides)
    }
    (keypoints0, features0), (keypoints1, features1) = sides
    runs: list[Callable[[], object]] = [
        lambda: peer(given),
        lambda: guided(keypoints0, keypoints1, features0, features1),
        lambda: unguided(keypoints0, keypoints1, features0, features1),
    ]
    theirs, ours, bare = map(median, alternating(runs, repeats))
    return f"| {count} | {theirs:.2f} | {ours:.2f} | {ours / theirs:.2f} | {bare:.2f} |"


def _side(count: int) -> tuple[Keypoints, Features]:
    keypoints = Keypoints(
        xy=torch.rand(count, 2) * torch.tensor([SIZE[1] - 1.0, SIZE[0] - 1.0]),
        score=torch.rand(count),
        descriptor=torch.nn.functional.normalize(torch.randn(count, 256), dim=1),
    )
    return keypoints, Features(maps={"block.11": torch.randn(1, 1, 768, 33, 45)}, image_size=SIZE)


def _peak(count: int) -> str:
    matcher = GuidedMatcher(None)
    sides = _side(count), _side(count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (keypoints0, features0), (keypoints1, features1) = sides
    start = time.process_time()
    matcher(keypoints0, keypoints1, features0, features1)
    seconds = time.process_time() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (
        f"{count} keypoints: peak {after / 1024:.0f} MB, {before / 1024:.0f} MB before; {seconds:.1f} CPU s"
    )


if __name__ == "__main__":
    main()
