"""`homolog weights`: list the weight files, fetch them, verify them, and show where they are."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from homolog.cli.commands._shared import add_options
from homolog.cli.console import FINE, INTERRUPTED, SOME_FAILED, make_table, output, say
from homolog.core.errors import ConfigError, HomologError

if TYPE_CHECKING:
    from rich.table import Table

    from homolog.zoo.sources import Piece
    from homolog.zoo.weight_files import WeightFile

HELP = "list, fetch or verify weight files"

EXAMPLES = """\
examples:
  homolog weights list             all weight files: size, licence, hash, and whether they are here
  homolog weights list --json      the same as JSON
  homolog weights fetch dinov2_s   download the weights of a product; a file name or "all" works too
  homolog weights verify           hash the files that are here and compare
  homolog weights where dinov2_s   source and path of a file, to place it there by hand if necessary
"""

_NARROW = 150
"""A terminal with fewer columns has no room for all columns of the table."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("action", choices=("list", "fetch", "verify", "where"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="weight files or products (default: all)")
    parser.add_argument("--json", action="store_true", help="list as JSON instead of a table")
    add_options(parser, "configs")


def run(arguments: argparse.Namespace) -> int:
    """List, fetch or verify weight files, or show where they are.

    Returns:
        0 if all is well; 1 if a file cannot be fetched, is wrong, or was named to be verified but is not
        here; 130 if a download was interrupted.

    Raises:
        ConfigError: an unknown name, nothing to fetch, or no configs folder.
    """
    from homolog.zoo.weight_files import find_weights

    if arguments.action == "fetch" and not arguments.names:
        raise ConfigError("expected what to fetch: a file, a product, or all, which is tens of gigabytes")
    files = find_weights(*arguments.names, configs=arguments.configs)
    if arguments.action == "list":
        if arguments.json:
            records = [
                {name: value for name, value in asdict(file).items() if name != "node"} for file in files
            ]
            print(json.dumps(records, indent=2, ensure_ascii=False, default=str))
            return FINE
        return _list(files)
    if arguments.action == "fetch":
        return _fetch(files)
    if arguments.action == "verify":
        return _verify(files, all_must_be_here=bool(arguments.names))
    return _where(files)


def _list(files: "Sequence[WeightFile]") -> int:
    console = output()
    console.print(_table(files, narrow=console.width < _NARROW))
    console.print()
    if any(piece.sha256 is None for file in files for piece in file.pieces):
        console.print(
            "unknown: not known before the file is fetched; then it is compared with the hash that the hub "
            "declares, if there is one, and recorded\n"
            "*: not published, but recorded when the file was fetched or first seen here"
        )
    console.print("homolog weights where NAME shows more, fetch NAME downloads; NAME is a file or a product")
    return FINE


def _table(files: "Sequence[WeightFile]", *, narrow: bool) -> "Table":
    more = () if narrow else ("licence", "from", "needed by")
    first = "weights, from, licence, needed by" if narrow else "weights"
    table = make_table(first, "size", "here?", "SHA-256", *more, right=("size",))
    for column in table.columns[narrow:4]:
        column.no_wrap = True
    if not narrow:
        table.columns[4].max_width = 34
    for file in files:
        name, facts = file.name, (_size(file), str(file.whereabouts), _short_hash(file.pieces))
        needed_by = ", ".join(file.needed_by)
        if narrow:
            table.add_row("\n".join((name, file.provider, file.licence, needed_by)), *facts)
            table.add_row()
        else:
            table.add_row(name, *facts, file.licence, file.provider, needed_by)
    return table


def _size(file: "WeightFile") -> str:
    return "unknown" if file.size is None else f"{file.size / 1e6:.1f} MB"


def _short_hash(pieces: "Sequence[Piece]") -> str:
    known = [piece for piece in pieces if piece.sha256 or piece.recorded]
    star = "*" if any(piece.sha256 is None for piece in known) else ""
    if not known:
        return "unknown"
    if len(pieces) > 1:
        return f"{len(known)} of {len(pieces)} known{star}"
    return f"{known[0].sha256 or known[0].recorded:.12}…{star}"


def _fetch(files: "Sequence[WeightFile]") -> int:
    failed = 0
    for file in files:
        try:
            path = _fetch_with_bar(file)
        except HomologError as error:
            failed += 1
            say(f"homolog: {file.name}: {error}")
        except KeyboardInterrupt:
            say(f"homolog: {file.name}: interrupted; the next fetch resumes the download")
            return INTERRUPTED
        else:
            print(f"{file.name}: {path}")
    return SOME_FAILED if failed else FINE


def _fetch_with_bar(file: "WeightFile") -> Path:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from homolog.zoo.weight_files import obtain

    console = Console(stderr=True)
    if not console.is_terminal:
        return obtain(file)  # large files log their progress
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), console=console) as progress:
        task = progress.add_task(file.name, total=None)
        return obtain(file, lambda arrived, total: progress.update(task, completed=arrived, total=total))


def _verify(files: "Sequence[WeightFile]", *, all_must_be_here: bool) -> int:
    from homolog.zoo.weight_files import Verdict, verify

    short = {
        Verdict.SOUND: "as they should be",
        Verdict.UNCHANGED: "unchanged",
        Verdict.UNKNOWN: "cannot be checked",
        Verdict.WRONG: "wrong",
        Verdict.ABSENT: "not here",
    }
    verdicts: list[Verdict] = []
    for file in files:
        finding = verify(file)
        verdicts.append(finding.verdict)
        if finding.verdict is not Verdict.ABSENT or all_must_be_here:
            detail = f"; {finding.detail}" if finding.detail else ""
            print(f"{file.name}: {finding.verdict}{detail}")
    counts = [f"{verdicts.count(verdict)} {short[verdict]}" for verdict in Verdict if verdict in verdicts]
    print(", ".join(counts) or "no product needs weights")
    bad = {Verdict.WRONG, Verdict.ABSENT} if all_must_be_here else {Verdict.WRONG}
    return SOME_FAILED if bad & set(verdicts) else FINE


def _where(files: "Sequence[WeightFile]") -> int:
    for number, file in enumerate(files):
        if number:
            print()
        print(file.name)
        for title, text in _details(file):
            print(f"  {title:<10} {text}")
    return FINE


def _details(file: "WeightFile") -> list[tuple[str, str]]:
    lines = [
        ("source", file.source),
        ("about", file.origin),
        ("licence", file.licence),
        ("size", "unknown" if file.size is None else f"{_size(file)} ({file.size} bytes)"),
        ("path", f"{file.path or 'in a package that is not installed'} ({_state(file)})"),
        ("needed by", ", ".join(file.needed_by)),
    ]
    if len(file.pieces) == 1:
        return [*lines, ("SHA-256", _full_hash(file.pieces[0]))]
    for piece in file.pieces:
        lines += [("file", piece.source), ("  path", str(piece.path)), ("  SHA-256", _full_hash(piece))]
    return lines


def _state(file: "WeightFile") -> str:
    from homolog.zoo.sources import Whereabouts, reinstall_line

    package = file.pieces[0].package
    todo = {
        Whereabouts.HERE: "",
        Whereabouts.DOWNLOADABLE: "; fetched on first use, or place it there by hand",
        Whereabouts.DAMAGED: f"; run: {reinstall_line(package)}"
        if package
        else "; remove it, then fetch it again or place it there by hand",
        Whereabouts.MISSING_PACKAGE: f"; run: pip install {package}",
    }
    return f"{file.whereabouts}{todo[file.whereabouts]}"


def _full_hash(piece: "Piece") -> str:
    if piece.sha256:
        return piece.sha256
    return f"{piece.recorded} (recorded here, not published)" if piece.recorded else "unknown"
