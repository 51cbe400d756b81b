"""Find the pairs to match: two photos, all pairs of a folder, or the pairs of a list."""

import itertools
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from homolog.core.errors import ConfigError, DataError, did_you_mean

logger = logging.getLogger(__name__)

MAX_STEM = 80
"""Bytes of a file name used in the name of the output folder; file systems allow 255 in total."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two photos and the name of their output folder.

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
        """Both file names, for messages."""
        return f"{self.path0.name} + {self.path1.name}"


def find_pairs(inputs: Sequence[Path], list_file: Path | None) -> list[Pair]:
    """Return the pairs that the command line names.

    Args:
        inputs: two photos, or one folder; may be empty if a list names the photos.
        list_file: two paths per line, relative to the folder, or else to the folder of the list.

    Raises:
        ConfigError: other inputs, or an invalid list.
        DataError: a photo does not exist, or the folder holds fewer than two.
    """
    if list_file is not None:
        return named(read_list(list_file, _folder_of_list(inputs, list_file)))
    if len(inputs) == 1 and inputs[0].is_dir():
        return named(itertools.combinations(photos_in(inputs[0]), 2))
    if len(inputs) != 2:
        raise ConfigError(
            f"expected two photos or one folder, got {_count(inputs)}; settings are written key=value; "
            "see homolog match --help for examples"
        )
    for path in inputs:
        # Checked before the networks are built, which takes seconds.
        if not path.exists():
            siblings = path.parent.iterdir() if path.parent.is_dir() else ()
            hint = did_you_mean(path.name, (sibling.name for sibling in siblings))
            advice = hint if hint.startswith("; did you mean") else "; check the path"
            raise DataError(f"{path}: no such file{advice}")
    return named([(inputs[0], inputs[1])])


def photos_in(folder: Path) -> list[Path]:
    """Return the photos of a folder sorted by name, without hidden files and subfolders.

    Raises:
        DataError: it cannot be listed, or holds fewer than two.
    """
    # Imported here because it imports torch, which is not needed otherwise.
    from homolog.core.io import IMAGE_ENDINGS

    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot list the folder ({error.strerror}); check its permissions"
        ) from error
    photos = [path for path in files if path.is_file() and not path.name.startswith(".")]
    if len(photos) < 2:
        raise DataError(
            f"{folder}: expected a folder with two or more photos, got {len(photos)}; "
            f"photos end in {' '.join(sorted(IMAGE_ENDINGS))}"
        )
    return photos


def read_list(file: Path, folder: Path) -> list[tuple[Path, Path]]:
    """Read a list of pairs: two paths per line. Blank lines and lines that begin with # are skipped.

    Quote paths with spaces. Anything after the second path is ignored.

    Args:
        file: the list, in UTF-8.
        folder: what its paths are relative to.

    Raises:
        ConfigError: the list does not exist, is not text, has a line without two paths, or has no pair.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        inside = folder / file.name
        found = not file.exists() and inside.is_file()
        advice = f"did you mean {inside}?" if found else "check the path"
        raise ConfigError(
            f"{file}: expected a list of pairs, but cannot read it ({reason}); {advice}"
        ) from error
    pairs: dict[tuple[Path, Path], None] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        names = _names(line)
        if len(names) < 2:
            raise ConfigError(
                f"{file}:{number}: expected two paths, got {line.strip()!r}; quote paths with spaces"
            )
        pair = (folder / names[0], folder / names[1])
        if pair in pairs:
            logger.warning("%s:%d: duplicate pair, matched once", file, number)
        pairs[pair] = None
    if not pairs:
        raise ConfigError(f"{file}: expected a list of pairs, got none; write two paths per line")
    return list(pairs)


def named(pairs: Iterable[tuple[Path, Path]]) -> list[Pair]:
    """Give each pair a unique folder name, even on file systems that ignore case."""
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
    return stem.encode()[:MAX_STEM].decode(errors="ignore")


def _folder_of_list(inputs: Sequence[Path], list_file: Path) -> Path:
    if not inputs:
        return list_file.parent
    if len(inputs) > 1 or not inputs[0].is_dir():
        raise ConfigError(
            f"expected one folder with --pairs, got {_count(inputs)}; paths in the list are relative to it"
        )
    return inputs[0]


def _count(inputs: Sequence[Path]) -> str:
    return ", ".join(map(str, inputs)) or "nothing"
