"""Every error a user of homolog can meet.

An error is a short letter on one line: what was expected, what came, what to do next.
All errors derive from `HomologError`, and each also from the built-in that a caller who
does not know homolog would catch.
"""

import difflib
import shlex
from collections.abc import Iterable
from typing import TypeVar


class HomologError(Exception):
    """The parent of every error that homolog raises on purpose; its message is always one line."""

    def __init__(self, message: str) -> None:
        r"""Keep the message on one line, whatever file names and foreign messages it quotes.

        >>> print(HomologError("expected a,\n  got b"))
        expected a, got b
        """
        super().__init__(" ".join(line.strip() for line in message.splitlines()))


class ShapeError(HomologError, ValueError):
    """A tensor has another shape, range or dtype than the function can work on."""


class ConfigError(HomologError, ValueError):
    """A configuration names something that does not exist or cannot be combined."""


class MissingDependencyError(HomologError, ImportError):
    """An optional package is not installed; the message carries the pip line."""

    def __init__(self, package: str, needed_by: str) -> None:
        """Say which package is missing.

        Args:
            package: name of the distribution, as pip knows it.
            needed_by: what the user asked for that needs it.
        """
        # Some shells take the brackets of an extra for a pattern.
        super().__init__(f"{needed_by} needs the package {package}; run: pip install {shlex.quote(package)}")
        self.package = package
        self.needed_by = needed_by

    def __reduce__(self) -> tuple[type["MissingDependencyError"], tuple[str, str]]:
        """Survive the way out of a worker process."""
        return type(self), (self.package, self.needed_by)


class WeightsError(HomologError, RuntimeError):
    """A weight file cannot be obtained, is damaged, or does not fit its network."""


class DataError(HomologError, OSError):
    """A file or an array that a user gave cannot be read as what it should be."""


class CapabilityError(HomologError, TypeError):
    """A task asks for something that this matcher, head or backbone does not offer."""


def did_you_mean(name: str, options: Iterable[str], *, show: int = 30) -> str:
    """Return the end of an error message that helps with a mistyped name.

    Args:
        name: what the user wrote.
        options: the names that exist.
        show: how many of them are listed at most.

    Returns:
        `"; did you mean mini?"` when one option is close, else `"; choose from a, b, c"`.

    >>> did_you_mean("minni", ["mini", "sift"])
    '; did you mean mini?'
    >>> did_you_mean("orb", ["sift", "mini"])
    '; choose from mini, sift'
    >>> did_you_mean("orb", ["sift", "mini", "xfeat"], show=2)
    '; choose from mini, sift and 1 more'
    """
    names = sorted(options)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    more = f" and {len(names) - show} more" if len(names) > show else ""
    return f"; choose from {', '.join(names[:show])}{more}" if names else "; there are none"


T = TypeVar("T", bound=str)


def one_of(name: str, value: T, choices: Iterable[T]) -> T:
    """Return a setting if it is one of the allowed values.

    Args:
        name: of the setting, for the message.
        value: what the user wrote.
        choices: what is allowed; `typing.get_args` lists those of a `Literal`.

    Raises:
        ConfigError: it is not among them.

    >>> one_of("metric", "cosine", ["cosine", "euclidean"])
    'cosine'
    """
    allowed = list(choices)
    if value not in allowed:
        close = difflib.get_close_matches(str(value), allowed, n=1)
        advice = f"did you mean {close[0]}?" if close else "choose one of them"
        raise ConfigError(f"expected {name} to be one of {', '.join(allowed)}, got {value!r}; {advice}")
    return value
