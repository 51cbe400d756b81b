"""Figures of the experiment, from `results.json` and what training left in a folder.

uv run python experiments/0004_matchgs/figures.py --out FOLDER
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import PIL.Image
from measures import exact_scenes
from pairs import label_errors

from homolog.cli.main import main as homolog

mpl.use("Agg")
from matplotlib import pyplot as plt

FOLDER = Path(__file__).parent
COLOURS = {"plane": "tab:blue", "expected": "tab:orange", "exact": "tab:green"}
OTHERS = "tab:gray"
SAID = {
    "xfeat": "XFeat + mutual nearest",
    "untrained-random": "untrained, LoFTR's random start",
    "untrained": "untrained (XFeat's cells)",
    "refined": "XFeat's cells, refinement learnt",
    "shared": "shared pretraining",
    "shared-0, strict": "shared, minimum 0.3",
    "plane": "plane",
    "expected": "expected",
    "plane-aligned": "plane + alignment",
    "expected-aligned": "expected + alignment",
    "fine-plane": "refinement only, plane",
    "fine-expected": "refinement only, expected",
    "fine-exact": "refinement only, exact",
}
"""Rows without their seeds, in the order of the figure."""

COLUMNS = {
    "matches": ("scenes", "matches", 1, 0),
    "precision": ("scenes", "precision", 100, 1),
    "recall": ("scenes", "recall", 100, 1),
    "median": ("scenes", "median", 1, 2),
    "AUC@5": ("scenes", "AUC@5deg", 100, 1),
    "AUC@10": ("scenes", "AUC@10deg", 100, 1),
    "AUC@20": ("scenes", "AUC@20deg", 100, 1),
    "inliers": ("photos", "inliers", 1, 0),
    "agreeing": ("photos", "agreeing", 100, 1),
    "correct": ("photos", "correct", 1, 0),
    "exact": ("photos", "exact", 100, 1),
}
"""Columns of the table: where each figure is, what it is multiplied by, and its digits."""

PANELS = (
    ("scenes", "precision", "scenes: right cells, share of matches"),
    ("scenes", "median", "scenes: median error, px (lower is better)"),
    ("scenes", "AUC@10deg", "scenes: pose AUC at 10 degrees"),
    ("photos", "inliers", "photos: inliers per pair"),
    ("photos", "agreeing", "photos: agreeing, share of matches"),
    ("photos", "exact", "known views: within 3 px, share"),
)


def main() -> None:
    """Draw all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=FOLDER / "results.json")
    arguments = parser.parse_args()
    results: dict[str, Any] = json.loads(arguments.results.read_text(encoding="utf-8"))["results"]
    draw_errors(arguments.out / "pairs", results)
    draw_bars(results)
    draw_matches(arguments.out)
    print(table(results))


def table(results: dict[str, Any]) -> str:
    """Return the table of the README: means over seeds, and the range where there are several."""
    lines = [f"| row | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, said in SAID.items():
        rows = [results[seed] for seed in seeds(results, name)]
        cells = [
            _cell([row.get(group, {}).get(key) for row in rows], *form)
            for group, key, *form in COLUMNS.values()
        ]
        lines += [f"| {said} | {' | '.join(cells)} |"] if rows else []
    return "\n".join(lines)


def _cell(values: list[float | None], factor: float, digits: int) -> str:
    known = [factor * value for value in values if value is not None]
    if not known:
        return "-"
    mean = f"{np.mean(known):.{digits}f}"
    return mean if len(known) == 1 else f"{mean} ({min(known):.{digits}f}-{max(known):.{digits}f})"


def draw_errors(pairs: Path, results: dict[str, Any]) -> None:
    """Draw how far labels and refined matches are from the truth."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    shares = np.linspace(0, 1, 201)
    for kind in ("plane", "expected"):
        errors = np.maximum(label_errors(pairs, kind), 1e-3)
        said = f"{kind} depth, median {np.median(errors):.2f} px"
        left.plot(np.quantile(errors, shares), shares, color=COLOURS[kind], label=said)
    left.set(
        xscale="log",
        xlim=(1e-3, 20),
        ylim=(0, 1),
        xlabel="distance of a label from the exact one, px (0.001: or less)",
        ylabel="share of labels",
        title="Labels of the training pairs",
    )
    left.grid(alpha=0.3)
    left.legend(loc="upper left", fontsize=8)
    for name in ("shared", "fine-plane", "fine-expected", "fine-exact"):
        for number, seed in enumerate(seeds(results, name)):
            quantiles = results[seed]["scenes"]["quantiles"]
            label = SAID[name] if number == 0 else None
            right.plot(quantiles, np.arange(1, 20) / 20, color=_colour(name), label=label, linewidth=1)
    right.set(
        xlabel="distance of a right match from the truth, px",
        ylabel="share of right matches",
        title="Refined matches on exact scenes",
        xlim=(0, None),
        ylim=(0, 1),
    )
    right.grid(alpha=0.3)
    right.legend(loc="lower right", fontsize=8, title="trained on labels of", title_fontsize=8)
    figure.savefig(FOLDER / "errors.png", dpi=110)
    plt.close(figure)


def draw_bars(results: dict[str, Any]) -> None:
    """Draw the figures of all rows."""
    names = [name for name in SAID if seeds(results, name)]
    figure, axes = plt.subplots(2, 3, figsize=(11, 5.2), sharey=True, layout="constrained")
    for axis, (group, figure_name, said) in zip(axes.flat, PANELS, strict=True):
        for place, name in enumerate(names):
            rows = [results[seed].get(group, {}) for seed in seeds(results, name)]
            values = [each[figure_name] for each in rows if figure_name in each]
            mean = float(np.mean(values)) if values else np.nan
            axis.barh(place, np.nan_to_num(mean), color=_colour(name), alpha=0.6)
            if len(values) > 1:
                axis.plot(values, [place] * len(values), "|", color="black", markersize=8)
            text = "not measured" if np.isnan(mean) else f"{mean:.3g}"
            axis.text(0, place, f" {text}", va="center", fontsize=8, color="black")
        axis.set_title(said, fontsize=9)
        axis.set_yticks(range(len(names)), [SAID[name] for name in names], fontsize=8)
        axis.tick_params(axis="x", labelsize=8)
    axes.flat[0].invert_yaxis()
    figure.savefig(FOLDER / "bars.png", dpi=110)
    plt.close(figure)


def seeds(results: dict[str, Any], name: str) -> list[str]:
    """Return the rows of a variant: itself, or one for each of its seeds."""
    return [row for row in results if row == name or re.fullmatch(rf"{re.escape(name)}-\d+", row)]


def _colour(name: str) -> str:
    return COLOURS.get(name.removeprefix("fine-").split("-")[0], OTHERS)


def draw_matches(out: Path) -> None:
    """Draw matches of an exact scene, as `homolog match` does with what is shipped."""
    folder = out / "matches"
    folder.mkdir(parents=True, exist_ok=True)
    sample = exact_scenes(2)[1]
    files = [folder / "scene0.png", folder / "scene1.png"]
    for file, image in zip(files, (sample.image0, sample.image1), strict=True):
        pixels = (image.pixels * 255).round().byte().permute(1, 2, 0).numpy()
        PIL.Image.fromarray(pixels).save(file)
    there = folder / "scene"
    if not list(there.glob("*/matches.png")):
        overrides = ("matcher=mini_semidense", "--out", str(there), "--device", "cpu")
        homolog(["match", *map(str, files), *overrides])
    picture = PIL.Image.open(next(there.glob("*/matches.png"))).convert("RGB")
    picture = picture.resize((900, round(900 * picture.height / picture.width)))
    picture.save(FOLDER / "matches.jpg", quality=80)


if __name__ == "__main__":
    main()
