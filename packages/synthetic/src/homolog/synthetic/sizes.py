"""How a configuration says how large images are."""

from collections.abc import Sequence

from homolog.core.coords import Size
from homolog.core.errors import ConfigError

SMALLEST = 16
"""Pixels along the shorter side; less shows nothing that could be matched."""


def image_size(size: int | Sequence[int]) -> Size:
    """Return (height, width) from one number for both, or from both.

    Raises:
        ConfigError: not one or two numbers, or fewer pixels than `SMALLEST`.

    >>> image_size(64), image_size([48, 64])
    ((64, 64), (48, 64))
    """
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or min(sides) < SMALLEST:
        raise ConfigError(
            f"expected a size of at least {SMALLEST}: a number, or [height, width]; got {size!r}"
        )
    return int(sides[0]), int(sides[1])
