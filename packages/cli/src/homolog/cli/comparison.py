"""One pair, from two files to everything that is known of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from homolog.cli.pairs import Pair
from homolog.core.image import Image
from homolog.core.keypoints import Matches
from homolog.core.protocols import Correspondence, Matcher
from homolog.evaluators.verification import Check, Verification, default_threshold, verify


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How pairs are matched and checked.

    Attributes:
        check: the geometric check.
        threshold: its tolerance in pixels; None takes `default_threshold`.
        limit: how many matches to keep at most.
    """

    check: Check
    threshold: float | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """What was found out about a pair.

    Attributes:
        image0: as it was read.
        image1: as it was read.
        found: answers for further points.
        matches: best first, in pixels of the files, on the CPU.
        verdict: which of them agree with one geometry.
        seconds: for reading, matching and checking.
    """

    image0: Image
    image1: Image
    found: Correspondence
    matches: Matches
    verdict: Verification
    seconds: float


def compare(matcher: Matcher, pair: Pair, options: Options, read: Callable[[Path], Image]) -> Comparison:
    """Read two files, match them, and check the matches.

    Args:
        matcher: ready to use.
        pair: the files.
        options: how.
        read: reads a file; may remember what it read.

    Raises:
        HomologError: a file that cannot be used, or what the matcher raises.
    """
    start = time.perf_counter()
    image0, image1 = read(pair.path0), read(pair.path1)
    found = matcher.match(image0, image1)
    matches = found.matches(limit=options.limit).cpu()
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
