"""A benchmark: samples, what is asked of a matcher for each, and the protocols that score the answers."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, Protocol, runtime_checkable

from homolog.core.errors import ConfigError, did_you_mean
from homolog.core.protocols import Matcher
from homolog.core.samples import PairSample, VideoSample
from homolog.evaluators.record import Record
from homolog.evaluators.score import Scored, ScoringProtocol

Sample = PairSample | VideoSample
Kind = Literal["semantic", "geometric", "temporal", "dense"]


@runtime_checkable
class Samples(Protocol):
    """A data set: its samples are read when they are asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> PairSample | VideoSample: ...


@runtime_checkable
class Predictor(Protocol):
    """Asks a matcher what a benchmark wants to know of one sample."""

    def __call__(self, matcher: Matcher, sample: Sample, /) -> Record:
        """Return the raw answer.

        Raises:
            CapabilityError: the matcher cannot answer.
        """
        ...


class Benchmark:
    """One run of a matcher over the samples answers all protocols."""

    def __init__(
        self,
        *,
        kind: Kind,
        data: Samples,
        predict: Predictor,
        protocols: Mapping[str, ScoringProtocol],
        headline: str,
    ) -> None:
        """Put a benchmark together.

        Args:
            kind: which of the tasks it belongs to, for averages over tasks.
            data: the samples.
            predict: what is asked of the matcher.
            protocols: how answers are scored, by a short name.
            headline: the short name of the protocol whose first score stands for the benchmark.

        Raises:
            ConfigError: no such headline.
        """
        if headline not in protocols:
            raise ConfigError(f"benchmark: no protocol {headline}{did_you_mean(headline, protocols)}")
        self.kind = kind
        self.data = data
        self.predict = predict
        self.protocols = protocols
        self.headline = headline

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.data)

    def answers(self, matcher: Matcher, *, start: int = 0, limit: int | None = None) -> Iterator[Record]:
        """Ask a matcher about the samples, one after the other.

        Args:
            matcher: anybody's.
            start: the sample to begin with, so that an interrupted run can go on.
            limit: stop before this sample; None takes all.

        Yields:
            One record for each sample, in order.

        Raises:
            CapabilityError: the matcher cannot answer.
            DataError: a sample that cannot be read.
        """
        for index in range(start, len(self) if limit is None else min(limit, len(self))):
            sample = self.data[index]
            begin = time.perf_counter()
            record = self.predict(matcher, sample)
            yield replace(record, seconds=time.perf_counter() - begin)

    def run(self, matcher: Matcher, *, limit: int | None = None) -> list[Record]:
        """Return all answers of a matcher; see `answers`."""
        return list(self.answers(matcher, limit=limit))

    def score(self, records: Sequence[Record]) -> dict[str, Scored]:
        """Score records by every protocol, the headline first."""
        names = [self.headline, *(name for name in self.protocols if name != self.headline)]
        return {name: self.protocols[name].score(records) for name in names}
