"""What a scene file of MegaDepth says: photos, depth maps, cameras, and which pairs overlap how much.

Two kinds are in use, both npz by name. D2-Net's preprocessing writes `NNNN.npz` (earlier `NNNN.0.npz`) with an
`overlap_matrix` [N N] of all photos, -1 where one has no depth. LoFTR's index has several files a scene, such as
`0000_0.1_0.3.npz`, bare pickles of a dictionary with `pair_infos`: tuples of two image numbers, an overlap and
central matches. Both have, for each image, `image_paths`, `depth_paths`, `intrinsics` [3 3] and `poses` [4 4] from
world to camera; None where an image is not to be used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from homolog.core.errors import DataError
from homolog.data.converted import read_any
from homolog.data.safe_npz import load_npz

_OF_IMAGES = ("image_paths", "depth_paths", "intrinsics", "poses")
_OF_PAIRS = ("pair_infos", "overlap_matrix")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """Photos of one place.

    Attributes:
        image_paths: of each image, relative to a folder that the file does not name; None for one without photo.
        depth_paths: likewise.
        intrinsics: [3 3] of each image, in pixels of its photo, with COLMAP's origin.
        poses: [4 4] of each image, from world to camera.
        pairs: [P 2] numbers of images, the lower first.
        overlaps: [P] share of common points.
    """

    image_paths: Sequence[Any]
    depth_paths: Sequence[Any]
    intrinsics: Sequence[Any]
    poses: Sequence[Any]
    pairs: np.ndarray
    overlaps: np.ndarray


def read_scene(path: Path, *, overlap: tuple[float, float]) -> Scene:
    """Read a scene file and keep the pairs that have photos, depth and a certain overlap.

    Args:
        path: of either kind; which it is, its content says.
        overlap: least and greatest, both included.

    Raises:
        DataError: the file is missing or damaged, asks for anything but arrays and containers, or is no scene.
    """
    content = _content(path)
    missing = [key for key in _OF_IMAGES if key not in content]
    kinds = [key for key in _OF_PAIRS if key in content]
    if missing or not kinds:
        lacking = ", ".join([*missing, *(() if kinds else (" or ".join(_OF_PAIRS),))])
        raise DataError(
            f"{path}: expected a scene of MegaDepth, got one without {lacking}; take D2-Net's or LoFTR's files"
        )
    count = len(content["image_paths"])
    if any(len(content[key]) != count for key in _OF_IMAGES):
        lengths = ", ".join(f"{len(content[key])} {key}" for key in _OF_IMAGES)
        raise DataError(f"{path}: expected as many of each as images, got {lengths}; obtain it again")
    usable = np.array([all(content[key][image] is not None for key in _OF_IMAGES) for image in range(count)])
    if kinds[0] == "pair_infos":
        pairs, overlaps = _listed(content["pair_infos"], count, path)
    else:
        pairs, overlaps = _in_matrix(content["overlap_matrix"], count, overlap, path)
    kept = (overlaps >= overlap[0]) & (overlaps <= overlap[1]) & usable[pairs].all(axis=1)
    return Scene(
        **{key: list(content[key]) for key in _OF_IMAGES}, pairs=pairs[kept], overlaps=overlaps[kept]
    )


def _content(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            archive = file.read(2) == b"PK"
    except OSError as error:
        raise DataError(
            f"{path}: expected a scene of MegaDepth, but cannot read it ({error.strerror})"
        ) from error
    # D2-Net's archives have members that are many times as large, which nothing here needs.
    wanted = {*_OF_IMAGES, *_OF_PAIRS}
    content: Any = (load_npz(path, only=wanted) or read_any(path)) if archive else read_any(path)
    if not isinstance(content, dict):
        raise DataError(
            f"{path}: expected a scene of MegaDepth, got a {type(content).__name__}; obtain it again"
        )
    return cast("dict[str, Any]", content)


def _listed(infos: Any, count: int, path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        pairs = np.array([[int(number) for number in info[0]] for info in infos], np.int64).reshape(-1, 2)
        overlaps = np.array([float(info[1]) for info in infos])
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise DataError(
            f"{path}: expected pair_infos as ((i, j), overlap, matches), got others ({error}); obtain it again"
        ) from error
    if len(pairs) and not 0 <= pairs.min() <= pairs.max() < count:
        raise DataError(f"{path}: expected image numbers below {count}, got {pairs.min()} to {pairs.max()}")
    return np.sort(pairs, axis=1), overlaps


def _in_matrix(
    matrix: Any, count: int, overlap: tuple[float, float], path: Path
) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(matrix, np.ndarray) or matrix.shape != (count, count) or matrix.dtype.kind != "f":
        raise DataError(f"{path}: expected overlap_matrix [{count} {count}], got another; obtain it again")
    # It is symmetric: each pair once.
    pairs = np.argwhere(np.triu((matrix >= overlap[0]) & (matrix <= overlap[1]), k=1))
    return pairs, matrix[pairs[:, 0], pairs[:, 1]]
