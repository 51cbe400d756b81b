"""How fast is optimal transport by products against the log domain, on the same scores in the same process?

The oracle is written here, plainly: 100 iterations of two log-sum-exps, as SuperGlue's code has them. Before
anything is timed, both have to find the same mutual matches. CPU seconds of one thread count: they feel other
programs on the machine less than the clock does.

Run: `OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 python experiments/benchmarks/sinkhorn.py` (a minute)
"""

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from timing import alternating, circumstances
from torch import Tensor

from homolog.heads.optimal_transport import mutual_matches, optimal_transport

DUSTBIN = 1.0


def main() -> None:
    """Measure and print the table."""
    options = _options()
    torch.set_num_threads(1)
    print(circumstances("torch", "homolog-heads"))
    print(
        "\n| points | scores | log domain s | all iterations s | early stop s | ratio | ratio | same matches |"
    )
    print("|---|---|---|---|---|---|---|---|")
    with torch.inference_mode():
        for count in options.counts:
            for scale in options.scales:
                print(_row(count, scale, options.iterations, options.repeats))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", type=int, nargs="+", default=[1024, 2048], help="points per image")
    parser.add_argument(
        "--scales", type=float, nargs="+", default=[1.0, 10.0], help="deviation of the scores"
    )
    parser.add_argument("--iterations", type=int, default=100, help="of rows and columns (default: 100)")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each (default: 5)")
    return parser.parse_args()


def _row(count: int, scale: float, iterations: int, repeats: int) -> str:
    scores = _scores(count, scale)
    every = partial(optimal_transport, iterations=iterations, tolerance=0.0)
    early = partial(optimal_transport, iterations=iterations)
    dustbin = torch.tensor(DUSTBIN)
    runs: list[Callable[[], Tensor]] = [
        lambda: plain_sinkhorn(scores, DUSTBIN, iterations),
        lambda: every(scores, dustbin),
        lambda: early(scores, dustbin),
    ]
    same = _same_matches([run() for run in runs])
    slow, fast, fastest = map(median, alternating(runs, repeats))
    return (
        f"| {count} | {scale:g} N(0, 1) | {slow:.3f} | {fast:.4f} | {fastest:.4f} | {slow / fast:.0f} | "
        f"{slow / fastest:.0f} | {same} |"
    )


def plain_sinkhorn(scores: Tensor, dustbin: float, iterations: int) -> Tensor:
    """Iterate in the log domain, as SuperGlue does; [B N M] to [B N+1 M+1]."""
    batch, rows, columns = scores.shape
    table = scores.new_full((batch, rows + 1, columns + 1), dustbin)
    table[:, :rows, :columns] = scores
    mass0 = torch.cat((scores.new_zeros(rows), scores.new_tensor([float(columns)]).log()))
    mass1 = torch.cat((scores.new_zeros(columns), scores.new_tensor([float(rows)]).log()))
    u, v = torch.zeros(batch, rows + 1), torch.zeros(batch, columns + 1)
    for _ in range(iterations):
        u = mass0 - torch.logsumexp(table + v[:, None], dim=2)
        v = mass1 - torch.logsumexp(table + u[..., None], dim=1)
    return table + u[..., None] + v[:, None]


def _scores(count: int, scale: float) -> Tensor:
    """Return noise in which half of the points have a partner that stands out."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, count, count, generator=generator)
    place = torch.randperm(count, generator=generator)[: count // 2]
    noise[0, torch.arange(count // 2), place] += 6
    return noise * scale


def _same_matches(assignments: list[Tensor]) -> str:
    found = [mutual_matches(each, match_threshold=0.2) for each in assignments]
    if not all(torch.equal(each.partner, found[0].partner) for each in found):
        raise RuntimeError("expected the same mutual matches, got others; do not time this")
    return f"yes, {int((found[0].partner >= 0).sum())}"


if __name__ == "__main__":
    main()
