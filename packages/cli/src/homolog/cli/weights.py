"""The story of `homolog weights`: which weight files there are, fetch them, check them, find them."""

import argparse
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from homolog.cli.notes import say
from homolog.core.errors import HomologError
from homolog.core.whereabouts import Whereabouts
from homolog.zoo.weight_files import WeightFile, choose_weights, list_weights, obtain, verify

ACTIONS = ("list", "fetch", "verify", "where")


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for.

    Args:
        arguments: `action`, one of `ACTIONS`, and `names` of files or products.

    Returns:
        0 when all is well, 1 when some file could not be fetched or is not what it should be.

    Raises:
        ConfigError: a name that nothing has.
    """
    files = list_weights()
    named = arguments.names or ["all"]
    chosen = list({id(file): file for name in named for file in choose_weights(name, files)}.values())
    act = {"list": _list, "fetch": _fetch, "verify": _verify, "where": _where}[arguments.action]
    return act(chosen)


def _list(files: Sequence[WeightFile]) -> int:
    console = Console(highlight=False, markup=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("weights", "size", "here?", "licence", "SHA-256", "needed by"):
        table.add_column(column, overflow="fold", justify="right" if column == "size" else "left")
    for file in files:
        table.add_row(
            file.name,
            f"{file.size / 1e6:.1f} MB" if file.size else "-",
            str(file.whereabouts),
            file.licence,
            _short_hash(file),
            ", ".join(file.needed_by),
        )
    console.print(table)
    console.print(
        "homolog weights where NAME shows source and path; fetch NAME gets a file; a product's name works too"
    )
    return 0


def _fetch(files: Sequence[WeightFile]) -> int:
    failed = 0
    for file in files:
        try:
            path = _with_bar(file)
        except HomologError as error:
            failed += 1
            say(f"homolog: {file.name}: {error}")
            continue
        print(f"{file.name}: {path}")
    return 1 if failed else 0


def _verify(files: Sequence[WeightFile]) -> int:
    here = [file for file in files if file.whereabouts is Whereabouts.HERE]
    wrong = 0
    for file in here:
        problem = verify(file)
        wrong += problem is not None
        print(f"{file.name}: {problem or 'as it should be'}")
    print(
        f"{len(here) - wrong} of {len(here)} files that are here are as they should be; {len(files) - len(here)} are not here"
    )
    return 1 if wrong else 0


def _where(files: Sequence[WeightFile]) -> int:
    for file in files:
        print(f"{file.name}\n  source   {file.source}\n  about    {file.origin}\n  licence  {file.licence}")
        print(f"  path     {file.path or 'in a package that is not installed'} ({file.whereabouts})")
        print(f"  needed by {', '.join(file.needed_by)}")
    return 0


def _with_bar(file: WeightFile) -> object:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(file.name, total=None)
        return obtain(file, lambda arrived, total: progress.update(task, completed=arrived, total=total))


def _short_hash(file: WeightFile) -> str:
    known = [digest for digest in file.sha256.values() if digest]
    return f"{known[0][:12]}…" if len(known) == 1 else f"{len(known)} of {len(file.sha256)} known"
