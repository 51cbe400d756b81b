"""The file beside a shard that says what is in it; a shard without one does not exist."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

from homolog.core.errors import DataError
from homolog.synthetic.shards.description import FORMAT
from homolog.synthetic.shards.durable import write_durably

_ADVICE = "generate the shard again: the same homolog generate goes on where shards are missing"


class Member(NamedTuple):
    """One file in a shard.

    Attributes:
        offset: of its first byte in the tar.
        size: in bytes.
        sha256: of its content, in hexadecimal.
    """

    offset: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sidecar:
    """What is in a shard.

    Attributes:
        digest: of the description that it was made with.
        shard: its number.
        count: how many samples it holds.
        size: of the tar in bytes.
        members: by name, in the order of the tar.
    """

    digest: str
    shard: int
    count: int
    size: int
    members: dict[str, Member]

    def write(self, folder: Path) -> None:
        """Write it; from then on its shard exists.

        Raises:
            DataError: it cannot be written.
        """
        content = {"format": FORMAT, "digest": self.digest, "shard": self.shard, "count": self.count}
        # One line per member: a diff of two sidecars shows which one differs.
        lines = [f"  {json.dumps(name)}: {json.dumps(list(member))}" for name, member in self.members.items()]
        head = json.dumps({**content, "size": self.size})
        text = f'{head[:-1]}, "members": {{\n' + ",\n".join(lines) + "\n}}\n"
        write_durably(sidecar_path(folder, self.shard), text.encode())


def shard_path(folder: Path, shard: int) -> Path:
    """Return where a shard is."""
    return folder / f"shard-{shard:06d}.tar"


def sidecar_path(folder: Path, shard: int) -> Path:
    """Return where the sidecar of a shard is."""
    return folder / f"shard-{shard:06d}.json"


def read_sidecar(folder: Path, shard: int) -> Sidecar:
    """Return the sidecar of a shard.

    Raises:
        DataError: there is none, or it is damaged or of a newer version of homolog.
    """
    path = sidecar_path(folder, shard)
    try:
        content: Any = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path}: expected the sidecar of a shard, found none; {_ADVICE}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON that can be read ({error}); {_ADVICE}") from error
    found = cast(dict[str, Any], content) if isinstance(content, dict) else {}
    if isinstance(found.get("format"), int) and found["format"] > FORMAT:
        raise DataError(f"{path}: expected format {FORMAT} or older, got {found['format']}; update homolog")
    try:
        members = {str(name): _member(values) for name, values in found["members"].items()}
        sidecar = Sidecar(
            digest=str(found["digest"]),
            shard=int(found["shard"]),
            count=int(found["count"]),
            size=int(found["size"]),
            members=members,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: expected a sidecar, got another file ({error}); {_ADVICE}") from error
    if any(member.offset + member.size > sidecar.size for member in members.values()):
        raise DataError(f"{path}: expected members inside of {sidecar.size} bytes, got one beyond; {_ADVICE}")
    return sidecar


def complete(folder: Path, shard: int, digest: str) -> bool:
    """Tell whether a shard exists: its sidecar is of that digest, and its tar as long as it says."""
    try:
        sidecar = read_sidecar(folder, shard)
        return sidecar.digest == digest and shard_path(folder, shard).stat().st_size == sidecar.size
    except OSError:  # a DataError is one
        return False


def numbers(folder: Path) -> list[int]:
    """Return the numbers of all shards and sidecars in a folder, finished or not."""
    found = (re.fullmatch(r"shard-(\d{6,})\.(?:tar|json)", path.name) for path in folder.glob("shard-*"))
    return sorted({int(match[1]) for match in found if match})


def remove(folder: Path, shard: int) -> None:
    """Remove a shard, its sidecar first, so that at no time there is one without its shard."""
    sidecar_path(folder, shard).unlink(missing_ok=True)
    shard_path(folder, shard).unlink(missing_ok=True)


def _member(values: Any) -> Member:
    offset, size, sha256 = values
    if not (isinstance(offset, int) and isinstance(size, int) and offset >= 0 and size >= 0):
        raise ValueError("a member without place")
    return Member(offset, size, str(sha256))
