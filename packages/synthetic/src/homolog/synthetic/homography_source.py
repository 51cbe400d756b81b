"""Homographies of photos as training data: dense truth in both directions, photometry for each image, seeds and splits.

`homolog.data.homography_pairs` makes the same kind of pair as a benchmark (SH100, SH200 of OmniGlue), whose
lists stay what they are. Here an index of a split draws from the streams that all synthetic data have.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float64

from homolog.core.coords import Size, inside, pixel_grid
from homolog.core.errors import ConfigError
from homolog.core.homography import drawn_pair
from homolog.core.io import photos_below, read_image
from homolog.core.samples import PairSample
from homolog.synthetic.correspondence import DenseTruth, OneWay, both_ways, overlap_facts
from homolog.synthetic.on_demand import KnownPair, PairsOnDemand
from homolog.synthetic.rendering.photometry import Photometry, taken
from homolog.synthetic.seeds import Factor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HomographyPair(KnownPair):
    """Everything that is known about a pair; its second picture is black where the photo ends.

    Attributes:
        homography: [3 3] from pixels of image 0 to pixels of image 1.
        photo: path of the photo below the folder.
    """

    homography: Float64[np.ndarray, "3 3"]
    photo: str

    def sample(self) -> PairSample:
        """Return the pair with its homography, dense truth, and masks of where the photo is."""
        return self._sample(
            homography=torch.from_numpy(self.homography),
            mask0=torch.from_numpy(self.truths[0].fg),
            mask1=torch.from_numpy(self.truths[1].fg),
            facts={"photo": self.photo, **overlap_facts(self.truths)},
        )


class HomographySource(PairsOnDemand):
    """Pairs of a photo and a homography of it, made on demand; independent of order and worker."""

    def __init__(
        self,
        *,
        count: int,
        photos: str | Path,
        size: int | Sequence[int] = (480, 640),
        displacement: float | int = 100.0,
        seed: int = 0,
        split: Literal["trn", "val", "test"] = "trn",
        photometry: bool = True,
    ) -> None:
        """Find the photos.

        Args:
            count: number of pairs.
            photos: a folder of photos, searched with all its folders. Splits draw from the same photos:
                give each a folder of its own to keep them apart.
            size: of both images in pixels, one number or [height, width].
            displacement: how far a corner moves at most, in x and in y, in pixels: 100 and 200 are the
                settings of SH100 and SH200.
            seed: of the data set.
            split: equal indices of different splits draw other photos and other maps.
            photometry: whether exposure, blur, noise and compression are simulated, for each image on its own.

        Raises:
            ConfigError: a number out of range.
            DataError: no photos there.
        """
        super().__init__(count=count, size=size, seed=seed, split=split)
        if not 0 <= displacement < max(self._size):
            raise ConfigError(f"expected a displacement in [0, {max(self._size)}), got {displacement}")
        self._root = Path(photos).expanduser()
        self._photos = photos_below(self._root)
        self._displacement, self._photometry = float(displacement), photometry

    def pair(self, index: int) -> HomographyPair:
        """Make one pair; raises DataError if its photo is damaged."""
        seeds = self._seeds(index)
        path = self._photos[int(seeds.generator(Factor.choice).integers(len(self._photos)))]
        drawn = drawn_pair(
            read_image(path),
            seeds.generator(Factor.layout),
            size=self._size,
            displacement=self._displacement,
        )
        picture0, picture1 = (
            taken(
                np.ascontiguousarray(pixels.numpy().transpose(1, 2, 0)),
                Photometry.drawn(seeds.generator(Factor.photometry, side)) if self._photometry else None,
            )
            for side, pixels in enumerate((drawn.pixels0, drawn.pixels1))
        )
        return HomographyPair(
            homography=drawn.homography,
            pictures=(picture0, picture1),
            truths=homography_truth(drawn.homography, drawn.known1.numpy()),
            photo=path.relative_to(self._root).as_posix(),
            name=self._name("homography", index),
        )


def homography_truth(
    homography: Float64[np.ndarray, "3 3"], known1: np.ndarray
) -> tuple[DenseTruth, DenseTruth]:
    """Return the dense truth of two images of one size: a map leaves nothing hidden but what is outside.

    The homography leads from pixels of image 0 to pixels of image 1; `known1` [H W] is where image 1 shows
    anything.
    """
    size = (known1.shape[0], known1.shape[1])
    there = _labels(homography, np.ones(size, np.bool_), size)
    back = _labels(np.linalg.inv(homography), known1, size)
    return both_ways(there, back)


def _labels(homography: np.ndarray, known: np.ndarray, size: Size) -> OneWay:
    at = pixel_grid(size).double().numpy()
    seen = np.concatenate((at, np.ones_like(at[:, :1])), axis=1) @ homography.T
    ahead = seen[:, 2:] > 0
    xy = np.where(ahead, seen[:, :2] / np.where(ahead, seen[:, 2:], 1.0), np.nan)
    within = inside(torch.from_numpy(xy), size).numpy().reshape(size)
    return OneWay(
        xy=xy.astype(np.float32).reshape(*size, 2),
        covisible=within & known,
        part=np.where(known, np.int32(0), np.int32(-1)),
    )
