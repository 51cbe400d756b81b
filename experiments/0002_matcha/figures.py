"""Draw the figures of this experiment from `results.json`, and print its tables.

uv run python experiments/0002_matcha/figures.py
"""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt  # after the choice of where to draw

FOLDER = Path(__file__).parent
LABELS = {
    "pck": "PCK@0.1\nreal objects",
    "made_up_pck": "PCK@0.1\nsynthetic objects",
    "inliers": "inliers of\nreal scenes",
    "exact": "matches within\n3 px, views",
    "transfer": "points within\n3 px, views",
    "held_exact": "matches within\n3 px, held out",
    "held_transfer": "points within\n3 px, held out",
    "pose_auc": "pose AUC@5°\nsynthetic scenes",
    "clip_aj": "AJ\nclip",
    "clip_pck": "PCK@0.1\nclip",
    "video_aj": "AJ\nsynthetic videos",
}
"""Figures that are drawn, and what they are called."""

COLUMNS = (
    *("pck", "pck_curve", "made_up_pck", "inliers", "agreeing", "correct", "exact", "transfer", "held_exact"),
    *("held_transfer", "pose_auc", "clip_aj", "clip_delta", "clip_pck", "video_aj"),
)
"""Columns of the table."""

TASKS = {"semantic": 2, "geometric": 6, "temporal": 3}
"""How many of them belong to each task, in order."""

PARTS = {
    "xfeat": ("XFeat alone", "#b5651d", "v"),
    "efficientnet": ("EfficientNet-Lite0 alone", "#7a7a7a", "s"),
}
SEEDS = ("guarded", "guarded_seed1", "guarded_seed2")
ATTENTION = {"none": "none", "self": "self", "cross": "cross", "both": "both"}
"""Kinds of attention of a block."""

TABLE_3 = {
    "union": "no fusion",
    "plain_third": "no fusion\n+ third map",
    "each_semantic": "two features:\nF_s",
    "each_geometric": "two features:\nF_g",
    "each_joint": "one feature\nF_t",
    "each": "F_m: + third map\n(MATCHA)",
    "semantic_only": "F_m, only F_s\nsupervised",
    "geometric_only": "F_m, only F_g\nsupervised",
    "one_only": "F_m, only F_m\nsupervised",
}
"""What the paper's table 3 varies: the third map, the fusion, its supervision, one feature against two."""


def main() -> None:
    """Draw all figures."""
    rows = json.loads((FOLDER / "results.json").read_text(encoding="utf-8"))["variants"]
    print(table(rows, COLUMNS))
    against_the_union({name: row["figures"] for name, row in rows.items()})
    attention({name: row["figures"] for name, row in rows.items()})
    table_3({name: row["figures"] for name, row in rows.items()})


def table(rows: dict[str, Any], columns: tuple[str, ...]) -> str:
    """Return the figures of all variants as Markdown, shares in per cent."""
    lines = [f"| variant | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for row in rows.values():
        values = [_cell(name, row["figures"].get(name)) for name in columns]
        lines.append(f"| {row['says']} | {' | '.join(values)} |")
    return "\n".join(lines)


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if name in ("inliers", "correct") else f"{100 * value:.1f}"


def against_the_union(rows: dict[str, dict[str, float]]) -> None:
    """Show by how much each matcher is better or worse than the plain union, in per cent of it."""
    base = rows["union"]

    def change(name: str, figure: str) -> float:
        return 100 * (rows[name].get(figure, float("nan")) / base[figure] - 1)

    figure, axis = plt.subplots(figsize=(11, 4.6), layout="constrained")
    places = np.arange(len(LABELS))
    axis.axhline(0, color="black", linewidth=1)
    for name, (label, colour, marker) in PARTS.items():
        values = [change(name, figure) for figure in LABELS]
        axis.plot(places - 0.15, values, marker, color=colour, label=label, markersize=7)
    seeds = [name for name in SEEDS if name in rows]
    spread = np.array([[change(name, figure) for figure in LABELS] for name in seeds], dtype=np.float64)
    axis.vlines(
        places + 0.15,
        np.nanmin(spread, axis=0),
        np.nanmax(spread, axis=0),
        color="#1f5fa8",
        linewidth=4,
        alpha=0.4,
    )
    axis.plot(
        places + 0.15,
        np.nanmean(spread, axis=0),
        "o",
        color="#1f5fa8",
        label=f"trained, similarity 4: mean and range of {len(seeds)} seeds",
    )
    edge = -0.5
    for task, count in TASKS.items():
        axis.text(
            edge + count / 2, 1.01, task, transform=axis.get_xaxis_transform(), ha="center", va="bottom"
        )
        edge += count
        axis.axvline(edge, color="#cccccc", linewidth=1)
    axis.set_xticks(places, list(LABELS.values()), fontsize=8)
    axis.set_xlim(-0.5, len(LABELS) - 0.5)
    axis.set_ylabel("better or worse than the plain union, %")
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    axis.grid(axis="y", alpha=0.3)
    figure.savefig(FOLDER / "parts.png", dpi=90)


def attention(rows: dict[str, dict[str, float]]) -> None:
    """Show what each kind of attention is worth, from both starts."""
    shown = {"pck": "PCK@0.1, real objects", "made_up_pck": "PCK@0.1, synthetic objects"}
    shown |= {"held_transfer": "points within 3 px, held-out photos", "clip_aj": "AJ, clip"}
    figure, axes = plt.subplots(1, len(shown), figsize=(11, 3.4), layout="constrained")
    starts = {
        "union": ("our start: the union", "#1f5fa8", "o-"),
        "paper": ("random weights", "#b5651d", "s-"),
    }
    for axis, (name, label) in zip(axes, shown.items(), strict=True):
        for start, (told, colour, style) in starts.items():
            found = [_of(rows, start, kind, name) for kind in ATTENTION]
            axis.plot(range(len(ATTENTION)), found, style, color=colour, label=told)
        axis.axhline(
            100 * rows["union"][name],
            color="black",
            linestyle="--",
            linewidth=1,
            label="plain union, untrained",
        )
        axis.set_xticks(range(len(ATTENTION)), list(ATTENTION.values()), fontsize=8)
        axis.set_title(label, fontsize=9)
        axis.grid(axis="y", alpha=0.3)
    axes[0].set_ylabel("%")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    figure.savefig(FOLDER / "attention.png", dpi=90)


def table_3(rows: dict[str, dict[str, float]]) -> None:
    """Show what each thing that table 3 varies is worth; variants without results are left out."""
    shown = {"pck": "PCK@0.1, real objects", "made_up_pck": "PCK@0.1, synthetic objects"}
    shown |= {"held_transfer": "points within 3 px, held-out photos", "clip_pck": "PCK@0.1 per image, clip"}
    known = {name: label for name, label in TABLE_3.items() if name in rows}
    if len(known) < 2:
        return
    figure, axes = plt.subplots(1, len(shown), figsize=(12, 4), layout="constrained", sharey=True)
    for axis, (name, label) in zip(axes, shown.items(), strict=True):
        values = [100 * rows[variant][name] for variant in known]
        trained = ["#7a7a7a" if variant in ("union", "plain_third") else "#1f5fa8" for variant in known]
        axis.barh(range(len(known)), values, color=trained)
        for place, value in enumerate(values):
            axis.text(value, place, f" {value:.1f}", va="center", fontsize=8)
        axis.set_title(label, fontsize=9)
        axis.set_xlim(0, 1.2 * max(values))
        axis.set_xlabel("%")
    axes[0].set_yticks(range(len(known)), list(known.values()), fontsize=8)
    axes[0].invert_yaxis()
    figure.savefig(FOLDER / "table_3.png", dpi=90)


def _of(rows: dict[str, Any], start: str, kind: str, figure: str) -> float:
    name = f"{start}_{kind}"
    return 100 * rows[name][figure] if name in rows else float("nan")


if __name__ == "__main__":
    main()
