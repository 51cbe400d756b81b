"""Nearest neighbours: mutual nearest descriptors, the dual softmax, and single points in a map."""

import math
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from homolog.core.coords import Size, resize_pixel
from homolog.core.dense import Described, Transfer
from homolog.core.errors import CapabilityError, ConfigError, ShapeError, one_of
from homolog.core.features import PIXELS, Features
from homolog.core.keypoints import Keypoints, Matches
from homolog.heads.read_out import (
    CHUNK,
    Located,
    check_reading,
    chosen_map,
    cosines,
    locate,
    locate_as_matcha,
    matcha_cell,
    matcha_keypoints,
    matcha_stride,
    paired,
)

# A maximum without its place runs at memory speed, one with its place some twenty times slower on a
# CPU. Taking the place among the maxima of blocks, then inside one block, costs little more than the
# former. Sides that are multiples of these also get the same kernel everywhere in the product, so that
# equal descriptors have equal similarities to the last bit and ties are ties.
_ROWS, _COLUMNS = 16, 64


Metric = Literal["cosine", "euclidean"]

ReadOut = Literal["homolog", "matcha"]


class MutualPairs(NamedTuple):
    """Pairs of descriptors that are each other's nearest, ordered by `index0`.

    Attributes:
        index0: [M] rows of the first set, ascending.
        index1: [M] rows of the second set.
        similarity: [M] their dot product (metric cosine) or negative distance (metric euclidean).
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

    The full similarity matrix is never held in memory. Ties go to the lowest index
    in both directions. No gradient flows through the choice of pairs.

    Args:
        descriptor0: descriptors of image 0, of unit length for the cosine.
        descriptor1: descriptors of image 1, of unit length for the cosine.
        match_threshold: keep pairs whose cosine is strictly greater, as XFeat's `match` does; None or a
            value <= 0 keeps all.
        ratio: keep pairs whose distance is at most this fraction of the distance to the second
            nearest, both ways (Lowe 2004, section 7.1; kornia's `match_smnn`). Pairs without a second-nearest descriptor, or whose
            second-nearest is at distance 0, are dropped. None keeps all.
        metric: what nearest means. Unit descriptors have the same nearest neighbours either way.
        chunk: similarities in memory at once; at least 16 rows of them.

    Returns:
        Indices of both sides and their similarity, ordered by the first index.

    Raises:
        ShapeError: descriptors of different lengths.
        ConfigError: a ratio outside (0, 1], a chunk below 1, or `match_threshold` with metric `euclidean`.
    """
    if descriptor0.shape[1] != descriptor1.shape[1]:
        raise ShapeError(
            f"expected descriptors of one length, got {list(descriptor0.shape)} and {list(descriptor1.shape)}; "
            "describe both images with the same map"
        )
    if chunk < 1 or (ratio is not None and not 0 < ratio <= 1):
        raise ConfigError(f"expected chunk >= 1 and a ratio in (0, 1] or null, got {chunk} and {ratio}")
    if metric == "euclidean" and match_threshold is not None and match_threshold > 0:
        raise ConfigError(
            f"expected metric=cosine for match_threshold={match_threshold}, got euclidean; remove one of them"
        )
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


def dual_softmax(similarity: Float[Tensor, "N M"], temperature: float) -> Float[Tensor, "N M"]:
    """Multiply the softmax over rows with the softmax over columns (LoFTR, Sun et al. 2021, equation 2).

    Args:
        similarity: of all pairs.
        temperature: divides the similarity.

    Returns:
        The probability of each pair, in [0, 1].
    """
    scaled = similarity / temperature
    return scaled.softmax(dim=0) * scaled.softmax(dim=1)


def peaks_both_ways(probability: Float[Tensor, "N M"], *, match_threshold: float) -> Bool[Tensor, "N M"]:
    """Mark entries above the threshold that are the maximum of their row and of their column.

    Under exact ties a row or a column can hold several; `DualSoftmax` takes the lowest index of a row.
    """
    if 0 in probability.shape:
        return probability > match_threshold
    highest_row = probability.amax(dim=1, keepdim=True)
    highest_column = probability.amax(dim=0, keepdim=True)
    return (probability > match_threshold) & (probability == highest_row) & (probability == highest_column)


class DualSoftmax(nn.Module):
    """Pairs keypoints by the dual softmax of their cosines. It holds all N x M similarities at once."""

    def __init__(self, *, temperature: float = 0.1, match_threshold: float = 0.2) -> None:
        """Set the temperature and the threshold.

        Args:
            temperature: divides the cosines; smaller gives sharper probabilities.
            match_threshold: keep matches of a probability above this.

        Raises:
            ConfigError: a temperature that is not above 0.
        """
        super().__init__()
        if temperature <= 0:
            raise ConfigError(f"dual_softmax: expected a temperature above 0, got {temperature}")
        self.temperature = temperature
        self.match_threshold = match_threshold

    def forward(
        self, keypoints0: Keypoints, keypoints1: Keypoints, features0: Features, features1: Features
    ) -> Matches:
        """Return matches; the score is their probability.

        Raises:
            CapabilityError: keypoints without descriptors.
        """
        similarity = _unit(keypoints0, "dual_softmax") @ _unit(keypoints1, "dual_softmax").T
        probability = dual_softmax(similarity, self.temperature)
        index0, index1 = first_of_each_row(peaks_both_ways(probability, match_threshold=self.match_threshold))
        return paired(keypoints0, keypoints1, index0, index1, probability[index0, index1])


def first_of_each_row(mask: Bool[Tensor, "N M"]) -> tuple[Tensor, Tensor]:
    """Return row and column of the first true entry of each row that has one."""
    if not mask.shape[1]:
        none = torch.zeros(0, dtype=torch.long, device=mask.device)
        return none, none
    rows = mask.any(dim=1).nonzero()[:, 0]
    return rows, mask[rows].int().argmax(dim=1)


def _unit(keypoints: Keypoints, head: str) -> Tensor:
    if keypoints.descriptor is None:
        raise CapabilityError(
            f"{head}: expected keypoints with descriptors, got none; name a map of the backbone as descriptor_map"
        )
    return F.normalize(keypoints.descriptor.float(), dim=1)


def pair_nearest(
    keypoints0: Keypoints,
    keypoints1: Keypoints,
    *,
    head: str,
    match_threshold: float | None = None,
    ratio: float | None = None,
    chunk: int = CHUNK,
) -> Matches:
    """Match keypoints that are each other's nearest by cosine; the score is the cosine.

    Args:
        keypoints0: of image 0, with descriptors of any length above zero.
        keypoints1: of image 1, likewise.
        head: who asks, for messages.
        match_threshold: as for `mutual_nearest`.
        ratio: as for `mutual_nearest`.
        chunk: how many similarities to hold at a time.

    Raises:
        CapabilityError: keypoints without descriptors.
        ShapeError: descriptors of different lengths.
    """
    index0, index1, cosine = mutual_nearest(
        _unit(keypoints0, head),
        _unit(keypoints1, head),
        match_threshold=match_threshold,
        ratio=ratio,
        chunk=chunk,
    )
    return paired(keypoints0, keypoints1, index0, index1, cosine)


class Nearest(nn.Module):
    """Pairs keypoints that are each other's nearest by cosine, and finds single points on a feature map.

    Scores of matches are cosines. The confidence of a transferred point is concentration / (1 + (e / stride)^2). `read_out.Located` defines the
    concentration; e is the round-trip error: the point is transferred to image 1 and back, and its distance to
    where it started is measured. It is near 1 if the match is unique and the round trip returns to the start.
    """

    def __init__(
        self,
        *,
        map: str | None = None,
        match_threshold: float | None = None,
        ratio: float | None = None,
        window: int | None = 3,
        temperature: float = 0.02,
        sigma: float | None = None,
        source: str = "bilinear",
        read_out: ReadOut = "homolog",
        chunk: int = CHUNK,
    ) -> None:
        """Choose how strict to be, and how to read points.

        Args:
            map: where to look for transferred points; None takes the only map there is.
            match_threshold: keep matches of a cosine above this; None keeps all.
            ratio: keep matches that are closer than this fraction of the second nearest, both ways;
                None keeps all.
            window: odd side, in cells, of the window that refines a transferred point; 1 takes the
                centre of the best cell, None all cells.
            temperature: of the softmax in that window; small values favour the best cell.
            sigma: of a Gaussian around the best cell that weighs similarities, in cells (kernel
                soft-argmax); None for none.
            source: `bilinear` interpolates the descriptor of a transferred point between cells, `cell`
                takes that of the cell it lies in.
            read_out: `matcha` reads maps as MATCHA's release does, with `source: cell`. Keypoints are described
                by `map` with corners aligned; a transferred point has the descriptor of the cell
                trunc(pixel / stride), cosines outside of the window count as 0, and it ends at cell * stride,
                without the half cell to the cell's centre. The release has a window of 15 and a
                temperature of 0.02.
            chunk: how many similarities to hold at a time.

        Raises:
            ConfigError: a value out of its range, or settings that `read_out: matcha` does not have.
        """
        super().__init__()
        check_reading(window=window, temperature=temperature, sigma=sigma, chunk=chunk)
        one_of("source", source, ("bilinear", "cell"))
        if ratio is not None and not 0 < ratio <= 1:
            raise ConfigError(f"nearest: expected a ratio in (0, 1] or null, got {ratio}")
        if one_of("read_out", read_out, get_args(ReadOut)) == "matcha" and (
            source != "cell" or sigma is not None
        ):
            raise ConfigError(
                f"nearest: expected source=cell and sigma=null for read_out=matcha, got {source} and {sigma}; "
                "use head=nearest_matcha"
            )
        self.map, self.source, self.read_out = map, source, read_out
        self.match_threshold, self.ratio, self.chunk = match_threshold, ratio, chunk
        self.window, self.temperature, self.sigma = window, temperature, sigma

    def forward(
        self, keypoints0: Keypoints, keypoints1: Keypoints, features0: Features, features1: Features
    ) -> Matches:
        """Return the mutual nearest neighbours; the score is their cosine.

        Raises:
            CapabilityError: keypoints without descriptors; with `read_out: matcha`, no map to read them from.
            ConfigError: with `read_out: matcha`, several maps, and none was chosen.
            ShapeError: descriptors of different lengths.
        """
        return pair_nearest(
            self._described(keypoints0, features0),
            self._described(keypoints1, features1),
            head="nearest",
            match_threshold=self.match_threshold,
            ratio=self.ratio,
            chunk=self.chunk,
        )

    def describe(self, xy: Float[Tensor, "N 2"], features: Features) -> Described:
        """Return the descriptors of points of an image.

        Args:
            xy: pixel coordinates in the image that `features` describe.
            features: maps of the image (B = V = 1).

        Raises:
            ConfigError: several maps, and none was chosen.
            ShapeError: no such map, or features of several images.
        """
        return Described(tensors={"descriptor": self._query(xy, features)})

    def find(self, described: Described, features: Features) -> Transfer:
        """Find points on an image, one way.

        Args:
            described: points of other images, from `describe`.
            features: maps of the image to search (B = V = 1).

        Returns:
            Pixel coordinates in the image that `features` describe, equal to those of `transfer`; the confidence is
            the concentration that `read_out.Located` defines.

        Raises:
            ConfigError: several maps, and none was chosen.
            ShapeError: no such map, or descriptors of another length.
        """
        found = self._locate(described.tensors["descriptor"], features)
        return Transfer(self._pixels(found.xy, features), found.concentration)

    def transfer(self, xy0: Float[Tensor, "N 2"], features0: Features, features1: Features) -> Transfer:
        """Find points of image 0 in image 1.

        Args:
            xy0: pixel coordinates in the image that `features0` describe.
            features0: maps of image 0 (B = V = 1).
            features1: maps of image 1 (B = V = 1).

        Returns:
            Pixel coordinates in the image that `features1` describe, and confidence in [0, 1].

        Raises:
            ConfigError: several maps, and none was chosen.
            ShapeError: no such map, or features of several images.
        """
        there = self._locate(self._query(xy0, features0), features1)
        xy1 = self._pixels(there.xy, features1)
        again = self._locate(self._query(xy1, features1), features0)
        astray = again.xy - self._places(xy0, features0)
        confidence = there.concentration / (1 + astray.square().sum(dim=1))
        return Transfer(xy1.to(xy0.dtype), confidence.to(xy0.dtype))

    def similarity(
        self, xy0: Float[Tensor, "N 2"], features0: Features, features1: Features
    ) -> Float[Tensor, "N h w"]:
        """Compare points of image 0 with every cell of image 1: the cosines that `transfer` searches.

        Args:
            xy0: pixel coordinates in the image that `features0` describe.
            features0: maps of image 0 (B = V = 1).
            features1: maps of image 1 (B = V = 1).

        Raises:
            ConfigError: several maps, and none was chosen.
            ShapeError: no such map, or features of several images.
        """
        query = self._query(xy0, features0)
        return cosines(query, features1[self._name(features1)][0, 0].float())

    def _described(self, keypoints: Keypoints, features: Features) -> Keypoints:
        if self.read_out == "homolog":
            return keypoints
        if PIXELS in features.maps:
            raise CapabilityError(
                "nearest: expected the map of a backbone for read_out=matcha, got pixels; set backbone and "
                "descriptor_map, or head=nearest"
            )
        map_ = features[self._name(features)][0, 0].float()
        return keypoints.described_by(matcha_keypoints(map_, keypoints.xy, size=features.image_size))

    def _locate(self, query: Tensor, target: Features) -> Located:
        map_ = target[self._name(target)][0, 0].float()
        if self.read_out == "matcha":
            return locate_as_matcha(
                query, map_, window=self.window, temperature=self.temperature, chunk=self.chunk
            )
        return locate(
            query,
            map_,
            window=self.window,
            temperature=self.temperature,
            sigma=self.sigma,
            chunk=self.chunk,
        )

    def _query(self, xy: Tensor, source: Features) -> Tensor:
        if self.read_out == "matcha":
            return matcha_cell(source[self._name(source)][0, 0].float(), xy, size=source.image_size)
        if self.source == "cell":
            cells = self._cells(source)
            last = xy.new_tensor((cells[1] - 1, cells[0] - 1))
            cell = resize_pixel(xy, source.image_size, cells).round().clamp_min(0).minimum(last)
            xy = resize_pixel(cell, cells, source.image_size)
        return source.at(self._name(source), xy).float()

    def _pixels(self, places: Tensor, features: Features) -> Tensor:
        """Return the pixels of places on a map; integers are centres of cells, or their first pixels in MATCHA."""
        cells, size = self._cells(features), features.image_size
        if self.read_out == "matcha":
            return places * matcha_stride(cells, size).to(places)
        return resize_pixel(places, cells, size)

    def _places(self, xy: Tensor, features: Features) -> Tensor:
        """Undo `_pixels`."""
        cells, size = self._cells(features), features.image_size
        return (
            xy / matcha_stride(cells, size).to(xy)
            if self.read_out == "matcha"
            else resize_pixel(xy, size, cells)
        )

    def _name(self, features: Features) -> str:
        return chosen_map(features, self.map, head="nearest")

    def _cells(self, features: Features) -> Size:
        map_ = features[self._name(features)]
        return map_.shape[-2], map_.shape[-1]
