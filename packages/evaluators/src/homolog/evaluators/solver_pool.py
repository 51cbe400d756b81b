"""Estimate the geometry of many pairs on all cores: in order, and the same for any number of workers.

Workers are plain subprocesses. `multiprocessing` would import the caller's main module in each of them,
and with it torch; and it would run a script without a main guard again and again.
"""

import collections
import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from homolog.core.errors import ConfigError, HomologError
from homolog.evaluators.two_view import Estimate, Estimator, MatchedPair

CHUNK = 8
"""Pairs that are handed out at a time: few, so that nobody waits long for the last ones."""

START = """
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from homolog.evaluators.solver_worker import serve
serve()
"""


def estimate_all(
    estimator: Estimator[Estimate], pairs: Sequence[MatchedPair], *, workers: int | None
) -> list[Estimate | None]:
    """Estimate the geometry of every pair.

    Args:
        estimator: picklable; each pair is a fresh start for it.
        pairs: with their matches.
        workers: processes that estimate, this one among them; None takes as many as there are cores that
            this process may use. 1 starts no other, and neither do few pairs.

    Returns:
        One estimate for each pair, in order; None for a failure.

    Raises:
        ConfigError: less than one worker.
        HomologError: what the estimator raises; or a worker that died, such as one that was killed.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"expected workers of at least 1, or null for all cores, got {workers}")
    chunks = [pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
    others = min(_cores() if workers is None else workers, len(chunks)) - 1
    todo, answers = collections.deque(range(len(chunks))), [list[Estimate | None]() for _ in chunks]

    def work(estimates: Callable[[Sequence[MatchedPair]], list[Estimate | None]]) -> None:
        try:
            while (chunk := _taken(todo)) is not None:
                answers[chunk] = estimates(chunks[chunk])
        except BaseException:
            todo.clear()  # for the others, too
            raise

    with contextlib.ExitStack() as stack:
        crew = [_Worker(estimator, stack) for _ in range(others)]
        threads = stack.enter_context(ThreadPoolExecutor(max(others, 1)))
        elsewhere = [threads.submit(work, worker.ask) for worker in crew]
        # The others take half a second to start; meanwhile, and afterwards, this process estimates too.
        work(lambda chunk: [estimator.estimate(pair) for pair in chunk])
        for done in elsewhere:
            done.result()
    return [estimate for answer in answers for estimate in answer]


class _Worker:
    """A process that has the estimator and waits for pairs."""

    def __init__(self, estimator: Estimator[Any], stack: contextlib.ExitStack) -> None:
        # One thread each: as many workers as cores would otherwise fight over them.
        single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **single},
        )
        stack.callback(self._close)
        self._send(sys.path)
        self._send(estimator)

    def ask(self, pairs: Sequence[MatchedPair]) -> list[Any]:
        """Return the estimates of some pairs, or raise what the estimator raised."""
        assert self._process.stdout is not None
        self._send(pairs)
        try:
            answer = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError) as error:
            raise self._died() from error
        if isinstance(answer, HomologError):
            raise answer
        return answer

    def _send(self, value: object) -> None:
        assert self._process.stdin is not None
        try:
            pickle.dump(value, self._process.stdin, pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._died() from error

    def _died(self) -> HomologError:
        return HomologError(
            f"expected estimates from a worker process, but it ended with status {self._process.wait()}; "
            "set workers=1 to see why"
        )

    def _close(self) -> None:
        """End the process: nobody waits for an answer any more."""
        self._process.kill()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # what it did not take
            self._process.stdin.close()
        with self._process:
            pass


def _taken(todo: collections.deque[int]) -> int | None:
    try:
        return todo.popleft()
    except IndexError:
        return None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
