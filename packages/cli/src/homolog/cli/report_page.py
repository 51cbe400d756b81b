"""The page of a report: one HTML file with everything in it, for a desk and for a phone."""

import base64
import html
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from homolog.cli.figures.charts import draw_bars, draw_cost, draw_curves
from homolog.cli.leaderboard import failures
from homolog.cli.report_table import (
    AVERAGE_MEANING,
    Result,
    headline_of,
    leaderboard,
    names,
    origin,
    task_scores,
)

STYLE = """
:root { color-scheme: light; --ink: #1b1f24; --muted: #59636e; --rule: #d8dee4; --best: #e7f3e9; --paper: #fff; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem; max-width: 72rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { margin: .2em 0 0; font-size: 1.8rem; } h2 { margin: 2.4em 0 .3em; padding-top: .6em; border-top: 2px solid var(--ink); }
h3 { margin: 1.6em 0 .4em; } p, li { max-width: 48rem; } .muted { color: var(--muted); font-size: .9rem; }
nav { display: flex; flex-wrap: wrap; gap: .2em 1em; } a { color: #0b6bcb; }
.wide { overflow-x: auto; margin: .6em 0; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .32em .8em .32em 0; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--paper); }
th { font-weight: 600; vertical-align: bottom; } td.best { font-weight: 700; }
.charts, .examples { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.charts figure.broad { grid-column: 1 / -1; overflow-x: auto; }
figure { margin: 0; } figure img { max-width: 100%; height: auto; display: block; } figure.broad img { max-width: none; }
figcaption { color: var(--muted); font-size: .85rem; overflow-wrap: anywhere; }
.failed { border-left: 4px solid #d1453b; padding: .1em 1em; background: #fdf1f0; overflow-wrap: anywhere; }
details { margin: .8em 0; } summary { cursor: pointer; font-weight: 600; } code { font-size: .85em; overflow-wrap: anywhere; }
"""

BROAD = 12
"""From so many categories on, bars take the whole width."""


def make_page(results: Sequence[Result], folders: Sequence[Path]) -> str:
    """Return the page.

    Args:
        results: of all cells.
        folders: of the same cells, for their pictures.
    """
    tasks = names(results, "task")
    parts = [
        f"<h1>homolog report</h1><p class=muted>{len(results)} cells: {len(names(results, 'matcher'))} matchers, "
        f"{len(tasks)} tasks. Made {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}. Shares are in per cent.</p>",
        _contents(tasks),
        "<h2 id=leaderboard>Leaderboard</h2>",
        _table(*leaderboard(results), mark=True),
        f"<ul class=muted>{''.join(f'<li>{_text(task)}: {_text(headline_of(task, results))}</li>' for task in tasks)}</ul>",
        f"<p class=muted>{_text(AVERAGE_MEANING)}</p>" if len(tasks) > 1 else "",
        _failures(results),
        *(_task(number, task, results, folders) for number, task in enumerate(tasks)),
        _origins(results),
    ]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width, "
        f"initial-scale=1'><title>homolog report</title><style>{STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )


def _contents(tasks: Sequence[str]) -> str:
    links = [f"<a href='#task{number}'>{_text(task)}</a>" for number, task in enumerate(tasks)]
    return f"<nav><a href='#leaderboard'>leaderboard</a>{''.join(links)}<a href='#origin'>origin</a></nav>"


def _failures(results: Sequence[Result]) -> str:
    failed = failures(results)
    if not failed:
        return ""
    items = "".join(f"<li>{_text(line)}</li>" for line in failed)
    return f"<div class=failed><p>{len(failed)} without scores:</p><ul>{items}</ul></div>"


def _task(number: int, task: str, results: Sequence[Result], folders: Sequence[Path]) -> str:
    cells = [
        (result, folder)
        for result, folder in zip(results, folders, strict=True)
        if result["task"] == task and result["status"] == "done"
    ]
    if not cells:
        return f"<h2 id=task{number}>{_text(task)}</h2><p>No matcher has scores; see above.</p>"
    done = [result for result, _ in cells]
    tables = "".join(
        f"<h3>{_text(protocol)}</h3>{_settings(protocol, done)}{_table(*table, mark=False)}"
        for protocol, table in task_scores(task, results).items()
    )
    counts = sorted({f"{result['samples']} of {result['of']}" for result in done})
    return (
        f"<h2 id=task{number}>{_text(task)}</h2><p class=muted>{', '.join(counts)} samples.</p>"
        f"{_charts(done, names(results, 'matcher'))}{tables}{_examples(cells)}"
    )


def _settings(protocol: str, results: Sequence[Result]) -> str:
    for result in results:
        for content in result["protocols"].values():
            if content["name"] == protocol:
                chosen = "; ".join(f"{key}: {value}" for key, value in content["settings"].items())
                return f"<p class=muted>{_text(chosen)}</p>"
    return ""


def _charts(results: Sequence[Result], matchers: Sequence[str]) -> str:
    shown, others = [_cost(results, matchers)], list[str]()
    for key in dict.fromkeys(key for result in results for key in result["protocols"]):
        having = [result for result in results if key in result["protocols"]]
        curves = [_curve(key, name, having, matchers) for name in _curve_names(key, having)]
        # Variants of one protocol have nearly the same curves: those of the headline come first.
        (others if len(shown) > 1 else shown).extend(curves)
    shown.append(_categories(results, matchers))
    hidden = f"<details><summary>Curves of the other protocols</summary><div class=charts>{''.join(others)}</div></details>"
    return f"<div class=charts>{''.join(shown)}</div>{hidden if others else ''}"


def _curve_names(key: str, results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(name for result in results for name in result["protocols"][key]["curves"]))


def _curve(key: str, name: str, results: Sequence[Result], matchers: Sequence[str]) -> str:
    curves = {
        str(result["matcher"]): result["protocols"][key]["curves"][name]
        for result in results
        if name in result["protocols"][key]["curves"]
    }
    first = next(iter(curves.values()))
    picture = draw_curves(
        {matcher: (curve["x"], curve["y"]) for matcher, curve in curves.items()},
        matchers=matchers,
        x_label=first["x_label"],
        y_label=first["y_label"],
        diagonal="calibration" in name,
    )
    return _figure(picture, f"{results[0]['protocols'][key]['name']}: {name}")


def _cost(results: Sequence[Result], matchers: Sequence[str]) -> str:
    points = {
        str(result["matcher"]): (result["seconds"]["per_sample"], _shown(result["headline"]))
        for result in results
        if result["headline"] and result["headline"]["value"] is not None and result["seconds"]["per_sample"]
    }
    if not points:
        return ""
    headline = next(result["headline"] for result in results if result["headline"])
    label = f"{headline['name']} ({'%' if headline['unit'] == 'share' else headline['unit']})"
    picture = draw_cost(points, matchers=matchers, x_label="median seconds for a sample", y_label=label)
    return _figure(picture, "cost against quality; reading files is left out")


def _categories(results: Sequence[Result], matchers: Sequence[str]) -> str:
    headline = next((result["headline"] for result in results if result["headline"]), None)
    if headline is None:
        return ""
    values: dict[str, dict[str, float | None]] = {}
    for result in results:
        for content in result["protocols"].values():
            if content["name"] == headline["protocol"]:
                for score in content["scores"]:
                    if score["category"] and score["name"] == headline["name"]:
                        values.setdefault(score["category"], {})[str(result["matcher"])] = _shown(score)
    if not values:
        return ""
    picture = draw_bars(values, matchers=matchers, y_label=headline["name"])
    return _figure(picture, f"{headline['protocol']}: by category", broad=len(values) >= BROAD)


def _examples(cells: Sequence[tuple[Result, Path]]) -> str:
    parts: list[str] = []
    for result, folder in cells:
        rows = [row for row in result["examples"] if (folder / row["file"]).is_file()]
        if rows:
            figures = "".join(
                _figure(
                    (folder / row["file"]).read_bytes(),
                    f"rank {row['rank'] + 1} of {row['of']}, quality {row['quality']:.3g}: {row['sample']}",
                    kind="jpeg",
                )
                for row in rows
            )
            parts.append(
                f"<details{'' if parts else ' open'}><summary>{_text(result['matcher'])}: best and worst</summary>"
                f"<div class=examples>{figures}</div></details>"
            )
    if not parts:
        return ""
    meaning = (
        "White rings: asked, and true. Dots and lines: predicted; green is right, red is wrong. Points count as right "
        "within 5 % of the object's longer side (else the image's), matches within 0.3 % of the image's."
    )
    return f"<h3>Examples</h3><p class=muted>{meaning}</p>{''.join(parts)}"


def _origins(results: Sequence[Result]) -> str:
    items = "".join(f"<li><code>{_text(origin(result))}</code></li>" for result in results)
    return f"<h2 id=origin>Where the numbers come from</h2><ul>{items}</ul>"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, mark: bool) -> str:
    best = [
        _best([row[column] for row in rows]) if mark and column else set[int]()
        for column in range(len(header))
    ]
    head = "".join(f"<th>{_text(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=best' if number in best[column] else ''}>{_text(cell)}</td>"
            for column, cell in enumerate(row)
        )
        + "</tr>"
        for number, row in enumerate(rows)
    )
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _best(cells: Sequence[str]) -> set[int]:
    # Only shares are marked: of those, more is better.
    values = {number: float(cell) for number, cell in enumerate(cells) if cell.replace(".", "", 1).isdigit()}
    return (
        {number for number, value in values.items() if value == max(values.values())}
        if len(values) > 1
        else set()
    )


def _figure(picture: bytes, caption: str, *, kind: str = "svg+xml", broad: bool = False) -> str:
    content = base64.b64encode(picture).decode()
    return (
        f"<figure{' class=broad' if broad else ''}><img alt='{_text(caption)}' "
        f"src='data:image/{kind};base64,{content}'><figcaption>{_text(caption)}</figcaption></figure>"
    )


def _shown(score: Any) -> float:
    value = float("nan") if score["value"] is None else float(score["value"])
    return 100 * value if score["unit"] == "share" else value


def _text(text: str) -> str:
    return html.escape(str(text), quote=True)
