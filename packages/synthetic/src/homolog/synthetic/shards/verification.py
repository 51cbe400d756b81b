"""Check a folder of shards: every byte against the index, and some samples against what makes them."""

import io
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from homolog.core.errors import ConfigError, DataError, HomologError
from homolog.synthetic.shards.codecs import decode_mask, decode_rgb, decode_uint16
from homolog.synthetic.shards.dataset import (
    ADVICE,
    Description,
    Shard,
    code_hash,
    generator,
    key,
    named_files,
    read_description,
    read_index,
    scan_shard,
    shard_numbers,
    shard_path,
)
from homolog.synthetic.shards.reading import ShardFolder
from homolog.synthetic.shards.samples import encode
from homolog.synthetic.shards.writing import Source

LEVELS = 2
"""Of 255: how far decoded images may differ; decoders round differently."""

_BROKEN = (EOFError, KeyError, OSError, ValueError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong with a sample or a member of a shard; `member` is empty for the shard itself."""

    shard: str
    member: str
    what: str


@dataclass(slots=True, kw_only=True)
class Checked:
    """The result of a check.

    Attributes:
        description: of the folder.
        generator: of this installation.
        code: hash of the code that made the samples again; empty if none were.
        shards: how many were read.
        members: how many files are in them.
        size: bytes of these shards.
        regenerated: how many samples were made again.
        worst: the largest difference of a decoded image of those, in levels of 255.
        problems: what is wrong; none in an intact folder.
    """

    description: Description
    generator: str
    code: str = ""
    shards: int = 0
    members: int = 0
    size: int = 0
    regenerated: int = 0
    worst: int = 0
    problems: list[Problem] = field(default_factory=list[Problem])


def verify_shards(
    folder: str | Path,
    make: Callable[[Mapping[str, object]], Source],
    *,
    fraction: float | int = 0.01,
    progress: Callable[[int, int], None] | None = None,
) -> Checked:
    """Check a folder of shards.

    Args:
        folder: that `write_shards` wrote.
        make: makes the source of a configuration.
        fraction: of the samples to make again, spread evenly; at least one if it is above 0. Labels have to
            be bit-equal, images equal to within `LEVELS` after decoding.
        progress: called with the number of finished steps and the number of all.

    Raises:
        ConfigError: a fraction outside [0, 1].
        DataError: no description of shards there, or a damaged index.
        HomologError: the source cannot be made.
    """
    if not 0 <= fraction <= 1:
        raise ConfigError(f"expected a fraction in [0, 1], got {fraction}")
    place = Path(folder).expanduser()
    description = read_description(place)
    index = read_index(place, description)
    places = np.linspace(0, description.count - 1, math.ceil(description.count * fraction))
    again = sorted({int(place) for place in places.round()})
    checked = Checked(description=description, generator=generator())
    steps = description.shards + len(again)

    def report(done: int) -> None:
        if progress is not None:
            progress(done, steps)

    for number in range(description.shards):
        name = shard_path(place, number).name
        checked.problems += [
            Problem(shard=name, member=member, what=what)
            for member, what in _check_shard(place, number, index.get(number), checked)
        ]
        report(number + 1)
    checked.problems += [
        Problem(shard=shard_path(place, number).name, member="", what="does not belong to this folder")
        for number in shard_numbers(place)
        if number >= description.shards
    ]
    if again:
        source = make(description.config)
        checked.code = code_hash(source)
        for number, problems in enumerate(_regenerate(place, source, again, checked), start=1):
            checked.problems += problems
            report(description.shards + number)
    return checked


def _check_shard(
    place: Path, number: int, indexed: Shard | None, checked: Checked
) -> Iterator[tuple[str, str]]:
    """Compare a tar, read as any other reader would, with the index."""
    try:
        found = scan_shard(place, number, checked.description)
    except DataError as error:
        yield "", str(error)
        return
    checked.shards += 1
    checked.members += found.members
    checked.size += found.size
    if indexed is None:
        yield "", f"is not in the index; {ADVICE}"
        return
    for sample, one, other in zip(
        checked.description.samples(number), found.samples, indexed.samples, strict=True
    ):
        if one != other:
            same_place = one[:2] == other[:2]
            yield (
                key(sample),
                "its SHA-256 differs from the index" if same_place else "the index names another place",
            )


def _regenerate(place: Path, source: Source, again: list[int], checked: Checked) -> Iterator[list[Problem]]:
    description = checked.description
    changed = [
        f"{name} leads to other content now"
        for name, content in named_files(description.config).items()
        if content != description.files.get(name)
    ]
    if changed or len(source) != description.count:
        what = "; ".join(changed) or f"the source makes {len(source)} samples, not {description.count}"
        yield [Problem(shard="", member="", what=f"cannot be made again: {what}")]
        return
    shards = ShardFolder(place, description.kind, partial=True)
    for index in again:
        name = shard_path(place, index // description.per_shard).name
        try:
            stored, where = shards.members(index)
            problems, worst = _compare(stored, encode(source[index], description.pictures), where)
        except (HomologError, *_BROKEN) as error:
            yield [Problem(shard=name, member=key(index), what=str(error))]
            continue
        checked.regenerated += 1
        checked.worst = max(checked.worst, worst)
        yield [Problem(shard=name, member=f"{key(index)}.{end}", what=what) for end, what in problems]


def _compare(
    stored: Mapping[str, bytes], made: Mapping[str, bytes], where: str
) -> tuple[list[tuple[str, str]], int]:
    problems = [(end, "is there, but not made again") for end in stored if end not in made]
    problems += [(end, "is made again, but not there") for end in made if end not in stored]
    worst = 0
    for end in sorted(stored.keys() & made.keys()):
        label = f"{where}.{end}"
        if end[0].isdigit():  # an image: 0.jpg, or 0012.png of a video
            difference = _levels(decode_rgb(stored[end], label), decode_rgb(made[end], label))
            worst = max(worst, difference)
            if difference > LEVELS:
                problems.append((end, f"differs by {difference} levels from the image made again"))
        elif not _equal(end, stored[end], made[end], label):
            problems.append((end, "differs from the labels made again"))
    return problems, worst


def _levels(stored: np.ndarray, made: np.ndarray) -> int:
    if stored.shape != made.shape:
        return 255
    return int(np.abs(stored.astype(np.int16) - made).max())


def _equal(end: str, stored: bytes, made: bytes, label: str) -> bool:
    """Compare the content, not how it was compressed: other versions of zlib write other bytes."""
    if stored == made or end == "json":
        return stored == made
    if end == "tracks.npz":
        first, second = (np.load(io.BytesIO(content), allow_pickle=False) for content in (stored, made))
        return first.files == second.files and all(
            np.array_equal(first[name], second[name], equal_nan=first[name].dtype.kind == "f")
            for name in first.files
        )
    decode = decode_mask if end.startswith("mask") else decode_uint16
    return np.array_equal(decode(stored, label), decode(made, label))
