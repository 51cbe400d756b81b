"""The results of many cells, side by side."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from homolog.cli.evaluation import FORMAT
from homolog.core.errors import DataError


def read_results(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """Read the `result.json` of each folder; those that have none are left out.

    Raises:
        DataError: a damaged file, or one of a newer homolog.
    """
    return [_read(folder / "result.json") for folder in folders if (folder / "result.json").is_file()]


def find_results(roots: Sequence[Path]) -> list[Path]:
    """Return the folders of all cells at or below some folders.

    Raises:
        DataError: there are none.
    """
    folders = sorted({file.parent for root in roots for file in root.rglob("result.json")})
    if not folders:
        raise DataError(
            f"{', '.join(str(root) for root in roots)}: expected results of homolog evaluate or homolog sweep, "
            "got no result.json; run one of them first"
        )
    return folders


def print_leaderboard(results: Sequence[Mapping[str, Any]]) -> None:
    """Print one row for each matcher and one column for each task; what failed is explained below."""
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("matcher", overflow="fold")
    tasks = list(dict.fromkeys(str(result["task"]) for result in results))
    for task in tasks:
        table.add_column(_column(task, results), justify="right")
    for matcher in dict.fromkeys(str(result["matcher"]) for result in results):
        cells = {str(result["task"]): result for result in results if result["matcher"] == matcher}
        table.add_row(matcher, *(value_text(cells.get(task)) for task in tasks))
    console.print(table)
    for line in failures(results):
        console.print(line, soft_wrap=True)


def failures(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each matcher and each reason why it has no scores."""
    tasks: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if result["status"] != "done":
            tasks.setdefault((str(result["matcher"]), str(result["reason"])), []).append(str(result["task"]))
    return [f"{matcher} on {', '.join(of)}: {reason}" for (matcher, reason), of in tasks.items()]


def value_text(result: Mapping[str, Any] | None) -> str:
    """Return the headline of a cell for people: shares in per cent, `failed`, or nothing."""
    if result is None:
        return ""
    if result["status"] != "done":
        return "failed"
    headline = result.get("headline")
    return "-" if headline is None else score_text(headline)


def score_text(score: Mapping[str, Any]) -> str:
    """Return the value of a score with its unit, for people."""
    value = score["value"]
    if value is None:
        return "-"
    if score["unit"] == "share":
        return f"{100 * value:.1f}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g} {score['unit']}".strip()


def _column(task: str, results: Sequence[Mapping[str, Any]]) -> str:
    headlines = [
        result["headline"]
        for result in results
        if result["task"] == task and result.get("headline") is not None
    ]
    return f"{task}\n{headlines[0]['protocol']}\n{headlines[0]['name']}" if headlines else task


def _read(path: Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: expected the result of an evaluation, got {error}; remove it and evaluate again"
        ) from error
    if not isinstance(result, dict) or not isinstance(result.get("format"), int):
        raise DataError(
            f"{path}: expected the result of an evaluation, got another JSON; name the folder of a sweep"
        )
    if result["format"] > FORMAT:
        raise DataError(f"{path}: written by a newer homolog (format {result['format']}); update homolog")
    return result
