"""A memory of bounded size that forgets what was used longest ago."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from homolog.core.errors import ConfigError

T = TypeVar("T")


class Recall(Generic[T]):
    """Keeps values by key until their weights pass a limit; the least recently used go first."""

    def __init__(self, limit: int) -> None:
        """Start empty.

        Args:
            limit: sum of weights to keep at most; 0 keeps nothing.

        Raises:
            ConfigError: a negative limit.
        """
        if limit < 0:
            raise ConfigError(f"expected a memory of 0 bytes or more, got {limit}")
        self.limit = limit
        self._kept: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._weight = 0

    def __len__(self) -> int:
        """Return the number of values kept."""
        return len(self._kept)

    @property
    def weight(self) -> int:
        """The sum of the weights of all values kept."""
        return self._weight

    def get(self, key: Hashable, make: Callable[[], T], weigh: Callable[[T], int]) -> T:
        """Return the value of a key, made anew if it is not kept.

        A value heavier than the limit is returned but not kept.
        """
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        value = make()
        weight = weigh(value)
        if weight <= self.limit:
            self._kept[key] = value, weight
            self._weight += weight
            self._make_room()
        return value

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._weight = 0

    def _make_room(self) -> None:
        while self._weight > self.limit:
            _, (_, weight) = self._kept.popitem(last=False)
            self._weight -= weight
