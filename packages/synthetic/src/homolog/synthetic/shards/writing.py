"""Write samples to a folder of shards, going on where an earlier run ended."""

import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from homolog.core.errors import ConfigError, DataError
from homolog.synthetic.shards.content_hash import code_hash, named_files
from homolog.synthetic.shards.description import NAME, Description, read_description
from homolog.synthetic.shards.durable import write_durably
from homolog.synthetic.shards.picture import Pictures
from homolog.synthetic.shards.shard import Source, encode, kind_of, write_shard
from homolog.synthetic.shards.sidecar import complete, numbers, read_sidecar, remove, shard_path
from homolog.synthetic.shards.workers import Each, spread

logger = logging.getLogger(__name__)

_LOCK = ".homolog-lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a run has done.

    Attributes:
        samples: how many it wrote.
        kept: how many were there already.
        shards: how many files there are now.
        size: bytes of all tars together.
    """

    samples: int
    kept: int
    shards: int
    size: int


def write_shards(
    make: Callable[[], Source],
    *,
    folder: str | Path,
    config: Mapping[str, Any],
    per_shard: int = 256,
    pictures: Pictures = "jpg",
    workers: int = 1,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Written:
    """Write all samples of a source; the bytes depend neither on the workers nor on interruptions.

    A shard appears under its name when it is whole, and counts when its sidecar is there too. After a kill,
    a full disk or a lost machine, the same call writes what is missing.

    Args:
        make: makes the source; with several workers it travels to each of them.
        folder: where the shards go.
        config: what the source was made from, as a node with a `_target_`.
        per_shard: samples in a shard.
        pictures: `jpg` of quality 95, or `png` without loss.
        workers: processes; 1 takes this one.
        force: replace shards of another configuration; without it they are an error.
        progress: called with the number of samples that are done, those of earlier runs among them.

    Raises:
        ConfigError: wrong arguments, or a folder of another configuration.
        DataError: the folder cannot be written to, or the disk is full; finished shards are kept.
        HomologError: what the source raises.
    """
    if workers < 1:
        raise ConfigError(f"shards: expected at least 1 worker, got {workers}")
    source = make()
    description = _describe(source, config, per_shard, pictures)
    place = Path(folder).expanduser()
    with _alone(place):
        _make_room(place, description, force=force)
        _describe_folder(place, description)
        missing = [
            shard for shard in range(description.shards) if not complete(place, shard, description.digest)
        ]
        count = _Count(description, missing, progress)
        job = partial(_write, description=description, folder=place)
        try:
            if workers == 1:
                _here(job, source, missing, count.one_more)
            else:
                for _ in spread(job, make, missing, workers=workers, each=count.one_more):
                    pass
        finally:
            _sweep(place)  # workers that took too long to end were ended
    size = sum(read_sidecar(place, shard).size for shard in range(description.shards))
    return Written(
        samples=description.count - count.kept, kept=count.kept, shards=description.shards, size=size
    )


def check_room(folder: str | Path, description: Description) -> None:
    """Refuse a folder with shards of another description.

    Raises:
        ConfigError: there are some; the message says what differs.
        DataError: there is a description that cannot be read.
    """
    place = Path(folder)
    if (place / NAME).exists():
        there = read_description(place)
        if there.digest != description.digest:
            raise ConfigError(
                f"{place}: expected shards of these settings, got others ({description.differences(there)}); "
                "choose another folder, or --overwrite to replace them"
            )
    strange = [shard for shard in numbers(place) if _is_of_another(place, shard, description)]
    if strange:
        raise ConfigError(
            f"{place}: expected shards of these settings, got {shard_path(place, strange[0]).name} of others; "
            "choose another folder, or --overwrite to replace them"
        )


class _Count:
    """Samples that are done; Ctrl-C aside, the last report is the number of all."""

    def __init__(
        self, description: Description, missing: list[int], progress: Callable[[int], None] | None
    ) -> None:
        self.kept = description.count - sum(len(description.samples(shard)) for shard in missing)
        self._done, self._progress = self.kept, progress
        self._report()

    def one_more(self) -> None:
        self._done += 1
        self._report()

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self._done)


def _describe(source: Source, config: Mapping[str, Any], per_shard: int, pictures: Pictures) -> Description:
    if len(source) < 1:
        raise ConfigError("shards: expected at least one sample, got a source of none; raise the count")
    # Before anything is written: does it make samples, and can they be stored?
    first = source[0]
    description = Description(
        kind=kind_of(first),
        count=len(source),
        per_shard=per_shard,
        pictures=pictures,
        config=config,
        files=named_files(config),
        code=code_hash(source),
    )
    encode(first, pictures)
    return description


def _describe_folder(place: Path, description: Description) -> None:
    try:
        there = read_description(place)
    except DataError:  # none, or one to be replaced by force
        there = None
    if there is None or there.digest != description.digest:
        write_durably(place / NAME, description.to_json())
    elif there.code != description.code:
        logger.warning(
            "%s: the code that makes samples has changed since the first of these shards were written; "
            "homolog data verify says whether it makes the same ones",
            place,
        )


def _make_room(place: Path, description: Description, *, force: bool) -> None:
    if force:
        for shard in numbers(place):
            if not complete(place, shard, description.digest):
                remove(place, shard)
    else:
        check_room(place, description)
    _sweep(place)


def _sweep(place: Path) -> None:
    """Remove what killed processes left; nobody else writes here now."""
    for leftover in place.glob(".homolog-*.*"):
        leftover.unlink(missing_ok=True)


def _is_of_another(place: Path, shard: int, description: Description) -> bool:
    try:
        return read_sidecar(place, shard).digest != description.digest or shard >= description.shards
    except DataError:
        return False  # without a sidecar there is no shard: it is written again


def _write(source: Source, shard: int, each: Each, *, description: Description, folder: Path) -> None:
    write_shard(source, description, shard, folder, each)


def _here(job: Callable[[Source, int, Each], None], source: Source, missing: list[int], each: Each) -> None:
    # As in a worker process: how sums are split among threads can show in their last bits.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for shard in missing:
            job(source, shard, each)
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _alone(place: Path) -> Generator[None]:
    """Keep a second run out of the folder; a killed run does not."""
    new = not place.exists()
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place / _LOCK, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise ConfigError(
            f"{place}: another run is writing there; wait for it, or choose another folder"
        ) from error
    except OSError as error:
        raise DataError(f"{place}: cannot write there ({error.strerror}); choose another folder") from error
    try:
        yield
    finally:
        with suppress(OSError):  # some systems do not remove what is open
            (place / _LOCK).unlink(missing_ok=True)
        lock.release()
        if new:
            with suppress(OSError):  # it is empty only if nothing was written
                place.rmdir()
