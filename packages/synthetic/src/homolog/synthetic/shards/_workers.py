"""Distribute work among processes that start from nothing and end with whoever started them."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from typing import Any, TypeAlias, TypeVar, cast

from homolog.core.errors import HomologError

Result = TypeVar("Result")
Prepared = TypeVar("Prepared")
Step = Callable[[], None]
"""What a job calls after each of its steps."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_PATIENCE = 5.0  # seconds that a process has to end by itself

_Pipe: TypeAlias = Any  # a multiprocessing Connection, which is generic for type checkers only


class StoppedError(Exception):
    """The process that asked for the work has ended, or does not want it any more."""


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    pipe: "_Pipe"


def distribute(
    job: Callable[[Prepared, int, Step], Result],
    prepare: Callable[[], Prepared],
    tasks: Sequence[int],
    *,
    workers: int,
    step: Step,
) -> Iterator[Result]:
    """Do `job(prepared, task, step)` for every task in processes, each of which prepares itself once.

    Other processes must be able to import `job`; `prepare` is sent to them. `step` is called in this process
    whenever a job, in its own process, calls the `step` that it was given.

    Yields:
        The results, in the order in which they finish.

    Raises:
        HomologError: what a job raised, or a process that ended on its own.
    """
    left = list(reversed(tasks))
    crew: list[_Worker] = []
    try:
        crew += (_start() for _ in range(min(workers, len(left))))
        for worker in crew:
            # Sent, not passed as arguments of the process: what cannot be loaded there becomes an error here.
            _send(worker.pipe, (job, prepare))
            _send(worker.pipe, left.pop())
        busy = {worker.pipe for worker in crew}
        while busy:
            for pipe in cast("list[_Pipe]", connection.wait(list(busy))):
                kind, content = _receive(pipe)
                if kind == "step":
                    step()
                    continue
                if left:
                    _send(pipe, left.pop())
                else:
                    busy.remove(pipe)
                yield content
    finally:
        _stop(crew)


def _start() -> _Worker:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there,), daemon=True)
    with _one_thread():
        process.start()
    there.close()
    return _Worker(process, here)


@contextmanager
def _one_thread() -> Generator[None]:
    """Set the environment that a new process inherits: numerical libraries read it when they are loaded."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _send(pipe: "_Pipe", message: Any) -> None:
    try:
        pipe.send(message)
    except OSError as error:
        raise _lost() from error


def _receive(pipe: "_Pipe") -> tuple[str, Any]:
    try:
        kind, content = pipe.recv()
    except (EOFError, OSError) as error:
        raise _lost() from error
    if kind == "failed":
        raise content
    return kind, content


def _lost() -> HomologError:
    return HomologError(
        "a worker process ended on its own, perhaps for lack of memory; use fewer workers and run the same "
        "command again, finished shards are kept"
    )


def _stop(crew: Sequence[_Worker]) -> None:
    for worker in crew:
        worker.pipe.close()  # a worker notices when it next sends or receives, and cleans up
    for worker in crew:
        worker.process.join(_PATIENCE)
        if worker.process.is_alive():
            worker.process.terminate()
            worker.process.join()


def _serve(pipe: "_Pipe") -> None:
    # Ctrl-C reaches every process of a terminal; the one that the user started decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        job, prepare = pipe.recv()
        import torch

        torch.set_num_threads(1)
        prepared = prepare()
        while True:
            task = pipe.recv()
            _report(pipe, ("done", job(prepared, task, lambda: _report(pipe, ("step", None)))))
    except (StoppedError, EOFError):
        return
    except Exception as error:  # noqa: BLE001 - it is raised in the process that the user started
        _report_failure(pipe, error)


def _report(pipe: "_Pipe", message: tuple[str, Any]) -> None:
    try:
        pipe.send(message)
    except OSError as error:  # the other end is closed, or its process was killed
        raise StoppedError from error


def _report_failure(pipe: "_Pipe", error: Exception) -> None:
    try:
        _report(pipe, ("failed", error))
    except StoppedError:
        return
    except Exception:  # noqa: BLE001 - an error that cannot be pickled is sent as text
        _report(pipe, ("failed", HomologError(f"{type(error).__name__}: {error}")))
