"""Charts of a report, as SVG: curves, bars, quality against cost. Needs no torch.

`matchers` are all of the report, so that each has the same colour in every chart. Labels have the unit.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from homolog.cli.figures.layout import INK, MUTED

RULE = "#d8dee4"
"""The colour of grid lines."""

MATCHER_COLOURS = (
    "#0b6bcb",
    "#d1453b",
    "#2f9e44",
    "#9c36b5",
    "#e8890c",
    "#0c8599",
    "#8b5e34",
    "#5c6370",
    "#c2255c",
    "#74b816",
)
"""One for each matcher of a report, in turn."""

MARKS = "osD^vP*Xh<"
"""Shapes of points, one for each matcher, in turn."""

Line = tuple[Sequence[float | None], Sequence[float | None]]


def draw_curves(
    lines: Mapping[str, Line], *, matchers: Sequence[str], x_label: str, y_label: str, diagonal: bool = False
) -> bytes:
    """Draw one line, x and y, for each matcher; the diagonal is what a calibrated confidence follows."""
    figure, axes = _axes(5.2, 3.4)
    if diagonal:
        axes.plot((0, 1), (0, 1), color=RULE, linestyle="--", linewidth=1.2, zorder=1)
    for name, (x, y) in lines.items():
        number = matchers.index(name)
        across, up = _numbers(x), _numbers(y)
        # A few points are measurements, many are a curve.
        mark = MARKS[number % len(MARKS)] if len(across) <= 12 else None
        axes.plot(across, up, color=_colour(number), marker=mark, markersize=4.5, linewidth=1.7, label=name)
    _label(axes, x_label, y_label)
    return _svg(figure, axes, legend=len(lines))


def draw_bars(
    values: Mapping[str, Mapping[str, float | None]], *, matchers: Sequence[str], y_label: str
) -> bytes:
    """Draw grouped bars of values by category, then by the matcher's name."""
    names = list(dict.fromkeys(name for group in values.values() for name in group))
    figure, axes = _axes(max(5.2, 0.28 * len(values) * max(len(names), 2) + 1.4), 3.4)
    width = 0.8 / max(len(names), 1)
    for number, name in enumerate(names):
        at = [index + (number - (len(names) - 1) / 2) * width for index in range(len(values))]
        heights = _numbers([group.get(name) for group in values.values()])
        axes.bar(at, heights, width=width * 0.92, color=_colour(matchers.index(name)), label=name)
    axes.set_xticks(range(len(values)), list(values), rotation=40, ha="right", fontsize=8, parse_math=False)
    _label(axes, "", y_label)
    return _svg(figure, axes, legend=len(names))


def draw_cost(
    points: Mapping[str, tuple[float, float]], *, matchers: Sequence[str], x_label: str, y_label: str
) -> bytes:
    """Draw one point, cost and quality, for each matcher, on a logarithmic axis of cost."""
    figure, axes = _axes(5.2, 3.4)
    for name, (cost, quality) in points.items():
        number = matchers.index(name)
        axes.scatter(cost, quality, s=55, color=_colour(number), marker=MARKS[number % len(MARKS)], zorder=3)
        style: dict[str, Any] = {"fontsize": 8.5, "color": INK, "parse_math": False}
        axes.annotate(name, (cost, quality), (7, 5), textcoords="offset points", **style)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))
    axes.tick_params(which="minor", colors=MUTED, labelsize=7.5)
    axes.margins(0.18)
    _label(axes, x_label, y_label)
    return _svg(figure, axes, legend=0)


def _colour(number: int) -> str:
    return MATCHER_COLOURS[number % len(MATCHER_COLOURS)]


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelsize=8.5)
    axes.grid(color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def _label(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set_xlabel(x_label, fontsize=9.5, color=INK, parse_math=False)
    axes.set_ylabel(y_label, fontsize=9.5, color=INK, parse_math=False)


def _svg(figure: Figure, axes: Axes, *, legend: int) -> bytes:
    if legend:
        labels = axes.legend(frameon=False, fontsize=8.5, loc="best")
        for text in labels.get_texts():
            text.set_parse_math(False)
    encoded = io.BytesIO()
    # The same results give the same bytes. Text as paths looks the same on every machine.
    with mpl.rc_context({"svg.hashsalt": "homolog", "svg.fonttype": "path"}):
        figure.savefig(encoded, format="svg", metadata={"Date": None})
    return encoded.getvalue()


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else float(value) for value in values]
