"""PF-WILLOW: 900 pairs of ten kinds of objects with ten keypoints each (Ham et al. 2016)."""

from pathlib import Path, PurePosixPath

import numpy as np
import torch

from homolog.core.errors import DataError
from homolog.core.samples import PairSample
from homolog.data import annotation
from homolog.data.layout import Expected, Layout

LAYOUT = Layout(
    name="PF-WILLOW",
    folder="PF-WILLOW",
    home="https://www.di.ens.fr/willow/research/proposalflow",
    licence="none known to us; images from PASCAL VOC and Caltech-256, research use",
    obtain=(
        "Download PF-dataset.zip from its home page, name the folder PF-WILLOW, and put test_pairs.csv of HPF "
        "(github.com/juhongm999/hpf) into it."
    ),
    signature=("test_pairs.csv", "car(G)", "winebottle(M)"),
    expected=(
        Expected(what="images", pattern="*(*)/*.png", count=100),
        Expected(what="pairs of the test list", pattern="test_pairs.csv", count=900, unit="lines", header=1),
    ),
    configs=("willow",),
)

POINTS = 10

_COLUMNS = tuple(
    f"{axis}{image}{number}" for image in "AB" for axis in "XY" for number in range(1, POINTS + 1)
)


class WillowPairs:
    """Pairs of PF-WILLOW, a test set.

    No boxes are annotated. `box0` and `box1` are the extents of the ten keypoints, because published
    numbers divide by the larger extent of those of image 1 (HPF's `data/pfwillow.py`, `bbox-kp`).

    The category is the object's folder (`car(G)`). Coordinates are taken as they are annotated: integer =
    pixel centre.
    """

    def __init__(self, root: str | Path, *, floor: bool = False) -> None:
        """Read the list of pairs.

        Args:
            root: the folder `PF-WILLOW`.
            floor: cut coordinates down to whole pixels, as Visual-AI does.

        Raises:
            DataError: the folder or the list is missing or damaged.
        """
        self.root = annotation.root_of(root, LAYOUT)
        self.list = self.root / "test_pairs.csv"
        rows = annotation.read_table(self.list, ("imageA", "imageB", *_COLUMNS), LAYOUT.advice())
        if not rows:
            raise DataError(f"{self.list}: expected pairs, found none; {LAYOUT.advice()}")
        self.images = [(self._image(row["imageA"]), self._image(row["imageB"])) for row in rows]
        points = np.array([[self._number(row[name]) for name in _COLUMNS] for row in rows])
        # XA1..10, YA1..10, XB1..10, YB1..10 -> pair, image, point, axis
        points = points.reshape(-1, 2, 2, POINTS).swapaxes(2, 3)
        self.points = torch.from_numpy(np.floor(points) if floor else points).float()

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.images)

    def __getitem__(self, index: int) -> PairSample:
        """Read a pair.

        Raises:
            DataError: an image is missing or damaged.
        """
        names = self.images[index]
        image0, image1 = (
            annotation.read_sized_image(self.root / name, None, self.list, LAYOUT.advice()) for name in names
        )
        xy0, xy1 = self.points[index]
        stems = "-".join(PurePosixPath(name).stem for name in names)
        return PairSample(
            image0=image0,
            image1=image1,
            xy0=xy0,
            xy1=xy1,
            box0=_extent(xy0),
            box1=_extent(xy1),
            category=PurePosixPath(names[0]).parent.name,
            name=f"{index:03d}-{stems}",
        )

    def _image(self, name: str) -> str:
        # The first folder is that of the data set, as its authors named it.
        annotation.inside(self.root, name, self.list)
        parts = PurePosixPath(name).parts
        if len(parts) < 2:
            raise DataError(f"{self.list}: expected images as <kind>/<name>.png, got {name!r}; copy it again")
        return "/".join(parts[-2:])

    def _number(self, text: str) -> float:
        values = annotation.parse_numbers(text, "a coordinate", self.list)
        if len(values) != 1:
            raise DataError(f"{self.list}: expected a number as coordinate, got {text!r}; copy it again")
        return values[0]


def _extent(xy: torch.Tensor) -> torch.Tensor:
    corner = xy.amin(dim=0)
    return torch.cat((corner, xy.amax(dim=0) - corner))
