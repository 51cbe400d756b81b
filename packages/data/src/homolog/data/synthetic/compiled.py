"""The one way in which loops of `homolog.data.synthetic` become machine code."""

import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from homolog.core.errors import MissingDependencyError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def compiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compile a function of arrays and numbers with numba, on its first call; the result is kept on disk.

    Arithmetic stays as written (no `fastmath`), so that the same input gives the same bits. Functions
    that call each other belong in one file: the copy on disk is renewed when its own file changes only.

    Raises:
        MissingDependencyError: numba is not installed.
    """
    try:
        import numba
    except ImportError as error:
        raise MissingDependencyError("homolog-data[synthetic]", "synthetic data") from error
    # Type checkers of tests wrap every function; numba needs what is inside.
    return cast(Callable[Parameters, Result], numba.njit(cache=True)(inspect.unwrap(function)))
