"""The command `homolog`: parse the command line, run one command, turn errors into exit codes.

Only the module of the command that runs is imported; the help of `homolog` itself imports all of them.
"""

import argparse
import atexit
import gc
import os
import re
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from homolog.cli.console import FINE, INTERRUPTED, NOTHING_READ, SOME_FAILED, WRONG_USE, notes_shown, say
from homolog.core.errors import ConfigError, DataError, HomologError, did_you_mean

COMMANDS = (
    "match",
    "features",
    "heatmap",
    "evaluate",
    "sweep",
    "report",
    "data",
    "generate",
    "train",
    "list",
    "weights",
    "cache",
)
"""Each is a module of `homolog.cli.commands`."""

_HELP = """\
usage: homolog COMMAND [arguments]

Match points between two images of the same scene or of the same category.

commands:
{commands}

options:
  -h, --help  show this help
  --version   show the version

examples:
  homolog match --demo                       match two example pairs
  homolog match a.jpg b.jpg                  match two photos
  homolog features a.jpg b.jpg backbone=small
                                             show the features of a backbone as colours
  homolog heatmap a.jpg b.jpg --at 210,135   show the similarity of a point to every part of another photo
  homolog evaluate matcher=small task=spair  evaluate a matcher on a benchmark
  homolog sweep matcher=small,mini task=spair,hpatches
                                             evaluate several matchers on several benchmarks
  homolog report outputs/ --open             show the results as a web page
  homolog generate semantic --preview        preview synthetic image pairs
  homolog train recipe=mini_dense --out runs/dense
                                             train a matcher
  homolog list                               list matchers and other parts
  homolog weights fetch dinov2_s             download weights in advance

"homolog COMMAND --help" describes a command. @FILE reads arguments from a file.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments after `homolog`; those of the process if None.

    Returns:
        The exit code: 0 success, 1 some pairs failed, 2 wrong arguments or configuration, 3 no input
        could be read, 130 interrupted.
    """
    try:
        arguments = parse(sys.argv[1:] if argv is None else argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    atexit.register(
        gc.freeze
    )  # else Python walks all of torch's objects once more before it ends: half a second
    with notes_shown(), _cleanup_on_termination():
        try:
            code = _module(arguments.command).run(arguments)
            sys.stdout.flush()
            return code
        except KeyboardInterrupt:
            say("homolog: interrupted")
            return INTERRUPTED
        except BrokenPipeError:
            # The reader, as in `homolog list | head`, has closed the pipe. Python would complain about
            # what is still buffered.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FINE
        except Exception as error:  # noqa: BLE001 - every error ends as one line here
            return _report(error, arguments)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse a command line.

    Returns:
        The arguments; `command` is the name of the command.

    Raises:
        SystemExit: after printing help, or an error in one line.
    """
    try:
        argv = read_argument_files(argv)
    except HomologError as error:
        _fail(str(error))
    name = argv[0] if argv else ""
    if not argv or name in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        lines = (f"  {command:<{width}}  {_module(command).HELP}" for command in COMMANDS)
        print(_HELP.format(commands="\n".join(lines)))
        raise SystemExit(FINE if argv else WRONG_USE)
    if name == "--version":
        print(f"homolog {metadata.version('homolog-cli')}")
        raise SystemExit(FINE)
    if name not in COMMANDS:
        photo = Path(name).exists()
        hint = f"; did you mean homolog match {name}?" if photo else did_you_mean(name, COMMANDS)
        _fail(f"no {'option' if name.startswith('-') else 'command'} {name!r}{hint}")
    module = _module(name)
    parser = _Parser(
        prog=f"homolog {name}",
        usage=getattr(module, "USAGE", None),
        description=f"{module.HELP[0].upper()}{module.HELP[1:]}.",
        epilog=module.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    # Settings and photos may appear anywhere between the options.
    arguments, rest = parser.parse_known_intermixed_args(argv[1:])
    for option in (word.partition("=")[0] for word in rest if word.startswith("-")):
        renamed: dict[str, str] = getattr(module, "RENAMED", {})
        if option in renamed:
            parser.error(f"{option} is now {renamed[option]}")
        known = re.findall(r"--[a-z-]+", parser.format_help())
        parser.error(f"no option {option}{did_you_mean(option, set(known))}")
    if rest:
        parser.error(f"unexpected argument {rest[0]!r}")
    arguments.command = name
    return arguments


def read_argument_files(argv: Sequence[str]) -> list[str]:
    """Replace each `@FILE` by the arguments in that file, quoted as in a shell, with # for comments.

    An existing file whose name begins with @ is left as it is.

    Raises:
        ConfigError: the file does not exist or cannot be parsed.
    """
    words: list[str] = []
    for word in argv:
        if not word.startswith("@") or len(word) == 1 or Path(word).exists():
            words.append(word)
            continue
        try:
            words += shlex.split(Path(word[1:]).read_text(encoding="utf-8"), comments=True)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{word}: expected a file of arguments such as head.window=7 ({error})"
            ) from error
    return words


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        say(f"{self.prog}: error: {message}")
        raise SystemExit(WRONG_USE)


def _fail(message: str) -> NoReturn:
    say(f"homolog: error: {message}")
    raise SystemExit(WRONG_USE)


def _module(command: str) -> ModuleType:
    return import_module(f"homolog.cli.commands.{command}")


def _report(error: Exception, arguments: argparse.Namespace) -> int:
    if arguments.debug:
        traceback.print_exception(error)
    if isinstance(error, HomologError):
        say(f"homolog: error: {error}")
        return NOTHING_READ if isinstance(error, DataError) else WRONG_USE
    say(
        f"homolog: error: {type(error).__name__}: {' '.join(str(error).split())}; --debug shows the traceback"
    )
    return SOME_FAILED


@contextmanager
def _cleanup_on_termination() -> Generator[None]:
    # By default SIGTERM ends Python at once and would leave half-written files.
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
