"""Launchers of a sweep: run its cells in this process, in several processes, or on a cluster.

A launcher takes cells and a function, and yields the results as they complete. The function catches
the errors of a cell, so a launcher only reports lost jobs.
"""

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from homolog.cli.evaluation import Cell, record_failure
from homolog.core.errors import ConfigError, MissingDependencyError
from homolog.zoo.build import build
from homolog.zoo.compose import compose

Work = Callable[[Cell], dict[str, Any]]


Launcher = Callable[[Work, Sequence[Cell]], Iterator[dict[str, Any]]]
"""Runs cells in any order, and yields the result of each when it is complete."""


def make_launcher(settings: Sequence[str], configs: Path | None) -> Launcher:
    """Build the launcher for settings such as `launcher=joblib launcher.jobs=4`.

    Raises:
        ConfigError: no such launcher or setting.
        MissingDependencyError: its package is not installed.
    """
    chosen = [
        word.replace("launcher=", "launcher@_global_=", 1)
        for word in settings
        if word.startswith("launcher=")
    ]
    others = [word.replace("launcher.", "", 1) for word in settings if not word.startswith("launcher=")]
    return build(compose("sweep", [*chosen, *others], configs=configs))


class Serial:
    """Run cells one after the other in this process; libraries are imported once."""

    def __call__(self, work: Work, cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
        """Yield the result of each cell, in order."""
        return map(work, cells)


class Joblib:
    """Run several cells at a time in processes of this machine, with joblib."""

    def __init__(self, *, jobs: int = -1) -> None:
        """Set how many cells run at a time.

        Args:
            jobs: number of processes, which share the cores; -1 for one per core.

        Raises:
            MissingDependencyError: joblib is not installed.
        """
        self._joblib = _imported("joblib", "launcher=joblib")
        cores = os.cpu_count() or 1
        self.jobs = cores if jobs == -1 else jobs
        if self.jobs < 1:
            raise ConfigError(f"expected launcher.jobs of at least 1, or -1 for all cores, got {jobs}")

    def __call__(self, work: Work, cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
        """Yield the result of each cell when it is complete."""
        workers = min(self.jobs, max(len(cells), 1))
        threads = max(1, (os.cpu_count() or 1) // workers)
        parallel = self._joblib.Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
        return parallel(self._joblib.delayed(_with_threads)(work, cell, threads) for cell in cells)


class Submitit:
    """Run each cell as a job of a SLURM cluster, or of submitit's local executor; all are submitted at once.

    A lost job (killed, out of time) becomes a failed result.
    """

    def __init__(
        self,
        *,
        cluster: str | None = None,
        folder: str = "outputs/jobs",
        parameters: dict[str, Any] | None = None,
        poll: float = 2.0,
    ) -> None:
        """Set where jobs run.

        Args:
            cluster: `slurm`, or `local` for processes of this machine; None uses SLURM if available.
            folder: for the logs of jobs; must be visible from the nodes.
            parameters: for submitit's `update_parameters`: `timeout_min`, `slurm_partition`,
                `gpus_per_node`, `cpus_per_task`.
            poll: seconds between two checks of the jobs.

        Raises:
            MissingDependencyError: submitit is not installed.
        """
        self._submitit = _imported("submitit", "launcher=submitit")
        self.cluster = cluster
        self.folder = Path(folder)
        self.parameters = parameters or {}
        self.poll = poll

    def __call__(self, work: Work, cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
        """Yield the result of each cell when it is complete."""
        executor = self._submitit.AutoExecutor(folder=str(self.folder), cluster=self.cluster)
        executor.update_parameters(**self.parameters)
        waiting = [(cell, executor.submit(work, cell)) for cell in cells]
        while waiting:
            ended = [(cell, job) for cell, job in waiting if job.done()]
            waiting = [pair for pair in waiting if pair not in ended]
            for cell, job in ended:
                error = job.exception()
                yield job.result() if error is None else _lost(cell, error)
            if waiting and not ended:
                time.sleep(self.poll)


class Ray:
    """Run each cell as a task of a Ray cluster, or of this machine."""

    def __init__(self, *, address: str | None = None, cpus: float = 1, gpus: float = 0) -> None:
        """Set the cluster and the resources of each cell.

        Args:
            address: of a running cluster; None starts one on this machine.
            cpus: per cell.
            gpus: per cell.

        Raises:
            MissingDependencyError: ray is not installed.
        """
        self._ray = _imported("ray", "launcher=ray")
        self.address = address
        self.cpus = cpus
        self.gpus = gpus

    def __call__(self, work: Work, cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
        """Yield the result of each cell when it is complete."""
        self._ray.init(address=self.address, ignore_reinit_error=True)
        remote = self._ray.remote(num_cpus=self.cpus, num_gpus=self.gpus)(work)
        of = {remote.remote(cell): cell for cell in cells}
        waiting = list(of)
        while waiting:
            (ended,), waiting = self._ray.wait(waiting)
            try:
                yield self._ray.get(ended)
            except self._ray.exceptions.RayError as error:
                yield _lost(of[ended], error)


def _lost(cell: Cell, error: BaseException) -> dict[str, Any]:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return record_failure(cell, ConfigError(f"its job ended without a result: {lines[-1]}"))


def _with_threads(work: Work, cell: Cell, threads: int) -> dict[str, Any]:
    # Several processes that each use all cores slow each other down.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)
    return work(cell)


def _imported(package: str, needed_by: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingDependencyError(f"homolog-cli[{package}]", needed_by) from error
