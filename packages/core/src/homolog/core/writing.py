"""Write files so that a killed run leaves either the old file or the new one, never half of one."""

import json
import os
import tempfile
import zipfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.errors import DataError
from homolog.core.keypoints import Matches

MATCH_KEYS = ("xy0", "xy1", "score")


@contextmanager
def atomic(path: Path) -> Generator[Path]:
    """Give a temporary path in the folder of `path`, and rename it to `path` if all went well.

    The folder is made if it is missing. On any error, Ctrl-C included, the temporary file is
    removed and `path` stays what it was.

    Raises:
        DataError: the folder cannot be made or written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".homolog-", suffix=path.suffix)
    except OSError as error:
        raise DataError(f"{path}: cannot write there ({error.strerror}); choose another folder") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; what users share should follow their umask.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_image(path: Path, pixels: Float[Tensor, "3 H W"]) -> None:
    """Write RGB pixels in [0, 1]; the ending of `path` chooses the format."""
    array = (pixels.detach().cpu().clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()
    with atomic(path) as temporary:
        PIL.Image.fromarray(array).save(temporary)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


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
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays, **dict(extra or {}))


def read_matches(path: Path) -> Matches:
    """Read back what `write_matches` wrote; further keys are ignored.

    Raises:
        DataError: no such file, or not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            xy0, xy1, score = (torch.from_numpy(archive[key]) for key in MATCH_KEYS)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; expected matches written by homolog match") from error
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        keys = ", ".join(MATCH_KEYS)
        raise DataError(f"{path}: expected an npz with the arrays {keys}, got {error}") from error
    return Matches(xy0=xy0, xy1=xy1, score=score)
