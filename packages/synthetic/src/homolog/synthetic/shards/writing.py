"""Write samples to a folder of shards, and resume where an earlier run ended."""

import errno
import io
import logging
import os
import tarfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

import torch
from filelock import FileLock, Timeout

from homolog.core.atomic import atomic
from homolog.core.errors import ConfigError, DataError, HomologError
from homolog.core.samples import PairSample, VideoSample
from homolog.synthetic.shards._workers import Step, distribute
from homolog.synthetic.shards.codecs import Pictures
from homolog.synthetic.shards.dataset import (
    DESCRIPTION,
    INDEX,
    Description,
    Shard,
    code_hash,
    index_json,
    key,
    named_files,
    read_description,
    read_index,
    scan_shard,
    shard_digest,
    shard_numbers,
    shard_path,
)
from homolog.synthetic.shards.samples import encode, kind_of

logger = logging.getLogger(__name__)

_LOCK = ".homolog-lock"


@runtime_checkable
class Source(Protocol):
    """Where samples come from: each depends on its index only, not on the order in which they are asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> PairSample | VideoSample: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a run has done: samples written and kept, and how many tars there are now, of which size in bytes."""

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

    A tar gets its name when all of it is on the disk, and the index is written last. After a kill, a full disk or
    a power cut, the same call keeps the finished tars, writes the others, and indexes all of them.

    Args:
        make: makes the source; with several workers it is sent to each of them.
        folder: where the shards go.
        config: what the source was made from, as a node with a `_target_`.
        per_shard: samples in a shard.
        pictures: `jpg` of quality 95, or `png` without loss.
        workers: processes; 1 uses this one.
        force: replace shards of other settings; without it they are an error.
        progress: called with the number of samples that are done, those of earlier runs included.

    Raises:
        ConfigError: wrong arguments, or a folder of other settings.
        DataError: the folder cannot be written to, or the disk is full; finished shards are kept.
        HomologError: what the source raises.
    """
    if workers < 1:
        raise ConfigError(f"shards: expected at least 1 worker, got {workers}")
    source = make()
    description = _describe(source, config, per_shard, pictures)
    place = Path(folder).expanduser()
    with _locked(place):
        shards = _prepare(place, description, force=force)
        missing = [number for number in range(description.shards) if number not in shards]
        kept = done = description.count - sum(len(description.samples(number)) for number in missing)

        def step() -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(done)

        if progress is not None:
            progress(done)
        job = partial(_write_shard, description=description, folder=place)
        try:
            for number, shard in _jobs(job, make, source, missing, workers, step):
                shards[number] = shard
        except BaseException:
            with suppress(HomologError):  # the tars are what counts: without an index they are scanned again
                _write_index(place, description, shards)
            raise
        finally:
            _sweep(place)  # after workers that had to be terminated
        _write_index(place, description, shards)
    return Written(
        samples=description.count - kept,
        kept=kept,
        shards=description.shards,
        size=sum(shard.size for shard in shards.values()),
    )


def _describe(source: Source, config: Mapping[str, Any], per_shard: int, pictures: Pictures) -> Description:
    if len(source) < 1:
        raise ConfigError("shards: expected at least one sample, got a source of none; raise the count")
    # Before anything is written: does the source make samples, and can they be stored?
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


def _prepare(place: Path, description: Description, *, force: bool) -> dict[int, Shard]:
    """Make the folder one of these settings, and return the shards that are finished."""
    try:
        there = read_description(place) if (place / DESCRIPTION).exists() else None
    except DataError:
        if not force:
            raise
        there = None
    same = there is not None and there.digest == description.digest
    strange = [
        shard_path(place, number)
        for number in shard_numbers(place)
        if number >= description.shards
        or shard_digest(shard_path(place, number)) not in (description.digest, None)
    ]
    if not force and (strange or (there is not None and not same)):
        others = strange[0].name if there is None or same else description.differences(there)
        raise ConfigError(
            f"{place}: expected shards of these settings, got others ({others}); "
            "choose another folder, or --overwrite to replace them"
        )
    _sweep(place)
    for path in strange:
        path.unlink()
    if not same:
        # Format 1 had a sidecar beside every tar.
        for path in (place / INDEX, *place.glob("shard-??????.json")):
            path.unlink(missing_ok=True)
        _write(place / DESCRIPTION, description.to_json())
    elif there is not None and there.code != description.code:
        logger.warning(
            "%s: the code that makes samples has changed since the first of these shards were written; "
            "homolog data verify checks whether it makes the same ones",
            place,
        )
    return _finished(place, description)


def _finished(place: Path, description: Description) -> dict[int, Shard]:
    """Return the whole shards by number, and remove the others."""
    try:
        indexed = read_index(place, description)
    except DataError:
        indexed = {}  # it is rebuilt
    shards: dict[int, Shard] = {}
    for number in shard_numbers(place):
        path = shard_path(place, number)
        shard = indexed.get(number)
        try:
            whole = shard is not None and shard.size == path.stat().st_size
            shards[number] = shard if shard is not None and whole else scan_shard(place, number, description)
        except DataError:
            path.unlink()
    return shards


def _jobs(
    job: Callable[[Source, int, Step], tuple[int, Shard]],
    make: Callable[[], Source],
    source: Source,
    missing: list[int],
    workers: int,
    step: Step,
) -> Iterator[tuple[int, Shard]]:
    if workers > 1:
        yield from distribute(job, make, missing, workers=workers, step=step)
        return
    # As in a worker process: how sums are split among threads can show in their last bits.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for number in missing:
            yield job(source, number, step)
    finally:
        torch.set_num_threads(threads)


def _write_shard(
    source: Source, number: int, step: Step, *, description: Description, folder: Path
) -> tuple[int, Shard]:
    """Write a shard, whole or not at all; the same samples give the same bytes."""
    comment = {"comment": description.digest}
    with (
        _durable(shard_path(folder, number)) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT, pax_headers=comment) as archive,
    ):
        for index in description.samples(number):
            for end, content in sorted(encode(source[index], description.pictures).items()):
                # By default owner 0, time 0 and mode 644: no trace of the machine.
                entry = tarfile.TarInfo(f"{key(index)}.{end}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            step()
    return number, scan_shard(folder, number, description)


def _write_index(place: Path, description: Description, shards: Mapping[int, Shard]) -> None:
    content = index_json(place, description, shards)
    path = place / INDEX
    if shards and not (path.exists() and path.read_bytes() == content):
        _write(path, content)


def _write(path: Path, content: bytes) -> None:
    with _durable(path) as file:
        file.write(content)


@contextmanager
def _durable(path: Path) -> Generator[BinaryIO]:
    """Give a file to write to; it gets the name `path` once all of it is on the disk, even in a power cut.

    Raises:
        DataError: it cannot be written; nothing is left, and what was there under that name still is.
    """
    try:
        with atomic(path) as temporary, temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if os.name == "posix":  # elsewhere a folder cannot be opened
            descriptor = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except HomologError:
        raise
    except OSError as error:
        advice = "allow larger files" if error.errno == errno.EFBIG else "check the disk"
        raise DataError(f"{path}: cannot write it ({error.strerror or error}); {advice}") from error


def _sweep(place: Path) -> None:
    """Remove what killed processes left; nobody else writes here now."""
    for leftover in place.glob(".homolog-*.*"):
        leftover.unlink(missing_ok=True)


@contextmanager
def _locked(place: Path) -> Generator[None]:
    """Keep a second run out of the folder; the lock of a killed run does not count."""
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
