"""Which data sets are in a folder, what they lack, and how to obtain it."""

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import homolog.data
from homolog.core.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """One kind of file of a data set.

    Attributes:
        what: in words, plural (`"pairs of the test split"`).
        pattern: glob relative to the root of the data set (`"PairAnnotation/test/*.json"`); no `..`.
        unit: `files` counts the files that match, `lines` the lines with text in all of them.
        optional: the data set is usable without, such as segmentation that no protocol here reads.
        note: what a user should know about the number, such as `unverified`, or nothing.
    """

    what: str
    pattern: str
    unit: Literal["files", "lines"] = "files"
    optional: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected(FileKind):
    """How much of one kind of file the complete data set has.

    Attributes:
        count: how many there are officially; None if that is not published: then at least one is expected.
        header: lines at the top of each file that do not count.
    """

    count: int | None = None
    header: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a data set comes from.

    Attributes:
        name: as people call it; with the layout in brackets where there are several
            (`"MegaDepth-1500 (LoFTR)"`).
        home: home page.
        licence: in a few words, with what its owners ask for; `not stated` if they say nothing.
        obtain: one or two sentences that lead from nothing to a complete folder.
        configs: names in `configs/data` that read it.
    """

    name: str
    home: str
    licence: str
    obtain: str
    configs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout(Source):
    """A data set, or one of the layouts that a data set comes in.

    Attributes:
        folder: official name of the root folder.
        signature: globs relative to the root; a folder in which each matches something is this data set.
        expected: the files, in the order in which a report should list them.
    """

    folder: str
    signature: tuple[str, ...]
    expected: tuple[Expected, ...]

    def advice(self) -> str:
        """Return the end of an error message: how to get the files.

        >>> layout = Layout(name="A", folder="A", home="https://a.example", licence="none",
        ...                 obtain="Download A.zip and unpack it.", signature=("a",), expected=())
        >>> layout.advice()
        'Download A.zip and unpack it. (https://a.example; homolog data check FOLDER says what is missing)'
        """
        return f"{self.obtain} ({self.home}; homolog data check FOLDER says what is missing)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item(FileKind):
    """One kind of file that a data set has, as found.

    Attributes:
        found: how many.
        expected: how many there are officially, or None if that is not published.
        complete: whether all are there; at least one, if it is not known how many there should be.
    """

    found: int
    expected: int | None
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Source):
    """A data set that was recognised.

    Attributes:
        path: its root.
        complete: whether everything that is not optional is there.
        items: what it consists of.
    """

    path: str
    complete: bool
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent(Source):
    """A data set that homolog knows and that is not there.

    Attributes:
        folder: official name of its root.
    """

    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What lies in a folder.

    Attributes:
        root: the folder.
        found: the data sets in it, by name.
        absent: those that homolog can read but that are not in it, by name.
    """

    root: str
    found: tuple[Found, ...]
    absent: tuple[Absent, ...]


def layouts() -> list[Layout]:
    """Return every layout that a module of `homolog.data` declares, by name."""
    modules = sorted(module.name for module in pkgutil.iter_modules(homolog.data.__path__))
    declared: dict[str, Layout] = {}
    for name in modules:
        module = importlib.import_module(f"homolog.data.{name}")
        for value in vars(module).values():
            if isinstance(value, Layout):
                declared[value.name] = value
    return [declared[name] for name in sorted(declared, key=str.casefold)]


def inspect(root: str | Path) -> Inventory:
    """Recognise the data sets in a folder: the folder itself, and the folders in it.

    A folder is a data set if it has its signature files, or else if it has its official name.

    Args:
        root: where to look.

    Raises:
        DataError: no such folder, or it cannot be read.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder with data sets, found none; check the path")
    try:
        folders = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); check its owner and mode") from error
    known = layouts()
    found = [_found(layout, place) for place in folders for layout in _recognised(place, known)]
    names = {data_set.name for data_set in found}
    return Inventory(
        root=str(folder),
        found=tuple(sorted(found, key=lambda data_set: (data_set.name.casefold(), data_set.path))),
        absent=tuple(
            Absent(**_of(Source, layout), folder=layout.folder)
            for layout in known
            if layout.name not in names
        ),
    )


def _recognised(folder: Path, known: list[Layout]) -> Iterator[Layout]:
    signed = [layout for layout in known if all(_matches(folder, pattern) for pattern in layout.signature)]
    # An incomplete data set is recognised by its name alone, unless its content has identified it.
    named = [layout for layout in known if layout.folder.casefold() == folder.resolve().name.casefold()]
    yield from signed or named


def _matches(folder: Path, pattern: str) -> bool:
    return next(folder.glob(pattern), None) is not None


def _found(layout: Layout, folder: Path) -> Found:
    items = tuple(_item(expected, folder) for expected in layout.expected)
    return Found(
        **_of(Source, layout),
        path=str(folder),
        complete=all(item.complete or item.optional for item in items),
        items=items,
    )


def _item(expected: Expected, folder: Path) -> Item:
    files = [path for path in folder.glob(expected.pattern) if path.is_file()]
    found = len(files) if expected.unit == "files" else sum(_lines(path, expected.header) for path in files)
    return Item(
        **_of(FileKind, expected),
        found=found,
        expected=expected.count,
        complete=found > 0 if expected.count is None else found >= expected.count,
    )


def _of(base: type[Source | FileKind], value: Source | FileKind) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(base)}


def _lines(path: Path, header: int) -> int:
    try:
        with path.open("rb") as file:
            return max(0, sum(bool(line.strip()) for line in file) - header)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check its owner and mode") from error
