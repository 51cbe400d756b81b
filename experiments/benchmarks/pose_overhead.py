"""How much time does estimating poses take beyond what PoseLib itself needs for the same matches?

First in one thread: CPU seconds inside of `poselib.estimate_relative_pose` and outside of it, in the same
run, for `estimate_all` (poses from matches) and for a whole `PoseProtocol` (with working size, errors,
precision of matches, AUC). The clock around each call is counted as outside. Then with threads: wall and
CPU seconds against a bare loop over PoseLib on prepared arrays, alternating with it.

Pairs are synthetic: matches of points in space with half a pixel of noise, and wrong ones; options are
XFeat's on MegaDepth-1500, the cheapest of all protocols and so the hardest to keep up with.

Run: `python experiments/benchmarks/pose_overhead.py` (a few minutes on two cores).
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import poselib

from homolog.evaluators.image_sizes import WorkingSize, matched_pair
from homolog.evaluators.pose import PoseProtocol
from homolog.evaluators.records import Record
from homolog.evaluators.solvers import PoselibPose, estimate_all

K = np.array([[1000.0, 0, 799.5], [0, 1000, 599.5], [0, 0, 1]])
SOLVER = PoselibPose(threshold=2.5, min_iterations=20, max_iterations=1000, success_prob=0.99999)


def main() -> None:
    """Measure and print the table."""
    options = _options()
    records = [_record(seed, options.matches, options.wrong) for seed in range(options.pairs)]
    pairs = [matched_pair(record, WorkingSize()) for record in records]
    camera = {"model": "PINHOLE", "width": 1599, "height": 1199, "params": [1000.0, 1000.0, 799.5, 599.5]}

    def bare() -> None:
        for pair in pairs:
            poselib.estimate_relative_pose(
                pair.xy0, pair.xy1, camera, camera, SOLVER.ransac("max_epipolar_error"), SOLVER.bundle()
            )

    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; PoseLib {poselib.__version__}; "
        f"{options.pairs} pairs of {options.matches} matches, {options.wrong:.0%} of them wrong"
    )
    print("\n| 1 thread | CPU s in PoseLib | outside | outside / in PoseLib |")
    print("|---|---|---|---|")
    for name, run in {
        "estimate_all": lambda: estimate_all(SOLVER, pairs, workers=1),
        "PoseProtocol": lambda: _protocol(1).score(records),
    }.items():
        inside, outside = _split(run, options.repeats)
        print(f"| {name} | {inside:.2f} | {outside:.2f} | {outside / inside:.3f} |")

    workers = options.workers
    seconds = _alternating(
        {
            "PoseLib alone, 1 thread": bare,
            f"estimate_all, {workers} threads": lambda: estimate_all(SOLVER, pairs, workers=workers),
            f"PoseProtocol, {workers} threads": lambda: _protocol(workers).score(records),
        },
        options.repeats,
    )
    alone_wall, alone_cpu = next(iter(seconds.values()))
    print("\n| | wall s | of PoseLib alone | CPU s | of PoseLib alone |")
    print("|---|---|---|---|---|")
    for name, (wall, cpu) in seconds.items():
        print(f"| {name} | {wall:.2f} | {wall / alone_wall:.3f} | {cpu:.2f} | {cpu / alone_cpu:.3f} |")


def _split(run: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return the median CPU seconds in PoseLib and outside of it."""
    real, spent = poselib.estimate_relative_pose, [0.0]

    def watched(*given: Any) -> Any:
        begin = time.thread_time()
        found = real(*given)
        spent[0] += time.thread_time() - begin
        return found

    poselib.estimate_relative_pose = watched
    parts: list[tuple[float, float]] = []
    for _ in range(repeats):
        spent[0], begin = 0.0, time.process_time()
        run()
        parts.append((spent[0], time.process_time() - begin - spent[0]))
    poselib.estimate_relative_pose = real
    return median(inside for inside, _ in parts), median(outside for _, outside in parts)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=1500, help="pairs (default: 1500, as MegaDepth-1500)")
    parser.add_argument("--matches", type=int, default=1000, help="matches of a pair (default: 1000)")
    parser.add_argument("--wrong", type=float, default=0.4, help="share of wrong matches (default: 0.4)")
    parser.add_argument("--workers", type=int, default=2, help="threads (default: 2)")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each (default: 3)")
    return parser.parse_args()


def _alternating(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, tuple[float, float]]:
    """Return the median wall and CPU seconds of each."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), _cpu_seconds()
            run()
            spent[name].append((time.perf_counter() - wall, _cpu_seconds() - cpu))
    return {
        name: (median(wall for wall, _ in each), median(cpu for _, cpu in each))
        for name, each in spent.items()
    }


def _cpu_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _protocol(workers: int) -> PoseProtocol:
    return PoseProtocol(
        name="megadepth1500/xfeat",
        estimator=SOLVER,
        working_size=None,
        error="larger of both",
        zero_translation="failure",
        headline="AUC",
        thresholds=[5, 10, 20],
        rounding="exact",
        comparison="<=",
        epipolar_distance="squared sum",
        epipolar_thresholds=[1e-4],
        workers=workers,
    )


def _record(seed: int, matches: int, wrong: float) -> Record:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 1, (matches, 3)) * np.array([1.5, 1, 1]) + np.array([0, 0, 4])
    angle = rng.uniform(-0.5, 0.5)
    R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    t = rng.normal(size=3)
    match0, match1 = ((seen @ K.T)[:, :2] / seen[:, 2:] for seen in (points, points @ R.T + t))
    match1 = match1 + rng.normal(0, 0.5, match1.shape)
    count = int(wrong * matches)
    match1[:count] = rng.uniform(0, (1600, 1200), (count, 2))
    arrays: dict[str, Any] = {
        "size0": np.array((1200, 1600)),
        "size1": np.array((1200, 1600)),
        "match0": match0.astype(np.float32),
        "match1": match1.astype(np.float32),
        "score": np.ones(matches, dtype=np.float32),
        "K0": K,
        "K1": K,
        "R": R,
        "t": t,
    }
    return Record(name=f"pair {seed}", arrays=arrays)


if __name__ == "__main__":
    main()
