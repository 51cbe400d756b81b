"""Which pairs a user asks for: two photos, all pairs of a folder, or the pairs of a list."""

import itertools
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from homolog.core.errors import ConfigError, DataError, did_you_mean

logger = logging.getLogger(__name__)

LONGEST_STEM = 80
"""Bytes of a file's name that enter the folder's name; file systems stop at 255 for the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two photos and the name of the folder for their results.

    Attributes:
        path0: the first photo.
        path1: the second photo.
        name: `<stem0>__<stem1>`, unique within a run.
    """

    path0: Path
    path1: Path
    name: str

    @property
    def title(self) -> str:
        """The two file names, for people."""
        return f"{self.path0.name} + {self.path1.name}"


def find_pairs(inputs: Sequence[Path], list_file: Path | None) -> list[Pair]:
    """Turn what was given on the command line into pairs.

    Args:
        inputs: two photos, or one folder; nothing when a list names the photos.
        list_file: two paths a line, relative to the folder, or to the list's own folder.

    Raises:
        ConfigError: something else was given, or the list cannot be used.
        DataError: a photo does not exist, or the folder holds fewer than two.
    """
    if list_file is not None:
        return named(read_list(list_file, _folder_of_list(inputs, list_file)))
    if len(inputs) == 1 and inputs[0].is_dir():
        return named(itertools.combinations(photos_in(inputs[0]), 2))
    if len(inputs) != 2:
        raise ConfigError(
            f"expected two photos or one folder, got {_count(inputs)}; settings are written key=value, "
            "and homolog match --help has examples"
        )
    for path in inputs:
        # Told before the networks are built, which takes seconds.
        if not path.exists():
            raise DataError(f"{path}: no such file{_similar(path)}")
    return named([(inputs[0], inputs[1])])


def photos_in(folder: Path) -> list[Path]:
    """Return the photos of a folder by name; hidden files and folders inside it are left out.

    Raises:
        DataError: it cannot be listed, or holds fewer than two.
    """
    # Here, because it brings torch along, and the other ways to name pairs do without.
    from homolog.core.io import IMAGE_ENDINGS

    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS)
    except OSError as error:
        raise DataError(f"{folder}: cannot list the folder ({error.strerror}); check its mode") from error
    photos = [path for path in files if path.is_file() and not path.name.startswith(".")]
    if len(photos) < 2:
        raise DataError(
            f"{folder}: expected a folder with two or more photos, got {len(photos)}; "
            f"photos end in {' '.join(sorted(IMAGE_ENDINGS))}"
        )
    return photos


def read_list(file: Path, folder: Path) -> list[tuple[Path, Path]]:
    """Read a pair list: two paths a line, blank lines and lines that begin with # left out.

    A path with spaces stands in quotes; whatever follows the second path is ignored.

    Args:
        file: the list, in UTF-8.
        folder: what its paths are relative to.

    Raises:
        ConfigError: no such list, no text, a line without two paths, or no pair at all.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise ConfigError(
            f"{file}: expected a list of pairs, but cannot read it ({reason}){_beside(file, folder)}"
        ) from error
    pairs: dict[tuple[Path, Path], None] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        names = _names(line)
        if len(names) < 2:
            raise ConfigError(
                f"{file}:{number}: expected two paths, got {line.strip()!r}; quote a path that holds spaces"
            )
        pair = (folder / names[0], folder / names[1])
        if pair in pairs:
            logger.warning("%s:%d: this pair is in the list already and is matched once", file, number)
        pairs[pair] = None
    if not pairs:
        raise ConfigError(f"{file}: expected a list of pairs, got none; write two paths a line")
    return list(pairs)


def named(pairs: Iterable[tuple[Path, Path]]) -> list[Pair]:
    """Give each pair a folder name of its own, also where file systems ignore case."""
    taken: set[str] = set()
    result: list[Pair] = []
    for path0, path1 in pairs:
        plain = f"{_short(path0.stem)}__{_short(path1.stem)}"
        candidates = itertools.chain([plain], (f"{plain}_{number}" for number in itertools.count(2)))
        name = next(name for name in candidates if name.casefold() not in taken)
        taken.add(name.casefold())
        result.append(Pair(path0=path0, path1=path1, name=name))
    return result


def _names(line: str) -> list[str]:
    found = [
        double or single or plain
        for double, single, plain in re.findall(r"""(?:"([^"]+)"|'([^']+)'|(\S+))(?=\s|$)""", line)
    ]
    return [] if any(name.startswith(('"', "'")) for name in found[:2]) else found


def _short(stem: str) -> str:
    return stem.encode()[:LONGEST_STEM].decode(errors="ignore")


def _folder_of_list(inputs: Sequence[Path], list_file: Path) -> Path:
    if not inputs:
        return list_file.parent
    if len(inputs) > 1 or not inputs[0].is_dir():
        raise ConfigError(
            f"expected one folder beside --pairs, got {_count(inputs)}; its paths are relative to it"
        )
    return inputs[0]


def _count(inputs: Sequence[Path]) -> str:
    return ", ".join(map(str, inputs)) or "nothing"


def _beside(file: Path, folder: Path) -> str:
    inside = folder / file.name
    return f"; did you mean {inside}?" if not file.exists() and inside.is_file() else "; check the path"


def _similar(path: Path) -> str:
    hint = did_you_mean(path.name, _siblings(path))
    return hint if hint.startswith("; did you mean") else "; check the path"


def _siblings(path: Path) -> Iterator[str]:
    if path.parent.is_dir():
        yield from (entry.name for entry in path.parent.iterdir())
