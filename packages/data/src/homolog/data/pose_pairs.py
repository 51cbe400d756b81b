"""Pairs with intrinsics and relative poses in a text file: SuperGlue's 38 fields a line, or glue-factory's.

SuperGlue: `name0 name1 rotation0 rotation1 K0 (9) K1 (9) T_0to1 (16)`, matrices by rows, names relative to
the root. Glue-factory's `pairs_calibrated.txt` leaves the rotations out, and T may be R (9) and t (3).

A rotation is how often the stored pixels have to be turned by 90 degrees, counterclockwise, to stand upright
(`rotation` in SuperGlue's `models/utils.py::read_image`). The image that a matcher sees is turned; its
frame leads back to the pixels of the file, in which matches, intrinsics and the pose stay as they are.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from homolog.core.calibration import Origin, camera_of, pose_of
from homolog.core.coords import Size
from homolog.core.errors import DataError
from homolog.core.image import Image
from homolog.core.io import read_image
from homolog.core.samples import PairSample
from homolog.data._pairs import ListedPairs
from homolog.data.annotation import matrix, path_inside, read_lines

_FIELDS = {38: 2, 36: 0, 32: 0}  # words of a line, and how many of them are rotations


class _Pair(NamedTuple):
    names: tuple[str, str]
    turns: tuple[int, int]
    K: tuple[np.ndarray, np.ndarray]
    T: np.ndarray


class PosePairs(ListedPairs[_Pair]):
    """The pairs of such a file. Samples have cameras and `pose`."""

    def __init__(
        self,
        *,
        root: str | Path,
        pairs: str | Path,
        origin: Origin,
        size: Sequence[int] | None = None,
        advice: str = "write one pair a line: name0 name1 0 0 K0 K1 T_0to1",
    ) -> None:
        """Read the list.

        Args:
            root: the folder that names are relative to.
            pairs: the text file, relative to the root or absolute.
            origin: what of the first pixel lies at (0, 0) of the intrinsics, its `centre` or its `corner`.
            size: (height, width) of the images that the intrinsics were given for; None when they
                are the files themselves.
            advice: what to do if the list is missing.

        Raises:
            DataError: the list is missing, empty or damaged.
        """
        self._root = Path(root).expanduser()
        self._list = self._root / pairs
        self._origin: Origin = origin
        self._size: Size | None = None if size is None else (int(size[0]), int(size[1]))
        lines = [line for line in read_lines(self._list, advice) if not line.startswith("#")]
        self._pairs = [_parsed(line, f"{self._list}:{row}") for row, line in enumerate(lines, start=1)]
        if not self._pairs:
            raise DataError(f"{self._list}: expected pairs, got none; {advice}")

    def _read(self, index: int, pair: _Pair, /) -> PairSample:
        label = f"{self._list}, {pair.names[0]} and {pair.names[1]}"
        images = [read_image(path_inside(self._root, name, self._list)) for name in pair.names]
        camera0, camera1 = (
            camera_of(K, origin=self._origin, size=image.size, stored=self._size, name=label)
            for K, image in zip(pair.K, images, strict=True)
        )
        image0, image1 = (turned(image, turns) for image, turns in zip(images, pair.turns, strict=True))
        return PairSample(
            image0=image0,
            image1=image1,
            camera0=camera0,
            camera1=camera1,
            pose=pose_of(pair.T, name=label),
            category=pair.names[0].split("/")[0] if "/" in pair.names[0] else None,
            name=f"{index:05d}/{Path(pair.names[0]).stem}-{Path(pair.names[1]).stem}",
        )


def turned(image: Image, turns: int) -> Image:
    """Turn an image counterclockwise by quarters; its frame still leads to the pixels of the file.

    Args:
        image: as the file has it.
        turns: how often, 0 to 3.
    """
    for _ in range(turns):
        width = image.size[1]
        # The pixel (x, y) of the turned image was (width - 1 - y, x).
        quarter = torch.tensor([[0, -1, width - 1], [1, 0, 0]], dtype=torch.float64)
        linear = image.to_original[:, :2]
        to_original = torch.cat(
            (linear @ quarter[:, :2], (linear @ quarter[:, 2] + image.to_original[:, 2])[:, None]), dim=1
        )
        image = replace(image, pixels=image.pixels.rot90(1, (1, 2)), to_original=to_original)
    return image


def _parsed(line: str, name: str) -> _Pair:
    words = line.split()
    if len(words) not in _FIELDS:
        raise DataError(
            f"{name}: expected 38 fields (name0 name1 rotation0 rotation1 K0 K1 T_0to1), got {len(words)}; correct the line"
        )
    rotations = _FIELDS[len(words)]
    turns = words[2 : 2 + rotations] or ["0", "0"]
    if any(word not in {"0", "1", "2", "3"} for word in turns):
        raise DataError(f"{name}: expected rotations from 0 to 3, got {' '.join(turns)}; correct the line")
    numbers = words[2 + rotations :]
    K0, K1 = (matrix(numbers[start : start + 9], columns=3, rows=3, name=name) for start in (0, 9))
    return _Pair((words[0], words[1]), (int(turns[0]), int(turns[1])), (K0, K1), _pose(numbers[18:], name))


def _pose(words: list[str], name: str) -> np.ndarray:
    if len(words) == 16:
        return matrix(words, columns=4, rows=4, name=name)
    R, t = matrix(words[:9], columns=3, rows=3, name=name), matrix(words[9:], columns=1, rows=3, name=name)
    return np.hstack((R, t))
