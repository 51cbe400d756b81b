"""Read the cameras and images of a COLMAP model, and undo the distortion of its lenses.

A model is a folder with `cameras` and `images`, both `.bin` or both `.txt`, as COLMAP and pycolmap write them
(https://colmap.github.io/format.html). Newer versions add `rigs` and `frames`, which repeat what is needed here. The 3D
points are not needed either: each image lists the numbers of those that it sees.

COLMAP has the outer corner of the first pixel at (0, 0), so that the centre of that pixel is (0.5, 0.5). Its poses are world to
camera, as ours.

The files are read here rather than by pycolmap 4.2, which needs the points too, does not return from a `points3D.bin` that is
cut off, and takes a `cameras.bin` that is cut off for a whole one. pycolmap does the lens models.
"""

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch

from homolog.core.calibration import pinhole, rigid
from homolog.core.camera import Camera
from homolog.core.coords import Size, pixel_grid, pixel_to_normalised, resize_pixel
from homolog.core.errors import DataError, MissingDependencyError
from homolog.core.image import Image
from homolog.core.sampling import warp_maps
from homolog.data.annotation import read_text

MODELS = {
    "SIMPLE_PINHOLE": 3,
    "PINHOLE": 4,
    "SIMPLE_RADIAL": 4,
    "RADIAL": 5,
    "OPENCV": 8,
    "OPENCV_FISHEYE": 8,
    "FULL_OPENCV": 12,
    "FOV": 5,
    "SIMPLE_RADIAL_FISHEYE": 4,
    "RADIAL_FISHEYE": 5,
    "THIN_PRISM_FISHEYE": 12,
    "RAD_TAN_THIN_PRISM_FISHEYE": 16,
    "SIMPLE_DIVISION": 4,
    "DIVISION": 5,
    "SIMPLE_FISHEYE": 3,
    "FISHEYE": 4,
    "EUCM": 6,
}
"""Camera models in COLMAP's order, which is their number in binary files, with the number of their parameters.

The first are the focal length (or two) and the principal point. EQUIRECTANGULAR, which has neither, is not read."""

ONE_FOCAL_LENGTH = {"SIMPLE_PINHOLE", "SIMPLE_DIVISION", "SIMPLE_FISHEYE"} | {
    name for name in MODELS if "RADIAL" in name
}
PINHOLE_IF_ZERO = {"SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV"}
"""Models that are a pinhole camera if the parameters after the principal point are zero; a fisheye lens never is."""


class Lens(NamedTuple):
    """A camera of a model: the name of its COLMAP model, (height, width) of its photos, and its parameters."""

    model: str
    size: Size
    parameters: tuple[float, ...]

    def matrix(self) -> np.ndarray:
        """Return the intrinsics [3 3] without distortion, with COLMAP's origin."""
        if self.model in ONE_FOCAL_LENGTH:
            focal, x, y = self.parameters[:3]
            return pinhole(focal, focal, x, y)
        return pinhole(*self.parameters[:4])

    def distorted(self) -> bool:
        """Return whether it differs from a pinhole camera."""
        extra = self.parameters[3 if self.model in ONE_FOCAL_LENGTH else 4 :]
        return self.model not in PINHOLE_IF_ZERO or any(extra)


class View(NamedTuple):
    """An image of a model.

    Attributes:
        name: relative to the folder of the photos.
        world_to_camera: [3 4].
        lens: its camera.
        points: sorted numbers of the 3D points that it sees, each once.
    """

    name: str
    world_to_camera: np.ndarray
    lens: Lens
    points: np.ndarray


def read_model(folder: Path) -> list[View]:
    """Read the cameras and images of a COLMAP model; the binary files, if there are both.

    Raises:
        DataError: a file is missing or damaged, or has an unknown camera model.
    """
    binary = (folder / "images.bin").is_file()
    cameras, images = (folder / f"{name}.{'bin' if binary else 'txt'}" for name in ("cameras", "images"))
    lenses = dict(_binary_lenses(cameras) if binary else _text_lenses(cameras))
    views: dict[str, View] = {}
    for name, rotation, translation, camera, points in (_binary_images if binary else _text_images)(images):
        if camera not in lenses or name in views:
            what = "a second image of that name" if name in views else f"camera {camera}, which is not there"
            raise DataError(
                f"{images}, {name}: expected one image with a known camera, got {what}; copy the model again"
            )
        R = _rotation(rotation, f"{images}, {name}")
        pose = rigid(np.hstack((R, np.array(translation)[:, None])), name=f"{images}, {name}")[:3]
        views[name] = View(name, pose, lenses[camera], np.unique(points[points >= 0]))
    return list(views.values())


_Row = tuple[str, tuple[float, ...], tuple[float, ...], int, np.ndarray]
"""Name, quaternion (w, x, y, z), translation, number of the camera, number of the 3D point of each keypoint (-1: none)."""


def _rotation(quaternion: tuple[float, ...], name: str) -> np.ndarray:
    length = math.sqrt(sum(value * value for value in quaternion))
    if not abs(length - 1) < 1e-2:
        raise DataError(f"{name}: expected a unit quaternion, got {list(quaternion)}; copy the model again")
    w, x, y, z = (value / length for value in quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _lens(model: str, width: int, height: int, parameters: Sequence[float], source: Path) -> Lens:
    whole = len(parameters) == MODELS.get(model) and all(map(math.isfinite, parameters))
    if not whole or min(width, height) < 1:
        raise DataError(
            f"{source}: expected a camera as width, height and the parameters of its model, got {model} {width} {height} "
            f"{list(parameters)[:16]}; copy the model again"
        )
    return Lens(model, (height, width), tuple(parameters))


def _text_lines(path: Path) -> list[str]:
    text = read_text(path, "copy the whole model: cameras and images")
    return [line.strip() for line in text.splitlines() if not line.startswith("#")]


def _text_lenses(path: Path) -> Iterator[tuple[int, Lens]]:
    for line in filter(None, _text_lines(path)):
        try:
            number, model, width, height, *parameters = line.split()
            camera, values = int(number), [float(value) for value in parameters]
            yield camera, _lens(model, int(width), int(height), values, path)
        except ValueError as error:
            raise DataError(
                f"{path}: expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS, got {line[:80]!r}; copy it again"
            ) from error


def _text_images(path: Path) -> Iterator[_Row]:
    lines = iter(_text_lines(path))
    # Two lines an image; the second one is empty if it has no keypoints.
    for line in lines:
        if not line:
            continue
        try:
            _, *values, camera, name = line.split(maxsplit=9)
            pose = [float(value) for value in values]
            points = np.array(next(lines, "").split()[2::3], dtype=np.int64)
            yield name, tuple(pose[:4]), tuple(pose[4:7]), int(camera), points
        except (ValueError, OverflowError) as error:
            raise DataError(
                f"{path}: expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME and a line of keypoints, got {line[:80]!r}; "
                "copy it again"
            ) from error


_KEYPOINT = np.dtype([("xy", "<f8", 2), ("point", "<i8")])


class _Bytes:
    """Reads a binary file from its start; raises a DataError where the file ends too early."""

    def __init__(self, path: Path) -> None:
        try:
            # Mapped: keypoints of a large model are a gigabyte, of which only the numbers of points are kept.
            self._data = np.memmap(path, dtype=np.uint8, mode="r")
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: expected this file, cannot read it ({error}); copy the whole model: cameras and images"
            ) from error
        self._path, self._at = path, 0

    def take(self, count: int) -> np.ndarray:
        """Return the next bytes."""
        if not 0 <= count <= len(self._data) - self._at:
            raise DataError(
                f"{self._path}: expected {count} more bytes, got a file that is cut off; copy it again"
            )
        self._at += count
        return self._data[self._at - count : self._at]

    def values(self, layout: str) -> tuple[Any, ...]:
        """Return the next numbers, little-endian, in the format of `struct`."""
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}")).tobytes())

    def name(self) -> str:
        """Return text that ends with a zero byte."""
        ahead = bytes(self._data[self._at : self._at + 4096])
        length = ahead.find(b"\0")
        try:
            return bytes(self.take(length + 1)[:-1]).decode() if length > 0 else self._no_name()
        except UnicodeDecodeError:
            return self._no_name()

    def end(self) -> None:
        """Raise a DataError if anything is left."""
        if self._at != len(self._data):
            raise DataError(
                f"{self._path}: expected the end of the file, got {len(self._data) - self._at} more bytes; copy it again"
            )

    def _no_name(self) -> str:
        raise DataError(f"{self._path}: expected the name of an image, got other bytes; copy it again")


def _binary_lenses(path: Path) -> Iterator[tuple[int, Lens]]:
    file = _Bytes(path)
    for _ in range(*file.values("Q")):
        camera, number, width, height = file.values("IiQQ")
        model = list(MODELS)[number] if 0 <= number < len(MODELS) else f"model {number}"
        yield camera, _lens(model, width, height, file.values(f"{MODELS.get(model, 0)}d"), path)
    file.end()


def _binary_images(path: Path) -> Iterator[_Row]:
    file = _Bytes(path)
    for _ in range(*file.values("Q")):
        _, *pose, camera = file.values("I7dI")
        name, (count,) = file.name(), file.values("Q")
        points = file.take(count * _KEYPOINT.itemsize).view(_KEYPOINT)["point"].copy()
        yield name, tuple(pose[:4]), tuple(pose[4:]), camera, points
    file.end()


def undistorted(image: Image, camera: Camera, lens: Lens) -> Image:
    """Return the photo that a pinhole camera would have taken; black where the photo does not reach.

    Args:
        image: the photo as it is.
        camera: the pinhole camera, for pixels of this photo.
        lens: the camera that took it; its photos may have had another size.

    Raises:
        MissingDependencyError: pycolmap is not installed.
    """
    rays = camera.rays(pixel_grid(image.size).double()).numpy()
    height, width = lens.size
    library: Any = import_pycolmap()
    taken = library.Camera(model=lens.model, width=width, height=height, params=list(lens.parameters))
    xy = torch.from_numpy(np.asarray(taken.img_from_cam(rays), dtype=np.float64)) - 0.5
    there = pixel_to_normalised(resize_pixel(xy, lens.size, image.size), image.size)
    grid = there.nan_to_num(nan=-3.0).T.reshape(1, 2, *image.size)  # NaN: no point of the photo
    return replace(image, pixels=warp_maps(image.pixels[None], grid.float())[0])


def import_pycolmap() -> ModuleType:
    """Return pycolmap.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import pycolmap  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingDependencyError("homolog-data[colmap]", "photos with lens distortion") from error
    return pycolmap
