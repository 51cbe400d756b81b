"""Put a trained variant into the model zoo: its weights, and a card that describes their origin.

uv run python experiments/0004_matchgs/ship.py --out FOLDER --variant NAME
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

FOLDER = Path(__file__).parent
WEIGHTS = FOLDER.parents[1] / "packages/zoo/src/homolog/zoo/weights"
PARTS = {"backbone.fusion": "mini_semidense_fusion", "head": "mini_semidense_head"}

CARD = """# mini_semidense

Weights of the product `mini_semidense`: the feature pyramid (`mini_semidense_fusion.safetensors`) and the
coarse-to-fine head (`mini_semidense_head.safetensors`). EfficientNet-Lite0 and XFeat, which they read, come from their
own packages and did not learn.

**What it does.** Cells of 8 x 8 pixels are matched by XFeat's own descriptors, as they are; what was learnt is the refinement.

**Recipe.** `experiments/0004_matchgs`, variant `{variant}`, on top of commit `{commit}`: the refinement of 600 steps of two pairs
at 192 x 192 pixels, {seconds} CPU seconds on one core. What Gaussian scenes teach did not help reliably and is not in it.

**Data.** Homographies of the training photos of `experiments/training_photos` (freely licensed photos from Debian packages; the
licence of each is in its list) and synthetic scenes (`homolog.synthetic.scene_pairs`). No benchmark, and none of the
development photos; those chose between the variants of the experiment.

**Measured** (`experiments/0004_matchgs/results.json`; scenes are made up, photos are those of development):

| | {names} |
|---|{rule}|
{rows}

**Limits.** Fewer matches than XFeat's keypoints give, and surer ones. Matches lie on the lattice of cells of image 0. Large
changes of scale and rotation are beyond XFeat's descriptors, and so beyond this. On synthetic scenes seen from far apart, attention
(`shared` in the experiment) finds more; on photos it was less sure, and is not shipped.

**Licence.** Apache-2.0, as XFeat's and EfficientNet-Lite0's weights.
"""
FIGURES = (
    ("scenes", "precision", "scenes: share of matches in the right cell"),
    ("scenes", "recall", "scenes: share of true cell matches found"),
    ("scenes", "median", "scenes: median error of right matches, px"),
    ("scenes", "AUC@5deg", "scenes: pose AUC at 5 degrees"),
    ("scenes", "AUC@10deg", "scenes: pose AUC at 10 degrees"),
    ("scenes", "AUC@20deg", "scenes: pose AUC at 20 degrees"),
    ("photos", "inliers", "photos: inliers per pair"),
    ("photos", "agreeing", "photos: share of agreeing matches"),
    ("photos", "correct", "known views: matches within 3 px"),
    ("photos", "exact", "known views: share within 3 px"),
)
COLUMNS = {"untrained": "untrained", "xfeat": "XFeat + mutual nearest"}


def main() -> None:
    """Write weights and card, and say what the YAML needs to know."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--variant", default="refined-0")
    arguments = parser.parse_args()
    WEIGHTS.mkdir(exist_ok=True)
    for part, name in PARTS.items():
        found = load_file(arguments.out / arguments.variant / f"{part}.safetensors")
        path = WEIGHTS / f"{name}.safetensors"
        save_file(found, path)
        content = path.read_bytes()
        print(f"{path.name}: sha256 {hashlib.sha256(content).hexdigest()}, size {len(content)}")
    results: dict[str, Any] = json.loads((FOLDER / "results.json").read_text(encoding="utf-8"))
    (WEIGHTS / "mini_semidense.md").write_text(card(results, arguments.variant), encoding="utf-8")


def card(results: dict[str, Any], variant: str) -> str:
    """Return the card of a variant."""
    measured = results["results"]
    seeds = [name for name in measured if name.startswith(variant.rstrip("0123456789"))]
    columns = {variant: "shipped", **COLUMNS}
    rows: list[str] = []
    for group, key, said in FIGURES:
        shown = [_shown(measured[name][group].get(key)) for name in columns]
        spread = [measured[name][group][key] for name in seeds]
        cells = (said, *shown, f"{_shown(min(spread))} to {_shown(max(spread))}")
        rows.append(f"| {' | '.join(cells)} |")
    return CARD.format(
        variant=variant,
        commit=results["commit"],
        seconds=results["training_cpu_seconds"][variant.replace("refined", "shared")],
        names=" | ".join((*columns.values(), f"{len(seeds)} seeds")),
        rule="|".join(["---"] * (len(columns) + 1)),
        rows="\n".join(rows),
    )


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    main()
