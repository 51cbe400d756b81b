"""Transfer single points by the agreement of their neighbours, without any training.

A descriptor alone often resembles several places: the other eye, the next window. Its neighbours tell them
apart. If point p corresponds to q, then a neighbour p + d corresponds to about q + T d, where T is the local
scale, and maybe rotation or mirroring. So the score of q is the mean similarity of all neighbours at their
places around q, for the best T.

What is known: that neighbours should agree is the constraint of relaxation labelling, of neighbourhood
consensus networks (NCNet, Rocco et al., NeurIPS 2018: learned 4D convolutions over all pairs of cells), of
regularised and convolutional Hough matching (RHM, Min et al., ICCV 2019; CHM, Min and Cho, CVPR 2021: votes for
offsets and scales), and, in the spectrum, of functional maps (Ovsjanikov et al. 2012). Those compare all cells
with all cells. What is ours: only the asked points are compared, N x K rows instead of a 4D volume; neighbours
are read between cells; each image's mean descriptor is subtracted first, so that what all cells share
(colours, background, the category itself) does not count; neighbours beyond a border abstain; and finer maps
settle the place.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.coords import Size, pixel_to_normalised, resize_pixel
from homolog.core.dense import Described, Transfer
from homolog.core.errors import ConfigError, ShapeError
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints, Matches
from homolog.core.sampling import sample_points
from homolog.heads.nearest import pair_nearest
from homolog.heads.read_out import CHUNK, cells_around, chosen_map, cosines, lengths, locate_peak

LEAST_SUPPORT = 0.3
"""Where fewer of the neighbours (by weight) lie on both images, they are outvoted by the missing ones."""

STEP = 0.25
"""Offsets on the searched map are rounded to this fraction of a cell: most then need one or two cells, not four."""

WINDOW = 5
"""Side in cells of `map` of the window around an answer whose fraction of the softmax is its confidence."""

FINE_TEMPERATURE = 0.02
"""Of the softmax over the 3 x 3 cells around the peak of the fine scores, as in head `nearest`."""


class Consensus(nn.Module):
    """Transfers points to where they and their neighbours agree; pairs keypoints as head `nearest` does.

    It works on any map of any backbone. A coarse semantic map (32 to 40 cells along the longer side) suits it
    best, with finer maps in `fine`; a larger one is averaged for the neighbours, which finds more and costs less. The confidence is the fraction of the softmax of all scores that falls
    around the answer; it is high where no other place resembles the neighbourhood.
    """

    def __init__(
        self,
        *,
        map: str | None = None,
        fine: Mapping[str, float] | None = None,
        spacing: float = 1.5,
        sigma: float = 2.0,
        scales: Sequence[float] = (0.667, 1.0, 1.333),
        rotations: Sequence[float] = (-30.0, 30.0),
        mirror: bool = False,
        temperature: float = 0.05,
        power: float = 6.0,
        cells: int = 32,
        chunk: int = CHUNK,
    ) -> None:
        """Choose neighbours, and how they may be moved.

        Args:
            map: the map whose neighbourhoods are compared; None takes the only map there is.
            fine: maps, by weight, that settle the place; the first one is the finest. None interpolates between
                the cells of `map`.
            spacing: in cells of `map`. There are nine neighbours: the point itself, four diagonally one spacing
                away, and four two spacings beside, above and below it.
            sigma: of the Gaussian that weighs them, in cells.
            scales: by how much image 1 may be larger than image 0 around a point.
            rotations: by how many degrees it may be turned instead (clockwise, as y points down).
            mirror: whether it may also be mirrored.
            temperature: divides the scores before the softmax of the confidence and, without `fine`, of the place.
            power: of the cosine on the fine maps, added to the score of the neighbours. A high one lets a place that
                looks exactly alike outweigh the neighbours, as in the next frame of a video, and lets weaker
                likeness decide only between places that the neighbours like equally.
            cells: along the longer side of `map`, at most, where neighbours are compared. A larger map is averaged
                down to that, and, unless there are others, is its own fine map.
            chunk: how many similarities to hold at a time.

        Raises:
            ConfigError: a value out of its range.
        """
        super().__init__()
        if min(spacing, sigma, temperature, power, *scales) <= 0 or min(cells, chunk) < 1:
            raise ConfigError(
                "consensus: expected spacing, sigma, temperature, power and scales above 0, cells and a chunk of at least 1, "
                f"got {spacing}, {sigma}, {temperature}, {power}, {list(scales)}, {cells} and {chunk}"
            )
        if not scales:
            raise ConfigError("consensus: expected at least one scale, got none")
        if fine is not None and (not fine or min(fine.values()) <= 0):
            raise ConfigError(f"consensus: expected fine maps with weights above 0 or null, got {dict(fine)}")
        self.map, self.fine = map, dict(fine or {})
        self.temperature, self.power, self.cells, self.chunk = temperature, power, cells, chunk
        steps = [(0, 0), *((x, y) for x in (-1, 1) for y in (-1, 1)), (-2, 0), (2, 0), (0, -2), (0, 2)]
        self._offsets = [(x * spacing, y * spacing) for x, y in steps]
        weights = [math.exp(-(x * x + y * y) / (2 * sigma**2)) for x, y in self._offsets]
        self._weights = [weight / sum(weights) for weight in weights]
        self._moved = [
            [_moved(offset, scale, math.radians(degrees), flip) for offset in self._offsets]
            for flip in ((1.0, -1.0) if mirror else (1.0,))
            for scale, degrees in (*((scale, 0.0) for scale in scales), *((1.0, turn) for turn in rotations))
        ]

    @property
    def reads(self) -> tuple[str, ...] | None:
        """The maps that points are read from, or None for the only map there is."""
        return None if self.map is None else (self.map, *(name for name in self.fine if name != self.map))

    def forward(
        self, keypoints0: Keypoints, keypoints1: Keypoints, features0: Features, features1: Features
    ) -> Matches:
        """Return mutual nearest neighbours of the keypoints' descriptors; the score is their cosine.

        Raises:
            CapabilityError: keypoints without descriptors.
            ShapeError: descriptors of different lengths.
        """
        return pair_nearest(keypoints0, keypoints1, head="consensus", chunk=self.chunk)

    def transfer(self, xy0: Float[Tensor, "N 2"], features0: Features, features1: Features) -> Transfer:
        """Find points of image 0 in image 1, one way.

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
        return self.find(self.describe(xy0, features0), features1)

    def describe(self, xy: Float[Tensor, "N 2"], features: Features) -> Described:
        """Read the neighbourhood of each point, and its descriptors on the fine maps.

        Args:
            xy: pixel coordinates in the image that `features` describe.
            features: maps of one image (B = V = 1).
        """
        map_ = self._coarse(features)
        cells = map_.shape[1], map_.shape[2]
        centre = resize_pixel(xy.float(), features.image_size, cells)
        around = centre[:, None] + centre.new_tensor(self._offsets)
        inside = (around >= -0.5) & (around <= around.new_tensor((cells[1] - 0.5, cells[0] - 0.5)))
        weight = around.new_tensor(self._weights) * inside.all(dim=-1)
        read = sample_points(map_[None], pixel_to_normalised(around.reshape(1, -1, 2), cells))[0]
        unit = F.normalize(read - map_.mean(dim=(1, 2)), dim=1).unflatten(0, around.shape[:2])
        tensors = {"neighbours": unit * weight[..., None], "weight": weight}
        tensors |= {
            f"fine.{fine}": F.normalize(features.at(fine, xy.float()).float(), dim=1)
            for fine in self.fine or (self._name(features),)
        }
        return Described(tensors=tensors)

    def find(self, described: Described, features: Features) -> Transfer:
        """Find described points on an image.

        Args:
            described: points of one or several other images.
            features: maps of the image to search (B = V = 1).

        Returns:
            Pixel coordinates in the image that `features` describe, and confidence in [0, 1].
        """
        map_ = self._coarse(features)
        found = [self._find(part, map_, features) for part in self._parts(described, map_, features)]
        return Transfer(*(torch.cat(part) for part in zip(*found, strict=True)))

    def similarity(
        self, xy0: Float[Tensor, "N 2"], features0: Features, features1: Features
    ) -> Float[Tensor, "N h w"]:
        """Return the scores of points of image 0 on every cell of `map` of image 1; arguments as for `transfer`."""
        described = self.describe(xy0, features0)
        map_ = self._coarse(features1)
        return torch.cat([self._scores(part, map_) for part in self._parts(described, map_, features1)])

    def _coarse(self, features: Features) -> Float[Tensor, "C h w"]:
        """Return the map of the neighbourhoods, averaged where it is large."""
        map_ = _single(features, self._name(features))
        height, width = map_.shape[1:]
        if max(height, width) <= self.cells:
            return map_
        shrunk = [max(1, round(side * self.cells / max(height, width))) for side in (height, width)]
        return F.interpolate(map_[None], size=shrunk, mode="bilinear", antialias=True)[0]

    def _fine(self, map_: Float[Tensor, "C h w"], features: Features) -> Mapping[str, float]:
        name = self._name(features)
        averaged = tuple(map_.shape[1:]) != _cells(features, name)
        return self.fine or ({name: 1.0} if averaged else {})

    def _parts(
        self, described: Described, map_: Float[Tensor, "C h w"], features: Features
    ) -> list[Described]:
        fine = [math.prod(_cells(features, name)) for name in self._fine(map_, features)]
        largest = max([map_[0].numel() * len(self._offsets), *fine])
        rows = max(1, self.chunk // largest)
        index = torch.arange(len(described), device=described.tensors["weight"].device)
        return [described.select(part) for part in index.split(rows)]

    def _find(self, described: Described, map_: Float[Tensor, "C h w"], features: Features) -> Transfer:
        scores = self._scores(described, map_)
        size = (scores.shape[1], scores.shape[2])
        if fine := self._fine(map_, features):
            xy = self._settled(scores, fine, described, features)
        else:
            peak = locate_peak(scores, window=3, temperature=self.temperature)
            xy = resize_pixel(peak.xy, size, features.image_size)
        cell = resize_pixel(xy, features.image_size, size).round().long()
        x, y = cell[:, 0].clamp(0, size[1] - 1), cell[:, 1].clamp(0, size[0] - 1)
        near = cells_around(y * size[1] + x, size, window=WINDOW)
        fraction = near.read((scores.flatten(1) / self.temperature).softmax(dim=1), outside=0.0)
        return Transfer(xy, fraction.sum(dim=1).clamp_max(1))

    def _scores(self, described: Described, map_: Float[Tensor, "C h w"]) -> Float[Tensor, "N h w"]:
        size = (map_.shape[1], map_.shape[2])
        cells = map_.flatten(1)
        neighbours, weight = described.tensors["neighbours"], described.tensors["weight"]
        if neighbours.shape[-1] != len(cells):
            raise ShapeError(
                f"consensus: expected descriptors of length {len(cells)}, got {neighbours.shape[-1]}; take both from the same map"
            )
        # Cosines with the cells less their mean m, without a copy of the map: n (c - m) = n c - n m.
        mean, rows = cells.mean(dim=1), neighbours.flatten(0, 1)
        similar = torch.addmm(-(rows @ mean)[:, None], rows, cells).div_(_lengths(cells, mean))
        similar = similar.view(*weight.shape, *size)
        best: Tensor | None = None
        for moved in self._moved:
            votes = similar.new_zeros(len(similar), *size)
            for index, offset in enumerate(moved):
                for dx, dy, share in _taps(*offset):
                    _add_shifted(votes, similar[:, index], dx, dy, share)
            support = (weight @ _on_map(moved, size, like=weight).flatten(1)).view_as(votes)
            score = votes.div_(support.clamp_min_(LEAST_SUPPORT))
            best = score if best is None else torch.maximum(best, score, out=best)
        assert best is not None
        return best

    def _settled(
        self,
        scores: Float[Tensor, "N h w"],
        fine: Mapping[str, float],
        described: Described,
        features: Features,
    ) -> Float[Tensor, "N 2"]:
        """Return pixel coordinates of the best cell of the finest map, refined by the cells around it."""
        cells = _cells(features, next(iter(fine)))
        cosine = scores.new_zeros(len(scores), *cells)
        for name, weight in fine.items():
            here = cosines(described.tensors[f"fine.{name}"], _single(features, name))
            cosine += weight / sum(fine.values()) * _on_grid(here, cells)
        total = _on_grid(scores, cells) + cosine.clamp_min(0) ** self.power
        near = cells_around(total.flatten(1).argmax(dim=1), cells, window=3)
        weight = near.read(cosine.flatten(1) / FINE_TEMPERATURE, outside=-torch.inf).softmax(dim=1)
        return resize_pixel((weight[..., None] * near.xy).sum(dim=1), cells, features.image_size)

    def _name(self, features: Features) -> str:
        return chosen_map(features, self.map, head="consensus")


def _on_grid(planes: Float[Tensor, "N h w"], size: Size) -> Float[Tensor, "N H W"]:
    if (planes.shape[1], planes.shape[2]) == size:
        return planes
    return F.interpolate(planes[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def _single(features: Features, name: str) -> Float[Tensor, "C h w"]:
    map_ = features[name]
    if map_.shape[:2] != (1, 1):
        raise ShapeError(
            f"expected features of one image, got B, V = {list(map_.shape[:2])}; use view() first"
        )
    return map_[0, 0].float()


def _lengths(cells: Float[Tensor, "C P"], mean: Float[Tensor, " C"]) -> Float[Tensor, " P"]:
    """Return the lengths of the cells less their mean."""
    square = lengths(cells).square() - 2 * (mean @ cells) + mean.square().sum()
    # A flat map is nothing but its mean; what rounding leaves of it must not look like descriptors.
    return square.clamp_min(1e-6 * mean.square().sum()).clamp_min(1e-24).sqrt()


def _cells(features: Features, name: str) -> Size:
    map_ = features[name]
    return map_.shape[-2], map_.shape[-1]


def _moved(offset: tuple[float, float], scale: float, angle: float, flip: float) -> tuple[float, float]:
    x, y = flip * scale * offset[0], scale * offset[1]
    turned = x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)
    return round(turned[0] / STEP) * STEP, round(turned[1] / STEP) * STEP


def _taps(dx: float, dy: float) -> Iterator[tuple[int, int, float]]:
    """Yield the cells, and their shares, that bilinear interpolation at an offset reads."""
    for x, share_x in ((math.floor(dx), 1 - dx % 1), (math.floor(dx) + 1, dx % 1)):
        for y, share_y in ((math.floor(dy), 1 - dy % 1), (math.floor(dy) + 1, dy % 1)):
            if share_x * share_y > 0:
                yield x, y, share_x * share_y


def _add_shifted(total: Tensor, plane: Tensor, dx: int, dy: int, share: float) -> None:
    """Add `share` times the plane, read dx to the right and dy further down; nothing beyond its border."""
    height, width = total.shape[-2:]
    if abs(dx) >= width or abs(dy) >= height:
        return
    to = (..., slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx)))
    at = (..., slice(max(0, dy), height - max(0, -dy)), slice(max(0, dx), width - max(0, -dx)))
    total[to].add_(plane[at], alpha=share)


def _on_map(offsets: Sequence[tuple[float, float]], size: Size, *, like: Tensor) -> Float[Tensor, "K h w"]:
    """Return how much of each neighbour's interpolation lies on the map, for every cell as its centre."""

    def share(shift: Tensor, side: int) -> Tensor:
        at = torch.arange(side, device=like.device) + shift[:, None]
        return torch.minimum(at + 1, side - at).clamp(0, 1)

    dx, dy = like.new_tensor(offsets).unbind(dim=1)
    return share(dy, size[0])[:, :, None] * share(dx, size[1])[:, None]
