"""Match pairs of photos: read, match, verify, draw, write. A pair that fails does not stop the others."""

import functools
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from homolog.cli.console import INTERRUPTED, progress_bar, say
from homolog.cli.pairs import Pair
from homolog.cli.results import Outcome, exit_code, remove_pair, write_pair
from homolog.core.errors import DataError, HomologError
from homolog.core.image import Image
from homolog.core.io import read_image
from homolog.core.keypoints import Matches
from homolog.core.protocols import Correspondence, Matcher
from homolog.evaluators.verification import Check, Verification, default_threshold, verify

if TYPE_CHECKING:
    from homolog.cli.figures.views import PairView

FAILURES = (HomologError, RuntimeError, MemoryError, OSError)
"""Errors of a single pair; any other exception is a bug and ends the run."""

AHEAD = 2
"""Pairs that may wait to be drawn while the next one is matched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How pairs are matched and verified.

    Attributes:
        check: the geometric model.
        threshold: inlier threshold in pixels; None takes `default_threshold`.
        max_matches: keep only the best ones; None keeps all.
    """

    check: Check
    threshold: float | None = None
    max_matches: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """A matched and verified pair.

    Attributes:
        image0: as it was read.
        image1: as it was read.
        found: answers for further points.
        matches: best first, in pixels of the files, on the CPU.
        verdict: the geometric verification of the matches.
        seconds: for reading, matching and verification.
    """

    image0: Image
    image1: Image
    found: Correspondence
    matches: Matches
    verdict: Verification
    seconds: float


def compare(matcher: Matcher, pair: Pair, options: Options, read: Callable[[Path], Image]) -> Comparison:
    """Read two photos, match them, and verify the matches; `read` may cache.

    Raises:
        HomologError: a file that cannot be read, or an error of the matcher.
    """
    start = time.perf_counter()
    image0, image1 = read(pair.path0), read(pair.path1)
    found = matcher.match(image0, image1)
    matches = found.matches(limit=options.max_matches).cpu()
    threshold = options.threshold or default_threshold(image0.size, image1.size)
    verdict = verify(matches.xy0.numpy(), matches.xy1.numpy(), check=options.check, threshold=threshold)
    return Comparison(
        image0=image0,
        image1=image1,
        found=found,
        matches=matches,
        verdict=verdict,
        seconds=time.perf_counter() - start,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pending:
    """A matched pair whose pictures, PNGs by file name, are being drawn; `outcome` holds once they are written."""

    outcome: Outcome
    folder: Path
    matches: Matches
    verdict: Verification
    pictures: "Future[dict[str, bytes]]"

    def write(self) -> Outcome:
        """Wait for the pictures, write all files, and return the outcome of the pair."""
        try:
            write_pair(self.folder, self.matches, self.verdict, self.pictures.result())
        except FAILURES as error:
            return _failed(self.outcome.pair, error, unreadable=False)
        return self.outcome


def match_all(
    matcher: Matcher, pairs: Sequence[Pair], options: Options, out: Path
) -> tuple[list[Outcome], int]:
    """Match pairs and write the results of each into its own folder.

    A failing pair is reported at once in one line on standard error, and leaves no files. After Ctrl-C
    the files of an unfinished pair are removed.

    Returns:
        The outcomes of the pairs that finished or failed, and the exit code.
    """
    outcomes: list[Outcome] = []
    waiting: deque[Pending | Outcome] = deque()
    writing: list[Path] = []

    def finish() -> None:
        pending = waiting.popleft()
        if isinstance(pending, Pending):
            pending.pictures.exception()  # wait before the folder counts as begun
            writing.append(pending.folder)
            pending = pending.write()
        outcomes.append(pending)
        writing.clear()

    # Consecutive pairs of a folder share a photo. Photos are large, so only two are kept.
    read = functools.lru_cache(maxsize=2)(read_image)
    drawing = ThreadPoolExecutor(1)
    with progress_bar("matching", len(pairs)) as show:
        try:
            for index, pair in enumerate(pairs):
                waiting.append(_match_one(matcher, pair, options, out, read, drawing))
                while len(waiting) > AHEAD:
                    finish()
                if len(pairs) > 1:
                    show(index + 1)
            while waiting:
                finish()
        except KeyboardInterrupt:
            # Whether complete or not, a pair without an outcome does not count as done.
            for folder in {*writing} - {outcome.folder for outcome in outcomes}:
                remove_pair(folder)
            say(f"homolog: interrupted; {len(outcomes)} of {len(pairs)} pairs are done")
            return outcomes, INTERRUPTED
        finally:
            drawing.shutdown(cancel_futures=True)
    return outcomes, exit_code(outcomes)


def begin_drawing(
    pair: Pair, comparison: Comparison, folder: Path, drawing: Executor, *, title: str
) -> Pending:
    """Start to draw the pictures of a comparison, and let go of its photos."""
    from homolog.cli.figures.prepare import present

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
    pictures = drawing.submit(draw_pictures, present(comparison, title=title))
    return Pending(outcome=outcome, folder=folder, matches=matches, verdict=verdict, pictures=pictures)


def draw_pictures(view: "PairView") -> dict[str, bytes]:
    """Draw all pictures of a pair: PNGs by file name. Imports matplotlib when called."""
    from homolog.cli.figures.matches import draw_pair

    return draw_pair(view)


def _match_one(
    matcher: Matcher,
    pair: Pair,
    options: Options,
    out: Path,
    read: Callable[[Path], Image],
    drawing: Executor,
) -> Pending | Outcome:
    try:
        comparison = compare(matcher, pair, options, read)
        return begin_drawing(pair, comparison, out / pair.name, drawing, title=pair.title)
    except FAILURES as error:
        return _failed(pair, error, unreadable=isinstance(error, DataError))


def _failed(pair: Pair, error: Exception, *, unreadable: bool) -> Outcome:
    reason = " ".join(str(error).split()) or type(error).__name__
    say(f"homolog: failed: {pair.title}: {reason}")
    return Outcome(pair=pair, error=reason, unreadable=unreadable)
