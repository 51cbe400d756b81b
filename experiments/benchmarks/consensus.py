"""What does transfer by consensus cost, against transfer by nearest neighbours on the same maps?

`Nearest.transfer` compares each point with all cells, and its answer with all cells of the first image, on the
finest map there is. `Consensus.transfer` compares nine neighbours of each point, one way, with the cells of a
coarse map, and the point itself with those of the finest map. Two sets of maps: those of the product `small` on a
photo of 768 x 768, and one map as DINOv2 gives it, which both heads read.

What counts is CPU time, of the fastest run of each; runs alternate in one process. One thread, because threads that
wait for each other burn CPU time on a busy machine.

Run: `python experiments/benchmarks/consensus.py` (a minute).
"""

import argparse

import torch
from timing import alternating, circumstances

from homolog.core.features import Features
from homolog.heads.consensus import Consensus
from homolog.heads.nearest import Nearest

SIDE = 768
"""Of the images, in pixels."""

MAPS = {
    "coarse 40 x 40 x 496, unified 96 x 96 x 176": {"coarse": (496, 40), "unified": (176, 96)},
    "one map 55 x 55 x 768": {"only": (768, 55)},
}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, nargs="+", default=[10, 30, 100], help="(default: 10 30 100)")
    parser.add_argument("--repeats", type=int, default=15, help="timed runs of each (default: 15)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(circumstances("torch", "homolog-heads"))
    print("\n| maps | points | nearest CPU ms | consensus CPU ms | consensus / nearest |")
    print("|---|---|---|---|---|")
    for name, shapes in MAPS.items():
        for points in options.points:
            print(_row(name, shapes, points, options.repeats), flush=True)


@torch.inference_mode()
def _row(name: str, shapes: dict[str, tuple[int, int]], points: int, repeats: int) -> str:
    generator = torch.Generator().manual_seed(0)
    both = [
        Features(
            maps={
                key: torch.randn(1, 1, channels, side, side, generator=generator)
                for key, (channels, side) in shapes.items()
            },
            image_size=(SIDE, SIDE),
        )
        for _ in range(2)
    ]
    xy = torch.rand(points, 2, generator=generator) * (SIDE - 1)
    first, *others = shapes
    nearest = Nearest(map=others[0] if others else first)
    # As in head/consensus_unified and head/consensus.
    consensus = Consensus(map=first, fine={others[0]: 1.0}, cells=40) if others else Consensus()
    runs = [lambda: nearest.transfer(xy, *both), lambda: consensus.transfer(xy, *both)]
    old, new = (min(times) for times in alternating(runs, repeats))
    return f"| {name} | {points} | {1e3 * old:.1f} | {1e3 * new:.1f} | {new / old:.2f} |"


if __name__ == "__main__":
    main()
