"""Pairs made of single photos by random homographies, as OmniGlue's SH100 and SH200 (Jiang et al. 2024).

OmniGlue cuts from photos of Oxford and Paris and moves the four corners by up to 100 or 200 pixels; it
publishes neither list, seed nor size. Here image 0 is a crop of a photo, and image 1 shows the same
photo so that the corners of image 0 come to lie up to that far, in x and in y, from the corners
of image 1. Both are cut from the whole photo: content beyond the crop stays visible.
The truth is exact, and the same for an index whenever the photos and the seed are the same.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from homolog.core.coords import Size
from homolog.core.errors import ConfigError
from homolog.core.homography import drawn_pair
from homolog.core.image import Image
from homolog.core.io import photos_below, read_image
from homolog.core.samples import PairSample
from homolog.data._pairs import ListedPairs


class HomographyPairs(ListedPairs[int]):
    """Samples have `homography`; images are made, so they are their own originals."""

    def __init__(
        self,
        *,
        root: str | Path,
        size: Sequence[int],
        displacement: float,
        count: int = 10_000,
        seed: int = 0,
    ) -> None:
        """Find the photos.

        Args:
            root: a folder of photos, searched with all its folders.
            size: (height, width) of both images.
            displacement: how far a corner moves at most, in x and in y, in pixels.
            count: how many pairs.
            seed: of the drawing.

        Raises:
            ConfigError: a size, a displacement or a count that leaves nothing to match.
            DataError: no photos there.
        """
        if len(size) != 2 or min(size) < 16 or count < 1 or not 0 <= displacement < max(size):
            raise ConfigError(
                f"homography pairs: expected sides of at least 16, a displacement below {max(size)} and a count "
                f"above 0, got {list(size)}, {displacement} and {count}"
            )
        self._root = Path(root).expanduser()
        self._photos = photos_below(self._root)
        self._size: Size = (int(size[0]), int(size[1]))
        self._displacement = displacement
        self._pairs = range(count)
        self._seed = seed

    def _read(self, index: int, _: int, /) -> PairSample:
        rng = np.random.default_rng([self._seed, index])
        path = self._photos[int(rng.integers(len(self._photos)))]
        pair = drawn_pair(read_image(path), rng, size=self._size, displacement=self._displacement)
        name = path.relative_to(self._root).as_posix()
        return PairSample(
            image0=Image(pixels=pair.pixels0, name=f"{name}, crop"),
            image1=Image(pixels=pair.pixels1, name=f"{name}, warped"),
            homography=torch.from_numpy(pair.homography),
            name=f"{index:05d}/{name}",
            facts={"photo": name},
        )
