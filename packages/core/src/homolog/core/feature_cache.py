"""Extracted features on disk, found again by content.

An entry is a set of named tensors under a key. The key is a hash of everything that decides the
values: the pixels, how they were resized, the networks' configuration and weights. So nothing ever
goes stale: change anything and another key is asked for, while the old entry ages out.

Entries are single safetensors files that appear by rename, so several processes may read, write and
evict in one folder at once: at worst two of them compute the same entry, and both write the same.
"""

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from homolog.core.atomic import atomic, cache_folder
from homolog.core.errors import ConfigError

logger = logging.getLogger(__name__)

ENDING = ".safetensors"


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What a cache folder holds.

    Attributes:
        folder: where it is.
        entries: number of entries.
        size: bytes in all entries.
        limit: bytes above which the least recently used entries go.
    """

    folder: Path
    entries: int
    size: int
    limit: int


class FeatureCache:
    """A bounded folder of tensors by key; the least recently used entries make room."""

    def __init__(
        self, folder: Path | None = None, *, limit: int = 20_000_000_000, dtype: torch.dtype | None = None
    ) -> None:
        """Name the folder; nothing is made or read yet.

        Args:
            folder: where entries live; None is `features` in `homolog.core.atomic.cache_folder()`.
            limit: bytes that all entries may take together; above it the least recently used go.
            dtype: what users of the cache shall keep maps and descriptors in: bfloat16 halves them;
                None keeps theirs. Coordinates and scores are never narrowed.

        Raises:
            ConfigError: a limit below one byte.
        """
        if limit < 1:
            raise ConfigError(
                f"expected a cache limit of at least one byte, got {limit}; leave the cache out instead"
            )
        self.folder = cache_folder() / "features" if folder is None else folder
        self.limit = limit
        self.dtype = dtype
        self._size: int | None = None
        self._complained = False

    def load(self, key: str) -> dict[str, Tensor] | None:
        """Return the tensors of an entry, memory-mapped, or None when there is no sound entry.

        A damaged entry (truncated, or with bytes that changed) is removed, so that the caller
        computes and saves it anew.

        Args:
            key: what `content_key` returned.
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
            if _version(path) != found:  # another process made room, or wrote it anew, while it was read
                return None
            logger.warning("%s: a damaged cache entry (%s); it is removed and computed anew", path, error)
            path.unlink(missing_ok=True)
            self._size = None
            return None
        return tensors

    def save(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors under a key, then make room if the limit is passed.

        A cache that cannot be written must not stop the work it speeds up: a full or read-only
        disk is reported in the log, once, and entries are dropped.
        """
        path = self._path(key)
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
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
            if not self._complained:
                logger.warning(
                    "%s: the feature cache cannot be written (%s); going on without it", self.folder, error
                )
            self._complained = True
            return
        if self._size > self.limit:
            self._evict()

    def info(self) -> CacheInfo:
        """Count what the folder holds."""
        entries = self._entries()
        return CacheInfo(self.folder, len(entries), sum(size for _, size, _ in entries), self.limit)

    def clear(self) -> CacheInfo:
        """Remove all entries, and what killed runs left half-written; return the entries there were."""
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
            except FileNotFoundError:  # another process made room
                continue
            if not path.name.startswith("."):  # being written
                entries.append((stat.st_mtime, stat.st_size, path))
        return entries

    def _evict(self) -> None:
        # Down to 90 %, so that a full cache does not list its folder at every save. Other processes
        # write too, so the folder is counted again here.
        entries = sorted(self._entries(), key=lambda entry: entry[0])
        size = sum(size for _, size, _ in entries)
        for _, freed, path in entries:
            if size <= 0.9 * self.limit:
                break
            path.unlink(missing_ok=True)
            size -= freed
        self._size = size


def content_key(*parts: str) -> str:
    """Hash the parts that decide an entry's values into its key.

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
