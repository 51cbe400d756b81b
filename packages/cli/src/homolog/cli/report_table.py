"""The tables of a report, and the same as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from homolog.cli.leaderboard import failures, score_text, value_text

Result = Mapping[str, Any]

AVERAGE = "average over kinds of task"
"""Its column; see `average`."""

AVERAGE_MEANING = (
    "The average over kinds of task follows MATCHA (one number for geometric, semantic and temporal matching): the mean "
    "of the headlines of each kind, then the mean of those; in per cent, only where a matcher has a share as "
    "headline for every task of this table."
)


def names(results: Sequence[Result], key: str) -> list[str]:
    """Return the different values of a key, in order."""
    return list(dict.fromkeys(str(result[key]) for result in results))


def by_cell(results: Sequence[Result]) -> dict[tuple[str, str], Result]:
    """Return the results by matcher and task."""
    return {(str(result["matcher"]), str(result["task"])): result for result in results}


def average(matcher: str, results: Sequence[Result]) -> float | None:
    """Return the mean over kinds of task of the mean headline of each kind, or None where one is missing."""
    cells, kinds = by_cell(results), dict[str, list[float]]()
    for task in names(results, "task"):
        result = cells.get((matcher, task))
        headline = result.get("headline") if result is not None else None
        if result is None or not headline or headline["unit"] != "share" or headline["value"] is None:
            return None
        kinds.setdefault(str(result["kind"]), []).append(float(headline["value"]))
    return sum(sum(values) / len(values) for values in kinds.values()) / len(kinds) if kinds else None


def leaderboard(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the main table."""
    cells, tasks = by_cell(results), names(results, "task")
    header = ["matcher", *tasks, *([AVERAGE] if len(tasks) > 1 else [])]
    rows: list[list[str]] = []
    for matcher in names(results, "matcher"):
        row = [matcher, *(value_text(cells.get((matcher, task))) for task in tasks)]
        mean = average(matcher, results)
        rows.append([*row, *(["-" if mean is None else f"{100 * mean:.1f}"] if len(tasks) > 1 else [])])
    return header, rows


def headline_of(task: str, results: Sequence[Result]) -> str:
    """Say which number stands for a task: protocol and score."""
    for result in results:
        if result["task"] == task and result.get("headline"):
            return f"{result['headline']['protocol']}, {result['headline']['name']}"
    return "no result"


def task_scores(task: str, results: Sequence[Result]) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Return a table for each protocol of a task: one row for each score, one column for each matcher."""
    done = [result for result in results if result["task"] == task and result["status"] == "done"]
    tables: dict[str, tuple[list[str], list[list[str]]]] = {}
    for key in dict.fromkeys(key for result in done for key in result["protocols"]):
        having = [result for result in done if key in result["protocols"]]
        scores = {
            str(result["matcher"]): {
                score["name"]: score for score in result["protocols"][key]["scores"] if not score["category"]
            }
            for result in having
        }
        rows = [
            [
                name,
                *(score_text(scores[matcher][name]) if name in scores[matcher] else "" for matcher in scores),
            ]
            for name in dict.fromkeys(name for of_one in scores.values() for name in of_one)
        ]
        tables[str(having[0]["protocols"][key]["name"])] = (["score", *scores], rows)
    return tables


def origin(result: Result) -> str:
    """Say in one line where the numbers of a cell come from."""
    machine = ", ".join(str(value) for value in result["hardware"].values())
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    part = "" if result.get("limit") is None else f"; only the first {result['limit']} samples"
    return (
        f"{result['matcher']} on {result['task']}{part}: `{result['command']}`; commit {result['commit'] or 'none'}; "
        f"seed {result['seed']}; {machine}; {versions}; {result['finished']}"
    )


def make_markdown(results: Sequence[Result]) -> str:
    """Return the tables as Markdown."""
    lines = ["# homolog report", "", "Shares are in per cent. Each column names its protocol below.", ""]
    lines += _table(*leaderboard(results))
    lines += ["", AVERAGE_MEANING, ""]
    lines += [f"- {task}: {headline_of(task, results)}" for task in names(results, "task")]
    failed = failures(results)
    if failed:
        lines += ["", "Without scores:", "", *(f"- {_escaped(line)}" for line in failed)]
    for task in names(results, "task"):
        tables = task_scores(task, results)
        lines += ["", f"## {_escaped(task)}"] if tables else []
        for protocol, table in tables.items():
            lines += ["", f"### {_escaped(protocol)}", "", *_table(*table)]
    lines += ["", "## Where the numbers come from", "", *(f"- {origin(result)}" for result in results), ""]
    return "\n".join(lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    aligned = ["---", *("---:" for _ in header[1:])]
    return [f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in (header, aligned, *rows)]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
