"""Whether an error on the threshold counts: official codes disagree, so every protocol says it."""

from typing import Literal

import numpy as np

from homolog.core.errors import ConfigError

Comparison = Literal["<", "<="]
"""`<` leaves an error of exactly the threshold out, `<=` counts it."""


def within(error: np.ndarray, limit: np.ndarray | float, comparison: Comparison) -> np.ndarray:
    """Tell which errors are small enough; a NaN never is.

    Args:
        error: any shape.
        limit: broadcasts against it, in its unit.
        comparison: `<` or `<=`.

    Raises:
        ConfigError: another comparison.

    >>> within(np.array([1.0, 2.0, np.nan]), 2.0, "<").tolist()
    [True, False, False]
    """
    if comparison == "<":
        return error < limit
    if comparison == "<=":
        return error <= limit
    raise ConfigError(f"expected the comparison '<' or '<=', got {comparison!r}")
