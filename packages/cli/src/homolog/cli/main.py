"""The command `homolog`: reads the command line, runs one story, turns errors into exit codes.

Nothing heavy is imported before a story needs it, so that `homolog --help` answers at once.
"""

import argparse
import os
import signal
import sys
import threading
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import NoReturn

from homolog.cli.notes import notes_shown, say
from homolog.cli.outcome import FINE, INTERRUPTED, NOTHING_READ, SOME_FAILED, WRONG_USE
from homolog.cli.words import parse
from homolog.core.errors import DataError, HomologError

STORIES = {
    "match": "homolog.cli.match",
    "features": "homolog.cli.features",
    "heatmap": "homolog.cli.heatmap",
    "evaluate": "homolog.cli.evaluate",
    "sweep": "homolog.cli.sweep",
    "report": "homolog.cli.commands.report",
    "data": "homolog.cli.data",
    "generate": "homolog.cli.generate",
    "train": "homolog.cli.train",
    "list": "homolog.cli.listing",
    "weights": "homolog.cli.weights",
    "cache": "homolog.cli.cache",
}
"""Where each command is told; imported when it is asked for."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after `homolog`; those of the process if None.

    Returns:
        The exit code: 0 all fine, 1 some pairs failed, 2 wrong use or configuration, 3 nothing
        could be read, 130 interrupted.
    """
    try:
        arguments = parse(sys.argv[1:] if argv is None else argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    with notes_shown(), _termination_cleans_up():
        try:
            code = import_module(STORIES[arguments.command]).run(arguments)
            sys.stdout.flush()
            return code
        except KeyboardInterrupt:
            say("homolog: interrupted; nothing was begun")
            return INTERRUPTED
        except BrokenPipeError:
            # Whoever reads the output, as in `homolog list | head`, has seen enough. What is still
            # buffered must go somewhere, or Python complains at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FINE
        except Exception as error:  # noqa: BLE001 - the last place where an error can become one line
            return _explained(error, arguments)


def _explained(error: Exception, arguments: argparse.Namespace) -> int:
    if arguments.debug:
        traceback.print_exception(error)
    if isinstance(error, HomologError):
        say(f"homolog: error: {error}")
        return NOTHING_READ if isinstance(error, DataError) else WRONG_USE
    say(f"homolog: error: {type(error).__name__}: {' '.join(str(error).split())}; --debug shows where")
    return SOME_FAILED


@contextmanager
def _termination_cleans_up() -> Generator[None]:
    # By default SIGTERM ends Python on the spot, and half-written files would stay.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)
