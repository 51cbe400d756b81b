"""Mutual nearest neighbours of two sets of descriptors, in bounded memory."""

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from homolog.core.errors import ConfigError, ShapeError

CHUNK = 1 << 22
"""Similarities held at a time: 16 MB in float32.

Many more leave a CPU's cache. Many fewer make its threads wait for one another so often that a busy
machine slows them tenfold.
"""

# A maximum without its place runs at memory speed, one with its place some twenty times slower on a
# CPU. Taking the place among the maxima of blocks, then inside one block, costs little more than the
# former. Sides that are multiples of these also get the same kernel everywhere in the product, so that
# equal descriptors have equal similarities to the last bit and ties are ties.
_ROWS, _COLUMNS = 16, 64


Metric = Literal["cosine", "euclidean"]


class MutualPairs(NamedTuple):
    """Pairs of descriptors that are each other's nearest, ordered by `index0`.

    Attributes:
        index0: [M] rows of the first set, ascending.
        index1: [M] rows of the second set.
        similarity: [M] their dot product, that is, the cosine of unit descriptors; minus their distance
            when compared by distance.
    """

    index0: Int[Tensor, " M"]
    index1: Int[Tensor, " M"]
    similarity: Float[Tensor, " M"]


class _Best(NamedTuple):
    """The nearest of every descriptor of one set: place, similarity, and similarity of the runner-up."""

    place: Tensor
    value: Tensor
    second: Tensor


@torch.no_grad()
def mutual_nearest(
    descriptor0: Float[Tensor, "N D"],
    descriptor1: Float[Tensor, "M D"],
    *,
    match_threshold: float | None = None,
    ratio: float | None = None,
    metric: Metric = "cosine",
    chunk: int = CHUNK,
) -> MutualPairs:
    """Find the pairs that are nearest to each other both ways.

    Every similarity is computed once and never stored beyond its chunk. Ties go to the lowest index
    in both directions. No gradient flows through the choice of pairs.

    Args:
        descriptor0: descriptors of image 0, of unit length for the cosine.
        descriptor1: descriptors of image 1, of unit length for the cosine.
        match_threshold: keep pairs whose cosine is strictly greater, as XFeat's `match` does; None or a
            value <= 0 keeps all.
        ratio: keep pairs whose distance is at most this share of the distance to the second
            nearest, both ways (Lowe 2004, section 7.1; kornia's `match_smnn`). A pair without a
            second neighbour, or with one at distance zero, is dropped. None keeps all.
        metric: what nearest means. Unit descriptors have the same nearest neighbours either way.
        chunk: how many similarities to hold at a time; at least 16 rows of them are held.

    Returns:
        Indices of both sides and their similarity, ordered by the first index.

    Raises:
        ShapeError: descriptors of different lengths.
        ConfigError: a ratio outside (0, 1], a chunk below 1, or a minimum cosine among distances.
    """
    if descriptor0.shape[1] != descriptor1.shape[1]:
        raise ShapeError(
            f"expected descriptors of one length, got {list(descriptor0.shape)} and {list(descriptor1.shape)}; "
            "describe both images with the same map"
        )
    _check(match_threshold, ratio, metric, chunk)
    if not len(descriptor0) or not len(descriptor1):
        none = torch.zeros(0, dtype=torch.long, device=descriptor0.device)
        return MutualPairs(none, none, descriptor0.new_zeros(0))
    if metric == "euclidean":
        descriptor0, descriptor1 = _lifted(descriptor0, descriptor1)
    rows, columns = _search(descriptor0, descriptor1, chunk, runner_up=ratio is not None)
    index0 = torch.arange(len(descriptor0), device=descriptor0.device)
    keep = columns.place[rows.place] == index0
    if match_threshold is not None and match_threshold > 0:
        keep &= rows.value > match_threshold
    if ratio is not None:
        keep &= _stands_out(rows, ratio, metric) & _stands_out(columns, ratio, metric)[rows.place]
    value = rows.value[keep]
    return MutualPairs(
        index0[keep], rows.place[keep], value if metric == "cosine" else -_distance(value, metric)
    )


def _check(match_threshold: float | None, ratio: float | None, metric: Metric, chunk: int) -> None:
    if chunk < 1 or (ratio is not None and not 0 < ratio <= 1):
        raise ConfigError(f"expected chunk >= 1 and a ratio in (0, 1] or null, got {chunk} and {ratio}")
    if metric == "euclidean" and match_threshold is not None and match_threshold > 0:
        raise ConfigError(
            f"a minimum cosine of {match_threshold} needs metric cosine, got euclidean; leave one out"
        )


def _lifted(descriptor0: Tensor, descriptor1: Tensor) -> tuple[Tensor, Tensor]:
    """Append two entries so that the dot product is minus half the squared distance."""
    half0, half1 = (-0.5 * each.square().sum(dim=1, keepdim=True) for each in (descriptor0, descriptor1))
    return (
        torch.cat((descriptor0, half0, torch.ones_like(half0)), dim=1),
        torch.cat((descriptor1, torch.ones_like(half1), half1), dim=1),
    )


def _search(descriptor0: Tensor, descriptor1: Tensor, chunk: int, *, runner_up: bool) -> tuple[_Best, _Best]:
    """Return the nearest of every row of the similarity matrix, and of every column."""
    count0, count1 = len(descriptor0), len(descriptor1)
    left, right = _padded(descriptor0, _ROWS), _padded(descriptor1, _COLUMNS).T
    height = min(len(left), max(_ROWS, chunk // right.shape[1] // _ROWS * _ROWS))
    block = left.new_empty(height, right.shape[1])
    rows = _unknown(len(left), left)
    columns = _unknown(right.shape[1], left)
    for start in range(0, len(left), height):
        # The last chunk reaches back over rows already seen instead of being smaller: a product of
        # another shape may round differently. Those rows are hidden where they would count twice.
        first = min(start, len(left) - height)
        torch.mm(left[first : first + height], right, out=block)
        block[:, count1:] = -torch.inf
        block[max(0, count0 - first) :] = -torch.inf
        best = _best_of_rows(block, runner_up=runner_up)
        for whole, part in zip(rows, best, strict=True):
            whole[first : first + height] = part
        block[: start - first] = -torch.inf
        columns = _better(columns, _best_of_columns(block, first, runner_up=runner_up))
    return _Best(*(part[:count0] for part in rows)), _Best(*(part[:count1] for part in columns))


def _padded(descriptor: Tensor, multiple: int) -> Tensor:
    missing = math.ceil(len(descriptor) / multiple) * multiple - len(descriptor)
    return F.pad(descriptor, (0, 0, 0, missing)) if missing else descriptor


def _unknown(count: int, like: Tensor) -> _Best:
    lowest = like.new_full((count,), -torch.inf)
    return _Best(torch.zeros(count, dtype=torch.long, device=like.device), lowest, lowest.clone())


def _best_of_rows(block: Tensor, *, runner_up: bool) -> _Best:
    each = torch.arange(len(block), device=block.device)
    parts = block.view(len(block), -1, _COLUMNS)
    value, part = parts.amax(dim=2).max(dim=1)
    index = part * _COLUMNS + parts[each, part].argmax(dim=1)
    if not runner_up:
        return _Best(index, value, value)
    block[each, index] = -torch.inf
    second = block.amax(dim=1)
    block[each, index] = value
    return _Best(index, value, second)


def _best_of_columns(block: Tensor, first: int, *, runner_up: bool) -> _Best:
    each = torch.arange(block.shape[1], device=block.device)
    parts = block.view(-1, _ROWS, block.shape[1])
    value, part = parts.amax(dim=1).max(dim=0)
    index = part * _ROWS + parts[part, :, each].argmax(dim=1)
    if not runner_up:
        return _Best(first + index, value, value)
    block[index, each] = -torch.inf
    return _Best(first + index, value, block.amax(dim=0))


def _better(seen: _Best, new: _Best) -> _Best:
    """Merge two parts of a column; on ties the one seen earlier, of lower index, stays."""
    wins = new.value > seen.value
    runner_up = torch.maximum(torch.minimum(seen.value, new.value), torch.maximum(seen.second, new.second))
    return _Best(torch.where(wins, new.place, seen.place), torch.maximum(seen.value, new.value), runner_up)


def _stands_out(best: _Best, ratio: float, metric: Metric) -> Tensor:
    nearest, second = _distance(best.value, metric), _distance(best.second, metric)
    return (nearest <= ratio * second) & (second > 0) & second.isfinite()


def _distance(value: Tensor, metric: Metric) -> Tensor:
    # Between unit vectors, the squared distance is twice what the cosine lacks to 1.
    return ((2 if metric == "cosine" else 0) - 2 * value).clamp_min(0).sqrt()
