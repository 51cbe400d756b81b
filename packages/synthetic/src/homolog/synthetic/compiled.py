"""The one way in which loops of `homolog.synthetic` become machine code.

Arithmetic stays as written (no `fastmath`), so that the same input gives the same bits; a division by zero
gives infinity or NaN, as in numpy. Functions that call each other belong in one file: the code kept on disk
is renewed when its own file changes only.
"""

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from homolog.core.errors import MissingDependencyError

Real = Any
"""A number inside compiled code: the stubs of numpy take an element of an array for an array."""

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def compiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compile a function of arrays and numbers with numba, on its first call; the code is kept on disk.

    Raises:
        MissingDependencyError: numba is not installed.
    """
    return _with_numba(function, cache=True)


def inlined(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compile a function into those that call it: for what runs once per pixel, where a call costs as much again.

    Raises:
        MissingDependencyError: numba is not installed.
    """
    return _with_numba(function, inline="always")


def _with_numba(function: Callable[Parameters, Result], **options: Any) -> Callable[Parameters, Result]:
    try:
        import numba
    except ImportError as error:
        raise MissingDependencyError("homolog-synthetic[synthetic]", "synthetic data") from error
    # Type checkers of tests wrap every function; numba needs what is inside.
    made = numba.njit(error_model="numpy", **options)(inspect.unwrap(function))
    return cast(Callable[Parameters, Result], made)
