"""Where pictures are drawn: beside the matching, on another core."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager

from homolog.cli.figures.views import PairView


@contextmanager
def studio(pairs: int) -> Generator[Executor]:
    """Yield what pictures are drawn on.

    Drawing a pair takes longer than matching it, so with more than one pair and more than one core a
    process of its own draws a pair while the next ones are matched. It begins to load what it needs
    at once, while this process loads the networks.

    Args:
        pairs: how many there will be.
    """
    beside = pairs > 1 and (os.cpu_count() or 1) > 1
    executor = _process() if beside else ThreadPoolExecutor(1)
    if beside:
        executor.submit(_load)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def draw_page(view: PairView) -> dict[str, bytes]:
    """Draw all there is of a pair, as PNG by the name of the file; loads matplotlib when it is called."""
    from homolog.cli.figures.matches import draw_pair

    return draw_pair(view)


def _process() -> Executor:
    # Spawned, because a process that has threads, as torch starts them, cannot be forked safely.
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_apprentice)


def _apprentice() -> None:
    # Ctrl-C reaches both processes; the first one says what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_first, daemon=True).start()


def _end_with_the_first() -> None:
    # Killed, it could not say so, and this process would wait for work forever.
    first = multiprocessing.parent_process()
    if first is not None:
        first.join()
        os._exit(1)


def _load() -> None:
    import homolog.cli.figures.matches  # noqa: F401  # pyright: ignore[reportUnusedImport]
