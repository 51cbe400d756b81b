"""Check a folder of shards: every byte against the sidecars, and some samples against what makes them."""

import hashlib
import io
import math
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from homolog.core.errors import ConfigError, DataError, HomologError
from homolog.synthetic.shards.content_hash import code_hash, named_files
from homolog.synthetic.shards.deep_png import decode_deep_png
from homolog.synthetic.shards.description import Description, generator, read_description
from homolog.synthetic.shards.picture import decode_bytes, decode_mask
from homolog.synthetic.shards.reading import ShardFolder
from homolog.synthetic.shards.shard import Source, encode
from homolog.synthetic.shards.sidecar import Sidecar, numbers, read_sidecar, shard_path

LEVELS = 2
"""Of 255: how far decoded pictures may differ; decoders round differently."""

_BROKEN = (EOFError, KeyError, OSError, ValueError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is not as it should be.

    Attributes:
        shard: name of its file.
        member: name in the shard; empty for the shard itself.
        what: in words.
    """

    shard: str
    member: str
    what: str


@dataclass(slots=True, kw_only=True)
class Checked:
    """What a check has seen.

    Attributes:
        description: of the folder.
        generator: of this installation.
        code: hash of the code that made the samples again; empty if none were.
        shards: how many there are.
        members: how many were hashed.
        size: bytes that were hashed.
        regenerated: how many samples were made again.
        worst: how far a decoded picture of those was off, in levels of 255.
        problems: what is wrong; none in a sound folder.
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
            be equal to the bit, pictures to within `LEVELS` after decoding.
        progress: called with the steps that are done and all of them.

    Raises:
        ConfigError: a fraction beyond [0, 1].
        DataError: no description of shards there.
        HomologError: the source cannot be made.
    """
    if not 0 <= fraction <= 1:
        raise ConfigError(f"expected a fraction in [0, 1], got {fraction}")
    place = Path(folder).expanduser()
    description = read_description(place)
    again = _chosen(description.count, fraction)
    checked = Checked(description=description, generator=generator())
    steps = description.shards + len(again)
    for shard in range(description.shards):
        checked.problems += _check_shard(place, shard, checked)
        _tell(progress, shard + 1, steps)
    checked.problems += [
        Problem(shard=shard_path(place, shard).name, member="", what="is none of this folder's shards")
        for shard in numbers(place)
        if shard >= description.shards
    ]
    if again:
        source = make(description.config)
        checked.code = code_hash(source)
        for number, problems in enumerate(_regenerate(place, source, again, checked), start=1):
            checked.problems += problems
            _tell(progress, description.shards + number, steps)
    return checked


def _chosen(count: int, fraction: float | int) -> list[int]:
    many = math.ceil(count * fraction)
    return sorted({int(place) for place in np.linspace(0, count - 1, many).round()}) if many else []


def _tell(progress: Callable[[int, int], None] | None, done: int, steps: int) -> None:
    if progress is not None:
        progress(done, steps)


def _check_shard(place: Path, shard: int, checked: Checked) -> Iterator[Problem]:
    path = shard_path(place, shard)
    try:
        sidecar = read_sidecar(place, shard)
        if not path.is_file():
            raise DataError(f"{path}: expected this shard, found none; run the same homolog generate again")
    except DataError as error:
        yield Problem(shard=path.name, member="", what=str(error))
        return
    checked.shards += 1
    if sidecar.digest != checked.description.digest:
        yield Problem(shard=path.name, member="", what="was made with other settings than the folder")
    yield from _check_tar(path, sidecar)
    with path.open("rb") as file:
        for name, member in sidecar.members.items():
            file.seek(member.offset)
            content = file.read(member.size)
            checked.members += 1
            checked.size += len(content)
            if hashlib.sha256(content).hexdigest() != member.sha256:
                yield Problem(shard=path.name, member=name, what="its SHA-256 differs from the sidecar's")


def _check_tar(path: Path, sidecar: Sidecar) -> Iterator[Problem]:
    """Other readers go by the headers of the tar, ours by the sidecar: both have to say the same."""
    size = path.stat().st_size
    if size != sidecar.size:
        yield Problem(shard=path.name, member="", what=f"has {size:,} bytes of {sidecar.size:,}")
    try:
        with tarfile.open(path, mode="r:") as archive:
            found = [(entry.name, entry.offset_data, entry.size) for entry in archive]
    except (tarfile.TarError, EOFError, ValueError) as error:
        yield Problem(shard=path.name, member="", what=f"is no whole tar ({error})")
        return
    if found != [(name, member.offset, member.size) for name, member in sidecar.members.items()]:
        yield Problem(shard=path.name, member="", what="holds other members than its sidecar says")


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
            made = encode(source[index], description.pictures)
            problems, worst = _compare(stored, made, where)
        except (HomologError, *_BROKEN) as error:
            yield [Problem(shard=name, member="", what=str(error))]
            continue
        checked.regenerated += 1
        checked.worst = max(checked.worst, worst)
        key = where.rpartition(" ")[2]
        yield [Problem(shard=name, member=f"{key}.{end}", what=what) for end, what in problems]


def _compare(
    stored: Mapping[str, bytes], made: Mapping[str, bytes], where: str
) -> tuple[list[tuple[str, str]], int]:
    problems = [(end, "is there, but not made again") for end in stored if end not in made]
    problems += [(end, "is made again, but not there") for end in made if end not in stored]
    worst = 0
    for end in sorted(stored.keys() & made.keys()):
        label = f"{where}.{end}"
        if end[0].isdigit():  # a picture: 0.jpg, or 0012.png of a video
            off = _levels(decode_bytes(stored[end], label), decode_bytes(made[end], label))
            worst = max(worst, off)
            if off > LEVELS:
                problems.append((end, f"differs by {off} levels from the picture made again"))
        elif not _equal(end, stored[end], made[end], label):
            problems.append((end, "differs from the labels made again"))
    return problems, worst


def _levels(stored: np.ndarray, made: np.ndarray) -> int:
    if stored.shape != made.shape:
        return 255
    return int(np.abs(stored.astype(np.int16) - made).max())


def _equal(end: str, stored: bytes, made: bytes, label: str) -> bool:
    """Compare what is stored, not how it was packed: other versions of zlib pack other bytes."""
    if stored == made or end == "json":
        return stored == made
    if end == "tracks.npz":
        first, second = (np.load(io.BytesIO(content), allow_pickle=False) for content in (stored, made))
        return first.files == second.files and all(
            np.array_equal(first[name], second[name], equal_nan=first[name].dtype.kind == "f")
            for name in first.files
        )
    decode = decode_mask if end.startswith("mask") else decode_deep_png
    return np.array_equal(decode(stored, label), decode(made, label))
