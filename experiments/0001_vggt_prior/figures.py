"""Figures and tables of the README."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import torch
from matplotlib.axes import Axes
from scores import Pair
from torch import Tensor
from variants import ROWS, Row

from homolog.core.dense import DenseField
from homolog.core.protocols import Matcher

SETS = {"seen categories": "#4c72b0", "unseen views": "#dd8452", "unseen categories": "#55a868"}
STARTS = {"random": ("random start", "#999999"), "tuned": ("after learning geometry", "#4c72b0")}
SHOWN = 4
"""Pairs in the picture of examples."""


def draw(
    folder: Path,
    root: Path,
    results: dict[str, Any],
    load: Callable[[Row], Matcher],
    pairs: Callable[[str], Sequence[Pair]],
) -> None:
    """Draw everything that results are there for."""
    if (root / "prior/geometry/metrics.csv").exists():
        draw_curves(folder / "curves.png", root)
    if results["rows"]:
        draw_rows(folder / "rows.png", results["rows"])
    last = next(
        (name for name in ("photos", "+ uncertainty", "+ synthetic") if name in results["rows"]), None
    )
    if last is not None:
        draw_examples(folder / "examples.png", load(ROWS[last]), pairs)


def draw_curves(path: Path, root: Path) -> None:
    """Draw what was learnt, step by step."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    steps, rows = read(root / "prior/geometry/metrics.csv")
    for name, colour in (("camera", "#c44e52"), ("depth", "#4c72b0"), ("points", "#55a868")):
        left.plot(*smoothed(steps, rows[f"terms/{name}"]), color=colour, label=f"{name} loss")
    left.set(
        title="The prior: depth, points and cameras", xlabel="step (8 pairs each)", ylabel="loss, unweighted"
    )
    left.legend(frameon=False)
    for name, (label, colour) in STARTS.items():
        for folder in (root / name, *sorted(root.glob(f"{name}, seed *"))):
            if (folder / "synthetic/metrics.csv").exists():
                draw_stages(right, folder, label if folder.name == name else None, colour)
    right.set(
        title="Stages sparse (left of the line) and synthetic",
        xlabel="step (8 pairs each)",
        ylabel="keypoints: RMS error, px of 128",
    )
    right.legend(frameon=False)
    save(figure, path)


def draw_stages(axes: Axes, folder: Path, label: str | None, colour: str) -> None:
    """Draw the error of the keypoints over the first two stages; paler without a label."""
    strength = 1.0 if label else 0.4
    begin = 0
    for stage in ("sparse", "synthetic"):
        steps, rows = read(folder / stage / "metrics.csv")
        x, y = smoothed(steps + begin, rows["terms/keypoint"])
        axes.plot(x, np.sqrt(y), color=colour, alpha=strength, label=label if begin == 0 else None)
        begin += int(steps[-1]) + 1
        if stage == "sparse":
            axes.axvline(begin, color="#cccccc", linewidth=1, zorder=0)


def draw_rows(path: Path, rows: dict[str, Any]) -> None:
    """Draw the end-point error of every row: the mean over its seeds, and each of them."""
    names = [name for name in ROWS if name in rows and ", seed " not in name]
    seeds = {name: [each for each in rows if each.split(", seed ")[0] == name] for name in names}
    figure, axes = plt.subplots(figsize=(9, 0.42 * len(names) + 1.4), layout="constrained")
    for number, (title, colour) in enumerate(SETS.items()):
        values = {name: [rows[each][title]["epe_share"] for each in seeds[name]] for name in names}
        places = np.arange(len(names)) + 0.27 * (number - 1)
        axes.barh(places, [np.mean(values[name]) for name in names], 0.25, color=colour, label=title)
        for place, name in zip(places, names, strict=True):
            if len(values[name]) > 1:
                axes.plot(values[name], [place] * len(values[name]), "|", color="black", markersize=5)
    axes.set_yticks(np.arange(len(names)), [rows[name]["label"] for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("end-point error, per cent of the image's side (less is better)")
    axes.margins(y=0.01)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    save(figure, path)


def draw_examples(path: Path, matcher: Matcher, pairs: Callable[[str], Sequence[Pair]]) -> None:
    """Draw the results of a matcher on some pairs."""
    chosen = [*pairs("seen categories")[: SHOWN // 2], *pairs("unseen categories")[: SHOWN // 2]]
    titles = ("query", "reference", "reference, warped: found", "reference, warped: true", "confidence")
    figure, grid = plt.subplots(len(chosen), 5, figsize=(9, 1.9 * len(chosen)), layout="constrained")
    for row, pair in zip(grid, chosen, strict=True):
        sample = pair.sample
        field: DenseField = matcher.match(sample.image0, sample.image1).fields[0]  # type: ignore[attr-defined]
        truth, mask = sample.dense0, sample.mask0
        assert truth is not None
        assert mask is not None
        known = (truth.confidence[0] > 0) & mask
        warped = [each.warp(sample.image1.pixels[None])[0] for each in (field, _filled(truth))]
        images = [sample.image0.pixels, sample.image1.pixels, *(_only(each, known) for each in warped)]
        for axes, image in zip(row, images, strict=False):
            axes.imshow(image.movedim(0, -1).clamp(0, 1).numpy())
        shown = row[4].imshow(field.confidence[0].numpy(), vmin=0, vmax=1, cmap="gray")
        row[0].set_ylabel(sample.category)
        figure.colorbar(shown, ax=row[4], shrink=0.8)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=9)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    save(figure, path, dpi=80)


def _filled(truth: DenseField) -> DenseField:
    return DenseField(grid=truth.grid.nan_to_num(nan=2.0), confidence=truth.confidence)


def _only(image: Tensor, known: Tensor) -> Tensor:
    """Leave white what has no truth, so that both warped images show the same pixels."""
    return torch.where(known, image, 1.0)


def read(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the steps of a training, and its columns."""
    with path.open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    columns = {name: np.array([float(line[name]) for line in lines]) for name in lines[0]}
    return columns.pop("step"), columns


def smoothed(steps: np.ndarray, values: np.ndarray, width: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Average over neighbouring rows of the log."""
    width = min(width, len(values))
    kernel = np.ones(width) / width
    return np.convolve(steps, kernel, "valid"), np.convolve(values, kernel, "valid")


def save(figure: Any, path: Path, dpi: int = 110) -> None:
    """Write a picture of few colours, so that it stays small."""
    figure.savefig(path, dpi=dpi)
    plt.close(figure)
    with PIL.Image.open(path) as image:
        image.convert("RGB").quantize(220).save(path, optimize=True)
    print(path)


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
