"""Write what was found of a pair into a folder of its own: all files or none."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from homolog.cli.figures.views import DENSE_PICTURE, MATCHES_PICTURE, TRANSFER_PICTURE
from homolog.cli.verify import Verdict
from homolog.core.atomic import write_bytes
from homolog.core.errors import ConfigError
from homolog.core.io import write_matches
from homolog.core.keypoints import Matches

MATCHES = "matches.npz"


def write_results(folder: Path, matches: Matches, verdict: Verdict, pictures: Mapping[str, bytes]) -> None:
    """Write `matches.npz` and the pictures.

    The npz holds `xy0` [M 2] and `xy1` [M 2] (pixels of the files, integer = pixel centre), `score`
    [M], `inlier` [M] bool, and `model` [3 3], NaN without a model. It loads without pickle.

    Args:
        folder: made if missing; files of an earlier run are replaced.
        matches: what was found.
        verdict: what the check said of it.
        pictures: PNGs by the name of the file.

    Raises:
        DataError: the folder cannot be written to; nothing of this pair is left there.
    """
    model = np.full((3, 3), np.nan) if verdict.model is None else verdict.model
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        _remove_files(folder)
        write_matches(folder / MATCHES, matches, extra={"inlier": verdict.inlier, "model": model})
        for name, picture in pictures.items():
            write_bytes(folder / name, picture)
    except BaseException:
        _remove_files(folder)
        for parent in made:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
        raise


def take_back(folder: Path) -> None:
    """Remove what was written of a pair, and its folder if nothing else is in it."""
    _remove_files(folder)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def check_folder(folder: Path) -> None:
    """Make sure that results can be written below a folder, before the work begins; leaves nothing.

    Raises:
        ConfigError: it is a file, or nothing may be written there.
    """
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not there.is_dir():
        raise ConfigError(
            f"{folder}: expected a folder for the results, but {there} is a file; choose another --out"
        )
    try:
        probe = there / f".homolog-{id(folder):x}"
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise ConfigError(f"{folder}: cannot write there ({error.strerror}); choose another --out") from error


def _remove_files(folder: Path) -> None:
    for name in (MATCHES, MATCHES_PICTURE, TRANSFER_PICTURE, DENSE_PICTURE):
        (folder / name).unlink(missing_ok=True)
