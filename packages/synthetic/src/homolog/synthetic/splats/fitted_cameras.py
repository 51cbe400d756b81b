"""The cameras that a scene of Gaussians was fitted to, as 3D Gaussian Splatting writes them beside it."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np

from homolog.core.calibration import pinhole, rigid
from homolog.core.errors import DataError
from homolog.synthetic.rendering.viewpoint import Viewpoint

NAME = "cameras.json"


def find_cameras(scene: Path, root: Path) -> Path:
    """Return the file `cameras.json` beside a scene, or in a folder above it up to `root`.

    Raises:
        DataError: there is none.
    """
    for folder in scene.parents:
        if (folder / NAME).is_file():
            return folder / NAME
        if folder == root:
            break
    raise DataError(
        f"{scene}: expected {NAME} beside it or in a folder above, found none; copy it from where it was fitted"
    )


def read_cameras(path: Path) -> tuple[Viewpoint, ...]:
    """Read the cameras of a scene.

    The file is a list of objects with `width`, `height`, `fx`, `fy`, `position` (of the camera in the world)
    and `rotation` (from the camera to the world); the principal point is the middle of the image.

    Raises:
        DataError: no such file, or another one.
    """
    try:
        entries: object = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: expected the cameras of 3D Gaussian Splatting, got {type(error).__name__} ({error})"
        ) from error
    if not isinstance(entries, list):
        raise DataError(
            f"{path}: expected a list of cameras, got {type(entries).__name__}; is it another file?"
        )
    cameras = tuple(_viewpoint(entry, path) for entry in cast(list[object], entries))
    if len(cameras) < 2:
        raise DataError(f"{path}: expected at least two cameras, got {len(cameras)}")
    return cameras


def _viewpoint(entry: object, path: Path) -> Viewpoint:
    try:
        values = cast(dict[str, Any], entry)
        width, height = int(values["width"]), int(values["height"])
        motion = np.eye(4)
        motion[:3, :3], motion[:3, 3] = values["rotation"], values["position"]
        focal = float(values["fx"]), float(values["fy"])
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(
            f"{path}: expected width, height, fx, fy, position and rotation of a camera, "
            f"got {type(error).__name__} ({error}); is it another file?"
        ) from error
    motion = rigid(motion, name=str(path))
    if min(width, height) < 1 or not (min(focal) > 0 and max(focal) < np.inf):
        raise DataError(f"{path}: expected a positive size and focal length, got {width} x {height}, {focal}")
    R = motion[:3, :3].T
    K = pinhole(focal[0], focal[1], (width - 1) / 2, (height - 1) / 2)
    return Viewpoint(K=K, R=R, t=-R @ motion[:3, 3], size=(height, width))
