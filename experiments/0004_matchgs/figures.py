"""Figures of the experiment, from `results.json` and what training left in a folder.

uv run python experiments/0004_matchgs/figures.py --out FOLDER
"""

import argparse
import json
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
    "untrained": "untrained (XFeat's cells)",
    "refined": "XFeat's cells, refinement learnt",
    "shared": "shared pretraining",
    "shared-strict": "shared, minimum 0.3",
    "plane-0": "plane",
    "expected-0": "expected",
    "plane-aligned-0": "plane + alignment",
    "expected-aligned-0": "expected + alignment",
    "fine-plane-0": "refinement only, plane",
    "fine-expected-0": "refinement only, expected",
    "fine-exact-0": "refinement only, exact",
}
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
    for name in ("shared", "fine-plane-0", "fine-expected-0", "fine-exact-0"):
        if name in results:
            quantiles = results[name]["scenes"]["quantiles"]
            colour = _colour(name)
            right.plot(quantiles, np.arange(1, 20) / 20, color=colour, label=SAID[name])
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
    names = [name for name in SAID if name in results]
    figure, axes = plt.subplots(2, 3, figsize=(11, 5.2), sharey=True, layout="constrained")
    for axis, (group, figure_name, said) in zip(axes.flat, PANELS, strict=True):
        values = [results[name].get(group, {}).get(figure_name, np.nan) for name in names]
        axis.barh(names, np.nan_to_num(values), color=[_colour(name) for name in names], alpha=0.6)
        for row, value in enumerate(values):
            text = "not measured" if np.isnan(value) else f"{value:.3g}"
            axis.text(0, row, f" {text}", va="center", fontsize=8, color="black")
        axis.set_title(said, fontsize=9)
        axis.set_yticks(range(len(names)), [SAID[name] for name in names], fontsize=8)
        axis.tick_params(axis="x", labelsize=8)
    axes.flat[0].invert_yaxis()
    figure.savefig(FOLDER / "bars.png", dpi=110)
    plt.close(figure)


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
        words = ("matcher=mini_semidense", "--out", str(there), "--device", "cpu")
        homolog(["match", *map(str, files), *words])
    picture = PIL.Image.open(next(there.glob("*/matches.png"))).convert("RGB")
    picture = picture.resize((900, round(900 * picture.height / picture.width)))
    picture.save(FOLDER / "matches.jpg", quality=80)


if __name__ == "__main__":
    main()
