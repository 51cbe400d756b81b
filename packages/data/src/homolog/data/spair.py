"""SPair-71k (Min et al. 2019) and SPair-U (Mariotti et al. 2025): pairs of objects of one category with keypoints."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import PIL.Image
import torch
from jaxtyping import Bool
from torch import Tensor

from homolog.core.coords import Size
from homolog.core.errors import ConfigError, DataError, did_you_mean, one_of
from homolog.core.samples import PairSample
from homolog.data import annotation, symmetric_keypoints
from homolog.data._pairs import ListedPairs
from homolog.data.inventory import Expected, Layout
from homolog.data.symmetric_keypoints import Groups

Split = Literal["trn", "val", "test"]
Keypoints = Literal["image", "pair"]

SPAIR_LAYOUT = Layout(
    name="SPair-71k",
    folder="SPair-71k",
    home="https://cvlab.postech.ac.kr/research/SPair-71k",
    licence="none known to us; images from PASCAL 3D+ and PASCAL VOC 2012 (Flickr terms), research use",
    obtain="Download SPair-71k.tar.gz from its home page and unpack it.",
    signature=("PairAnnotation", "ImageAnnotation", "JPEGImages", "Layout"),
    expected=(
        Expected(what="images", pattern="JPEGImages/*/*.jpg", count=1800),
        Expected(what="image annotations", pattern="ImageAnnotation/*/*.json", count=1800),
        Expected(what="pairs of the test split", pattern="PairAnnotation/test/*.json", count=12_234),
        Expected(what="lines of the test list", pattern="Layout/large/test.txt", count=12_234, unit="lines"),
        Expected(what="pairs of all splits", pattern="PairAnnotation/*/*.json", count=70_958, optional=True),
        Expected(what="segmentations", pattern="Segmentation/*/*.png", count=1800, optional=True),
    ),
    configs=("spair",),
)

_STEM = re.compile(r"\d+-[^/\\:]+-[^/\\:]+:(?P<category>[A-Za-z]+)")
_FACTS = ("viewpoint_variation", "scale_variation", "truncation", "occlusion", "mirror")


class _Side(NamedTuple):
    image: Path
    annotation: Path
    size: list[float]
    box: list[float]
    points: dict[int, list[float]]


class _SpairTree(ListedPairs[str]):
    """Pairs of a data set in SPair's layout, by the stems of their files.

    Attributes:
        layout: for advice.
        groups: keypoints that look alike by category, for the group `geometry_aware`.
        images: folder of `<category>/<name>.jpg`.
        image_annotations: folder of `<category>/<name>.json`.
        pair_annotations: folder of one split, of `<number>-<source>-<target>:<category>.json`.
        segmentations: folder of `<category>/<name>.png`; None reads no masks.
    """

    layout: Layout
    groups: Mapping[str, Groups]
    images: Path
    image_annotations: Path
    pair_annotations: Path
    segmentations: Path | None = None
    keypoints: Keypoints = "image"

    def _list(self, pair_list: Path | None, category: str | None) -> None:
        """Take the listed pairs, or the files, sorted; only those of a category, if one is given."""
        advice = self.layout.advice()
        stems = sorted(path.stem for path in self.pair_annotations.glob("*.json"))
        if not stems:
            raise DataError(f"{self.pair_annotations}: expected files of pairs, found none; {advice}")
        names = stems if pair_list is None else annotation.read_lines(pair_list, advice)
        absent = sorted(set(names) - set(stems))
        if absent:
            raise DataError(
                f"{self.pair_annotations / absent[0]}.json: expected this file and {len(absent) - 1} more, "
                f"found {len(stems)} of {len(names)} pairs; {advice}"
            )
        categories = {name: self._category(name) for name in names}
        if category is not None and category not in categories.values():
            raise ConfigError(
                f"{self.layout.name}: no category {category}{did_you_mean(category, set(categories.values()))}"
            )
        self.names = self._pairs = [name for name in names if category in (None, categories[name])]

    def _read(self, index: int, name: str, /) -> PairSample:
        path = self.pair_annotations / f"{name}.json"
        data = annotation.read_json(path, self.layout.advice())
        category = self._category(name)
        if data.get("category") != category:
            raise DataError(
                f"{path}: expected the category {category}, got {data.get('category')!r}; copy it again"
            )
        source, target = (self._side(data, prefix, category, path) for prefix in ("src", "trg"))
        if self.keypoints == "image":
            numbers = sorted(source.points.keys() & target.points.keys())
            xy0, xy1 = ([side.points[number] for number in numbers] for side in (source, target))
        else:
            numbers, xy0, xy1 = _pair_points(data, path)
        sample_groups = {}
        if category in self.groups:
            aware = symmetric_keypoints.geometry_aware(self.groups[category], numbers, target.points)
            sample_groups["geometry_aware"] = torch.tensor(aware, dtype=torch.bool)
        image0, image1 = (
            annotation.read_sized_image(side.image, side.size[:2], path, self.layout.advice())
            for side in (source, target)
        )
        return PairSample(
            image0=image0,
            image1=image1,
            xy0=torch.tensor(xy0, dtype=torch.float32).reshape(-1, 2),
            xy1=torch.tensor(xy1, dtype=torch.float32).reshape(-1, 2),
            groups=sample_groups,
            box0=torch.tensor(source.box),
            box1=torch.tensor(target.box),
            mask0=self._mask(source, category, image0.size),
            mask1=self._mask(target, category, image1.size),
            category=category,
            name=name,
            facts={key: str(data[key]) for key in _FACTS if key in data},
        )

    def _category(self, name: str) -> str:
        parts = _STEM.fullmatch(name)
        if parts is None:
            raise DataError(
                f"{self.pair_annotations}: expected pairs named <number>-<source>-<target>:<category>, "
                f"got {name!r}; {self.layout.advice()}"
            )
        return parts["category"]

    def _side(self, data: dict[str, Any], prefix: str, category: str, source: Path) -> _Side:
        name = annotation.entry(data, f"{prefix}_imname", source)
        image = annotation.path_inside(self.images / category, name, source)
        path = annotation.path_inside(self.image_annotations / category, name, source).with_suffix(".json")
        size = annotation.numbers(annotation.entry(data, f"{prefix}_imsize", source), 3, "image size", source)
        box = annotation.corner_box(annotation.entry(data, f"{prefix}_bndbox", source), "the box", source)
        return _Side(image, path, size, box, _image_points(path, self.layout))

    def _mask(self, side: _Side, category: str, size: Size) -> Tensor | None:
        if self.segmentations is None:
            return None
        path = self.segmentations / category / f"{side.image.stem}.png"
        return read_mask(path, category=category, box=side.box, size=size, advice=self.layout.advice())


class SpairPairs(_SpairTree):
    """Pairs of SPair-71k in its official layout.

    Image 0 is the source and image 1 the target. Samples have the points that are seen in both images,
    both boxes, the category, SPair's difficulty labels as facts, and the group `geometry_aware`
    (`homolog.data.symmetric_keypoints`), and masks of the object if they are asked for.

    Coordinates are taken as they are annotated: whole numbers, which are taken as pixel centres. Boxes
    are x1, y1, x2, y2 in the files, and have the width x2 - x1 here, as in official evaluators.
    """

    layout = SPAIR_LAYOUT
    groups = symmetric_keypoints.SPAIR

    def __init__(
        self,
        root: str | Path,
        *,
        split: Split,
        keypoints: Keypoints,
        category: str | None = None,
        masks: bool = False,
    ) -> None:
        """Read the list of pairs.

        Args:
            root: the folder `SPair-71k`.
            split: `trn`, `val` or `test`.
            keypoints: `image` takes the points from the annotations of the two images, as GeoAware-SC
                does; `pair` takes those of the pair's own file, as HPF, DIFT and DistillDIFT do. They
                are the same points unless the files differ.
            category: one of the 18, to leave the others out.
            masks: read the objects' foregrounds from `Segmentation`, for losses that are about them.

        Raises:
            ConfigError: no such split or category.
            DataError: the folder, a list or a pair's file is missing, or the segmentations that were asked for.
        """
        one_of("split", split, get_args(Split))
        one_of("keypoints", keypoints, get_args(Keypoints))
        folder = annotation.root_of(root, SPAIR_LAYOUT)
        pair_list = folder / "Layout" / "large" / f"{split}.txt"
        segmentations = folder / "Segmentation"
        if masks and not segmentations.is_dir():
            raise DataError(
                f"{segmentations}: expected the segmentations, found none; unpack all of SPair-71k, or set masks=false"
            )
        self.keypoints = keypoints
        self.images = folder / "JPEGImages"
        self.image_annotations = folder / "ImageAnnotation"
        self.pair_annotations = folder / "PairAnnotation" / split
        self.segmentations = segmentations if masks else None
        self._list(pair_list if pair_list.is_file() else None, category)


def _image_points(path: Path, layout: Layout) -> dict[int, list[float]]:
    slots = annotation.entry(annotation.read_json(path, layout.advice()), "kps", path)
    if not isinstance(slots, dict) or not all(str(key).isdecimal() for key in slots):
        raise DataError(f"{path}: expected kps as points by number, got {slots!r}; copy it again")
    return {
        int(key): annotation.numbers(point, 2, f"keypoint {key}", path)
        for key, point in slots.items()
        if point is not None
    }


def _pair_points(data: dict[str, Any], path: Path) -> tuple[list[int], list[list[float]], list[list[float]]]:
    lists = [annotation.entry(data, key, path) for key in ("kps_ids", "src_kps", "trg_kps")]
    if not all(isinstance(part, list) for part in lists) or len({len(part) for part in lists}) != 1:
        raise DataError(
            f"{path}: expected kps_ids, src_kps and trg_kps of one length, got others; copy it again"
        )
    if not all(str(number).isdecimal() for number in lists[0]):
        raise DataError(f"{path}: expected numbers as kps_ids, got {lists[0]}; copy it again")
    xy0, xy1 = ([annotation.numbers(xy, 2, "a keypoint", path) for xy in part] for part in lists[1:])
    return [int(number) for number in lists[0]], xy0, xy1


CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable"),
    *("dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""Of PASCAL VOC, in the order of their numbers, from 1 on; two of them are not in SPair-71k."""

_RIM = 255


def read_mask(path: Path, *, category: str, box: list[float], size: Size, advice: str) -> Bool[Tensor, "H W"]:
    """Return where a segmentation shows an object of the category in its box: x, y, width, height.

    Raises:
        DataError: the file is missing, damaged, of another size, or has no classes of PASCAL VOC.
    """
    if not path.is_file():
        raise DataError(f"{path}: expected a segmentation, found none; {advice}")
    try:
        with PIL.Image.open(path) as file:
            if file.size != size[::-1] or file.mode not in {"L", "P"}:
                raise DataError(
                    f"{path}: expected one class for each of {size[1]} x {size[0]} pixels, got "
                    f"{file.size[0]} x {file.size[1]} of the mode {file.mode}; obtain it again"
                )
            # Of a palette image, too, these are the classes; its colours are for people.
            shown = torch.from_numpy(np.array(file))
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: expected a PNG, got a damaged file ({error}); obtain it again") from error
    odd = shown[(shown > len(CLASSES)) & (shown != _RIM)]
    if category not in CLASSES or len(odd):
        got = f"the class {int(odd[0])}" if len(odd) else f"the category {category}"
        raise DataError(f"{path}: expected classes and categories of PASCAL VOC, got {got}; obtain it again")
    x, y, width, height = box
    rows, columns = torch.arange(size[0])[:, None], torch.arange(size[1])
    within = (rows >= y) & (rows <= y + height) & (columns >= x) & (columns <= x + width)
    return (shown == CLASSES.index(category) + 1) & within


SPAIR_U_LAYOUT = Layout(
    name="SPair-U",
    folder="SPair-U",
    home="https://github.com/VICO-UoE/JamaisVu",
    licence="none known to us; annotations of SPair-71k's images, research use",
    obtain="Get SPair-71k, and SPair-U.zip from the link in the README of JamaisVu; unpack it beside SPair-71k.",
    signature=("ExtraPairAnnotation/test", "ExtraImageAnnotation"),
    expected=(
        Expected(what="pairs of the test split", pattern="*PairAnnotation/test/*.json"),
        Expected(what="image annotations", pattern="*ImageAnnotation/*/*.json"),
    ),
    configs=("spair_u",),
)

SPELLINGS = (("PairAnnotation", "ImageAnnotation"), ("ExtraPairAnnotation", "ExtraImageAnnotation"))
"""By the README the structure is SPair-71k's; the authors' loader reads folders named Extra...."""


class SpairUPairs(_SpairTree):
    """Test pairs of SPair-71k with the new annotations of SPair-U.

    What is publicly known: the annotations come without images, have the structure of SPair-71k's test
    annotations, and are read like those of GeoAware-SC, from the image annotations (JamaisVu's README
    and its `utils/utils_dataset.py`). Assumed: no list of pairs comes along, so that pairs are taken in
    the order of their names. Keypoint numbers mean other parts than in SPair-71k, so that there is no
    geometry-aware group.

    Coordinates are taken as they are annotated: integer = pixel centre.

    SPair-U: SPair-71k's test pairs with points that nobody was trained on (Mariotti et al. 2025).
    """

    layout = SPAIR_U_LAYOUT
    groups: Mapping[str, Groups] = {}

    def __init__(self, root: str | Path, *, images: str | Path, category: str | None = None) -> None:
        """Read the list of pairs.

        Args:
            root: the folder `SPair-U`, or SPair-71k's own if the Extra... folders were put there.
            images: the folder `SPair-71k`.
            category: one of the 18, to leave the others out.

        Raises:
            ConfigError: no such category.
            DataError: a folder is missing.
        """
        folder, originals = annotation.root_of(root, SPAIR_U_LAYOUT), annotation.root_of(images, SPAIR_LAYOUT)
        # Below SPair-71k the plain names are SPair-71k's own annotations.
        spellings = SPELLINGS[1:] if folder.resolve() == originals.resolve() else SPELLINGS
        found = [names for names in spellings if (folder / names[0] / "test").is_dir()]
        if not found:
            expected = " or ".join(f"{names[0]}/test" for names in spellings)
            raise DataError(
                f"{folder}: expected the folder {expected}, found none; {SPAIR_U_LAYOUT.advice()}"
            )
        pairs, points = found[0]
        self.images = originals / "JPEGImages"
        self.image_annotations = folder / points
        self.pair_annotations = folder / pairs / "test"
        self._list(None, category)
