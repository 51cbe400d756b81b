"""Caches for extracted features: `LRUCache` in memory, `FeatureCache` on disk.

A disk entry is a set of named tensors under a key. The key is a hash of everything that determines
the values: the pixels, the resizing, the configuration and the weights of the networks. Entries
therefore never become stale: after any change another key is looked up, and the old entry is evicted
in time.

Each entry is one safetensors file, written under a temporary name and then renamed, so several
processes may read, write and evict in one folder at once. At worst two of them compute the same
entry, and both write the same values.
"""

import hashlib
import json
import logging
import os
import zlib
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from homolog.core.atomic import atomic, cache_folder
from homolog.core.errors import ConfigError

logger = logging.getLogger(__name__)

ENDING = ".safetensors"

Value = TypeVar("Value")


class LRUCache(Generic[Value]):
    """An in-memory cache of bounded size; the least recently used values are evicted first."""

    def __init__(self, limit: int) -> None:
        """Create an empty cache.

        Args:
            limit: maximum size of all values together, in bytes; 0 stores nothing.

        Raises:
            ConfigError: a negative limit.
        """
        if limit < 0:
            raise ConfigError(f"expected a memory of 0 bytes or more, got {limit}")
        self.limit = limit
        self._values: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self._values)

    @property
    def size(self) -> int:
        """Bytes in all values."""
        return self._size

    def get(self, key: Hashable) -> Value | None:
        """Return the value of a key and mark it as used, or None if it is not stored."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def put(self, key: Hashable, value: Value, size: int) -> None:
        """Store a value of `size` bytes, and evict others if needed.

        A value larger than the limit is not stored, and evicts nothing.
        """
        if key in self._values:
            self._size -= self._values.pop(key)[1]
        if size > self.limit:
            return
        self._values[key] = value, size
        self._size += size
        while self._size > self.limit:
            _, (_, evicted) = self._values.popitem(last=False)
            self._size -= evicted

    def clear(self) -> None:
        """Remove all values."""
        self._values.clear()
        self._size = 0


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """Summary of a cache folder.

    Attributes:
        folder: its path.
        entries: number of entries.
        size: bytes in all entries.
        limit: bytes above which the least recently used entries are evicted.
    """

    folder: Path
    entries: int
    size: int
    limit: int


class FeatureCache:
    """A folder of tensors by key, of bounded size; the least recently used entries are evicted first."""

    def __init__(
        self, folder: Path | None = None, *, limit: int = 20_000_000_000, dtype: torch.dtype | None = None
    ) -> None:
        """Set the folder; nothing is created or read yet.

        Args:
            folder: where entries are stored; None is `features` in `homolog.core.atomic.cache_folder()`.
            limit: maximum size of all entries together, in bytes.
            dtype: how users of the cache should store maps and descriptors: bfloat16 halves them, None
                keeps their dtype. Coordinates and scores always keep theirs.

        Raises:
            ConfigError: a limit below one byte.
        """
        if limit < 1:
            raise ConfigError(
                f"expected a cache limit of at least one byte, got {limit}; pass no cache instead"
            )
        self.folder = cache_folder() / "features" if folder is None else folder
        self.limit = limit
        self.dtype = dtype
        self._size: int | None = None
        self._warned = False

    def load(self, key: str) -> dict[str, Tensor] | None:
        """Return the tensors of an entry, memory-mapped, or None if there is no valid entry.

        A damaged entry (truncated, or with bytes that changed) is removed, so that the caller
        computes and saves it again.

        Args:
            key: from `content_key`.
        """
        path = self._path(key)
        found = _version(path)
        if found is None:
            return None
        try:
            with safe_open(path, framework="pt") as file:
                sums: dict[str, int] = json.loads((file.metadata() or {}).get("crc32", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if sums != {name: _crc32(tensor) for name, tensor in tensors.items()}:
                raise ValueError("its checksums differ")
            os.utime(path)  # the modification time is the time of last use
        except (SafetensorError, ValueError, OSError, RuntimeError) as error:
            if _version(path) != found:  # another process evicted or rewrote it meanwhile
                return None
            logger.warning("%s: a damaged cache entry (%s); it is removed and computed again", path, error)
            path.unlink(missing_ok=True)
            self._size = None
            return None
        return tensors

    def save(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Store tensors under a key, and evict others if the limit is exceeded.

        A cache that cannot be written must not stop the work that it speeds up: a full or read-only
        disk is logged once, and entries are dropped.
        """
        path = self._path(key)
        # Copies, because tensors may share memory (the cells of two views do) and safetensors refuses that.
        whole = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
        sums = {name: _crc32(tensor) for name, tensor in whole.items()}
        try:
            replaced = _version(path)
            with atomic(path) as temporary:
                save_file(whole, temporary, metadata={"crc32": json.dumps(sums)})
                size = temporary.stat().st_size
            if self._size is None:
                self._size = self.info().size
            else:
                self._size += size - (replaced.size if replaced else 0)
        except (OSError, SafetensorError) as error:
            if not self._warned:
                logger.warning(
                    "%s: the feature cache cannot be written (%s); continuing without it", self.folder, error
                )
            self._warned = True
            return
        if self._size > self.limit:
            self._evict()

    def info(self) -> CacheInfo:
        """Count the entries of the folder."""
        entries = self._entries()
        return CacheInfo(self.folder, len(entries), sum(size for _, size, _ in entries), self.limit)

    def clear(self) -> CacheInfo:
        """Remove all entries, and partial files of killed runs; return what was removed."""
        before = self.info()
        for path in self.folder.glob(f"??/*{ENDING}"):
            path.unlink(missing_ok=True)
        self._size = None
        return before

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}{ENDING}"

    def _entries(self) -> list[tuple[float, int, Path]]:
        entries: list[tuple[float, int, Path]] = []
        for path in self.folder.glob(f"??/*{ENDING}"):
            try:
                stat = path.stat()
            except FileNotFoundError:  # another process evicted it
                continue
            if not path.name.startswith("."):  # being written
                entries.append((stat.st_mtime, stat.st_size, path))
        return entries

    def _evict(self) -> None:
        # Down to 90 %, so that a full cache does not list its folder at every save. Other processes
        # write too, so the entries are counted again.
        entries = sorted(self._entries(), key=lambda entry: entry[0])
        size = sum(size for _, size, _ in entries)
        for _, freed, path in entries:
            if size <= 0.9 * self.limit:
                break
            path.unlink(missing_ok=True)
            size -= freed
        self._size = size


def content_key(*parts: str) -> str:
    """Hash the parts that determine the values of an entry into its key.

    >>> content_key("pixels", "recipe") == content_key("pixels", "recipe")
    True
    >>> content_key("ab", "c") == content_key("a", "bc")
    False
    """
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=20).hexdigest()


class _Version(NamedTuple):
    inode: int
    modified: int
    size: int


def _version(path: Path) -> _Version | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return _Version(stat.st_ino, stat.st_mtime_ns, stat.st_size)


def _crc32(tensor: Tensor) -> int:
    return zlib.crc32(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
