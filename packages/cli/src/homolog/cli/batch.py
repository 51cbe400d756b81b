"""Match many pairs, one after the other; one that fails does not stop the others."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from homolog.cli.comparison import Comparison, Options, compare
from homolog.cli.notes import say
from homolog.cli.outcome import INTERRUPTED, Outcome, exit_code
from homolog.cli.pairs import Pair
from homolog.cli.results import write_results
from homolog.core.errors import DataError, HomologError
from homolog.core.image import Image
from homolog.core.protocols import Matcher
from homolog.core.reading import read_image

FAILURES = (HomologError, RuntimeError, MemoryError, OSError)
"""What may go wrong with one pair while the others are fine; anything else is a mistake of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What became of all pairs.

    Attributes:
        outcomes: of the pairs that were begun and finished, or failed.
        exit_code: for the command.
    """

    outcomes: list[Outcome]
    exit_code: int


def match_all(matcher: Matcher, pairs: Sequence[Pair], options: Options, out: Path) -> Batch:
    """Match pairs and write the results of each into a folder of its own.

    A pair that fails is reported at once, in one line on standard error, and leaves nothing behind.
    Ctrl-C ends the run after the files of the pair in work have been taken back.

    Args:
        matcher: ready to use.
        pairs: in order.
        options: how to match and check.
        out: the folder above the pairs' folders.
    """
    outcomes: list[Outcome] = []
    # Consecutive pairs of a folder share a photo; two are kept, because photos are large.
    read = functools.lru_cache(maxsize=2)(read_image)
    console = Console(stderr=True)
    with Progress(console=console, disable=len(pairs) < 2 or not console.is_terminal) as progress:
        try:
            for pair in progress.track(pairs, description="matching"):
                outcomes += [match_one(matcher, pair, options, out, read)]
        except KeyboardInterrupt:
            progress.stop()
            say(f"homolog: interrupted; {len(outcomes)} of {len(pairs)} pairs are done")
            return Batch(outcomes=outcomes, exit_code=INTERRUPTED)
    return Batch(outcomes=outcomes, exit_code=exit_code(outcomes))


def match_one(
    matcher: Matcher, pair: Pair, options: Options, out: Path, read: Callable[[Path], Image]
) -> Outcome:
    """Match one pair and write its results, or report why that failed."""
    try:
        comparison = compare(matcher, pair, options, read)
    except FAILURES as error:
        return _failed(pair, error, unreadable=isinstance(error, DataError))
    try:
        write_results(out / pair.name, comparison, title=pair.title)
    except FAILURES as error:
        return _failed(pair, error, unreadable=False)
    return described(pair, comparison, out / pair.name)


def described(pair: Pair, comparison: Comparison, folder: Path) -> Outcome:
    """Return the summary of a comparison that was written to a folder."""
    matches, verdict = comparison.matches, comparison.verdict
    return Outcome(
        pair=pair,
        folder=folder,
        matches=len(matches),
        inliers=None if verdict.check == "none" else int(verdict.inlier.sum()),
        mean_score=float(matches.score.mean()) if len(matches) else None,
        seconds=comparison.seconds,
        note=f"{pair.title}: {verdict.note}" if verdict.note else "",
    )


def _failed(pair: Pair, error: Exception, *, unreadable: bool) -> Outcome:
    reason = " ".join(str(error).split()) or type(error).__name__
    say(f"homolog: failed: {pair.title}: {reason}")
    return Outcome(pair=pair, error=reason, unreadable=unreadable)
