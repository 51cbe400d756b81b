"""Write what was found of a pair into a folder of its own: all files or none."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from homolog.cli.comparison import Comparison
from homolog.cli.figure import POINTS, choose_points, draw_matches, draw_transfer
from homolog.core.atomic import write_bytes
from homolog.core.coords import pixel_grid, resize_pixel
from homolog.core.dense import Transfer
from homolog.core.errors import ConfigError
from homolog.core.writing import write_matches

MATCHES, MATCHES_PICTURE, TRANSFER_PICTURE = "matches.npz", "matches.png", "transfer.png"
"""The files of a pair; the last one only for a matcher that can transfer points."""

AGREE = 0.02
"""Share of the longer side up to which a match and a transferred point count as the same place."""

CELLS = (18, 24)
"""Rows and columns of points that a transfer picture may choose from, beside the matches."""


def write_results(folder: Path, comparison: Comparison, *, title: str) -> None:
    """Write `matches.npz`, `matches.png` and, for a dense-capable matcher, `transfer.png`.

    The npz holds `xy0` [M 2] and `xy1` [M 2] (pixels of the files, integer = pixel centre), `score`
    [M], `inlier` [M] bool, and `model` [3 3], NaN without a model. It loads without pickle.

    Args:
        folder: made if missing; files of an earlier run are replaced.
        comparison: what was found.
        title: the header of the pictures.

    Raises:
        DataError: the folder cannot be written to; nothing of this pair is left there.
    """
    pictures = {MATCHES_PICTURE: _matches_picture(comparison, title)}
    if comparison.found.can_transfer:
        pictures[TRANSFER_PICTURE] = _transfer_picture(comparison, title)
    verdict = comparison.verdict
    model = np.full((3, 3), np.nan) if verdict.model is None else verdict.model
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        _remove_files(folder)
        write_matches(folder / MATCHES, comparison.matches, extra={"inlier": verdict.inlier, "model": model})
        for name, picture in pictures.items():
            write_bytes(folder / name, picture)
    except BaseException:
        _remove_files(folder)
        for parent in made:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
        raise


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
    for name in (MATCHES, MATCHES_PICTURE, TRANSFER_PICTURE):
        (folder / name).unlink(missing_ok=True)


def _matches_picture(comparison: Comparison, title: str) -> bytes:
    matches, verdict = comparison.matches, comparison.verdict
    counts = f"{len(matches)} matches"
    if verdict.check != "none":
        counts += f", {int(verdict.inlier.sum())} inliers ({verdict.check} check, {verdict.threshold:.1f} px)"
    if verdict.note:
        counts += f"; {verdict.note}"
    inlier = None if verdict.check == "none" else verdict.inlier
    return draw_matches(comparison.image0, comparison.image1, matches, inlier, title=title, subtitle=counts)


def _transfer_picture(comparison: Comparison, title: str) -> bytes:
    size0, size1 = comparison.image0.size, comparison.image1.size
    xy0 = _candidates(comparison)
    moved = comparison.found.transfer(xy0)
    chosen = choose_points(xy0, moved, size0, size1)
    kept = Transfer(moved.xy[chosen], moved.confidence[chosen])
    sure = f", confidence {kept.confidence.min():.2f} to {kept.confidence.max():.2f}" if len(chosen) else ""
    return draw_transfer(
        comparison.image0,
        comparison.image1,
        xy0[chosen],
        kept,
        title=title,
        subtitle=f"where {len(chosen)} points of the left photo are in the right one{sure}",
    )


def _candidates(comparison: Comparison) -> NDArray[np.float32]:
    """Points that the check confirmed and that transfer places alike; a grid when those are few."""
    confirmed = comparison.matches.select(torch.from_numpy(comparison.verdict.inlier))
    again = comparison.found.transfer(confirmed.xy0)
    off = (again.xy - confirmed.xy1).norm(dim=1)
    alike = confirmed.xy0[off <= AGREE * max(comparison.image1.size)]
    if len(alike) >= 3 * POINTS:
        return alike.numpy()
    grid = resize_pixel(pixel_grid(CELLS), CELLS, comparison.image0.size)
    return torch.cat((alike, grid)).numpy()
