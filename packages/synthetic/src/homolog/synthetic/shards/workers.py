"""Share work among processes that start from nothing and end with whoever started them.

Imports the standard library only: threads have to be limited before numerical libraries are loaded.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from typing import Any, TypeAlias, TypeVar, cast

from homolog.core.errors import HomologError

Result = TypeVar("Result")
Prepared = TypeVar("Prepared")
Each = Callable[[], None]
"""What a job calls after each of its parts."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_PATIENCE = 5.0  # seconds that a process has to end by itself


_Line: TypeAlias = "connection.Connection[Any, Any]"


class StoppedError(Exception):
    """Whoever asked for the work has gone or does not want it any more."""


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    line: "_Line"


def spread(
    job: Callable[[Prepared, int, Each], Result],
    prepare: Callable[[], Prepared],
    tasks: Sequence[int],
    *,
    workers: int,
    each: Each,
) -> Iterator[Result]:
    """Do `job(prepared, task, each)` for every task in processes, each of which prepares itself once.

    Args:
        job: what is done; a function that other processes can import.
        prepare: makes what a process needs for its jobs; it travels to the process.
        tasks: one number for each job.
        workers: how many processes.
        each: called in this process whenever some job, in its own, calls the `each` that it was given.

    Yields:
        The results, as they come.

    Raises:
        HomologError: what a job raised, or a process that ended on its own.
    """
    left = list(reversed(tasks))
    crew: list[_Worker] = []
    try:
        crew += (_start() for _ in range(min(workers, len(left))))
        for worker in crew:
            # Not among the arguments of the process: to read them loads the libraries, before anything
            # can be limited.
            _tell(worker.line, (job, prepare))
            _tell(worker.line, left.pop())
        busy = {worker.line for worker in crew}
        while busy:
            for line in cast("list[_Line]", connection.wait(list(busy))):
                kind, content = _heard(line)
                if kind == "part":
                    each()
                    continue
                if left:
                    _tell(line, left.pop())
                else:
                    busy.remove(line)
                yield content
    finally:
        _dismiss(crew)


def _start() -> _Worker:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there,), daemon=True)
    process.start()
    there.close()
    return _Worker(process, here)


def _tell(line: "_Line", words: Any) -> None:
    try:
        line.send(words)
    except OSError as error:
        raise _lost() from error


def _heard(line: "_Line") -> tuple[str, Any]:
    try:
        kind, content = line.recv()
    except (EOFError, OSError) as error:
        raise _lost() from error
    if kind == "failed":
        raise content
    return kind, content


def _lost() -> HomologError:
    return HomologError(
        "a worker process ended on its own, perhaps for lack of memory; take fewer workers and run the same "
        "command again, what is finished is kept"
    )


def _dismiss(crew: Sequence[_Worker]) -> None:
    for worker in crew:
        worker.line.close()  # at its next word a worker notices, and cleans up
    for worker in crew:
        worker.process.join(_PATIENCE)
        if worker.process.is_alive():
            worker.process.terminate()
            worker.process.join()


def _serve(line: "_Line") -> None:
    # Ctrl-C reaches every process of a terminal; the one that the user started decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        job, prepare = line.recv()
        import torch

        torch.set_num_threads(1)
        prepared = prepare()
        while True:
            task = line.recv()
            _say(line, ("done", job(prepared, task, lambda: _say(line, ("part", None)))))
    except (StoppedError, EOFError):
        return
    except Exception as error:  # noqa: BLE001 - it is raised where the user sees it
        _tell_failure(line, error)


def _say(line: "_Line", words: tuple[str, Any]) -> None:
    try:
        line.send(words)
    except OSError as error:  # the other end is closed, or was killed
        raise StoppedError from error


def _tell_failure(line: "_Line", error: Exception) -> None:
    try:
        _say(line, ("failed", error))
    except StoppedError:
        return
    except Exception:  # noqa: BLE001 - an error that cannot travel is told in words
        _say(line, ("failed", HomologError(f"{type(error).__name__}: {error}")))
