"""What became of a pair, and what the exit code of a run says of all of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from homolog.cli.pairs import Pair

FINE, SOME_FAILED, WRONG_USE, NOTHING_READ, INTERRUPTED = 0, 1, 2, 3, 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One row of the summary.

    Attributes:
        pair: the photos.
        folder: where the results are; None for a pair that failed.
        matches: how many were found.
        inliers: how many agree with the geometric check; None if nothing was checked.
        mean_score: of the matches; None if there are none.
        seconds: for reading, matching and checking.
        note: what a user should know.
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
    """Return 0 if all went well, 3 if not one pair could be read, else 1."""
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if not failed:
        return FINE
    if len(failed) == len(outcomes) and all(outcome.unreadable for outcome in failed):
        return NOTHING_READ
    return SOME_FAILED
