"""A benchmark: samples, a predictor that runs a matcher on each, and protocols that score the records."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, Protocol, runtime_checkable

from homolog.core.errors import one_of
from homolog.core.protocols import Matcher
from homolog.core.samples import PairSample, VideoSample
from homolog.evaluators.records import Record, Scored, ScoringProtocol

Sample = PairSample | VideoSample
Kind = Literal["semantic", "geometric", "temporal", "dense"]


@runtime_checkable
class Samples(Protocol):
    """A data set, whose samples are read on access."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> PairSample | VideoSample: ...


@runtime_checkable
class Predictor(Protocol):
    """Runs a matcher on one sample; see `homolog.evaluators.predictors`."""

    def __call__(self, matcher: Matcher, sample: Sample, /) -> Record:
        """Return the raw predictions.

        Raises:
            CapabilityError: the matcher cannot do what the task needs.
        """
        ...


class Benchmark:
    """Runs a matcher over the samples once, and scores the records by all protocols."""

    def __init__(
        self,
        *,
        kind: Kind,
        data: Samples,
        predict: Predictor,
        protocols: Mapping[str, ScoringProtocol],
        headline: str,
    ) -> None:
        """Combine data, predictor and protocols.

        Args:
            kind: of task, for averages over tasks.
            data: the samples.
            predict: runs the matcher on a sample.
            protocols: how records are scored, by short name.
            headline: short name of the protocol whose first score represents the benchmark.

        Raises:
            ConfigError: a headline that is not among the protocols.
        """
        one_of("headline", headline, protocols)
        self.kind = kind
        self.data = data
        self.predict = predict
        self.protocols = protocols
        self.headline = headline

    def __len__(self) -> int:
        return len(self.data)

    def answers(self, matcher: Matcher, *, start: int = 0, limit: int | None = None) -> Iterator[Record]:
        """Run a matcher on the samples, one after the other.

        Args:
            matcher: any matcher.
            start: index of the first sample, to resume an interrupted run.
            limit: stop before this sample; None for all.

        Yields:
            One record for each sample, in order.

        Raises:
            CapabilityError: the matcher cannot do what the task needs.
            DataError: a sample that cannot be read.
        """
        for index in range(start, len(self) if limit is None else min(limit, len(self))):
            sample = self.data[index]
            begin = time.perf_counter()
            record = self.predict(matcher, sample)
            yield replace(record, seconds=time.perf_counter() - begin)

    def run(self, matcher: Matcher, *, limit: int | None = None) -> list[Record]:
        """Return all records of a matcher; see `answers`."""
        return list(self.answers(matcher, limit=limit))

    def score(self, records: Sequence[Record]) -> dict[str, Scored]:
        """Score records by every protocol, the headline first."""
        names = [self.headline, *(name for name in self.protocols if name != self.headline)]
        return {name: self.protocols[name].score(records) for name in names}
