"""Match many pairs, one after the other; one that fails does not stop the others."""

import functools
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from homolog.cli.comparison import Comparison, Options, compare
from homolog.cli.figures.prepare import present
from homolog.cli.notes import say
from homolog.cli.outcome import INTERRUPTED, Outcome, exit_code
from homolog.cli.pairs import Pair
from homolog.cli.results import take_back, write_results
from homolog.cli.studio import draw_page
from homolog.cli.verify import Verdict
from homolog.core.errors import DataError, HomologError
from homolog.core.image import Image
from homolog.core.io import read_image
from homolog.core.keypoints import Matches
from homolog.core.protocols import Matcher

FAILURES = (HomologError, RuntimeError, MemoryError, OSError)
"""What may go wrong with one pair while the others are fine; anything else is a mistake of ours."""

AHEAD = 2
"""Pairs that may wait for their pictures while the next one is matched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What became of all pairs.

    Attributes:
        outcomes: of the pairs that were begun and finished, or failed.
        exit_code: for the command.
    """

    outcomes: list[Outcome]
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pending:
    """A pair that is matched, while its pictures are drawn.

    Attributes:
        outcome: what becomes of it once its files are written.
        folder: where they go.
        matches: what was found.
        verdict: what the check said of it.
        pictures: PNGs by the name of the file, as soon as they are drawn.
    """

    outcome: Outcome
    folder: Path
    matches: Matches
    verdict: Verdict
    pictures: Future[dict[str, bytes]]


def match_all(
    matcher: Matcher, pairs: Sequence[Pair], options: Options, out: Path, drawing: Executor
) -> Batch:
    """Match pairs and write the results of each into a folder of its own.

    A pair that fails is reported at once, in one line on standard error, and leaves nothing behind.
    Ctrl-C ends the run after the files of the pair in work have been taken back.

    Args:
        matcher: ready to use.
        pairs: in order.
        options: how to match and check.
        out: the folder above the pairs' folders.
        drawing: what pictures are drawn on.
    """
    outcomes: list[Outcome] = []
    waiting: deque[Pending | Outcome] = deque()
    in_work: list[Path] = []

    def record() -> None:
        outcomes.append(finish(waiting.popleft(), in_work))
        in_work.clear()

    # Consecutive pairs of a folder share a photo; two are kept, because photos are large.
    read = functools.lru_cache(maxsize=2)(read_image)
    console = Console(stderr=True)
    with Progress(console=console, disable=len(pairs) < 2 or not console.is_terminal) as progress:
        try:
            for pair in progress.track(pairs, description="matching"):
                waiting.append(match_one(matcher, pair, options, out, read, drawing))
                while len(waiting) > AHEAD:
                    record()
            while waiting:
                record()
        except KeyboardInterrupt:
            progress.stop()
            # Written whole or not, what is not among the outcomes was not done.
            for folder in {*in_work} - {outcome.folder for outcome in outcomes}:
                take_back(folder)
            say(f"homolog: interrupted; {len(outcomes)} of {len(pairs)} pairs are done")
            return Batch(outcomes=outcomes, exit_code=INTERRUPTED)
    return Batch(outcomes=outcomes, exit_code=exit_code(outcomes))


def match_one(
    matcher: Matcher,
    pair: Pair,
    options: Options,
    out: Path,
    read: Callable[[Path], Image],
    drawing: Executor,
) -> Pending | Outcome:
    """Match one pair and let its pictures be drawn, or report why that failed."""
    try:
        comparison = compare(matcher, pair, options, read)
        return presented(pair, comparison, out / pair.name, drawing, title=pair.title)
    except FAILURES as error:
        return _failed(pair, error, unreadable=isinstance(error, DataError))


def presented(pair: Pair, comparison: Comparison, folder: Path, drawing: Executor, *, title: str) -> Pending:
    """Let the pictures of a comparison be drawn; its photos are not held until then."""
    matches, verdict = comparison.matches, comparison.verdict
    outcome = Outcome(
        pair=pair,
        folder=folder,
        matches=len(matches),
        inliers=None if verdict.check == "none" else int(verdict.inlier.sum()),
        mean_score=float(matches.score.mean()) if len(matches) else None,
        seconds=comparison.seconds,
        note=f"{pair.title}: {verdict.note}" if verdict.note else "",
    )
    pictures = drawing.submit(draw_page, present(comparison, title=title))
    return Pending(outcome=outcome, folder=folder, matches=matches, verdict=verdict, pictures=pictures)


def finish(pending: Pending | Outcome, in_work: list[Path] | None = None) -> Outcome:
    """Write the results of a pair when its pictures are drawn, or report why that failed.

    Args:
        pending: the pair.
        in_work: receives its folder before anything is written there.
    """
    if isinstance(pending, Outcome):
        return pending
    try:
        pictures = pending.pictures.result()
        if in_work is not None:
            in_work.append(pending.folder)
        write_results(pending.folder, pending.matches, pending.verdict, pictures)
    except FAILURES as error:
        return _failed(pending.outcome.pair, error, unreadable=False)
    return pending.outcome


def _failed(pair: Pair, error: Exception, *, unreadable: bool) -> Outcome:
    reason = " ".join(str(error).split()) or type(error).__name__
    say(f"homolog: failed: {pair.title}: {reason}")
    return Outcome(pair=pair, error=reason, unreadable=unreadable)
