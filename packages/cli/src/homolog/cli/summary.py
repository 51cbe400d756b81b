"""The end of a run: a table for people, a file for programs."""

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from homolog.cli.comparison import Options
from homolog.cli.outcome import Outcome
from homolog.core.atomic import write_json
from homolog.zoo.build import resolved

ROWS = 40
"""A longer table is cut; the file has all rows."""

PACKAGES = ("homolog-core", "homolog-cli", "torch", "numpy", "poselib", "kornia", "timm")


def print_summary(outcomes: Sequence[Outcome], out: Path) -> None:
    """Print a table with one row for each pair, and where the results are."""
    # A pipe or a file has no width; rich would take 80 and fold names.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("pair", overflow="fold")
    for column in ("matches", "inliers", "mean score", "seconds"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("folder", overflow="fold")
    for outcome in outcomes[:ROWS]:
        table.add_row(*_row(outcome))
    console.print(table)
    if len(outcomes) > ROWS:
        console.print(f"… and {len(outcomes) - ROWS} more pairs")
    for note in dict.fromkeys(outcome.note for outcome in outcomes if outcome.note):
        console.print(f"note: {note}", soft_wrap=True)
    failed = sum(outcome.error is not None for outcome in outcomes)
    done = f"{len(outcomes) - failed} of {len(outcomes)} pairs matched"
    where = f"; pictures and matches are in {out}" if failed < len(outcomes) else ""
    console.print(f"{done}{where}", soft_wrap=True)


def write_summary(
    out: Path, outcomes: Sequence[Outcome], *, config: Mapping[str, Any], options: Options
) -> None:
    """Write `summary.json`: every row, and what is needed to get the same again.

    Nothing is written when no pair succeeded.

    Args:
        out: the folder of the run.
        outcomes: the rows.
        config: the composed configuration of the matcher.
        options: how pairs were matched and checked.
    """
    if all(outcome.error is not None for outcome in outcomes):
        return
    write_json(
        out / "summary.json",
        {
            "command": sys.argv[1:],
            "options": asdict(options),
            "config": resolved(config),
            "versions": {"python": platform.python_version(), **_versions()},
            "pairs": [outcome.record() for outcome in outcomes],
        },
    )


def _row(outcome: Outcome) -> tuple[str, ...]:
    if outcome.error is not None:
        return outcome.pair.title, "failed", "", "", "", ""
    inliers = "-" if outcome.inliers is None else str(outcome.inliers)
    score = "-" if outcome.mean_score is None else f"{outcome.mean_score:.2f}"
    folder = outcome.folder.name if outcome.folder else ""
    return outcome.pair.title, str(outcome.matches), inliers, score, f"{outcome.seconds:.1f}", folder


def _versions() -> dict[str, str]:
    installed: dict[str, str] = {}
    for package in PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed
