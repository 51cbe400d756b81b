"""All errors that homolog raises on purpose.

The message is one line: what was expected, what it got, what to do. All errors derive from
`HomologError`, and each also from the built-in exception that a caller who does not know homolog would
catch.
"""

import difflib
import shlex
from collections.abc import Iterable
from typing import TypeVar


class HomologError(Exception):
    """Base class of all errors that homolog raises on purpose; the message is always one line."""

    def __init__(self, message: str) -> None:
        r"""Join the lines of the message, because it may quote file names and messages of libraries.

        >>> print(HomologError("expected a,\n  got b"))
        expected a, got b
        """
        super().__init__(" ".join(line.strip() for line in message.splitlines()))


class ShapeError(HomologError, ValueError):
    """A tensor has a shape, range or dtype that the function does not accept."""


class ConfigError(HomologError, ValueError):
    """A configuration names something that does not exist or cannot be combined."""


class MissingDependencyError(HomologError, ImportError):
    """An optional package is not installed; the message carries the pip line."""

    def __init__(self, package: str, needed_by: str) -> None:
        """Name the missing package.

        Args:
            package: name of the distribution, as pip knows it.
            needed_by: what the user asked for that needs it.
        """
        # Quoted, because some shells expand the brackets of an extra.
        super().__init__(f"{needed_by} needs the package {package}; run: pip install {shlex.quote(package)}")
        self.package = package
        self.needed_by = needed_by

    def __reduce__(self) -> tuple[type["MissingDependencyError"], tuple[str, str]]:
        """Support pickling, to leave a worker process."""
        return type(self), (self.package, self.needed_by)


class WeightsError(HomologError, RuntimeError):
    """A weight file cannot be obtained, is damaged, or does not fit its network."""


class DataError(HomologError, OSError):
    """A file or an array of the user cannot be read, or has the wrong content."""


class CapabilityError(HomologError, TypeError):
    """This matcher, head or backbone does not support what is asked of it."""


def did_you_mean(name: str, options: Iterable[str], *, show: int = 30) -> str:
    """Return the end of an error message about an unknown name.

    Args:
        name: what the user wrote.
        options: the names that exist.
        show: maximum number of names to list.

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
