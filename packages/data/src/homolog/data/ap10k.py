"""AP-10K as GeoAware-SC pairs it: animals of one species, of two species, of two families."""

import re
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch

from homolog.core.errors import DataError, one_of
from homolog.core.samples import PairSample
from homolog.data import annotation, symmetric_keypoints
from homolog.data._pairs import ListedPairs
from homolog.data.ap10k_pairs import LAYOUT, LISTS, PairName

Subset = Literal["intra", "cross_species", "cross_family"]
Split = Literal["trn", "val", "test"]
Pairs = Literal["sorted", "official"]
Hidden = Literal["keep", "drop", "halve"]

PADDED = 840
"""Side of the square in which GeoAware-SC works, pixels."""


class _Side(NamedTuple):
    image: Path
    annotation: Path
    size: tuple[float, float]
    box: list[float]
    xy: np.ndarray
    visibility: np.ndarray


class Ap10kPairs(ListedPairs[PairName]):
    """Pairs of animals with 17 keypoints.

    Image 0 is the source and image 1 the target. Samples have the points that are labelled in both, both
    boxes, the group `geometry_aware`, and as category what GeoAware-SC averages over: the species, the
    family, or `all`.

    Coordinates are taken as they are annotated: integer = pixel centre. Boxes are x, y, width, height.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        subset: Subset,
        split: Split,
        pairs: Pairs,
        hidden: Hidden,
    ) -> None:
        """Read the list of pairs.

        Args:
            root: the folder `ap-10k`.
            subset: `intra` for two animals of a species, `cross_species` for two species of a family,
                `cross_family` for two families.
            split: `trn` (of `intra` only), `val` or `test`.
            pairs: `sorted` reads the lists that `homolog.data.ap10k_pairs` writes, the same everywhere;
                `official` reads `PairAnnotation`, as GeoAware-SC's notebook made it on some machine.
            hidden: what to do with points of visibility 1, labelled though they cannot be seen. `keep`
                takes them as any other; `drop` leaves them out, as Visual-AI does; `halve` is what
                GeoAware-SC's `load_ap10k_data` does: half a visibility halves the coordinates, in its
                padded square of 840 pixels, and the point still counts.

        Raises:
            ConfigError: no such choice.
            DataError: the folder or the list is missing.
        """
        one_of("subset", subset, get_args(Subset))
        one_of("split", split, get_args(Split) if subset == "intra" else ("val", "test"))
        one_of("pairs", pairs, get_args(Pairs))
        one_of("hidden", hidden, get_args(Hidden))
        self.root = annotation.root_of(root, LAYOUT)
        self.hidden = hidden
        name = split if subset == "intra" else f"{split}_{subset}"
        read_list = _sorted_pairs if pairs == "sorted" else _official_pairs
        self._pairs = read_list(self.root, name)

    def _read(self, index: int, pair: PairName, /) -> PairSample:
        source, target = (self._side(path) for path in pair[:2])
        least = 2 if self.hidden == "drop" else 1
        seen0, seen1 = source.visibility >= least, target.visibility >= least
        both = np.flatnonzero(seen0 & seen1)
        aware = symmetric_keypoints.geometry_aware(
            symmetric_keypoints.AP10K, both.tolist(), set(np.flatnonzero(seen1).tolist())
        )
        image0, image1 = (
            annotation.read_sized_image(side.image, side.size, side.annotation, LAYOUT.advice())
            for side in (source, target)
        )
        return PairSample(
            image0=image0,
            image1=image1,
            xy0=torch.from_numpy(source.xy[both].astype(np.float32)),
            xy1=torch.from_numpy(target.xy[both].astype(np.float32)),
            groups={"geometry_aware": torch.tensor(aware, dtype=torch.bool)},
            box0=torch.tensor(source.box),
            box1=torch.tensor(target.box),
            category=pair.category,
            name=pair.official.removesuffix(".json"),
            facts={"source": pair.source, "target": pair.target},
        )

    def _side(self, name: str) -> _Side:
        path = self.root / "ImageAnnotation" / f"{name}.json"
        data = annotation.read_json(path, LAYOUT.advice())
        keypoints = annotation.numbers(annotation.entry(data, "keypoints", path), 51, "keypoints", path)
        points = np.array(keypoints, dtype=np.float64).reshape(-1, 3)
        box = annotation.numbers(annotation.entry(data, "bbox", path), 4, "bbox", path)
        width, height = annotation.numbers(
            [annotation.entry(data, key, path) for key in ("width", "height")], 2, "the image's size", path
        )
        xy, visibility = points[:, :2], points[:, 2]
        if not np.isin(visibility, (0, 1, 2)).all() or min(width, height) < 1:
            raise DataError(f"{path}: expected visibilities 0, 1, 2 and an image size; copy it again")
        if self.hidden == "halve":
            xy = np.where((visibility == 1)[:, None], _halved(xy, width, height), xy)
        return _Side(self._image(name, data, path), path, (width, height), box, xy, visibility)

    def _image(self, name: str, data: dict[str, Any], source: Path) -> Path:
        # The notebook moves images into folders by species; as downloaded they lie in one.
        moved = self.root / "JPEGImages" / f"{name}.jpg"
        file_name = data.get("file_name", moved.name)
        return moved if moved.is_file() else annotation.path_inside(self.root / "data", file_name, source)


def _halved(xy: np.ndarray, width: float, height: float) -> np.ndarray:
    """Halve coordinates in GeoAware-SC's padded square, and return them in pixels of the file."""
    scale = PADDED / max(width, height)
    # Its square keeps the aspect ratio, and rounds the shorter side half to even.
    sides = np.round(PADDED * np.array((width, height)) / max(width, height))
    offset = ((PADDED - sides) / 2).astype(np.int64)
    return ((xy * scale + offset) / 2 - offset) / scale


def _sorted_pairs(root: Path, name: str) -> list[PairName]:
    path = root / LISTS / f"{name}.tsv"
    lines = annotation.read_lines(path, f"it is made from the annotations. {LAYOUT.obtain}")
    pairs: list[PairName] = []
    for line in lines:
        parts = line.split("\t")
        if len(parts) != 3 or any(part.count("/") != 2 for part in parts[:2]):
            raise DataError(f"{path}: expected source, target and category, got {line!r}; make it again")
        for part in parts[:2]:
            annotation.path_inside(root / "ImageAnnotation", part, path)
        pairs.append(PairName(*parts))
    return pairs


def _official_pairs(root: Path, name: str) -> list[PairName]:
    folder = root / "PairAnnotation" / name
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise DataError(
            f"{folder}: expected the pairs that GeoAware-SC's notebook makes, found none; "
            "make them with prepare_ap10k.ipynb, or choose data.pairs=sorted"
        )
    return [_official_pair(root, path) for path in paths]


def _official_pair(root: Path, path: Path) -> PairName:
    data = annotation.read_json(path, LAYOUT.advice())
    sides: list[str] = []
    for key in ("src_json_path", "trg_json_path"):
        # Paths are relative to the notebook's folder: what counts begins at ImageAnnotation.
        name = str(annotation.entry(data, key, path))
        found = re.fullmatch(r"(?:.*/)?ImageAnnotation/([^/]+/[^/]+/[^/]+)\.json", name)
        if found is None:
            raise DataError(f"{path}: expected {key} below ImageAnnotation, got {name!r}; make it again")
        annotation.path_inside(root / "ImageAnnotation", found[1], path)
        sides.append(found[1])
    source, target = sides
    _, colon, category = path.stem.partition(":")
    if not colon:
        raise DataError(f"{path}: expected <source>-<target>:<category>.json as name; make it again")
    return PairName(source, target, category)
