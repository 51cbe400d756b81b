"""Read samples from a folder of shards, in any order."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from homolog.core.errors import DataError
from homolog.core.samples import PairSample, VideoSample
from homolog.synthetic.shards.description import Kind, read_description
from homolog.synthetic.shards.pair_members import decode_pair
from homolog.synthetic.shards.shard import key
from homolog.synthetic.shards.sidecar import Sidecar, read_sidecar, shard_path, sidecar_path
from homolog.synthetic.shards.video_members import decode_video

_ADVICE = "generate the shard again: remove it and run the same homolog generate"


class _Index(NamedTuple):
    """Where members are in a shard: those of sample k of it from `first[k]` to `first[k + 1]`."""

    ends: list[str]
    offsets: np.ndarray
    sizes: np.ndarray
    first: np.ndarray


class ShardFolder:
    """The members of samples, by index.

    Files are opened when they are needed and closed again, so that it may be copied to other processes.
    """

    def __init__(self, root: str | Path, kind: Kind, *, partial: bool = False) -> None:
        """Read the description; the index of a shard is read with its first sample.

        Args:
            root: the folder.
            kind: of its samples.
            partial: whether shards may be missing, as long as nobody asks for their samples.

        Raises:
            DataError: no shards there, of another kind, or not all of them.
        """
        self.root = Path(root).expanduser()
        self.description = read_description(self.root)
        if self.description.kind != kind:
            raise DataError(
                f"{self.root}: expected shards of {kind}s, got {self.description.kind}s; name another folder"
            )
        missing = [
            shard
            for shard in range(self.description.shards)
            if not (shard_path(self.root, shard).is_file() and sidecar_path(self.root, shard).is_file())
        ]
        if missing and not partial:
            raise DataError(
                f"{shard_path(self.root, missing[0])}: expected {self.description.shards} shards, this one and "
                f"{len(missing) - 1} more are missing; run the same homolog generate again, it goes on from there"
            )
        self._indices: dict[int, _Index] = {}

    def __len__(self) -> int:
        """Return the number of samples."""
        return self.description.count

    def members(self, index: int) -> tuple[dict[str, bytes], str]:
        """Return the members of a sample by the end of their names, and what error messages call it.

        Raises:
            DataError: the shard is damaged or cut off.
            IndexError: there is no such sample.
        """
        index = range(len(self))[index]
        shard, place = divmod(index, self.description.per_shard)
        path = shard_path(self.root, shard)
        if shard not in self._indices:
            self._indices[shard] = self._read_index(shard)
        ends, offsets, sizes, first = self._indices[shard]
        rows = range(int(first[place]), int(first[place + 1]))
        begin, end = int(offsets[rows[0]]), int(offsets[rows[-1]] + sizes[rows[-1]])
        try:
            with path.open("rb") as file:
                file.seek(begin)
                content = file.read(end - begin)
        except OSError as error:
            raise DataError(f"{path}: cannot read it ({error.strerror}); {_ADVICE}") from error
        if len(content) < end - begin:
            raise DataError(f"{path}: expected a whole shard, got one that is cut off; {_ADVICE}")
        parts = {
            ends[row]: content[int(offsets[row]) - begin : int(offsets[row] + sizes[row]) - begin]
            for row in rows
        }
        return parts, f"{path}, {key(index)}"

    def _read_index(self, shard: int) -> _Index:
        path = shard_path(self.root, shard)
        sidecar = read_sidecar(self.root, shard)
        if sidecar.digest != self.description.digest:
            raise DataError(
                f"{path}: expected a shard of this folder's settings, got one of others; {_ADVICE}"
            )
        size = path.stat().st_size if path.is_file() else 0
        if size != sidecar.size:
            raise DataError(
                f"{path}: expected {sidecar.size:,} bytes, got {size:,}; it was cut off; {_ADVICE}"
            )
        return _indexed(sidecar, [key(index) for index in self.description.samples(shard)], path)


class ShardedPairs:
    """Pairs from shards, as samples."""

    def __init__(self, root: str | Path) -> None:
        """Find the shards.

        Args:
            root: a folder that `homolog generate` wrote.

        Raises:
            DataError: no shards of pairs there, or not all of them.
        """
        self._shards = ShardFolder(root, "pair")

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self._shards)

    def __getitem__(self, index: int) -> PairSample:
        """Read a pair; nothing in it is ever executed.

        Raises:
            DataError: the shard is damaged or cut off.
            IndexError: there is no such pair.
        """
        return decode_pair(*self._shards.members(index))


class ShardedVideos:
    """Videos from shards, as samples."""

    def __init__(self, root: str | Path) -> None:
        """Find the shards.

        Args:
            root: a folder that `homolog generate video` wrote.

        Raises:
            DataError: no shards of videos there, or not all of them.
        """
        self._shards = ShardFolder(root, "video")

    def __len__(self) -> int:
        """Return the number of videos."""
        return len(self._shards)

    def __getitem__(self, index: int) -> VideoSample:
        """Read a video; nothing in it is ever executed.

        Raises:
            DataError: the shard is damaged or cut off.
            IndexError: there is no such video.
        """
        return decode_video(*self._shards.members(index))


def _indexed(sidecar: Sidecar, keys: list[str], path: Path) -> _Index:
    names = [name.partition(".") for name in sidecar.members]
    owners = [owner for owner, _, _ in names]
    wanted = [owner for number, owner in enumerate(owners) if number == 0 or owners[number - 1] != owner]
    if wanted != keys or sidecar.count != len(keys):
        raise DataError(f"{path}: expected the samples {keys[0]} to {keys[-1]}, got others; {_ADVICE}")
    members = list(sidecar.members.values())
    changes = [row for row in range(len(owners)) if row == 0 or owners[row - 1] != owners[row]]
    offsets = np.array([member.offset for member in members], np.int64)
    if bool((np.diff(offsets) <= 0).any()):
        raise DataError(f"{path}: expected members one after the other, got others; {_ADVICE}")
    shared: dict[str, str] = {}  # one text for all equal ends
    return _Index(
        ends=[shared.setdefault(end, end) for _, _, end in names],
        offsets=offsets,
        sizes=np.array([member.size for member in members], np.int64),
        first=np.array([*changes, len(members)], np.int64),
    )
