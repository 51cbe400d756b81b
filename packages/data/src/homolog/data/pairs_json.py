"""Named keypoints: homolog's own layout for a few annotated images, one JSON file and a folder.

    pairs.json
      images   {key: {"file": "images/a.jpg", "size": [width, height], "bbox": [x, y, width, height],
                      "keypoints": {name: [x, y], ...}}, ...}
      pairs    [{"category": "cat", "src": key, "trg": key, "names": [name, ...]}, ...]

`names` may be left out: then all names that both images have are taken, in the order of the source.
Further entries are ignored.
"""

from pathlib import Path
from typing import Any, cast

import torch

from homolog.core.errors import DataError
from homolog.core.samples import PairSample
from homolog.data import annotation
from homolog.data._pairs import ListedPairs
from homolog.data.inventory import Expected, Layout

LAYOUT = Layout(
    name="named keypoints",
    folder="named_keypoints",
    home="homolog.data.pairs_json",
    licence="that of your images",
    obtain="Annotate your own images as homolog.data.pairs_json documents.",
    signature=("pairs.json",),
    expected=(Expected(what="annotations", pattern="pairs.json", count=1),),
    configs=("named_keypoints",),
)


class NamedKeypointPairs(ListedPairs[tuple[str, str, str, list[str]]]):
    """Pairs of a `pairs.json`; image 0 is `src`, image 1 is `trg`.

    Coordinates are pixels of the files: integer = pixel centre. Boxes are x, y, width, height.
    """

    def __init__(self, root: str | Path) -> None:
        """Read the annotations.

        Args:
            root: the folder of `pairs.json`.

        Raises:
            DataError: it is missing or damaged, or a pair names an image or a point that is not there.
        """
        self.root = annotation.root_of(root, LAYOUT)
        self.source = self.root / "pairs.json"
        data = annotation.read_json(self.source, LAYOUT.advice())
        images, pairs = (annotation.entry(data, key, self.source) for key in ("images", "pairs"))
        if not isinstance(images, dict) or not isinstance(pairs, list) or not pairs:
            raise DataError(f"{self.source}: expected images by key and a list of pairs; {LAYOUT.advice()}")
        self.images = cast(dict[str, Any], images)
        self._pairs = [self._pair(number, pair) for number, pair in enumerate(cast(list[Any], pairs))]

    def _read(self, index: int, pair: tuple[str, str, str, list[str]], /) -> PairSample:
        category, source, target, names = pair
        sides = [self._side(key) for key in (source, target)]
        image0, image1 = (
            annotation.read_sized_image(
                path, size, self.source, "copy it to the place that its annotation names"
            )
            for path, size, _ in sides
        )
        xy0, xy1 = (torch.tensor([self._point(key, name) for name in names]) for key in (source, target))
        return PairSample(
            image0=image0,
            image1=image1,
            xy0=xy0.reshape(-1, 2),
            xy1=xy1.reshape(-1, 2),
            box0=torch.tensor(sides[0][2]),
            box1=torch.tensor(sides[1][2]),
            category=category,
            name=f"{index:03d}-{source}-{target}",
        )

    def _pair(self, number: int, pair: Any) -> tuple[str, str, str, list[str]]:
        if not isinstance(pair, dict):
            raise DataError(f"{self.source}: expected an object as pair {number}, got {pair!r}")
        record = cast(dict[str, Any], pair)
        source, target = (str(annotation.entry(record, key, self.source)) for key in ("src", "trg"))
        known = [self._keypoints(key) for key in (source, target)]
        names = record.get("names", [name for name in known[0] if name in known[1]])
        absent = [name for name in names if not all(name in points for points in known)]
        if absent:
            raise DataError(
                f"{self.source}: pair {number}: expected the point {absent[0]!r} in both images, "
                f"{source} and {target}; add it, or take it out of names"
            )
        for key in (source, target):  # errors are reported before anything is matched
            self._side(key)
            for name in names:
                self._point(key, name)
        return str(record.get("category", "")), source, target, [str(name) for name in names]

    def _image(self, key: str) -> dict[str, Any]:
        image = self.images.get(key)
        if not isinstance(image, dict):
            raise DataError(f"{self.source}: expected an image {key!r}, found none; add it to images")
        return cast(dict[str, Any], image)

    def _keypoints(self, key: str) -> dict[str, Any]:
        points = annotation.entry(self._image(key), "keypoints", self.source)
        if not isinstance(points, dict):
            raise DataError(f"{self.source}: expected keypoints of {key} by name, got {points!r}")
        return cast(dict[str, Any], points)

    def _point(self, key: str, name: str) -> list[float]:
        return annotation.numbers(self._keypoints(key)[name], 2, f"point {name} of {key}", self.source)

    def _side(self, key: str) -> tuple[Path, list[float], list[float]]:
        image = self._image(key)
        path = annotation.path_inside(self.root, annotation.entry(image, "file", self.source), self.source)
        size, box = (annotation.entry(image, name, self.source) for name in ("size", "bbox"))
        return (
            path,
            annotation.numbers(size, 2, f"size of {key}", self.source),
            annotation.numbers(box, 4, f"bbox of {key}", self.source),
        )
