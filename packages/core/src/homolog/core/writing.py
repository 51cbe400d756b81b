"""Write images and matches, each file whole or not at all."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.atomic import atomic, write_bytes, write_json
from homolog.core.errors import DataError
from homolog.core.keypoints import Matches

__all__ = [
    "MATCH_KEYS",
    "atomic",
    "read_matches",
    "write_bytes",
    "write_image",
    "write_json",
    "write_matches",
]

MATCH_KEYS = ("xy0", "xy1", "score")


def write_image(path: Path, pixels: Float[Tensor, "3 H W"]) -> None:
    """Write RGB pixels in [0, 1]; the ending of `path` chooses the format.

    Raises:
        DataError: no image format has that ending, or the file cannot be written.
    """
    known = PIL.Image.registered_extensions()
    if known.get(path.suffix.lower()) not in PIL.Image.SAVE:
        raise DataError(f"{path}: expected the ending of an image format, got {path.suffix!r}; use .png")
    array = (pixels.detach().cpu().clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()
    encoded = io.BytesIO()  # encoding takes long, writing does not: little time to be killed in
    PIL.Image.fromarray(array).save(encoded, known[path.suffix.lower()])
    write_bytes(path, encoded.getvalue())


def write_matches(path: Path, matches: Matches, *, extra: Mapping[str, np.ndarray] | None = None) -> None:
    """Write matches as an npz that loads without pickle.

    Args:
        path: where to; should end in `.npz`.
        matches: keys `xy0` [M 2], `xy1` [M 2] (pixels of the original files, integer = pixel
            centre) and `score` [M], all float32.
        extra: further arrays, such as `inlier` [M] bool; object arrays are refused.
    """
    matches = matches.cpu()
    arrays = {key: getattr(matches, key).numpy() for key in MATCH_KEYS}
    encoded = io.BytesIO()
    np.savez_compressed(encoded, allow_pickle=False, **arrays, **dict(extra or {}))
    write_bytes(path, encoded.getvalue())


def read_matches(path: Path) -> Matches:
    """Read back what `write_matches` wrote; further keys are ignored.

    Raises:
        DataError: no such file, or not such a file.
    """
    try:
        with path.open("rb") as file:
            archive = dict(np.load(file, allow_pickle=False).items())
        xy0, xy1, score = (torch.from_numpy(archive[key].astype(np.float32)) for key in MATCH_KEYS)
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: expected matches written by homolog match, but there is no such file"
        ) from error
    except (AttributeError, EOFError, KeyError, ValueError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path}: expected {_expected_arrays()}, got another or a damaged file ({error})"
        ) from error
    if xy0.shape != (len(score), 2) or xy1.shape != xy0.shape or score.ndim != 1:
        shapes = ", ".join(str(list(part.shape)) for part in (xy0, xy1, score))
        raise DataError(f"{path}: expected {_expected_arrays()}, got {shapes}; write it again")
    return Matches(xy0=xy0, xy1=xy1, score=score)


def _expected_arrays() -> str:
    return "an npz with xy0 [M 2], xy1 [M 2] and score [M]"
