"""What a folder of shards was made with: `dataset.json`."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, cast, get_args

from homolog.core.errors import ConfigError, DataError
from homolog.synthetic.shards.picture import Pictures

NAME = "dataset.json"

FORMAT = 1
"""Of the folder; a reader refuses a newer one."""

SHOWN = 4
"""Differences that an error names."""

Kind = Literal["pair", "video"]


def generator() -> str:
    """Return what made the samples, beside their configuration."""
    return f"homolog-data {metadata.version('homolog-data')}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Description:
    """Everything that decides the bytes of a folder of shards.

    Attributes:
        kind: of its samples.
        count: how many samples.
        per_shard: how many of them in each shard but the last.
        pictures: how images are stored.
        config: of the source, as a node with a `_target_`.
        files: SHA-256 of the files and folders that the configuration names, by their setting.
        generator: see `generator`.
        code: hash of the code of the source. It is no part of the digest, because most changes of code leave
            samples as they are; whoever goes on with other code is told.
    """

    kind: Kind
    count: int
    per_shard: int
    pictures: Pictures
    config: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    generator: str = field(default_factory=generator)
    code: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be written."""
        if self.count < 1 or self.per_shard < 1 or self.pictures not in get_args(Pictures):
            raise ConfigError(
                f"shards: expected a count and samples per shard of at least 1 and images as "
                f"{' or '.join(get_args(Pictures))}, got {self.count}, {self.per_shard} and {self.pictures!r}"
            )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides the bytes; where files lie does not, their content does."""
        return hashlib.sha256(json.dumps(self._deciding(), sort_keys=True).encode()).hexdigest()

    @property
    def shards(self) -> int:
        """How many shards there are when all are written."""
        return -(-self.count // self.per_shard)

    def samples(self, shard: int) -> range:
        """Return the indices of the samples in a shard."""
        return range(shard * self.per_shard, min((shard + 1) * self.per_shard, self.count))

    def to_json(self) -> bytes:
        """Return the content of `dataset.json`."""
        head = {"format": FORMAT, "digest": self.digest, "code": self.code}
        content = {**head, **self._plain(), "shards": self.shards}
        return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()

    def differences(self, other: "Description") -> str:
        """Say in which settings another description differs: `seed 7 there, 8 now; and 2 more`."""
        there, now = dict(_leaves(other._deciding())), dict(_leaves(self._deciding()))
        names = [name for name in {**there, **now} if there.get(name) != now.get(name)]
        told = [
            f"{name.removeprefix('config.')} {there.get(name, 'absent')} there, {now.get(name, 'absent')} now"
            for name in names[:SHOWN]
        ]
        more = f"; and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return "; ".join(told) + more

    def _plain(self) -> dict[str, Any]:
        return {
            "generator": self.generator,
            "kind": self.kind,
            "count": self.count,
            "per_shard": self.per_shard,
            "pictures": self.pictures,
            "config": dict(self.config),
            "files": dict(self.files),
        }

    def _deciding(self) -> dict[str, Any]:
        named = {name: value for name, value in _leaves(dict(self.config)) if name not in self.files}
        return {**self._plain(), "format": FORMAT, "config": named}


def read_description(folder: str | Path) -> Description:
    """Return the description of a folder of shards.

    Raises:
        DataError: there is none, or it is damaged or of a newer version of homolog.
    """
    path = Path(folder) / NAME
    try:
        content: Any = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{path}: expected a folder of shards, found none there; make one with homolog generate"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON that can be read ({error}); generate it again") from error
    return _parsed(content, path)


def _parsed(content: Any, path: Path) -> Description:
    found = cast(dict[str, Any], content) if isinstance(content, dict) else {}
    if isinstance(found.get("format"), int) and found["format"] > FORMAT:
        raise DataError(f"{path}: expected format {FORMAT} or older, got {found['format']}; update homolog")
    kinds = {"kind": str, "count": int, "per_shard": int, "pictures": str, "config": dict, "files": dict}
    texts = {"generator": str, "code": str}
    wrong = [name for name, kind in {**kinds, **texts}.items() if not isinstance(found.get(name), kind)]
    if (
        wrong
        or found["kind"] not in get_args(Kind)
        or not re.fullmatch(r"[0-9a-f]{64}", str(found.get("digest")))
    ):
        raise DataError(
            f"{path}: expected the description of shards, got another file "
            f"({', '.join(wrong) or 'kind or digest'}); generate it again"
        )
    try:
        description = Description(**{name: found[name] for name in (*kinds, *texts)})
    except ConfigError as error:
        raise DataError(f"{path}: {error}; generate it again") from error
    if description.digest != found["digest"]:
        raise DataError(
            f"{path}: expected settings of digest {found['digest'][:12]}, got {description.digest[:12]}; "
            "it was changed by hand, generate it again"
        )
    return description


def _leaves(node: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, below in cast(dict[str, Any], node).items():
            yield from _leaves(below, f"{name}.{key}".lstrip("."))
    else:
        yield name, node
