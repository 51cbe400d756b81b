"""A bar that shows how far something is, on a terminal, from the first step on."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@runtime_checkable
class Steps(Protocol):
    """Takes the steps that are done and, where that is known only then, all of them."""

    def __call__(self, done: int, steps: int | None = None, /) -> None:
        """Show how far it is."""
        ...


@contextmanager
def progress_bar(name: str, total: int | None = None) -> Generator[Steps]:
    """Give what shows the steps that are done.

    Nothing is drawn before the first step, so that an error before it is a line of its own.

    Args:
        name: beside the bar.
        total: steps in all, if it is known.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task(name, total=total)
    begun = False

    def show(done: int, steps: int | None = None, /) -> None:
        nonlocal begun
        if console.is_terminal and not begun:
            begun = True
            bar.start()
        bar.update(task, completed=done, total=total if steps is None else steps)

    try:
        yield show
    finally:
        if begun:
            bar.stop()
