"""What several commands share: options, argument types, settings, and messages about missing extras."""

import argparse
import math
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homolog.core.errors import ConfigError, MissingDependencyError

if TYPE_CHECKING:
    from homolog.core.cache import FeatureCache


def positive(kind: Callable[[str], int | float]) -> Callable[[str], int | float]:
    """Return an argument type for finite numbers above 0."""

    def number(text: str) -> int | float:
        value = kind(text)
        if not 0 < value < math.inf:
            raise ValueError(text)
        return value

    # argparse shows this name: "invalid positive number value: '-3'".
    number.__name__ = "positive number"
    return number


def add_words(parser: argparse.ArgumentParser) -> None:
    """Add positional arguments that `USAGE` explains: photos and settings in any order."""
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)


def add_options(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add options that several commands have: `out`, `device`, `cache`, `configs`."""
    options: dict[str, dict[str, Any]] = {
        "out": {
            "type": Path,
            "default": Path("homolog-results"),
            "metavar": "FOLDER",
            "help": "output folder (default: %(default)s)",
        },
        "device": {"default": "auto", "help": "auto, cpu, cuda, cuda:1 or mps (default: %(default)s)"},
        "cache": {
            "choices": ("full", "half", "off"),
            "default": "full",
            "help": "keep extracted features on disk for later runs: full precision (default), bfloat16 (half), or off",
        },
        "configs": {
            "type": Path,
            "metavar": "FOLDER",
            "help": "use this configs folder instead of homolog's own",
        },
    }
    for name in names:
        parser.add_argument(f"--{name}", **options[name])


def feature_cache(choice: str) -> "FeatureCache | None":
    """Return the disk cache for a value of `--cache`."""
    if choice == "off":
        return None
    import torch

    from homolog.core.cache import FeatureCache

    return FeatureCache(dtype=torch.bfloat16 if choice == "half" else None)


def split_photos(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Separate photos from settings `key=value`; an existing file is a photo even if its name contains `=`."""
    settings = [word for word in words if _is_setting(word)]
    return [Path(word) for word in words if not _is_setting(word)], settings


def check_settings(words: Sequence[str], example: str) -> list[str]:
    """Return the words if all of them are settings; the error shows the example."""
    for word in words:
        if "=" not in word and not word.startswith("~"):
            raise ConfigError(f"expected settings as key=value, got {word!r}; for example {example}")
    return list(words)


@contextmanager
def needs_extra(extra: str, command: str) -> Generator[None]:
    """Turn a failed import into a `MissingDependencyError` with the pip line of an extra of homolog."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"homolog[{extra}]", command) from error


def _is_setting(word: str) -> bool:
    setting = re.match(r"[+~]{0,2}[A-Za-z_][\w./@-]*=", word) or re.match(r"~[A-Za-z_][\w.]*$", word)
    return setting is not None and not Path(word).exists()
