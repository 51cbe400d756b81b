"""Choose a few points that stand for many: the best ones, but spread over the image."""

import numpy as np
from numpy.typing import NDArray


def choose_spread(xy: NDArray[np.floating], score: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """Return the indices of `count` points, best first, as far apart as that allows.

    Points are taken by score, each at least a radius away from those already taken; the radius is
    the largest at which `count` of them are found.

    Args:
        xy: [N 2] positions; or [N 4], a position in each of two images, to be far apart in both.
        score: [N], higher is better.
        count: how many to choose; fewer when there are fewer.

    >>> line = np.array([[0.0, 0.0], [1.0, 0.0], [9.0, 0.0]])
    >>> choose_spread(line, np.array([0.9, 0.8, 0.1]), 2).tolist()
    [0, 2]
    """
    order = np.argsort(-score, kind="stable")
    if len(order) <= count:
        return order
    low, high = 0.0, float(np.ptp(xy, axis=0).max()) + 1
    chosen = order[:count]
    for _ in range(12):
        radius = (low + high) / 2
        taken = _at_least_apart(xy, order, radius, count)
        if len(taken) == count:
            chosen, low = taken, radius
        else:
            high = radius
    return chosen


def _at_least_apart(
    xy: NDArray[np.floating], order: NDArray[np.intp], radius: float, count: int
) -> NDArray[np.intp]:
    free = np.ones(len(xy), dtype=bool)
    taken: list[int] = []
    for index in order:
        if free[index]:
            taken.append(int(index))
            if len(taken) == count:
                break
            squares = ((xy - xy[index]) ** 2).reshape(len(xy), -1, 2).sum(axis=2)
            free &= (squares >= radius**2).all(axis=1)
    return np.array(taken, dtype=np.intp)
