"""Read cameras and poses of benchmarks in the convention of homolog.

In `homolog.core.camera` integer pixel coordinates are pixel centres. Files use either the same
convention (OpenCV calibrations, ScanNet) or put the corner of the first pixel at (0, 0) (COLMAP, and
therefore MegaDepth).
"""

from typing import Any, Literal, cast

import numpy as np
import torch

from homolog.core.camera import Camera, RelativePose
from homolog.core.coords import Size, resize_affine, shift_affine
from homolog.core.errors import DataError

Origin = Literal["centre", "corner"]
"""Which point of the top-left pixel is (0, 0): its centre (OpenCV, ours) or its outer corner (COLMAP)."""

_ROTATION_TOLERANCE = 1e-2  # files round to few digits; a wrong matrix is off by far more


def camera_of(K: object, *, origin: Origin, size: Size, stored: Size | None = None, name: str) -> Camera:
    """Return the camera of an image file.

    Args:
        K: [3 3] intrinsics as a benchmark stores them.
        origin: which point of the top-left pixel is (0, 0).
        size: (height, width) of the image file.
        stored: (height, width) of the image for which K is given; None if it is this one.
        name: for error messages.

    Raises:
        DataError: K is not an intrinsics matrix.
    """
    values = numbers(K, (3, 3), name=f"{name}, K")
    if not np.array_equal(values[2], (0, 0, 1)) or min(values[0, 0], values[1, 1]) <= 0:
        raise DataError(
            f"{name}: expected intrinsics K with positive focal lengths, got {values.tolist()}; download the file again"
        )
    camera = Camera(K=torch.from_numpy(values.copy()))
    if origin == "corner":
        camera = camera.resampled(shift_affine(0.5, 0.5))
    return camera if stored is None or stored == size else camera.resampled(resize_affine(stored, size))


def pinhole(focal_x: float, focal_y: float, x: float, y: float) -> np.ndarray:
    """Return the intrinsics [3 3] with these focal lengths and this principal point."""
    return np.array([[focal_x, 0, x], [0, focal_y, y], [0, 0, 1]], dtype=np.float64)


def pose_of(T: object, *, name: str) -> RelativePose:
    """Return the pose of a 3 x 4 or 4 x 4 matrix.

    Args:
        T: from camera 0 to camera 1.
        name: for error messages.

    Raises:
        DataError: T is not a rigid motion.
    """
    values = rigid(T, name=name)
    return RelativePose(R=torch.from_numpy(values[:3, :3].copy()), t=torch.from_numpy(values[:3, 3].copy()))


def relative_pose(world_to_0: object, world_to_1: object, *, name: str) -> RelativePose:
    """Return the pose from camera 0 to camera 1, given the pose of each in the world.

    Args:
        world_to_0: 3 x 4 or 4 x 4, from the world to camera 0.
        world_to_1: likewise for camera 1.
        name: for error messages.

    Raises:
        DataError: a matrix is not a rigid motion.
    """
    first, second = rigid(world_to_0, name=name), rigid(world_to_1, name=name)
    return pose_of(second @ np.linalg.inv(first), name=name)


def rigid(T: object, *, name: str) -> np.ndarray:
    """Return a rigid motion as a 4 x 4 matrix.

    Args:
        T: 3 x 4 or 4 x 4.
        name: for error messages.

    Raises:
        DataError: another shape, numbers that are not finite, or R is not a rotation.
    """
    values = np.asarray(T)
    values = numbers(values, (4, 4) if values.shape == (4, 4) else (3, 4), name=f"{name}, pose")
    R = values[:3, :3]
    off = float(np.abs(R @ R.T - np.eye(3)).max())
    if off > _ROTATION_TOLERANCE or np.linalg.det(R) < 0:
        raise DataError(f"{name}: expected a rotation and a translation, got no rotation ({R.tolist()})")
    return np.vstack((values[:3], (0, 0, 0, 1)))


def numbers(values: object, shape: tuple[int | None, ...], *, name: str) -> np.ndarray:
    """Check numbers, and return them as a float64 array.

    Args:
        values: anything that numpy converts to numbers.
        shape: the expected shape; None for a dimension of any length.
        name: for error messages.

    Raises:
        DataError: another shape, or values that are not finite numbers.
    """
    wanted = " x ".join("N" if side is None else str(side) for side in shape)
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name}: expected {wanted} numbers, got {type(values).__name__}; correct it"
        ) from error
    fits = array.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape, strict=False)
    )
    if not fits or not bool(np.isfinite(cast(Any, array)).all()):
        raise DataError(f"{name}: expected {wanted} finite numbers, got {list(array.shape)}; correct it")
    return array
