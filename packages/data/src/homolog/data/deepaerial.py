"""DeepAerial: aerial photos of one place at two times, to be registered by an affine map (Park et al. 2020).

The layout of `jaehyunnn/DeepAerialMatching_pytorch`: `GoogleEarth_pck/test_pairs.csv` and 500 pairs of photos that
show the same ground pixel for pixel. A row is `source, target`, x of 20 points, y of 20 points, and six
numbers of an affine map. Points count from 1 in an image of half the photo's size
(`geotnf/point_tnf.py::PointsToUnitCoords(points, size / 2)`); they stand for places of the source image, the same for
all who measure.

OmniGlue measures with random rotations in the plane and crops of 520 x 520, and publishes neither the
rotations nor its evaluator. Here image 0 is the middle crop of the source photo; image 1 is the middle of
the target photo, which was turned about its centre by an angle drawn with a seed; points keep their
relative place, and the affine map of the row is not used. Numbers measured here are ours.
"""

import csv
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from homolog.core.coords import Size, normalised_to_pixel, pixel_grid, pixel_to_normalised
from homolog.core.errors import ConfigError, DataError
from homolog.core.image import Image
from homolog.core.io import read_image
from homolog.core.samples import PairSample
from homolog.core.sampling import sample_points
from homolog.data._pairs import ListedPairs
from homolog.data.annotation import matrix, path_inside, read_lines, root_of
from homolog.data.inventory import Expected, Layout

LAYOUT = Layout(
    name="DeepAerial",
    folder="GoogleEarth_pck",
    home="https://github.com/jaehyunnn/DeepAerialMatching_pytorch",
    licence="not stated; photos of Google Earth",
    obtain="Run eval_pck.py of the repository once; it downloads and unpacks GoogleEarth_pck.zip.",
    signature=("test_pairs.csv",),
    expected=(
        Expected(what="pairs", pattern="test_pairs.csv", count=500, unit="lines", header=1),
        Expected(what="photos", pattern="*.jpg"),
    ),
    configs=("deepaerial",),
)

POINTS = 20


class _Pair(NamedTuple):
    names: tuple[str, str]
    xy: np.ndarray


class DeepAerial(ListedPairs[_Pair]):
    """Samples have `homography` (an affine map) and the 20 points; images are cut, so they are their own originals."""

    def __init__(self, *, root: str | Path, size: int = 520, degrees: float = 180.0, seed: int = 0) -> None:
        """Read the list of pairs.

        Args:
            root: the folder of `test_pairs.csv`.
            size: side of the crops in pixels.
            degrees: image 1 is turned by up to this, either way.
            seed: of the angles.

        Raises:
            ConfigError: a size or an angle that is none.
            DataError: the list is missing or damaged.
        """
        if size < 16 or not 0 <= degrees <= 180:
            raise ConfigError(
                f"DeepAerial: expected a size of at least 16 and 0 to 180 degrees, got {size}, {degrees}"
            )
        self._root = root_of(root, LAYOUT)
        self._list = self._root / "test_pairs.csv"
        rows = list(csv.reader(read_lines(self._list, LAYOUT.advice())))[1:]
        self._pairs = [_parsed(row, f"{self._list}, pair {number}") for number, row in enumerate(rows)]
        self._size: Size = (size, size)
        self._degrees = degrees
        self._seed = seed

    def _read(self, index: int, pair: _Pair, /) -> PairSample:
        photo0, photo1 = (read_image(path_inside(self._root, name, self._list)) for name in pair.names)
        angle = float(np.random.default_rng([self._seed, index]).uniform(-self._degrees, self._degrees))
        for photo in (photo0, photo1):
            if min(photo.size) < self._size[0] * math.sqrt(2):
                raise DataError(
                    f"{photo.name}: expected sides of {self._size[0] * math.sqrt(2):.0f} or more for crops that are "
                    f"turned, got {photo.size}; choose a smaller size"
                )
        affine = _turn(self._size, angle)
        xy0 = _points(pair.xy, photo0.size, self._size)
        return PairSample(
            image0=_cut(photo0, torch.eye(3, dtype=torch.float64), self._size),
            image1=_cut(photo1, affine, self._size),
            xy0=xy0.float(),
            xy1=(xy0 @ affine[:2, :2].T + affine[:2, 2]).float(),
            homography=affine,
            name=f"{index:04d}/{Path(pair.names[0]).stem}-{Path(pair.names[1]).stem}",
            facts={"degrees": f"{angle:.3f}"},
        )


def _parsed(row: list[str], name: str) -> _Pair:
    if len(row) < 2 + 2 * POINTS:
        raise DataError(
            f"{name}: expected two names and {2 * POINTS} numbers, got {len(row)} cells; obtain it again"
        )
    values = matrix(row[2 : 2 + 2 * POINTS], columns=POINTS, rows=2, name=name)
    return _Pair((row[0].strip(), row[1].strip()), values.T)


def _points(xy: np.ndarray, photo: Size, size: Size) -> Tensor:
    # Their normalised axis runs from the first pixel centre (1) to the last (L) of an image half as large.
    unit = torch.from_numpy((xy - 1) / (np.array((photo[1], photo[0])) / 2 - 1))
    return unit * (torch.tensor((size[1], size[0]), dtype=torch.float64) - 1)


def _turn(size: Size, degrees: float) -> Tensor:
    """Return the affine map [3 3] of pixels that turns an image of `size` about its centre."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = normalised_to_pixel(torch.zeros(2, dtype=torch.float64), size).tolist()
    return torch.tensor(
        [[c, -s, x - c * x + s * y], [s, c, y - s * x - c * y], [0, 0, 1]], dtype=torch.float64
    )


def _cut(photo: Image, affine: Tensor, size: Size) -> Image:
    """Cut the middle of a photo after it was turned by an affine map of the crop's pixels."""
    at = pixel_grid(size).double()
    back = torch.linalg.inv(affine)
    before = at @ back[:2, :2].T + back[:2, 2]
    centre = torch.zeros(2, dtype=torch.float64)
    shift = normalised_to_pixel(centre, photo.size) - normalised_to_pixel(centre, size)
    normalised = pixel_to_normalised(before + shift, photo.size).float()
    colours = sample_points(photo.pixels[None], normalised[None])[0]
    return Image(pixels=colours.T.reshape(3, *size).clamp(0, 1), name=photo.name)
