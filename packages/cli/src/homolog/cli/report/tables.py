"""The tables of a report: results of many evaluations side by side, for the terminal, the page and Markdown."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homolog.cli.console import make_table, output
from homolog.cli.evaluation import FORMAT
from homolog.core.errors import DataError

Result = Mapping[str, Any]
"""The content of a `result.json`."""

AVERAGE = "average over kinds of task"
"""The name of the last column; see `average`."""

AVERAGE_MEANING = (
    "The average over kinds of task is that of MATCHA's table 4: the mean over three thresholds of each task's headline "
    "score, then over the tasks of a kind, then over the kinds. The thresholds are 0.05, 0.1, 0.15 of PCK and 5, 10, 20 "
    "degrees of AUC where a task has them, otherwise the only three that it has. The average is in per cent, and "
    "exists only for matchers with such scores on every task of this table. Table 4 has one task of each kind: "
    "PF-WILLOW, pairs of Aachen and TAP-Vid DAVIS."
)

THRESHOLD = re.compile(r"(.*)@([\d.e-]+)(.*)")
"""The name of a score at a threshold: `PCK@0.1 per image, box`, `AUC@5deg`."""

THREE_THRESHOLDS = ({"0.05", "0.1", "0.15"}, {"5", "10", "20"})
"""The thresholds of MATCHA's table 4, as they are written in names of scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of texts; `best` are (row, column) of the best values."""

    header: list[str]
    rows: list[list[str]]
    best: frozenset[tuple[int, int]] = frozenset()


def read_results(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """Read the `result.json` of each folder; folders without one are left out.

    Raises:
        DataError: a damaged file, or one of a newer homolog.
    """
    return [_read(folder / "result.json") for folder in folders if (folder / "result.json").is_file()]


def find_results(roots: Sequence[Path]) -> list[Path]:
    """Return the folders at or below `roots` that have a `result.json`.

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


def print_leaderboard(results: Sequence[Result]) -> None:
    """Print one row for each matcher and one column for each task; failures are explained below."""
    console, table = output(), make_table("matcher")
    cells, tasks = _by_matcher_and_task(results), names(results, "task")
    for task in tasks:
        headline = _headline(task, results)
        header = f"{task}\n{headline['protocol']}\n{headline['name']}" if headline else task
        table.add_column(header, justify="right")
    for matcher in names(results, "matcher"):
        table.add_row(matcher, *(value_text(cells.get((matcher, task))) for task in tasks))
    console.print(table)
    for line in failures(results):
        console.print(line, soft_wrap=True)


def leaderboard(results: Sequence[Result]) -> Table:
    """Return the main table: a row for each matcher, a column for each task, the best fractions marked."""
    cells, tasks, matchers = _by_matcher_and_task(results), names(results, "task"), names(results, "matcher")
    texts = [[value_text(cells.get((matcher, task))) for matcher in matchers] for task in tasks]
    values = [[_fraction(cells.get((matcher, task))) for matcher in matchers] for task in tasks]
    if len(tasks) > 1:
        averages = [average(matcher, results) for matcher in matchers]
        texts.append(["-" if mean is None else f"{100 * mean:.1f}" for mean in averages])
        values.append(averages)
    best = {(row, column) for column, of_task in enumerate(values, start=1) for row in _best(of_task)}
    return Table(
        header=["matcher", *tasks, *([AVERAGE] if len(tasks) > 1 else [])],
        rows=[[matcher, *(column[row] for column in texts)] for row, matcher in enumerate(matchers)],
        best=frozenset(best),
    )


def average(matcher: str, results: Sequence[Result]) -> float | None:
    """Return the mean over kinds of task of the mean of each kind (`AVERAGE_MEANING`), or None where one is missing."""
    cells, kinds = _by_matcher_and_task(results), dict[str, list[float]]()
    for task in names(results, "task"):
        result = cells.get((matcher, task))
        value = _over_three_thresholds(result)
        if result is None or value is None:
            return None
        kinds.setdefault(str(result["kind"]), []).append(value)
    return sum(sum(values) / len(values) for values in kinds.values()) / len(kinds) if kinds else None


def task_scores(task: str, results: Sequence[Result]) -> dict[str, Table]:
    """Return a table for each protocol of a task: one row for each score, one column for each matcher."""
    done = finished_of(task, results)
    tables: dict[str, Table] = {}
    for key in dict.fromkeys(key for result in done for key in result["protocols"]):
        having = [result for result in done if key in result["protocols"]]
        scores = {
            str(result["matcher"]): {
                score["name"]: score_text(score)
                for score in result["protocols"][key]["scores"]
                if not score["category"]
            }
            for result in having
        }
        rows = [
            [name, *(of_matcher.get(name, "") for of_matcher in scores.values())]
            for name in dict.fromkeys(name for of_matcher in scores.values() for name in of_matcher)
        ]
        tables[str(having[0]["protocols"][key]["name"])] = Table(header=["score", *scores], rows=rows)
    return tables


def finished_of(task: str, results: Sequence[Result]) -> list[Result]:
    """Return the results of a task that have scores."""
    return [result for result in results if result["task"] == task and result["status"] == "done"]


def failures(results: Sequence[Result]) -> list[str]:
    """Return a line for each matcher and each reason why it has no scores."""
    tasks: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if result["status"] != "done":
            tasks.setdefault((str(result["matcher"]), str(result["reason"])), []).append(str(result["task"]))
    return [f"{matcher} on {', '.join(of)}: {reason}" for (matcher, reason), of in tasks.items()]


def headline_text(task: str, results: Sequence[Result]) -> str:
    """Return protocol and name of the score that stands for a task."""
    headline = _headline(task, results)
    return f"{headline['protocol']}, {headline['name']}" if headline else "no result"


def origin(result: Result) -> str:
    """Return one line that says how a result was made."""
    machine = ", ".join(str(value) for value in result["hardware"].values())
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    part = "" if result.get("limit") is None else f"; only the first {result['limit']} samples"
    return (
        f"{result['matcher']} on {result['task']}{part}: `{result['command']}`; commit {result['commit'] or 'none'}; "
        f"seed {result['seed']}; {machine}; {versions}; {result['finished']}"
    )


def value_text(result: Result | None) -> str:
    """Return the headline score of a result as text: a fraction in per cent, `failed`, or nothing."""
    if result is None:
        return ""
    if result["status"] != "done":
        return "failed"
    headline = result.get("headline")
    return "-" if headline is None else score_text(headline)


def score_text(score: Mapping[str, Any]) -> str:
    """Return the value of a score with its unit; a fraction in per cent."""
    value = shown_value(score)
    if value is None:
        return "-"
    if is_fraction(score):
        return f"{value:.1f}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g} {score['unit']}".strip()


def shown_value(score: Mapping[str, Any]) -> float | None:
    """Return the value of a score; of a fraction in per cent."""
    value = score["value"]
    if value is None:
        return None
    return 100 * float(value) if is_fraction(score) else float(value)


def is_fraction(score: Mapping[str, Any]) -> bool:
    """Return whether a score is a fraction in [0, 1], of which more is better."""
    return score["unit"] == "share"


def names(results: Sequence[Result], key: str) -> list[str]:
    """Return the different values of a key, in order."""
    return list(dict.fromkeys(str(result[key]) for result in results))


def make_markdown(results: Sequence[Result]) -> str:
    """Return the tables as Markdown."""
    tasks = names(results, "task")
    lines = [
        "# homolog report",
        "",
        "Fractions are in per cent. Below the table is the score of each column.",
        "",
    ]
    lines += _markdown_table(leaderboard(results))
    lines += ["", *(f"- {_escaped(task)}: {headline_text(task, results)}" for task in tasks)]
    lines += ["", AVERAGE_MEANING] if len(tasks) > 1 else []
    failed = failures(results)
    if failed:
        lines += ["", "Without scores:", "", *(f"- {_escaped(line)}" for line in failed)]
    for task in tasks:
        tables = task_scores(task, results)
        lines += ["", f"## {_escaped(task)}"] if tables else []
        for protocol, table in tables.items():
            lines += ["", f"### {_escaped(protocol)}", "", *_markdown_table(table)]
    lines += ["", "## Where the numbers come from", "", *(f"- {origin(result)}" for result in results), ""]
    return "\n".join(lines)


def _markdown_table(table: Table) -> list[str]:
    aligned = ["---", *("---:" for _ in table.header[1:])]
    return [
        f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in (table.header, aligned, *table.rows)
    ]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _by_matcher_and_task(results: Sequence[Result]) -> dict[tuple[str, str], Result]:
    return {(str(result["matcher"]), str(result["task"])): result for result in results}


def _headline(task: str, results: Sequence[Result]) -> Mapping[str, Any] | None:
    having = (result["headline"] for result in results if result["task"] == task and result.get("headline"))
    return next(having, None)


def _fraction(result: Result | None) -> float | None:
    headline = result.get("headline") if result is not None else None
    if not headline or not is_fraction(headline) or headline["value"] is None:
        return None
    return float(headline["value"])


def _over_three_thresholds(result: Result | None) -> float | None:
    """Return the mean of the headline score over three thresholds, or None if the protocol does not have three."""
    if _fraction(result) is None or result is None:
        return None
    headline = result["headline"]
    named = THRESHOLD.fullmatch(headline["name"])
    if named is None:
        return None
    values: dict[str, float | None] = {}
    for content in result["protocols"].values():
        for score in content["scores"] if content["name"] == headline["protocol"] else ():
            other = THRESHOLD.fullmatch(score["name"])
            if other and not score["category"] and other.group(1, 3) == named.group(1, 3):
                values[other.group(2)] = score["value"]
    wanted = next((three for three in THREE_THRESHOLDS if three <= values.keys()), values.keys())
    found = [value for threshold in wanted if (value := values[threshold]) is not None]
    return sum(found) / 3 if len(wanted) == len(found) == 3 else None


def _best(values: Sequence[float | None]) -> list[int]:
    """Return which values are the highest as they are shown, if there are at least two to compare."""
    known = {row: round(100 * value, 1) for row, value in enumerate(values) if value is not None}
    return [row for row, value in known.items() if value == max(known.values())] if len(known) > 1 else []


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
