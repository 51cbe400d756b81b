"""How fast is `mutual_nearest` against kornia's `match_mnn` on the same descriptors, in the same process?

Both find the same pairs (checked before timing), and their runs alternate. What counts is the ratio of
their medians. `match_mnn` computes the whole matrix of distances; `mutual_nearest` computes cosines, a
chunk at a time, and so waits for its threads more often. Leave the machine alone meanwhile: next to
another busy program on two cores the ratio for 64 numbers fell from 3.7 to 1.6 (with chunks of 4 MB
instead of 16 MB to 0.3, which is why they are not smaller).

Run: `python experiments/benchmarks/nearest.py` (half a minute on two cores, 4096 against 4096 descriptors
of 64 and of 1024 numbers).
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from kornia.feature import match_mnn
from timing import alternating, circumstances
from torch import Tensor

from homolog.heads.nearest import mutual_nearest


def main() -> None:
    """Measure and print the table."""
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(circumstances("torch", "kornia", "homolog-heads"))
    print("\n| N = M | D | kornia ms | homolog ms | homolog with ratio ms | kornia / homolog |")
    print("|---|---|---|---|---|---|")
    for size in options.sizes:
        print(_row(options.count, size, options.repeats))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=4096, help="descriptors per image (default: 4096)")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[64, 1024], help="descriptor lengths (default: 64 1024)"
    )
    parser.add_argument("--repeats", type=int, default=15, help="timed runs of each (default: 15)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's choice)")
    return parser.parse_args()


def _row(count: int, size: int, repeats: int) -> str:
    descriptor0, descriptor1 = _descriptors(count, size)
    _check_equal_pairs(descriptor0, descriptor1)
    runs: list[Callable[[], object]] = [
        lambda: match_mnn(descriptor0, descriptor1),
        lambda: mutual_nearest(descriptor0, descriptor1),
        lambda: mutual_nearest(descriptor0, descriptor1, ratio=0.9),
    ]
    kornia, ours, sure = (1000 * median(each) for each in alternating(runs, repeats, clock=time.perf_counter))
    return f"| {count} | {size} | {kornia:.1f} | {ours:.1f} | {sure:.1f} | {kornia / ours:.2f} |"


def _descriptors(count: int, size: int) -> tuple[Tensor, Tensor]:
    """Return unit descriptors, three quarters of which have a noisy twin at another place."""
    generator = torch.Generator().manual_seed(0)
    first, other, noise = (
        F.normalize(torch.randn(count, size, generator=generator), dim=1) for _ in range(3)
    )
    shared = 3 * count // 4
    second = torch.cat((F.normalize(first + 0.5 * noise, dim=1)[:shared], other[shared:]))
    return first, second[torch.randperm(count, generator=generator)]


def _check_equal_pairs(descriptor0: Tensor, descriptor1: Tensor) -> None:
    found = mutual_nearest(descriptor0, descriptor1)
    ours = set(zip(found.index0.tolist(), found.index1.tolist(), strict=True))
    theirs = {(i, j) for i, j in match_mnn(descriptor0, descriptor1)[1].tolist()}
    # Rounding decides between neighbours that are equally near to the last bits.
    if len(ours ^ theirs) > len(theirs) // 1000:
        raise RuntimeError(f"expected the pairs of kornia, got {len(ours ^ theirs)} others; do not time this")


if __name__ == "__main__":
    main()
