"""Where the cells of a sweep run: here, on the cores of this machine, on a cluster.

Each launcher takes cells and a function, and yields what came out as it comes out. The function
catches its own errors, so a launcher has none of a cell to report.
"""

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from homolog.cli.cell import Cell
from homolog.core.errors import ConfigError, MissingDependencyError

Work = Callable[[Cell], dict[str, Any]]


@runtime_checkable
class Launcher(Protocol):
    """Runs cells, in any order."""

    def __call__(self, work: Work, cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
        """Yield the result of each cell as soon as it is there."""
        ...


class Serial:
    """One after the other, in this process: the networks' libraries are loaded once."""

    def __call__(self, work: Work, cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
        """Yield the result of each cell, in order."""
        return map(work, cells)


class Joblib:
    """Several at a time on this machine, in processes of their own, through joblib."""

    def __init__(self, *, jobs: int = -1) -> None:
        """Choose how many run at a time.

        Args:
            jobs: -1 for as many as there are cores, which share the cores among them.

        Raises:
            MissingDependencyError: joblib is not installed.
        """
        self._joblib = _imported("joblib", "launcher=joblib")
        cores = os.cpu_count() or 1
        self.jobs = cores if jobs == -1 else jobs
        if self.jobs < 1:
            raise ConfigError(f"expected launcher.jobs of at least 1, or -1 for all cores, got {jobs}")

    def __call__(self, work: Work, cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
        """Yield the result of each cell as it comes."""
        workers = min(self.jobs, max(len(cells), 1))
        threads = max(1, (os.cpu_count() or 1) // workers)
        parallel = self._joblib.Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
        return parallel(self._joblib.delayed(_with_threads)(work, cell, threads) for cell in cells)


class Submitit:
    """Each cell as a job of a SLURM cluster, or of submitit's local executor, through submitit."""

    def __init__(
        self,
        *,
        cluster: str | None = None,
        folder: str = "outputs/jobs",
        parameters: dict[str, Any] | None = None,
        poll: float = 2.0,
    ) -> None:
        """Choose where jobs go.

        Args:
            cluster: `slurm`, or `local` for processes of this machine; None takes SLURM where there is one.
            folder: for the logs of jobs; it must be visible from the nodes.
            parameters: as submitit's `update_parameters` takes them: `timeout_min`, `slurm_partition`,
                `gpus_per_node`, `cpus_per_task`.
            poll: seconds between two looks at the jobs.

        Raises:
            MissingDependencyError: submitit is not installed.
        """
        self._submitit = _imported("submitit", "launcher=submitit")
        self.cluster = cluster
        self.folder = Path(folder)
        self.parameters = parameters or {}
        self.poll = poll

    def __call__(self, work: Work, cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
        """Submit all cells at once, and yield their results as jobs end.

        A job that is lost (killed, out of time) gives a result that says so.
        """
        executor = self._submitit.AutoExecutor(folder=str(self.folder), cluster=self.cluster)
        executor.update_parameters(**self.parameters)
        waiting = [(cell, executor.submit(work, cell)) for cell in cells]
        while waiting:
            ended = [(cell, job) for cell, job in waiting if job.done()]
            waiting = [pair for pair in waiting if pair not in ended]
            for cell, job in ended:
                yield _outcome(cell, job)
            if waiting and not ended:
                time.sleep(self.poll)


class Ray:
    """Each cell as a task of a Ray cluster, or of this machine, through ray."""

    def __init__(self, *, address: str | None = None, cpus: float = 1, gpus: float = 0) -> None:
        """Choose the cluster and what each cell takes of it.

        Args:
            address: of a running cluster; None starts one on this machine.
            cpus: of each cell.
            gpus: of each cell.

        Raises:
            MissingDependencyError: ray is not installed.
        """
        self._ray = _imported("ray", "launcher=ray")
        self.address = address
        self.cpus = cpus
        self.gpus = gpus

    def __call__(self, work: Work, cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
        """Yield the result of each cell as it comes."""
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


def _outcome(cell: Cell, job: Any) -> dict[str, Any]:
    error = job.exception()
    return cast(dict[str, Any], job.result()) if error is None else _lost(cell, error)


def _lost(cell: Cell, error: BaseException) -> dict[str, Any]:
    from homolog.cli.cell import record_failure

    lines = str(error).strip().splitlines() or [type(error).__name__]
    return record_failure(cell, ConfigError(f"its job ended without a result: {lines[-1]}"))


def _with_threads(work: Work, cell: Cell, threads: int) -> dict[str, Any]:
    # Several processes that each take all cores get in each other's way.
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
