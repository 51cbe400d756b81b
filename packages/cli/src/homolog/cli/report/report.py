"""The page of a report: one HTML file with everything in it, for large and small screens."""

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from homolog.cli.figures.charts import draw_bars, draw_cost, draw_curves
from homolog.cli.report.tables import (
    AVERAGE_MEANING,
    Result,
    Table,
    failures,
    finished_of,
    headline_text,
    is_fraction,
    leaderboard,
    names,
    origin,
    shown_value,
    task_scores,
)

TEMPLATE = "page.html.jinja"

BROAD = 12
"""From this many categories, bars take the whole width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A picture of the page as a data URI, and whether it takes the whole width."""

    source: str
    caption: str
    broad: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The scores of one protocol; its settings as `key: value; ...`."""

    name: str
    settings: str
    table: Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What the page has on one task.

    `headline` is the protocol and score that stand for it, `samples` is how many were evaluated of how
    many, `charts` are those of the headline, and `examples` are the best and the worst samples by matcher.
    """

    name: str
    headline: str
    samples: str
    charts: list[Figure]
    more_charts: list[Figure]
    protocols: list[Protocol]
    examples: dict[str, list[Figure]]


def make_page(results: Sequence[Result], folders: Sequence[Path]) -> str:
    """Return the page of results, one for each matcher and task, with the pictures in their folders."""
    tasks = names(results, "task")
    # Names of matchers, tasks and files come from users: the template escapes every value.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        matchers=names(results, "matcher"),
        made=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        leaderboard=leaderboard(results),
        average_meaning=AVERAGE_MEANING if len(tasks) > 1 else "",
        failures=failures(results),
        sections=[_section(task, results, folders) for task in tasks],
        origins=[origin(result) for result in results],
    )


def _section(task: str, results: Sequence[Result], folders: Sequence[Path]) -> Section:
    done = finished_of(task, results)
    charts, more_charts = _charts(done, names(results, "matcher"))
    return Section(
        name=task,
        headline=headline_text(task, results),
        samples=", ".join(sorted({f"{result['samples']} of {result['of']}" for result in done})),
        charts=charts,
        more_charts=more_charts,
        protocols=[
            Protocol(name=name, settings=_settings(name, done), table=table)
            for name, table in task_scores(task, results).items()
        ],
        examples={
            str(result["matcher"]): figures
            for result, folder in zip(results, folders, strict=True)
            if result in done and (figures := _examples(result, folder))
        },
    )


def _settings(protocol: str, results: Sequence[Result]) -> str:
    for result in results:
        for content in result["protocols"].values():
            if content["name"] == protocol:
                return "; ".join(f"{key}: {value}" for key, value in content["settings"].items())
    return ""


def _charts(results: Sequence[Result], matchers: Sequence[str]) -> tuple[list[Figure], list[Figure]]:
    """Return the charts of a task: those of the headline, and those of its other protocols."""
    shown, others = _cost(results, matchers), list[Figure]()
    for key in dict.fromkeys(key for result in results for key in result["protocols"]):
        having = [result for result in results if key in result["protocols"]]
        of_protocol = [result["protocols"][key]["curves"] for result in having]
        curves = [
            _curve(key, name, having, matchers)
            for name in dict.fromkeys(name for curves in of_protocol for name in curves)
        ]
        # Variants of one protocol have nearly the same curves: those of the headline come first.
        (others if len(shown) > 1 else shown).extend(curves)
    return shown + _categories(results, matchers), others


def _curve(key: str, name: str, results: Sequence[Result], matchers: Sequence[str]) -> Figure:
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


def _cost(results: Sequence[Result], matchers: Sequence[str]) -> list[Figure]:
    points: dict[str, tuple[float, float]] = {}
    label = ""
    for result in results:
        headline, seconds = result["headline"], result["seconds"]["per_sample"]
        value = shown_value(headline) if headline else None
        if value is not None and seconds:
            points[str(result["matcher"])] = seconds, value
            label = f"{headline['name']} ({'%' if is_fraction(headline) else headline['unit']})"
    if not points:
        return []
    picture = draw_cost(points, matchers=matchers, x_label="seconds per sample (median)", y_label=label)
    return [_figure(picture, "quality against cost; the time to read files does not count")]


def _categories(results: Sequence[Result], matchers: Sequence[str]) -> list[Figure]:
    headline = next((result["headline"] for result in results if result["headline"]), None)
    if headline is None:
        return []
    values: dict[str, dict[str, float | None]] = {}
    for result in results:
        for content in result["protocols"].values():
            if content["name"] == headline["protocol"]:
                for score in content["scores"]:
                    if score["category"] and score["name"] == headline["name"]:
                        of_category = values.setdefault(score["category"], {})
                        of_category[str(result["matcher"])] = shown_value(score)
    if not values:
        return []
    picture = draw_bars(values, matchers=matchers, y_label=headline["name"])
    return [_figure(picture, f"{headline['protocol']}: by category", broad=len(values) >= BROAD)]


def _examples(result: Result, folder: Path) -> list[Figure]:
    return [
        _figure(
            (folder / row["file"]).read_bytes(),
            f"rank {row['rank'] + 1} of {row['of']}, quality {row['quality']:.3g}: {row['sample']}",
            kind="jpeg",
        )
        for row in result["examples"]
        if (folder / row["file"]).is_file()
    ]


def _figure(picture: bytes, caption: str, *, kind: str = "svg+xml", broad: bool = False) -> Figure:
    content = base64.b64encode(picture).decode()
    return Figure(source=f"data:image/{kind};base64,{content}", caption=caption, broad=broad)
