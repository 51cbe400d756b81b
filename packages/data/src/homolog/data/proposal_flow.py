"""PF-PASCAL (Ham et al. 2017) and PF-WILLOW (Ham et al. 2016): pairs of objects of one category with keypoints."""

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import torch

from homolog.core.coords import compose_affines
from homolog.core.errors import ConfigError, DataError, MissingDependencyError
from homolog.core.image import Image
from homolog.core.samples import PairSample
from homolog.data import annotation
from homolog.data._pairs import ListedPairs
from homolog.data.inventory import Expected, Layout
from homolog.data.spair import CLASSES

Split = Literal["trn", "val", "test"]
Lists = Literal["hpf", "cnngeometric"]

_HOME = "https://www.di.ens.fr/willow/research/proposalflow"
_LICENCE = "none known to us; images from PASCAL VOC (Flickr terms), research use"

PF_PASCAL_LAYOUT = Layout(
    name="PF-PASCAL (HPF)",
    folder="PF-PASCAL",
    home=_HOME,
    licence=_LICENCE,
    obtain=(
        "Download PF-dataset-PASCAL.zip from its home page, name the folder PF-PASCAL, and put trn_pairs.csv, "
        "val_pairs.csv and test_pairs.csv of HPF (github.com/juhongm999/hpf) into it."
    ),
    signature=("test_pairs.csv", "Annotations", "JPEGImages"),
    expected=(
        Expected(what="images", pattern="JPEGImages/*.jpg"),
        Expected(what="keypoint files", pattern="Annotations/*/*.mat"),
        Expected(what="pairs of the test list", pattern="test_pairs.csv", count=299, unit="lines", header=1),
        Expected(
            what="pairs of the validation list",
            pattern="val_pairs.csv",
            unit="lines",
            header=1,
            optional=True,
        ),
        Expected(
            what="pairs of the training list", pattern="trn_pairs.csv", unit="lines", header=1, optional=True
        ),
    ),
    configs=("pfpascal",),
)

PF_PASCAL_CNNGEOMETRIC_LAYOUT = Layout(
    name="PF-PASCAL (CNNGeometric)",
    folder="PF-dataset-PASCAL",
    home=_HOME,
    licence=_LICENCE,
    obtain=(
        "Download PF-dataset-PASCAL.zip from its home page, unpack it, and put test_pairs_pf_pascal.csv of "
        "CNNGeometric (www.di.ens.fr/willow/research/cnngeometric) into it."
    ),
    signature=("test_pairs_pf_pascal.csv", "JPEGImages"),
    expected=(
        Expected(what="images", pattern="JPEGImages/*.jpg"),
        Expected(
            what="pairs of the test list",
            pattern="test_pairs_pf_pascal.csv",
            count=299,
            unit="lines",
            header=1,
        ),
        Expected(
            what="pairs of the validation list",
            pattern="val_pairs_pf_pascal.csv",
            unit="lines",
            header=1,
            optional=True,
        ),
    ),
    configs=("pfpascal",),
)

_FILES = {
    "hpf": {split: f"{split}_pairs.csv" for split in ("trn", "val", "test")},
    "cnngeometric": {split: f"{split}_pairs_pf_pascal.csv" for split in ("val", "test")},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    source: str
    target: str
    category: str
    mirrored: bool
    points: tuple[np.ndarray, np.ndarray] | None


class PfPascalPairs(ListedPairs[_Pair]):
    """Pairs of PF-PASCAL.

    Samples have the points that are annotated in both images, and the category; in HPF's layout also both
    boxes, as x1, y1, x2, y2 in the files, with the width x2 - x1 here. Published numbers take the longer
    side of image 1 instead of its box.

    Coordinates are taken as they are annotated: integer = pixel centre. HPF's training list has every pair
    twice, the second time mirrored: those come with mirrored pixels, whose frame leads back to the file, so
    that coordinates stay those of the file.
    """

    def __init__(self, root: str | Path, *, lists: Lists, split: Split, floor: bool = False) -> None:
        """Read the list of pairs.

        Args:
            root: the folder `PF-PASCAL` or `PF-dataset-PASCAL`.
            lists: `hpf` reads HPF's lists, with points from Matlab files; `cnngeometric` reads those of
                CNNGeometric, which have the points in them (no `trn`).
            split: `trn`, `val` or `test`.
            floor: cut coordinates down to whole pixels, as Visual-AI does.

        Raises:
            ConfigError: no such list.
            DataError: the folder or the list is missing or damaged.
        """
        if split not in _FILES.get(lists, ()):
            raise ConfigError(
                "PF-PASCAL: expected lists hpf with trn, val, test, or cnngeometric with val, test, "
                f"got {lists!r} with {split!r}"
            )
        self.layout = PF_PASCAL_LAYOUT if lists == "hpf" else PF_PASCAL_CNNGEOMETRIC_LAYOUT
        self.root = annotation.root_of(root, self.layout)
        self.floor = floor
        self.list = self.root / _FILES[lists][split]
        self._pairs = self._read_list(with_points=lists == "cnngeometric", mirrored=split == "trn")

    def _read(self, index: int, pair: _Pair, /) -> PairSample:
        boxes = None
        points = pair.points
        if points is None:
            source, target = (self._matlab(name, pair.category) for name in (pair.source, pair.target))
            points, boxes = (source[0], target[0]), (source[1], target[1])
            if len(points[0]) != len(points[1]):
                raise DataError(
                    f"{self.list}: expected as many keypoints for {pair.source} as for {pair.target}, "
                    f"got {len(points[0])} and {len(points[1])}; copy the annotations again"
                )
        both = np.flatnonzero(np.isfinite(np.hstack(points)).all(axis=1))
        xy0, xy1 = (torch.from_numpy((np.floor(xy) if self.floor else xy)[both]).float() for xy in points)
        image0, image1 = (
            annotation.read_sized_image(
                self.root / "JPEGImages" / name, None, self.list, self.layout.advice()
            )
            for name in (pair.source, pair.target)
        )
        return PairSample(
            image0=mirrored(image0) if pair.mirrored else image0,
            image1=mirrored(image1) if pair.mirrored else image1,
            xy0=xy0,
            xy1=xy1,
            box0=torch.tensor(boxes[0]) if boxes else None,
            box1=torch.tensor(boxes[1]) if boxes else None,
            category=pair.category,
            name=f"{index:04d}-{Path(pair.source).stem}-{Path(pair.target).stem}",
            facts={"mirrored": "1"} if pair.mirrored else {},
        )

    def _read_list(self, *, with_points: bool, mirrored: bool) -> list[_Pair]:
        columns = ["source_image", "target_image", "class"]
        columns += ["XA", "YA", "XB", "YB"] if with_points else []
        columns += ["flip"] if mirrored else []
        rows = annotation.read_table(self.list, columns, self.layout.advice())
        return [
            _Pair(
                source=self._image(row["source_image"]),
                target=self._image(row["target_image"]),
                category=self._category(row["class"]),
                mirrored=mirrored and row["flip"] not in {"0", "0.0"},
                points=self._listed(row) if with_points else None,
            )
            for row in rows
        ]

    def _image(self, name: str) -> str:
        # Lists name images from some folder above: PF-PASCAL/JPEGImages/2008_006325.jpg.
        annotation.path_inside(self.root, name, self.list)
        return PurePosixPath(name).name

    def _category(self, number: str) -> str:
        try:
            return CLASSES[range(1, len(CLASSES) + 1).index(int(float(number)))]
        except ValueError as error:
            raise DataError(
                f"{self.list}: expected a class from 1 to {len(CLASSES)}, got {number!r}"
            ) from error

    def _listed(self, row: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
        columns = [annotation.parse_numbers(row[name], name, self.list) for name in ("XA", "YA", "XB", "YB")]
        if len({len(column) for column in columns}) != 1:
            raise DataError(
                f"{self.list}: expected XA, YA, XB, YB of one length for {row['source_image']}; copy it again"
            )
        xa, ya, xb, yb = columns
        return np.array([xa, ya]).T, np.array([xb, yb]).T

    def _matlab(self, image: str, category: str) -> tuple[np.ndarray, list[float]]:
        path = self.root / "Annotations" / category / Path(image).with_suffix(".mat")
        if not path.is_file():
            raise DataError(f"{path}: expected the keypoints of {image}, found none; {self.layout.advice()}")
        kps, box = (array.astype(np.float64) for array in read_matlab(path, ("kps", "bbox")))
        if kps.ndim != 2 or kps.shape[1] != 2 or box.size != 4:
            raise DataError(
                f"{path}: expected kps [N 2] and bbox [1 4], got {list(kps.shape)} and {list(box.shape)}"
            )
        return kps, annotation.corner_box(box.reshape(-1).tolist(), "bbox", path)


def read_matlab(path: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    """Return numeric arrays of a Matlab file.

    Raises:
        DataError: no such file, or it does not have them as numbers.
        MissingDependencyError: scipy is not installed.
    """
    try:
        from scipy.io import loadmat  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise MissingDependencyError("homolog-data[matlab]", "reading Matlab files") from error
    try:
        content = loadmat(str(path), variable_names=list(names))
        arrays = [np.asarray(content[name]) for name in names]
    except Exception as error:  # a damaged file makes the reader fail in as many ways as it has branches
        raise DataError(
            f"{path}: expected a Matlab file with {', '.join(names)}, got another or a damaged one "
            f"({type(error).__name__}: {error}); copy it again"
        ) from error
    if not all(np.issubdtype(array.dtype, np.number) for array in arrays):
        raise DataError(f"{path}: expected {', '.join(names)} as numbers, got others; copy it again")
    return arrays


def mirrored(image: Image) -> Image:
    """Return an image with left and right exchanged; its frame leads back to the same file."""
    last = image.size[1] - 1
    back = torch.tensor([[-1, 0, last], [0, 1, 0]], dtype=torch.float64)
    return replace(image, pixels=image.pixels.flip(-1), to_original=compose_affines(image.to_original, back))


PF_WILLOW_LAYOUT = Layout(
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


class WillowPairs(ListedPairs[tuple[str, str]]):
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
        self.root = annotation.root_of(root, PF_WILLOW_LAYOUT)
        self.list = self.root / "test_pairs.csv"
        rows = annotation.read_table(self.list, ("imageA", "imageB", *_COLUMNS), PF_WILLOW_LAYOUT.advice())
        self._pairs = [(self._image(row["imageA"]), self._image(row["imageB"])) for row in rows]
        points = np.array([[self._number(row[name]) for name in _COLUMNS] for row in rows])
        # XA1..10, YA1..10, XB1..10, YB1..10 -> pair, image, point, axis
        points = points.reshape(-1, 2, 2, POINTS).swapaxes(2, 3)
        self.points = torch.from_numpy(np.floor(points) if floor else points).float()

    def _read(self, index: int, names: tuple[str, str], /) -> PairSample:
        image0, image1 = (
            annotation.read_sized_image(self.root / name, None, self.list, PF_WILLOW_LAYOUT.advice())
            for name in names
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
        annotation.path_inside(self.root, name, self.list)
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
