"""Match pairs of photos: read, match, verify, draw, write. A pair that fails does not stop the others.

A sparse matcher gets several pairs at once, because it extracts and compares faster in batches.
"""

import functools
import importlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from homolog.cli.console import INTERRUPTED, progress_bar, say
from homolog.cli.pairs import Pair
from homolog.cli.results import Outcome, exit_code, remove_pair, write_pair
from homolog.core.errors import DataError, HomologError
from homolog.core.image import Image
from homolog.core.io import read_image
from homolog.core.keypoints import Matches
from homolog.core.protocols import Correspondence, Matcher, MatchesPairs
from homolog.evaluators.verification import Check, Verification, default_threshold, verify

if TYPE_CHECKING:
    from homolog.cli.figures.views import PairView

Value = TypeVar("Value")

FAILURES = (HomologError, RuntimeError, MemoryError, OSError)
"""Errors of a single pair; any other exception is a bug and ends the run."""

PHOTO_MEMORY = 1_000_000_000
"""Bytes of photos to hold for pairs that are matched together; at 24 megapixels, two pairs of three photos."""

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
        seconds: for reading, matching and verification; pairs that were matched together have equal parts
            of the first two.
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
    photos = read(pair.path0), read(pair.path1)
    return _verified(photos, matcher.match(*photos), options, start)


def _verified(
    photos: tuple[Image, Image], found: Correspondence, options: Options, start: float
) -> Comparison:
    matches = found.matches(limit=options.max_matches).cpu()
    threshold = options.threshold or default_threshold(photos[0].size, photos[1].size)
    verdict = verify(matches.xy0.numpy(), matches.xy1.numpy(), check=options.check, threshold=threshold)
    return Comparison(
        image0=photos[0],
        image1=photos[1],
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

    drawing = ThreadPoolExecutor(1)
    drawing.submit(importlib.import_module, "homolog.cli.figures.prepare")  # while the first pair is matched
    drawing.submit(importlib.import_module, "homolog.cli.figures.matches")
    with progress_bar("matching", len(pairs)) as show:
        try:
            for index, (pair, comparison) in enumerate(_comparisons(matcher, pairs, options)):
                waiting.append(_begun(pair, comparison, out, drawing))
                del comparison  # and its photos
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


def _comparisons(
    matcher: Matcher, pairs: Sequence[Pair], options: Options
) -> Iterator[tuple[Pair, Comparison | Exception]]:
    """Compare pairs, and yield each with its comparison, or with why there is none, in order."""
    if not isinstance(matcher, MatchesPairs) or matcher.joint or len(pairs) == 1:
        # Consecutive pairs of a folder share a photo. Photos are large, so only two are kept.
        read = functools.lru_cache(maxsize=2)(read_image)
        for pair in pairs:
            yield pair, _attempt(compare, matcher, pair, options, read)
        return
    rest, photos = deque(pairs), dict[Path, Image | Exception]()
    while rest:
        start, batch = time.perf_counter(), list[Pair]()
        while rest and len(batch) < 2 * matcher.batch_size and (not batch or _nbytes(photos) < PHOTO_MEMORY):
            batch.append(rest.popleft())
            for path in (batch[-1].path0, batch[-1].path1):
                if path not in photos:
                    photos[path] = _attempt(read_image, path)
        yield from _compare_batch(matcher, batch, options, photos, start)
        photos = {path: photos[path] for path in (batch[-1].path0, batch[-1].path1)}


def _compare_batch(
    matcher: MatchesPairs,
    batch: Sequence[Pair],
    options: Options,
    photos: Mapping[Path, Image | Exception],
    start: float,
) -> Iterator[tuple[Pair, Comparison | Exception]]:
    found: dict[str, Correspondence] = {}
    try:
        images = {path: photo for path, photo in photos.items() if isinstance(photo, Image)}
        features = dict(zip(images, matcher.extract(images.values()), strict=True))
        whole = [pair for pair in batch if pair.path0 in features and pair.path1 in features]
        matched = matcher.match_pairs([(features[pair.path0], features[pair.path1]) for pair in whole])
        found = {pair.name: each for pair, each in zip(whole, matched, strict=True)}
    except FAILURES:
        pass  # of some pair; below they are tried one by one

    def read(path: Path) -> Image:
        photo = photos[path]
        if isinstance(photo, Exception):
            raise photo
        return photo

    def one(pair: Pair) -> Comparison:
        if pair.name not in found:
            return compare(matcher, pair, options, read)
        both = read(pair.path0), read(pair.path1)
        return _verified(both, found.pop(pair.name), options, time.perf_counter() - each_took)

    each_took = (time.perf_counter() - start) / len(batch)
    for pair in batch:
        yield pair, _attempt(one, pair)


def _attempt(call: Callable[..., Value], *arguments: object) -> Value | Exception:
    try:
        return call(*arguments)
    except FAILURES as error:
        return error


def _nbytes(photos: Mapping[Path, Image | Exception]) -> int:
    return sum(photo.pixels.nbytes for photo in photos.values() if isinstance(photo, Image))


def _begun(pair: Pair, comparison: Comparison | Exception, out: Path, drawing: Executor) -> Pending | Outcome:
    try:
        if isinstance(comparison, Exception):
            raise comparison
        return begin_drawing(pair, comparison, out / pair.name, drawing, title=pair.title)
    except FAILURES as error:
        return _failed(pair, error, unreadable=isinstance(error, DataError))


def _failed(pair: Pair, error: Exception, *, unreadable: bool) -> Outcome:
    reason = " ".join(str(error).split()) or type(error).__name__
    say(f"homolog: failed: {pair.title}: {reason}")
    return Outcome(pair=pair, error=reason, unreadable=unreadable)
