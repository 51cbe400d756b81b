"""Read and write images and matches.

Images of any format become upright RGB in [0, 1]; otherwise there is a one-line error. Files are written atomically.
"""

import io
import logging
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float
from PIL import ImageOps, UnidentifiedImageError
from torch import Tensor

from homolog.core.atomic import write_bytes
from homolog.core.errors import DataError, ShapeError
from homolog.core.image import Image
from homolog.core.keypoints import Matches
from homolog.core.protocols import ImageLike, Points

logger = logging.getLogger(__name__)

IMAGE_ENDINGS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})
"""File name endings that count as images when a folder is searched."""

MINIMUM_SIDE = 8
"""Images with a shorter side are too small to match."""

MAXIMUM_PIXELS = 150_000_000
"""Images with more pixels raise an error before they are decoded."""


def as_image(source: ImageLike) -> Image:
    """Turn what a user passes as an image into an `Image`.

    Args:
        source: an `Image` (returned as it is), a path, a PIL image, or an array [H W 3] or [H W],
            uint8, or floating point in [0, 1].

    Raises:
        DataError: it cannot be read, decoded or used; the message names it.
    """
    if isinstance(source, Image):
        return source
    if isinstance(source, PIL.Image.Image):
        return _image(_decode(source, "the PIL image"), "the PIL image")
    if isinstance(source, np.ndarray):
        return _image(_from_array(source), "the array")
    try:
        path = Path(source)
    except TypeError as error:
        raise DataError(
            f"expected a path, a PIL image, an array or an Image, got {type(source).__name__}; convert it"
        ) from error
    return read_image(path)


def as_points(xy: Points) -> Float[Tensor, "N 2"]:
    """Turn what a user passes as pixel coordinates into a float64 tensor on the CPU; no points become [0 2].

    Raises:
        ShapeError: not [N 2].
        DataError: a coordinate that is not finite.
    """
    try:
        points = torch.as_tensor(xy if isinstance(xy, Tensor) else np.asarray(xy, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise ShapeError(f"expected points [[x, y], ...], got {type(xy).__name__}: {error}") from error
    if points.numel() == 0:
        return torch.zeros(0, 2, dtype=torch.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ShapeError(f"expected points [N 2], got {list(points.shape)}; write one point as [[x, y]]")
    points = points.detach().to("cpu", torch.float64)
    if not bool(points.isfinite().all()):
        raise DataError("the points: expected finite coordinates, got NaN or infinity; remove those")
    return points


def read_image(path: str | Path) -> Image:
    """Read an image file.

    EXIF orientation is applied; transparent pixels are blended with white; palette, gray, 16-bit, CMYK and
    floating-point images become RGB; of an animation the first frame is used, which is logged.
    Embedded colour profiles are not applied.

    Raises:
        DataError: the file is missing, a folder, empty, unreadable, not an image, truncated, too large
            or too small.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise DataError(f"{path}: expected an image file, got a folder; name a file in it")
        if path.stat().st_size == 0:
            raise DataError(f"{path}: expected an image file, got an empty file; copy it again")
        with path.open("rb") as file:
            pixels = _decode(file, str(path))
    except DataError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{path}: expected an image file, but there is no such file; check the path"
        ) from error
    except PermissionError as error:
        raise DataError(
            f"{path}: expected an image file, got one that may not be read; check its owner and mode"
        ) from error
    except (OSError, ValueError) as error:  # a name too long, a loop of links, a null byte
        raise DataError(
            f"{path}: expected an image file, got a path that cannot be opened ({error}); check the path"
        ) from error
    return _image(pixels, str(path))


def _decode(source: IO[bytes] | PIL.Image.Image, name: str) -> np.ndarray:
    with warnings.catch_warnings():
        # Pillow warns about large images, for which we have our own limit, and about invalid metadata,
        # which is irrelevant here; decoding errors are exceptions.
        warnings.simplefilter("ignore")
        try:
            if isinstance(source, PIL.Image.Image):
                return _upright_rgb(source, name)
            with PIL.Image.open(source) as file:
                return _upright_rgb(file, name)
        except (DataError, MemoryError):
            raise
        except UnidentifiedImageError as error:
            raise DataError(
                f"{name}: expected an image, got a file of another kind; check its content"
            ) from error
        except PIL.Image.DecompressionBombError as error:
            raise DataError(_too_large(name, "far more")) from error
        except Exception as error:  # each decoder of Pillow fails in its own way on a damaged file
            raise DataError(
                f"{name}: expected a whole image, got a damaged or truncated file ({error}); copy it again"
            ) from error


def _upright_rgb(file: PIL.Image.Image, name: str) -> np.ndarray:
    if file.width * file.height > MAXIMUM_PIXELS:
        raise DataError(_too_large(name, f"{file.width * file.height:,}"))
    # Phones write MPO files: the photo, followed by depth or a gain map.
    if getattr(file, "n_frames", 1) > 1 and file.format != "MPO":
        used = "the first" if file.tell() == 0 else "the current one"
        logger.warning("%s: has %d frames; %s is used", name, getattr(file, "n_frames", 1), used)
    return _rgb(ImageOps.exif_transpose(file), name)


def _rgb(image: PIL.Image.Image, name: str) -> np.ndarray:
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        return _deep_gray(image, name)
    if image.mode in {"LA", "PA", "RGBA", "RGBa", "La"} or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba)
    return np.divide(np.asarray(image.convert("RGB")), 255, dtype=np.float32)


def _deep_gray(image: PIL.Image.Image, name: str) -> np.ndarray:
    raw = np.asarray(image)
    if image.mode == "F":
        values = raw.astype(np.float32)
    elif raw.min() < 0 or raw.max() > 65535:
        raise DataError(
            f"{name}: expected gray values from 0 to 65535, got {raw.min()} to {raw.max()}; save it with 16 bits"
        )
    else:
        values = np.divide(raw, 65535, dtype=np.float32)
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):
            values[raw == transparent] = 1
    return _finite_unit(np.repeat(values[..., None], 3, axis=2), name)


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3:
        raise DataError(
            f"the array: expected [H W 3] or [H W], got {list(array.shape)}; put the channels last"
        )
    if array.dtype == np.uint8:
        return array.astype(np.float32) / 255
    if not np.issubdtype(array.dtype, np.floating):
        raise DataError(f"the array: expected uint8, or floats in [0, 1], got {array.dtype}; convert it")
    return _finite_unit(array.astype(np.float32), "the array")


def _finite_unit(values: np.ndarray, name: str) -> np.ndarray:
    if not np.isfinite(values).all():
        raise DataError(f"{name}: expected finite values, got NaN or infinity; replace them first")
    if values.size and (values.min() < 0 or values.max() > 1):
        raise DataError(
            f"{name}: expected floats in [0, 1], got {values.min():g} to {values.max():g}; scale them first"
        )
    return values


def _image(values: np.ndarray, name: str) -> Image:
    height, width = values.shape[:2]
    if min(height, width) < MINIMUM_SIDE:
        raise DataError(
            f"{name}: expected at least {MINIMUM_SIDE} x {MINIMUM_SIDE} pixels, got {width} x {height}; use a larger image"
        )
    return Image(pixels=torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1))), name=name)


def _too_large(name: str, pixels: str) -> str:
    return f"{name}: expected at most {MAXIMUM_PIXELS:,} pixels, got {pixels}; scale it down first"


MATCH_KEYS = ("xy0", "xy1", "score")
INDEX_KEYS = ("index0", "index1")
_MATCHES_FILE = "an npz with xy0 [M 2], xy1 [M 2], score [M] and, optionally, index0 and index1 [M]"


def write_image(path: Path, pixels: Float[Tensor, "3 H W"]) -> None:
    """Write RGB pixels in [0, 1]; the ending of `path` chooses the format.

    Raises:
        DataError: no image format has that ending, or the file cannot be written.
    """
    known = PIL.Image.registered_extensions()
    if known.get(path.suffix.lower()) not in PIL.Image.SAVE:
        raise DataError(f"{path}: expected the ending of an image format, got {path.suffix!r}; use .png")
    array = (pixels.detach().cpu().clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()
    encoded = io.BytesIO()  # encode first: writing is then short, so a killed run rarely interrupts it
    PIL.Image.fromarray(array).save(encoded, known[path.suffix.lower()])
    write_bytes(path, encoded.getvalue())


def write_matches(path: Path, matches: Matches, *, extra: Mapping[str, np.ndarray] | None = None) -> None:
    """Write matches as an npz that loads without pickle.

    Args:
        path: where to write; should end in `.npz`.
        matches: keys `xy0` [M 2], `xy1` [M 2] (pixels of the original files, integer = pixel
            centre) and `score` [M], all float32; and `index0`, `index1` [M] int64 if they are set.
        extra: further arrays, such as `inlier` [M] bool; object arrays raise an error.
    """
    matches = matches.cpu()
    arrays = {
        key: part.numpy() for key in (*MATCH_KEYS, *INDEX_KEYS) if (part := getattr(matches, key)) is not None
    }
    encoded = io.BytesIO()
    np.savez_compressed(encoded, allow_pickle=False, **arrays, **dict(extra or {}))
    write_bytes(path, encoded.getvalue())


def read_matches(path: Path) -> Matches:
    """Read a file of `write_matches`; files without indices and files with further keys are accepted.

    Raises:
        DataError: no such file, or a file of another kind.
    """
    try:
        with path.open("rb") as file:
            archive = dict(np.load(file, allow_pickle=False).items())
        xy0, xy1, score = (torch.from_numpy(archive[key].astype(np.float32)) for key in MATCH_KEYS)
        index0, index1 = (
            torch.from_numpy(archive[key].astype(np.int64)) if key in archive else None for key in INDEX_KEYS
        )
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: expected matches written by homolog match, but there is no such file"
        ) from error
    except (AttributeError, EOFError, KeyError, ValueError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path}: expected {_MATCHES_FILE}, got another or a damaged file ({error})"
        ) from error
    indices = [part for part in (index0, index1) if part is not None]
    shapes = [list(part.shape) for part in (xy0, xy1, score, *indices)]
    count = len(score)
    if shapes != [[count, 2], [count, 2], *[[count]] * (1 + len(indices))] or len(indices) == 1:
        raise DataError(
            f"{path}: expected {_MATCHES_FILE}, got {', '.join(map(str, shapes))}; write it again"
        )
    return Matches(xy0=xy0, xy1=xy1, score=score, index0=index0, index1=index1)


def photos_below(root: Path) -> list[Path]:
    """Return the photos of a folder and of all its folders.

    Raises:
        DataError: there are none.
    """
    photos = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS)
    if not photos:
        raise DataError(
            f"{root}: expected a folder with photos, got none; name one, such as Oxford5k and Paris6k"
        )
    return photos
