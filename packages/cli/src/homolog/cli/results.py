"""The results of `homolog match`: the files of each pair, `summary.json`, and the table on the terminal."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog.cli.console import FINE, NOTHING_READ, SOME_FAILED, make_table, output
from homolog.cli.figures.views import DENSE_PICTURE, MATCHES_PICTURE, TRANSFER_PICTURE
from homolog.cli.pairs import Pair
from homolog.cli.provenance import versions
from homolog.core.atomic import write_bytes, write_json
from homolog.core.errors import ConfigError
from homolog.core.io import write_matches
from homolog.core.keypoints import Matches
from homolog.evaluators.verification import Verification

MATCHES = "matches.npz"

ROWS = 40
"""Rows of the table on the terminal; the file has all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one pair: a row of the summary.

    Attributes:
        pair: the photos.
        folder: of the results; None if the pair failed.
        matches: number of matches.
        inliers: number of matches that agree with the geometric model; None without verification.
        mean_score: of the matches; None if there are none.
        seconds: for reading, matching and verification.
        note: a message for the user, or nothing.
        error: why it failed, or None.
        unreadable: whether it failed because a photo cannot be read.
    """

    pair: Pair
    folder: Path | None = None
    matches: int = 0
    inliers: int | None = None
    mean_score: float | None = None
    seconds: float = 0.0
    note: str = ""
    error: str | None = None
    unreadable: bool = False

    def record(self) -> dict[str, Any]:
        """Return the row as plain values, for JSON."""
        row = asdict(self)
        row.pop("pair")
        folder = str(self.folder) if self.folder else None
        return {"image0": str(self.pair.path0), "image1": str(self.pair.path1), **row, "folder": folder}


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Return 0 if every pair succeeded, 3 if no pair could be read, else 1."""
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if not failed:
        return FINE
    if len(failed) == len(outcomes) and all(outcome.unreadable for outcome in failed):
        return NOTHING_READ
    return SOME_FAILED


def write_pair(
    folder: Path, matches: Matches, verification: Verification, pictures: Mapping[str, bytes]
) -> None:
    """Write `matches.npz` and the pictures of a pair: all files or none.

    The npz holds `xy0` [M 2] and `xy1` [M 2] (pixels of the files, integer = pixel centre), `score`
    [M], `inlier` [M] bool, `model` [3 3], NaN without a model, and the keypoint indices of the matches
    if there are any. It loads without pickle.

    A missing folder is created; files of an earlier run are replaced. `pictures` are PNGs by file name.

    Raises:
        DataError: the folder cannot be written to; no file of this pair is left in it.
    """
    model = np.full((3, 3), np.nan) if verification.model is None else verification.model
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        _remove_files(folder)
        write_matches(folder / MATCHES, matches, extra={"inlier": verification.inlier, "model": model})
        for name, picture in pictures.items():
            write_bytes(folder / name, picture)
    except BaseException:
        _remove_files(folder)
        for parent in made:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
        raise


def remove_pair(folder: Path) -> None:
    """Remove the files of a pair, and its folder if nothing else is in it."""
    _remove_files(folder)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def check_folder(folder: Path) -> None:
    """Make sure that results can be written below a folder; creates nothing.

    Raises:
        ConfigError: it is a file, or cannot be written to.
    """
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise ConfigError(
            f"{folder}: expected an output folder, but {existing} is a file; choose another --out"
        )
    try:
        probe = existing / f".homolog-{id(folder):x}"
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise ConfigError(f"{folder}: cannot write there ({error.strerror}); choose another --out") from error


def write_summary(
    out: Path, outcomes: Sequence[Outcome], *, config: Mapping[str, Any], options: Mapping[str, Any]
) -> None:
    """Write `summary.json`: one record per pair, and what is needed to reproduce the run.

    Nothing is written if no pair succeeded. `config` is the resolved configuration of the matcher.
    """
    if all(outcome.error is not None for outcome in outcomes):
        return
    write_json(
        out / "summary.json",
        {
            "command": sys.argv[1:],
            "options": dict(options),
            "config": dict(config),
            "versions": versions(),
            "pairs": [outcome.record() for outcome in outcomes],
        },
    )


def print_summary(outcomes: Sequence[Outcome], out: Path) -> None:
    """Print a table with one row per pair, and where the results are."""
    console = output()
    numbers = ("matches", "inliers", "mean score", "seconds")
    table = make_table("pair", *numbers, "folder", right=numbers)
    for outcome in outcomes[:ROWS]:
        table.add_row(*_row(outcome))
    console.print(table)
    if len(outcomes) > ROWS:
        console.print(f"… and {len(outcomes) - ROWS} more pairs")
    for note in dict.fromkeys(outcome.note for outcome in outcomes if outcome.note):
        console.print(f"note: {note}", soft_wrap=True)
    failed = sum(outcome.error is not None for outcome in outcomes)
    done = f"{len(outcomes) - failed} of {len(outcomes)} pairs matched"
    where = f"; results are in {out}" if failed < len(outcomes) else ""
    console.print(f"{done}{where}", soft_wrap=True)


def _row(outcome: Outcome) -> tuple[str, ...]:
    if outcome.error is not None:
        return outcome.pair.title, "failed", "", "", "", ""
    inliers = "-" if outcome.inliers is None else str(outcome.inliers)
    score = "-" if outcome.mean_score is None else f"{outcome.mean_score:.2f}"
    folder = outcome.folder.name if outcome.folder else ""
    return outcome.pair.title, str(outcome.matches), inliers, score, f"{outcome.seconds:.1f}", folder


def _remove_files(folder: Path) -> None:
    for name in (MATCHES, MATCHES_PICTURE, TRANSFER_PICTURE, DENSE_PICTURE):
        (folder / name).unlink(missing_ok=True)
