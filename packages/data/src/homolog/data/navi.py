"""NAVI: photos of 36 scanned objects with the pose of each camera relative to the object (Jampani et al. 2023).

`<object>/<scene>/{annotations.json, images/, masks/}`, and lists of pairs for correspondence,
`custom_splits/pairwise_pixel_correspondences/pairs-{multiview,wild_set}.txt`: two paths and the angle
between the cameras. Paths are read as `<object>/<scene>/[images/]<file>`, which the README leaves open.

An annotation has the quaternion (w, x, y, z) and the translation that take the object to the camera, whose z
axis points forward and y axis down: NAVI's own code projects with `gl_projection_matrix_from_intrinsics`,
which has +1 in its last row, and compares z with depth (`NAVI Dataset Tutorial.ipynb`). Its principal
point is the middle of the image counted from the outer corner, so half a pixel is taken off.

OmniGlue measures here without a published evaluator; it drops matches outside of the masks, which
samples therefore carry.
"""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from homolog.core.calibration import camera_of, numbers, pinhole, relative_pose
from homolog.core.coords import Size
from homolog.core.errors import DataError, one_of
from homolog.core.image import Image
from homolog.core.io import read_image
from homolog.core.samples import PairSample
from homolog.data._pairs import ListedPairs
from homolog.data.annotation import entry, path_inside, read_lines, read_records, root_of
from homolog.data.inventory import Expected, Layout

_LISTS = "custom_splits/pairwise_pixel_correspondences"

LAYOUT = Layout(
    name="NAVI",
    folder="navi_v1.5",
    home="https://github.com/google/navi",
    licence="CC BY 4.0 as far as known",
    obtain="Download navi_v1.5.tar.gz, whose address the repository's README has, and unpack it (30 GB).",
    signature=("*/*/annotations.json", f"{_LISTS}/pairs-*.txt"),
    expected=(
        Expected(what="pairs from several views", pattern=f"{_LISTS}/pairs-multiview.txt", unit="lines"),
        Expected(what="pairs in the wild", pattern=f"{_LISTS}/pairs-wild_set.txt", unit="lines"),
        Expected(what="annotated scenes", pattern="*/*/annotations.json"),
        Expected(
            what="photos", pattern="*/*/images/*.jpg", note="28,921 alignments with those of the videos"
        ),
        Expected(what="masks of the objects", pattern="*/*/masks/*.png"),
    ),
    configs=("navi",),
)


class _Pair(NamedTuple):
    paths: tuple[str, str]
    angle: str


class _View(NamedTuple):
    image: Image
    mask: Tensor | None
    K: np.ndarray
    stored: Size
    object_to_camera: np.ndarray


class Navi(ListedPairs[_Pair]):
    """Samples have cameras, `pose`, masks where there are some, and the object as `category`."""

    def __init__(self, *, root: str | Path, subset: Literal["multiview", "wild_set"]) -> None:
        """Read the list of pairs.

        Args:
            root: the folder of the objects.
            subset: `multiview` (one place, the camera moves) or `wild_set` (other places, light, poses).

        Raises:
            ConfigError: no such subset.
            DataError: the list is missing or damaged.
        """
        one_of("subset", subset, ("multiview", "wild_set"))
        self._root = root_of(root, LAYOUT)
        self._list = self._root / _LISTS / f"pairs-{subset}.txt"
        self._pairs = [_parsed(line, self._list) for line in read_lines(self._list, LAYOUT.advice())]

    def _read(self, index: int, pair: _Pair, /) -> PairSample:
        view0, view1 = (self._view(path) for path in pair.paths)
        label = f"{self._list}, {' and '.join(pair.paths)}"
        camera0, camera1 = (
            camera_of(view.K, origin="corner", size=view.image.size, stored=view.stored, name=label)
            for view in (view0, view1)
        )
        return PairSample(
            image0=view0.image,
            image1=view1.image,
            mask0=view0.mask,
            mask1=view1.mask,
            camera0=camera0,
            camera1=camera1,
            pose=relative_pose(view0.object_to_camera, view1.object_to_camera, name=label),
            category=pair.paths[0].split("/")[0],
            name=f"{index:06d}/{pair.paths[0]}-{pair.paths[1]}",
            facts={"angle": pair.angle},
        )

    def _view(self, path: str) -> _View:
        file = path_inside(self._root, path, self._list)
        scene = file.parent.parent if file.parent.name == "images" else file.parent
        source = scene / "annotations.json"
        # Read again for each pair: kept, the annotations of all scenes would fill memory for nothing.
        records = [
            item for item in read_records(source, LAYOUT.advice()) if item.get("filename") == file.name
        ]
        if len(records) != 1:
            raise DataError(
                f"{source}: expected one entry for {file.name}, got {len(records)}; {LAYOUT.advice()}"
            )
        height, width = numbers(entry(records[0], "image_size", source), (2,), name=str(source)).tolist()
        camera = entry(records[0], "camera", source)
        focal = float(entry(camera, "focal_length", source))
        image = read_image(scene / "images" / file.name)
        return _View(
            image=image,
            mask=_mask(scene / "masks" / f"{file.stem}.png", image.size),
            K=pinhole(focal, focal, width // 2, height // 2),
            stored=(int(height), int(width)),
            object_to_camera=_motion(camera, source),
        )


def _parsed(line: str, source: Path) -> _Pair:
    words = line.split()
    if len(words) != 3:
        raise DataError(
            f"{source}: expected two paths and an angle, got {line[:120]!r}; obtain the list again"
        )
    return _Pair((words[0], words[1]), words[2])


def _motion(camera: dict[str, Any], source: Path) -> np.ndarray:
    q = numbers(entry(camera, "q", source), (4,), name=f"{source}, q")
    t = numbers(entry(camera, "t", source), (3,), name=f"{source}, t")
    if not np.any(q):
        raise DataError(f"{source}: expected a quaternion, got zeros; obtain the file again")
    w, x, y, z = q / np.linalg.norm(q)
    R = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return np.hstack((R, t[:, None]))


def _mask(path: Path, size: Size) -> Tensor | None:
    if not path.is_file():
        return None
    mask = read_image(path)
    if mask.size != size:
        raise DataError(f"{path}: expected a mask of {size}, got {mask.size}; obtain it again")
    return torch.gt(mask.pixels[0], 0.5)
