"""What homolog's parts have to say, as one line each on the terminal."""

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager


def say(text: str) -> None:
    """Print a line for people beside the results, to standard error."""
    print(" ".join(text.splitlines()), file=sys.stderr, flush=True)


@contextmanager
def notes_shown() -> Generator[None]:
    """Show log lines of `homolog` from INFO upwards as notes, for the time of a command."""
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
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        # A photo of many pairs is read many times, and its oddities are told each time.
        note = record.getMessage()
        if note not in self._said:
            self._said.add(note)
            say(f"note: {note}")
