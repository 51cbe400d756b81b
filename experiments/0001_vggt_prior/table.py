"""The tables of the README, in Markdown."""

from typing import Any

from variants import ROWS

FIGURES = (
    "epe",
    "epe_share",
    "warp",
    "dense_0.01",
    "dense_0.05",
    "dense_0.1",
    "pck_0.1",
    "pck_0.05",
    "left_right",
    "fold",
    "trust",
)
OTHERS = ("unseen views", "unseen categories")
FEW = ("epe_share", "dense_0.1", "pck_0.1", "left_right")


def table(rows: dict[str, Any]) -> str:
    """Return what the README shows of all rows."""
    parts = [_seen(rows), _others(rows)]
    if all("photos" in row for row in rows.values()):
        parts.append(_photos(rows))
    return "\n\n".join(parts)


def _seen(rows: dict[str, Any]) -> str:
    cells = {name: [row["seen categories"][figure] for figure in FIGURES] for name, row in rows.items()}
    return _lines(("unseen instances of seen categories", *FIGURES), rows, cells)


def _others(rows: dict[str, Any]) -> str:
    heads = [f"{figure}, {title}" for title in OTHERS for figure in FEW]
    cells = {name: [row[title][figure] for title in OTHERS for figure in FEW] for name, row in rows.items()}
    return _lines(("row", *heads), rows, cells)


def _photos(rows: dict[str, Any]) -> str:
    names = list(next(iter(rows.values()))["photos"])
    cells = {name: [row["photos"][figure] for figure in names] for name, row in rows.items()}
    return _lines(("annotated photos", *names), rows, cells)


def _lines(heads: tuple[str, ...], rows: dict[str, Any], cells: dict[str, list[float]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name in ROWS:
        if name in rows:
            figures = " | ".join(f"{value:.1f}" for value in cells[name])
            lines.append(f"| {rows[name]['label']} | {figures} |")
    return "\n".join(lines)
