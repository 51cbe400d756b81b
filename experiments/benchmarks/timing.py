"""What the benchmarks share: runs that alternate, and the machine that they ran on."""

import os
import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version

import torch


def alternating(
    runs: Sequence[Callable[[], object]],
    repeats: int,
    *,
    clock: Callable[[], float] = time.process_time,
    warm_up: bool = True,
) -> list[list[float]]:
    """Return the seconds of `repeats` runs of each function; they alternate, and a first round may warm up."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats + warm_up):
        for run, taken in zip(runs, times, strict=True):
            start = clock()
            run()
            taken.append(clock() - start)
    return [taken[warm_up:] for taken in times]


def circumstances(*packages: str) -> str:
    """Return machine, load, and versions of Python and of some packages."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"load {os.getloadavg()[0]:.1f}; Python {platform.python_version()}, {versions}"
    )
