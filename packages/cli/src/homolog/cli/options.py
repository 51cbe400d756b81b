"""Options that several commands share, and how all of them are described."""

import argparse
import math
from collections.abc import Callable
from typing import Any


def described(summary: str, examples: str) -> dict[str, Any]:
    """Return what argparse is told of a command.

    Args:
        summary: what it does, for the list of commands.
        examples: what its help ends with.
    """
    return {
        "help": summary,
        "description": f"{summary[0].upper()}{summary[1:]}.",
        "epilog": examples,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }


def add_running(command: argparse.ArgumentParser) -> None:
    """Add what every command that runs a matcher may be told."""
    add_device(command)
    command.add_argument(
        "--cache",
        choices=("full", "half", "off"),
        default="full",
        help="keep what is extracted from each photo for later runs: as it is (default), in half of the space "
        "(bfloat16), or not; homolog cache info says where",
    )


def add_device(command: argparse.ArgumentParser) -> None:
    """Add the choice of where networks run."""
    command.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: %(default)s)"
    )


def positive(kind: Callable[[str], int | float]) -> Callable[[str], int | float]:
    """Return what reads a finite number above 0 from a word."""

    def number(text: str) -> int | float:
        value = kind(text)
        if not 0 < value < math.inf:
            raise ValueError(text)
        return value

    # argparse puts the name into its message: "invalid number above 0 value: '-3'".
    number.__name__ = "number above 0"
    return number
