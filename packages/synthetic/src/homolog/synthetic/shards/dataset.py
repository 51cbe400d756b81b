"""A folder of shards: its settings (`dataset.json`), its tar files, and where each sample is in them (`index.json`).

A shard is a plain tar. Samples follow one another; the members of a sample are named `KEY.END`, as webdataset
expects. A comment in the global header holds the digest of the settings, so that a tar can be told from those of
other settings without its folder. The index can be rebuilt from the tars at any time.
"""

import hashlib
import inspect
import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

from homolog.core.atomic import file_hash
from homolog.core.errors import ConfigError, DataError, one_of
from homolog.synthetic.shards.codecs import Pictures
from homolog.synthetic.shards.samples import Kind

DESCRIPTION = "dataset.json"
INDEX = "index.json"

FORMAT = 2
"""Version of the folder. Format 1 had a sidecar beside every tar."""

PATHS = frozenset({"root", "photos", "scenes"})
"""Settings of sources that name files or folders, besides those that end in `checkpoint`."""

ADVICE = "run the same homolog generate again, it resumes"

_MAX_DIFFERENCES = 4  # in an error message


def generator() -> str:
    """Return the package and version that makes samples here."""
    return f"homolog-synthetic {metadata.version('homolog-synthetic')}"


def key(sample: int) -> str:
    """Return what the names of a sample's members begin with.

    >>> key(7)
    '00000007'
    """
    return f"{sample:08d}"


def shard_path(folder: Path, shard: int) -> Path:
    """Return the path of a shard."""
    return folder / f"shard-{shard:06d}.tar"


def shard_numbers(folder: Path) -> list[int]:
    """Return the numbers of all shards in a folder."""
    found = (re.fullmatch(r"shard-(\d{6,})\.tar", path.name) for path in folder.glob("shard-*.tar"))
    return sorted(int(match[1]) for match in found if match)


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
        code: hash of the code of the source. It is not part of the digest, because most changes of code leave
            samples as they are; a run that resumes with other code logs a warning.
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
        """Raise ConfigError for a count below 1, or an unknown kind or image format."""
        if self.count < 1 or self.per_shard < 1:
            raise ConfigError(
                "shards: expected a count and samples per shard of at least 1, "
                f"got {self.count} and {self.per_shard}"
            )
        one_of("pictures", self.pictures, get_args(Pictures))
        one_of("kind", self.kind, get_args(Kind))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides the bytes; files count by content and not by place."""
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
        content = {
            "format": FORMAT,
            "digest": self.digest,
            "code": self.code,
            **self._plain(),
            "shards": self.shards,
        }
        return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()

    def differences(self, other: "Description") -> str:
        """Return the settings in which another description differs: `seed 7 there, 8 now; and 2 more`."""
        there, now = dict(_leaves(other._deciding())), dict(_leaves(self._deciding()))
        names = [name for name in {**there, **now} if there.get(name) != now.get(name)]
        shown = [
            f"{name.removeprefix('config.')} {there.get(name, 'absent')} there, {now.get(name, 'absent')} now"
            for name in names[:_MAX_DIFFERENCES]
        ]
        more = f"; and {len(names) - _MAX_DIFFERENCES} more" if len(names) > _MAX_DIFFERENCES else ""
        return "; ".join(shown) + more

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


def read_description(folder: Path) -> Description:
    """Return the description of a folder of shards.

    Raises:
        DataError: there is none, or it is damaged or of another version of the format.
    """
    path = folder / DESCRIPTION
    found = _read_json(path, missing="make one with homolog generate")
    types = {"kind": str, "count": int, "per_shard": int, "pictures": str, "config": dict, "files": dict}
    types |= {"generator": str, "code": str}
    wrong = [name for name, expected in types.items() if not isinstance(found.get(name), expected)]
    if wrong:
        raise DataError(
            f"{path}: expected the description of shards, got another file ({', '.join(wrong)}); generate it again"
        )
    try:
        description = Description(**{name: found[name] for name in types})
    except ConfigError as error:
        raise DataError(f"{path}: {error}; generate it again") from error
    if description.digest != found.get("digest"):
        raise DataError(
            f"{path}: expected settings of digest {str(found.get('digest'))[:12]}, got "
            f"{description.digest[:12]}; it was changed by hand, generate it again"
        )
    return description


class Extent(NamedTuple):
    """The bytes of a sample in its shard: its members with their headers, a valid tar by themselves.

    They begin at `offset`, and their size is a multiple of 512; `sha256` is hexadecimal.
    """

    offset: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """What is in a tar: its size in bytes, how many files, and its samples in order."""

    size: int
    members: int
    samples: Sequence[Extent]


def read_index(folder: Path, description: Description) -> dict[int, Shard]:
    """Return the finished shards of a folder by number; none if there is no index.

    Raises:
        DataError: the index is damaged, or of other settings than the folder.
    """
    path = folder / INDEX
    if folder.is_dir() and not path.exists():
        return {}
    found = _read_json(path, missing=ADVICE)
    if found.get("digest") != description.digest:
        raise DataError(f"{path}: expected the index of these settings, got that of others; {ADVICE}")
    names = {shard_path(folder, shard).name: shard for shard in range(description.shards)}
    try:
        return {
            names[name]: _parsed(content, description.samples(names[name]))
            for name, content in found["shards"].items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: expected the extent of every sample of these shards, got {type(error).__name__}: {error}; "
            f"remove it and {ADVICE.replace('it resumes', 'it is rebuilt')}"
        ) from error


def index_json(folder: Path, description: Description, shards: Mapping[int, Shard]) -> bytes:
    """Return the content of `index.json`, one line per sample."""
    blocks: list[str] = []
    for number in sorted(shards):
        shard = shards[number]
        lines = [
            f'      "{key(sample)}": {json.dumps(extent)}'
            for sample, extent in zip(description.samples(number), shard.samples, strict=True)
        ]
        head = f'"size": {shard.size}, "members": {shard.members}, "samples": {{\n'
        blocks.append(f'    "{shard_path(folder, number).name}": {{{head}' + ",\n".join(lines) + "\n    }}")
    head = f'{{\n  "format": {FORMAT},\n  "digest": "{description.digest}",\n  "shards": {{\n'
    return (head + ",\n".join(blocks) + "\n  }\n}\n").encode()


def scan_shard(folder: Path, number: int, description: Description) -> Shard:
    """Read a whole tar and return where its samples are.

    Raises:
        DataError: it is missing, cut off, damaged, or holds other samples.
    """
    path = shard_path(folder, number)
    expected = [key(sample) for sample in description.samples(number)]
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            if archive.pax_headers.get("comment") != description.digest:
                raise DataError(f"{path}: expected a shard of this folder's settings, got one of others")
            entries = archive.getmembers()
            samples: list[Extent] = []
            for _, group in groupby(entries, lambda entry: entry.name.partition(".")[0]):
                members = list(group)
                offset, last = members[0].offset, members[-1]
                file.seek(offset)
                content = file.read(last.offset_data + _padded(last.size, tarfile.BLOCKSIZE) - offset)
                samples.append(Extent(offset, len(content), hashlib.sha256(content).hexdigest()))
            size = file.seek(0, 2)
    except FileNotFoundError as error:
        raise DataError(f"{path}: expected this shard, found none; {ADVICE}") from error
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path}: expected a whole tar, got a damaged one ({error}); remove it and {ADVICE}"
        ) from error
    keys = [name for name, _ in groupby(entry.name.partition(".")[0] for entry in entries)]
    if keys != expected or not all(entry.isreg() for entry in entries):
        raise DataError(f"{path}: expected the samples {expected[0]} to {expected[-1]}, got others")
    # A header that cannot be read looks like the end of a tar, but then the size is another one.
    end = samples[-1].offset + samples[-1].size
    if size != _padded(end + 2 * tarfile.BLOCKSIZE, tarfile.RECORDSIZE):
        raise DataError(f"{path}: expected a whole tar, got a damaged one; remove it and {ADVICE}")
    return Shard(size=size, members=len(entries), samples=samples)


def shard_digest(path: Path) -> str | None:
    """Return the digest of the settings that a tar was written with: empty without one, None for a damaged tar."""
    try:
        with tarfile.open(path, "r:") as archive:
            return archive.pax_headers.get("comment", "")
    except (OSError, EOFError, ValueError, tarfile.TarError):
        return None


def named_files(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of the files and folders that a source's configuration names, by their setting.

    For a file it is the hash of its bytes, for a folder that of the names and bytes of all files in it.
    Missing paths are left out: the source reports them.
    """
    paths = {name: Path(value).expanduser() for name, value in _leaves(config) if _is_path(name, value)}
    return {name: _content_hash(path) for name, path in paths.items() if path.exists()}


def code_hash(source: object) -> str:
    """Return the first digits of the SHA-256 of a source's module, or of all `homolog.synthetic`.

    It is empty for a class that was not read from a file.
    """
    try:
        file = Path(inspect.getfile(type(source)))
    except (OSError, TypeError):
        return ""
    root = Path(__file__).parents[1]
    files = sorted(root.rglob("*.py")) if file.is_relative_to(root) else [file]
    return _hash_of_files(files, file.parent if len(files) == 1 else root)[:16]


def _is_path(name: str, value: Any) -> bool:
    last = name.rpartition(".")[2]
    return isinstance(value, str) and (last in PATHS or last.endswith("checkpoint"))


def _content_hash(path: Path) -> str:
    if path.is_file():
        return file_hash(path)
    return _hash_of_files(sorted(file for file in path.rglob("*") if file.is_file()), path)


def _hash_of_files(files: list[Path], root: Path) -> str:
    together = hashlib.sha256()
    for file in files:
        together.update(f"{file.relative_to(root).as_posix()}\0{file_hash(file)}\n".encode())
    return together.hexdigest()


def _read_json(path: Path, *, missing: str) -> dict[str, Any]:
    try:
        content: Any = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{path}: expected a folder of shards, found none; {missing}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON that can be read ({error}); generate it again") from error
    found = cast(dict[str, Any], content) if isinstance(content, dict) else {}
    version = found.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise DataError(f"{path}: expected format {FORMAT}, got {version}; update homolog")
    if version != FORMAT:
        raise DataError(
            f"{path}: expected format {FORMAT}, got {version}, of an older homolog or another program; "
            "generate the shards again, in another folder or with --overwrite"
        )
    return found


def _parsed(content: Any, samples: range) -> Shard:
    extents = [Extent(*content["samples"][key(sample)]) for sample in samples]
    size, members = content["size"], content["members"]
    numbers = [size, members, *(number for extent in extents for number in extent[:2])]
    if len(content["samples"]) != len(extents) or not all(isinstance(number, int) for number in numbers):
        raise ValueError("other samples, or no whole numbers")
    if any(not 0 <= extent.offset < extent.offset + extent.size <= size for extent in extents):
        raise ValueError("an extent beyond the end of its shard")
    return Shard(size=size, members=members, samples=extents)


def _padded(size: int, block: int) -> int:
    return -(-size // block) * block


def _leaves(node: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, below in cast("Mapping[str, Any]", node).items():
            yield from _leaves(below, f"{name}.{key}".lstrip("."))
    else:
        yield name, node
