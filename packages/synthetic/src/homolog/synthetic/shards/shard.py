"""Write one shard: the same samples give the same bytes."""

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from homolog.core.samples import PairSample, VideoSample
from homolog.synthetic.shards.description import Description, Kind
from homolog.synthetic.shards.durable import durable
from homolog.synthetic.shards.pair_members import encode_pair
from homolog.synthetic.shards.picture import Pictures
from homolog.synthetic.shards.sidecar import Member, Sidecar, remove, shard_path
from homolog.synthetic.shards.video_members import encode_video


@runtime_checkable
class Source(Protocol):
    """Where samples come from: each depends on its index only, not on the order in which they are asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> PairSample | VideoSample: ...


def kind_of(sample: PairSample | VideoSample) -> Kind:
    """Return how descriptions call the kind of a sample."""
    return "pair" if isinstance(sample, PairSample) else "video"


def key(index: int) -> str:
    """Return what the names of a sample's members begin with.

    >>> key(7)
    '00000007'
    """
    return f"{index:08d}"


def encode(sample: PairSample | VideoSample, pictures: Pictures) -> dict[str, bytes]:
    """Return the members of a sample by the end of their names.

    Raises:
        HomologError: a sample that cannot be stored; see `encode_pair` and `encode_video`.
    """
    if isinstance(sample, PairSample):
        return encode_pair(sample, pictures)
    return encode_video(sample, pictures)


def write_shard(
    source: Source, description: Description, shard: int, folder: Path, each: Callable[[], None]
) -> Sidecar:
    """Write a shard and then its sidecar, each of them whole or not at all.

    Args:
        source: of the samples.
        description: of the folder.
        shard: number of the shard.
        folder: where it goes.
        each: called after each sample; what it raises ends the writing.

    Raises:
        DataError: it cannot be written; nothing of it is left.
        HomologError: a sample that cannot be made or stored.
    """
    remove(folder, shard)
    path, indices = shard_path(folder, shard), description.samples(shard)
    members: dict[str, Member] = {}
    with durable(path) as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for index in indices:
                contents = encode(source[index], description.pictures)
                for end, content in sorted(contents.items()):
                    members[f"{key(index)}.{end}"] = _add(archive, file, f"{key(index)}.{end}", content)
                each()
        size = file.tell()
    sidecar = Sidecar(digest=description.digest, shard=shard, count=len(indices), size=size, members=members)
    sidecar.write(folder)
    return sidecar


def _add(archive: tarfile.TarFile, file: BinaryIO, name: str, content: bytes) -> Member:
    entry = tarfile.TarInfo(name)  # owner 0, time 0, mode 644: nothing of the machine
    entry.size = len(content)
    offset = file.tell() + tarfile.BLOCKSIZE
    archive.addfile(entry, io.BytesIO(content))
    return Member(offset, len(content), hashlib.sha256(content).hexdigest())
