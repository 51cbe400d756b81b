"""Read samples from a folder of shards, in any order."""

import io
import tarfile
from pathlib import Path

import numpy as np

from homolog.core.errors import DataError
from homolog.core.samples import PairSample, VideoSample
from homolog.synthetic.shards.dataset import (
    ADVICE,
    key,
    read_description,
    read_index,
    shard_digest,
    shard_path,
)
from homolog.synthetic.shards.samples import Kind, decode_pair, decode_video

_REPAIR = f"generate the shard again: remove it and {ADVICE}"


class ShardFolder:
    """The members of samples, by index.

    Files are opened when they are needed and closed again, so that it can be copied to other processes.
    """

    def __init__(self, root: str | Path, kind: Kind, *, partial: bool = False) -> None:
        """Read the description and the index; with `partial`, shards that nobody asks for may be missing.

        Raises:
            DataError: no shards there, of another kind, or not all of them.
        """
        self.root = Path(root).expanduser()
        self.description = read_description(self.root)
        if self.description.kind != kind:
            raise DataError(
                f"{self.root}: expected shards of {kind}s, got {self.description.kind}s; name another folder"
            )
        shards = read_index(self.root, self.description)
        finished = [shard for shard in shards if shard_path(self.root, shard).is_file()]
        missing = sorted(set(range(self.description.shards)).difference(finished))
        if missing and not partial:
            raise DataError(
                f"{shard_path(self.root, missing[0])}: expected {self.description.shards} shards, this one and "
                f"{len(missing) - 1} more are missing; {ADVICE}"
            )
        self._sizes = {shard: shards[shard].size for shard in finished}
        # Arrays, as millions of Python numbers would take ten times the memory.
        self._extents = {
            shard: np.array([extent[:2] for extent in shards[shard].samples], np.int64) for shard in finished
        }
        self._checked: set[int] = set()

    def __len__(self) -> int:
        return self.description.count

    def members(self, index: int) -> tuple[dict[str, bytes], str]:
        """Return the members of a sample by the end of their names, and shard and sample for error messages.

        Raises:
            DataError: the shard is missing, damaged, cut off, or of other settings.
            IndexError: there is no such sample.
        """
        index = range(len(self))[index]
        shard, place = divmod(index, self.description.per_shard)
        path, where = shard_path(self.root, shard), f"{shard_path(self.root, shard)}, {key(index)}"
        if shard not in self._sizes:
            raise DataError(f"{path}: expected this shard, found none; {ADVICE}")
        if shard not in self._checked:
            self._check(path, self._sizes[shard])
            self._checked.add(shard)
        offset, size = (int(number) for number in self._extents[shard][place])
        try:
            with path.open("rb") as file:
                file.seek(offset)
                content = file.read(size)
        except OSError as error:
            raise DataError(f"{path}: cannot read it ({error.strerror}); {_REPAIR}") from error
        if len(content) < size:
            raise DataError(f"{path}: expected a whole shard, got one that is cut off; {_REPAIR}")
        return _unpacked(content, key(index), where), where

    def _check(self, path: Path, expected: int) -> None:
        size = path.stat().st_size if path.is_file() else 0
        if size != expected:
            raise DataError(f"{path}: expected {expected:,} bytes, got {size:,}; it was cut off; {_REPAIR}")
        if shard_digest(path) != self.description.digest:
            raise DataError(
                f"{path}: expected a shard of this folder's settings, got one of others; {_REPAIR}"
            )


class ShardedPairs(ShardFolder):
    """Pairs from shards, as samples; nothing in the shards is executed."""

    def __init__(self, root: str | Path) -> None:
        """Read the index of a folder that `homolog generate` wrote.

        Raises:
            DataError: no shards of pairs there, or not all of them.
        """
        super().__init__(root, "pair")

    def __getitem__(self, index: int) -> PairSample:
        """Read a pair; raises what `members` raises."""
        return decode_pair(*self.members(index))


class ShardedVideos(ShardFolder):
    """Videos from shards, as samples; nothing in the shards is executed."""

    def __init__(self, root: str | Path) -> None:
        """Read the index of a folder that `homolog generate video` wrote.

        Raises:
            DataError: no shards of videos there, or not all of them.
        """
        super().__init__(root, "video")

    def __getitem__(self, index: int) -> VideoSample:
        """Read a video; raises what `members` raises."""
        return decode_video(*self.members(index))


def _unpacked(content: bytes, owner: str, where: str) -> dict[str, bytes]:
    """Return the members of one sample; nothing is written to disk, and a member of another sample is an error."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            entries = archive.getmembers()
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise DataError(f"{where}: expected a tar, got damaged bytes ({error}); {_REPAIR}") from error
    names = [entry.name.partition(".") for entry in entries]
    plain = all(entry.isreg() and "/" not in entry.name for entry in entries)
    if not plain or {name[0] for name in names} != {owner}:
        raise DataError(f"{where}: expected members of {owner}, got others; {_REPAIR}")
    return {
        end: content[entry.offset_data : entry.offset_data + entry.size]
        for entry, (_, _, end) in zip(entries, names, strict=True)
    }
