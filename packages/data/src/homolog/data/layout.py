"""What a data set looks like on disk and where it comes from, declared as data.

Each file of `homolog.data` that reads a benchmark has one or more module constants of type `Layout`;
`homolog.data.inventory` finds them there. Nothing is registered. So that all can be listed anywhere,
such a file imports optional packages only where it needs them.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """One kind of file of a data set, and how much of it the complete set has.

    Attributes:
        what: in words, plural (`"pairs of the test split"`).
        pattern: glob relative to the root of the data set (`"PairAnnotation/test/*.json"`); no `..`.
        count: how many there are officially; None if that is not published: then at least one is expected.
        unit: `files` counts the files that match, `lines` the lines with text in all of them.
        header: lines at the top of each file that do not count.
        optional: its absence leaves the data set usable, such as segmentation that no protocol here reads.
        note: what a user should know about the number, such as `unverified`, or nothing.
    """

    what: str
    pattern: str
    count: int | None = None
    unit: Literal["files", "lines"] = "files"
    header: int = 0
    optional: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A data set, or one of the layouts that a data set comes in.

    Attributes:
        name: as people call it; with the layout in brackets where there are several
            (`"MegaDepth-1500 (LoFTR)"`).
        folder: official name of the root folder.
        home: home page.
        licence: in a few words, with what its owners ask for; `not stated` if they say nothing.
        obtain: one or two sentences that lead from nothing to a complete folder.
        signature: globs relative to the root; a folder in which each matches something is this data set.
        expected: the files, in the order in which a report should list them.
        configs: names in `configs/data` that read it.
    """

    name: str
    folder: str
    home: str
    licence: str
    obtain: str
    signature: tuple[str, ...]
    expected: tuple[Expected, ...]
    configs: tuple[str, ...] = ()

    def advice(self) -> str:
        """Return the end of an error message: how to get the files.

        >>> layout = Layout(name="A", folder="A", home="https://a.example", licence="none",
        ...                 obtain="Download A.zip and unpack it.", signature=("a",), expected=())
        >>> layout.advice()
        'Download A.zip and unpack it. (https://a.example; homolog data check FOLDER says what is missing)'
        """
        return f"{self.obtain} ({self.home}; homolog data check FOLDER says what is missing)"
