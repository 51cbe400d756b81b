"""The figures of the README: how the loss fell, what each variant reaches, and matches of one pair before and after."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

PANELS = {
    "SH100, precision": "sh100.precision",
    "SH100, recall": "sh100.recall",
    "SH200, precision": "sh200.precision",
    "SH200, recall": "sh200.recall",
    "Synthetic scenes, recall": "scenes.recall",
    "Real pairs, agreeing": "real.agreeing",
}


def draw_curves(metrics: Mapping[str, Path], sweep: Mapping[str, Any], file: Path) -> None:
    """Draw how the loss fell, and what heads reach at each number of matches.

    Args:
        metrics: by variant, the table of its first stage; losses are shown as means over 5 logged steps.
        sweep: what `sweep.py` wrote.
        file: a PNG.
    """
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    for name, path in metrics.items():
        with path.open(encoding="utf-8") as text:
            rows = [row for row in csv.DictReader(text) if row.get("terms/assignment")]
        kernel = np.ones(5) / 5
        step, loss = (
            np.convolve([float(row[column]) for row in rows], kernel, "valid")
            for column in ("step", "terms/assignment")
        )
        full = name.startswith("full")
        left.plot(
            step,
            loss,
            label=name,
            color="black" if full else None,
            linestyle="-" if name == "full, seed 0" or not full else ":",
        )
    left.set(
        xlabel="step of stage SH100 (4 pairs each)",
        ylabel="negative log likelihood (nats)",
        title="Training loss",
    )
    for name, found in sweep.items():
        middle.plot(*_line(found["sh200"], "recall", "precision"), marker=".", label=name)
        right.plot(*_line(found["real"], "inliers", "agreeing"), marker=".", label=name)
    middle.set(xlabel="recall (%)", ylabel="precision (%)", title="Held-out SH200, fewer and fewer matches")
    right.set(
        xlabel="inliers per pair",
        ylabel="matches that agree (%)",
        title="Real pairs, fewer and fewer matches",
    )
    for axes in (left, middle):
        axes.legend(frameon=False, fontsize=8)
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=100)
    plt.close(figure)


def _line(found: Sequence[Mapping[str, float]], x: str, y: str) -> tuple[list[float], list[float]]:
    return [row[x] * (1 if x == "inliers" else 100) for row in found], [100 * row[y] for row in found]


def draw_bars(
    rows: Sequence[tuple[str, Mapping[str, float]]], spread: Mapping[str, float], file: Path
) -> None:
    """Draw what each variant reaches.

    Args:
        rows: label and figures, from top to bottom; the first is the reference line of all panels.
        spread: by figure, largest difference between seeds, drawn as a band around the reference.
        file: a PNG.
    """
    figure, all_axes = plt.subplots(2, 3, figsize=(10, 5.6), sharey=True, layout="constrained")
    places = np.arange(len(rows))[::-1]
    for axes, (title, name) in zip(all_axes.flat, PANELS.items(), strict=True):
        values = [100 * figures[name] for _, figures in rows]
        axes.barh(
            places, values, color=["#1f5fa8" if index == 0 else "#9db7d5" for index in range(len(rows))]
        )
        axes.axvspan(
            values[0] - 100 * spread[name], values[0] + 100 * spread[name], color="black", alpha=0.1, lw=0
        )
        for place, value in zip(places, values, strict=True):
            axes.text(value, place, f" {value:.1f}", va="center", fontsize=8)
        axes.set_xlim(0, 110)
        axes.set_title(title + " (%)", fontsize=10)
        axes.set_yticks(places, [label for label, _ in rows], fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def draw_pair(pictures: Sequence[Path], file: Path, *, width: int = 800) -> None:
    """Put two pictures of homolog's own drawing above one another, small enough for a README."""
    shown: list[Any] = []
    for path in pictures:
        picture = Image.open(path).convert("RGB")
        shown.append(
            picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
        )
    whole = Image.new("RGB", (width, sum(picture.height for picture in shown)), "white")
    top = 0
    for picture in shown:
        whole.paste(picture, (0, top))
        top += picture.height
    for colours in (256, 128, 96, 64, 48, 32):
        memory = io.BytesIO()
        whole.quantize(colours, dither=Image.Dither.NONE).save(memory, "PNG", optimize=True)
        if memory.tell() < 150_000:
            break
    file.write_bytes(memory.getvalue())
