"""Pairs made of single photos by random homographies, as OmniGlue's SH100 and SH200 (Jiang et al. 2024).

OmniGlue cuts from photos of Oxford and Paris and moves the four corners by up to 100 or 200 pixels; it
publishes neither list, seed nor size. Here image 0 is a crop of a photo, and image 1 shows the same
photo so that the corners of image 0 come to lie up to that far, in x and in y, from the corners
of image 1. Both are cut from the whole photo: content that leaves the crop goes on beyond it.
The truth is exact, and the same for an index whenever the photos and the seed are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from homolog.core.coords import Size, inside, normalised_to_pixel, pixel_grid, pixel_to_normalised
from homolog.core.errors import ConfigError, DataError
from homolog.core.image import Image
from homolog.core.reading import IMAGE_ENDINGS, read_image
from homolog.core.resize import crop, resize
from homolog.core.samples import PairSample
from homolog.core.sampling import sample_points

MARGIN = 1.25
"""Photos are scaled to cover the crop this many times along their tighter side."""

MINIMUM_AREA = 0.1
"""Share of the crop that the moved corners have to span; flatter ones are drawn again."""


class HomographyPairs:
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
        self._count = count
        self._seed = seed

    def __len__(self) -> int:
        """Return the number of pairs."""
        return self._count

    def __getitem__(self, index: int) -> PairSample:
        """Make a pair.

        Raises:
            DataError: the photo is damaged.
        """
        index = range(self._count)[index]
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DrawnPair:
    """A crop of a photo, and the photo seen through a homography.

    Attributes:
        pixels0: [3 H W] the crop.
        pixels1: [3 H W], black where the photo ends.
        known1: [H W] where it does not.
        homography: [3 3] from pixels of the one to pixels of the other.
    """

    pixels0: Float[Tensor, "3 H W"]
    pixels1: Float[Tensor, "3 H W"]
    known1: Bool[Tensor, "H W"]
    homography: Float64[np.ndarray, "3 3"]


def photos_below(root: Path) -> list[Path]:
    """Return the photos of a folder and of all its folders.

    Raises:
        DataError: there are none.
    """
    photos = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS)
    if not photos:
        raise DataError(
            f"{root}: expected a folder with photos, got none; name one, such as Oxford5k and Paris6k"
        )
    return photos


def drawn_pair(photo: Image, rng: np.random.Generator, *, size: Size, displacement: float) -> DrawnPair:
    """Draw a crop and a homography.

    Args:
        photo: enlarged or reduced so that it covers the crop `MARGIN` times.
        rng: decides both.
        size: of both images.
        displacement: how far a corner moves at most, in x and in y, in pixels.
    """
    photo = _covering(photo, size)
    y, x = (int(rng.integers(room + 1)) for room in np.subtract(photo.size, size))
    corners = _corners(size)
    homography = homography_of(corners, _moved(corners, rng, size, displacement))
    pixels1, known1 = _warped(photo, homography, size, offset=(x, y))
    return DrawnPair(
        pixels0=crop(photo, x=x, y=y, size=size).pixels,
        pixels1=pixels1,
        known1=known1,
        homography=homography,
    )


def homography_of(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the homography [3 3] that takes four points to four others.

    Args:
        source: [4 2], no three on a line.
        target: [4 2], no three on a line.

    Returns:
        float64, with 1 as its last entry.
    """
    rows: list[list[float]] = []
    for (x, y), (u, v) in zip(source.tolist(), target.tolist(), strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    entries = np.linalg.solve(np.array(rows), target.reshape(-1))
    return np.append(entries, 1.0).reshape(3, 3)


def _corners(size: Size) -> np.ndarray:
    """Return the outer corners of an image, clockwise from the top left."""
    normalised = torch.tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=torch.float64)
    return normalised_to_pixel(normalised, size).numpy()


def _turns(corners: np.ndarray) -> np.ndarray:
    """Return how the outline turns at each corner [4]: all positive for a convex one that is not mirrored."""
    ahead, behind = np.roll(corners, -1, axis=0) - corners, corners - np.roll(corners, 1, axis=0)
    return behind[:, 0] * ahead[:, 1] - behind[:, 1] * ahead[:, 0]


def _covering(photo: Image, size: Size) -> Image:
    scale = MARGIN * max(size[0] / photo.size[0], size[1] / photo.size[1])
    height, width = (
        max(int(np.ceil(side * scale)), least) for side, least in zip(photo.size, size, strict=True)
    )
    return resize(photo, (height, width))


def _moved(corners: np.ndarray, rng: np.random.Generator, size: Size, displacement: float) -> np.ndarray:
    # Far moves can fold the quadrilateral over; such a map shows the photo from behind.
    while True:
        moved = corners + rng.uniform(-displacement, displacement, size=(4, 2))
        turns = _turns(moved)
        if turns.min() > 0 and (turns[0] + turns[2]) / 2 > MINIMUM_AREA * size[0] * size[1]:
            return moved


def _warped(
    photo: Image, homography: np.ndarray, size: Size, *, offset: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    back = torch.from_numpy(np.linalg.inv(homography))
    at = pixel_grid(size).double()
    seen = torch.cat((at, torch.ones_like(at[:, :1])), dim=1) @ back.T
    in_photo = seen[:, :2] / seen[:, 2:] + torch.tensor(offset, dtype=torch.float64)
    # Behind the horizon of the map nothing is seen; far outside reads as black.
    in_photo[seen[:, 2] <= 0] = -float(2 * max(photo.size))
    normalised = pixel_to_normalised(in_photo, photo.size).float()
    colours = sample_points(photo.pixels[None], normalised[None], padding="zeros")[0]
    return colours.T.reshape(3, *size).clamp(0, 1), inside(in_photo, photo.size).reshape(size)
