"""Our own list of image pairs, with as much truth as there is.

As text (any ending but `.json`): two paths a line, in quotes where they hold spaces; empty lines and lines
that begin with # are left out, and so is whatever follows the second path. The same lists as for
`homolog match --pairs`.

As JSON: `{"pairs": [...]}`, each pair an object with

* `image0`, `image1`: paths relative to the root, with slashes;
* optionally `name`, `category`;
* `xy0`, `xy1` [[x, y], ...]: the same points in both images, and `visible` [true, ...];
* `box0`, `box1` [x, y, width, height];
* `K0`, `K1` [3 3], `R` [3 3], `t` [3]: cameras, and the pose that takes points of camera 0 to camera 1;
* `homography` [3 3]: from pixels of image 0 to pixels of image 1.

Pixels are (x, y) with integers at pixel centres, of the image files as they are. Unknown entries are errors.
"""

import shlex
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from homolog.core.calibration import camera_of, numbers, pose_of
from homolog.core.camera import Camera, RelativePose
from homolog.core.coords import Size
from homolog.core.errors import DataError, did_you_mean
from homolog.core.io import read_image
from homolog.core.samples import PairSample
from homolog.data._pairs import ListedPairs
from homolog.data.annotation import entry, path_inside, read_json, read_lines

_ADVICE = 'write two paths a line, or {"pairs": [{"image0": "a.jpg", "image1": "b.jpg"}]} as .json'
_ENTRIES = frozenset(
    (
        "image0",
        "image1",
        "name",
        "category",
        "xy0",
        "xy1",
        "visible",
        "box0",
        "box1",
        "K0",
        "K1",
        "R",
        "t",
        "homography",
    )
)


class PairList(ListedPairs[dict[str, Any]]):
    """The pairs of such a list, with the truth that the list gives for them."""

    def __init__(self, *, root: str | Path, pairs: str | Path) -> None:
        """Read the list.

        Args:
            root: the folder that paths are relative to.
            pairs: the list, relative to the root or absolute.

        Raises:
            DataError: the list is missing, empty, damaged or contradictory.
        """
        self._root = Path(root).expanduser()
        self._list = self._root / pairs
        self._pairs = _from_json(self._list) if self._list.suffix == ".json" else _from_text(self._list)
        if not self._pairs:
            raise DataError(f"{self._list}: expected pairs, got none; {_ADVICE}")

    def _read(self, index: int, pair: dict[str, Any], /) -> PairSample:
        label = f"{self._list}, pair {index}"
        names = [entry(pair, key, self._list) for key in ("image0", "image1")]
        image0, image1 = (read_image(path_inside(self._root, name, self._list)) for name in names)
        xy0, xy1, visible = _points(pair, label)
        return PairSample(
            image0=image0,
            image1=image1,
            xy0=xy0,
            xy1=xy1,
            visible=visible,
            box0=_tensor(pair, "box0", (4,), label),
            box1=_tensor(pair, "box1", (4,), label),
            category=str(pair["category"]) if "category" in pair else None,
            camera0=_camera(pair, "K0", image0.size, label),
            camera1=_camera(pair, "K1", image1.size, label),
            pose=_pose(pair, label),
            homography=_tensor(pair, "homography", (3, 3), label, torch.float64),
            name=str(pair.get("name") or f"{index:05d}/{Path(names[0]).stem}-{Path(names[1]).stem}"),
        )


def _from_text(path: Path) -> list[dict[str, Any]]:
    pairs: list[dict[str, Any]] = []
    for line in read_lines(path, _ADVICE):
        if line.startswith("#"):
            continue
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise DataError(
                f"{path}: expected two paths, got {line[:120]!r} ({error}); close the quote"
            ) from error
        if len(words) < 2:
            raise DataError(f"{path}: expected two paths, got {line[:120]!r}; quote a path that holds spaces")
        pairs.append({"image0": words[0], "image1": words[1]})
    return pairs


def _from_json(path: Path) -> list[dict[str, Any]]:
    pairs = entry(read_json(path, _ADVICE), "pairs", path)
    if not isinstance(pairs, list) or not all(isinstance(pair, dict) for pair in cast("list[Any]", pairs)):
        raise DataError(f"{path}: expected a list of objects as pairs, got something else; {_ADVICE}")
    for number, pair in enumerate(cast("list[dict[str, Any]]", pairs)):
        for key in pair.keys() - _ENTRIES:
            raise DataError(f"{path}, pair {number}: no entry {key}{did_you_mean(key, _ENTRIES)}")
    return cast("list[dict[str, Any]]", pairs)


def _points(pair: dict[str, Any], label: str) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    xy0, xy1 = (_tensor(pair, key, (None, 2), label) for key in ("xy0", "xy1"))
    if (xy0 is None) != (xy1 is None) or (xy0 is not None and xy1 is not None and len(xy0) != len(xy1)):
        raise DataError(f"{label}: expected as many points in xy1 as in xy0; correct it")
    if "visible" not in pair:
        return xy0, xy1, None
    visible = pair["visible"]
    flags = cast("list[object]", visible) if isinstance(visible, list) else []
    if xy0 is None or len(flags) != len(xy0) or not all(isinstance(flag, bool) for flag in flags):
        raise DataError(
            f"{label}: expected true or false as visible for each point, got {visible!r}; correct it"
        )
    return xy0, xy1, torch.tensor(flags, dtype=torch.bool)


def _tensor(
    pair: dict[str, Any],
    key: str,
    shape: tuple[int | None, ...],
    label: str,
    dtype: torch.dtype = torch.float32,
) -> Tensor | None:
    if key not in pair:
        return None
    return torch.from_numpy(numbers(pair[key], shape, name=f"{label}, {key}")).to(dtype)


def _camera(pair: dict[str, Any], key: str, size: Size, label: str) -> Camera | None:
    return camera_of(pair[key], origin="centre", size=size, name=f"{label}, {key}") if key in pair else None


def _pose(pair: dict[str, Any], label: str) -> RelativePose | None:
    if ("R" in pair) != ("t" in pair):
        raise DataError(f"{label}: expected both R and t, or neither; correct it")
    if "R" not in pair:
        return None
    R = numbers(pair["R"], (3, 3), name=f"{label}, R")
    t = numbers(pair["t"], (3,), name=f"{label}, t")
    return pose_of(np.hstack((R, t[:, None])), name=label)
