"""Everything that the command writes to the terminal: messages, tables and progress; and its exit codes.

rich is imported when the first table or progress bar is made, so that `homolog --help` does without it.
"""

import gc
import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

FINE, SOME_FAILED, WRONG_USE, NOTHING_READ, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes."""


def say(text: str) -> None:
    """Print one line to standard error."""
    print(" ".join(text.splitlines()), file=sys.stderr, flush=True)


@contextmanager
def notes_shown() -> Generator[None]:
    """Print log messages of `homolog` from INFO upwards as notes, each of them once, while a command runs."""
    logger, handler = logging.getLogger("homolog"), _Notes()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


class _Notes(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        # A photo in many pairs is read many times and would repeat its warnings.
        note = record.getMessage()
        if note not in self._seen:
            self._seen.add(note)
            say(f"note: {note}")


@contextmanager
def loading() -> Generator[None]:
    """Import libraries and build networks with the garbage collector off.

    Both create millions of objects that live until the process ends. Scanning them again and again
    took 4 of the 20 seconds of a demo. Afterwards the collector runs again but skips them.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def output() -> "Console":
    """Return a console for standard output; a pipe or a file counts as 160 columns wide."""
    from rich.console import Console

    # rich would assume 80 columns for a pipe, and fold names.
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)


def make_table(*columns: str, right: tuple[str, ...] = (), header: bool = True) -> "Table":
    """Return a plain table.

    Args:
        columns: headers; long cells are folded.
        right: headers of the columns that are aligned to the right and not folded.
        header: whether to show the headers.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", show_header=header)
    for column in columns:
        if column in right:
            table.add_column(column, justify="right", no_wrap=True)
        else:
            table.add_column(column, overflow="fold")
    return table


@runtime_checkable
class ShowProgress(Protocol):
    """Updates a progress bar."""

    def __call__(
        self, done: int, total: int | None = None, /, *, name: str | None = None, note: str = ""
    ) -> None:
        """Show how many steps are done, of how many, under which name, and a note behind the bar."""
        ...


@contextmanager
def progress_bar(name: str, total: int | None = None) -> Generator[ShowProgress]:
    """Show a progress bar on standard error if that is a terminal; it disappears at the end.

    Nothing is drawn before the first update, so an error before it stays on a line of its own.

    Args:
        name: shown in front of the bar.
        total: number of steps, if known.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    console = Console(stderr=True)
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task(name, total=total, note="")
    started = False

    def show(done: int, total: int | None = None, /, *, name: str | None = None, note: str = "") -> None:
        nonlocal started
        if console.is_terminal and not started:
            started = True
            bar.start()
        bar.update(task, description=name, completed=done, total=total, note=note)

    try:
        yield show
    finally:
        if started:
            bar.stop()
