"""The story of `homolog evaluate`: one matcher, one task, every score the records allow."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from homolog.cli.cell import run_cell
from homolog.cli.loading import loading
from homolog.cli.notes import say
from homolog.cli.outcome import FINE, INTERRUPTED
from homolog.cli.report.tables import score_text
from homolog.cli.sweep import make_cells
from homolog.core.errors import ConfigError


def run(arguments: argparse.Namespace) -> int:
    """Evaluate what the command line asks for.

    Args:
        arguments: as `homolog.cli.main` parses them.

    Returns:
        The exit code.

    Raises:
        HomologError: wrong use, no data, or a matcher that cannot do this task.
    """
    cells = make_cells(arguments.settings, arguments)
    if len(cells) != 1:
        raise ConfigError(
            f"expected one matcher and one task, got {len(cells)} combinations; use homolog sweep"
        )
    (cell,) = cells
    if arguments.again:
        (cell.folder / "result.json").unlink(missing_ok=True)
    try:
        with loading():
            result = run_cell(replace(cell, folder=cell.folder), _progress)
    except KeyboardInterrupt:
        say("homolog: interrupted; the same command goes on from the answers that were saved")
        return INTERRUPTED
    _print(result)
    say(f"results are in {cell.folder}; homolog report {arguments.out} --open shows pictures and curves")
    return FINE


def _progress(answers: Iterable[Any], begun: int, total: int) -> Iterator[Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("samples", total=total, completed=begun)
        for answer in answers:
            yield answer
            bar.advance(task)


def _print(result: dict[str, Any]) -> None:
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)
    for protocol in result["protocols"].values():
        chosen = ", ".join(f"{key} {value}" for key, value in protocol["settings"].items())
        table = Table(box=None, pad_edge=False, header_style="bold", title=None)
        table.add_column(protocol["name"], overflow="fold")
        table.add_column("value", justify="right", no_wrap=True)
        table.add_column("of", justify="right", no_wrap=True)
        for score in protocol["scores"]:
            if not score["category"]:
                table.add_row(score["name"], score_text(score), str(score["count"] or ""))
        console.print(table)
        console.print(f"({chosen})", soft_wrap=True)
        console.print()
    seconds = result["seconds"]
    console.print(
        f"{result['matcher']} on {result['task']}: {result['samples']} of {result['of']} samples, "
        f"{seconds['per_sample']} s each, peak memory {result['peak_memory_gb']} GB"
    )
