"""Put the trained matcher into the model zoo: its weights, and a card that describes their origin.

uv run python experiments/0001_vggt_prior/ship.py --out FOLDER
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from variants import TRAININGS

FOLDER = Path(__file__).parent
WEIGHTS = FOLDER.parents[1] / "packages/zoo/src/homolog/zoo/weights"
SHIPPED, SEEDS = "photos", ("photos", "photos, seed 1", "photos, seed 2")
LEFT_OUT = "aggregator.patch_embed.backbone."
"""EfficientNet-Lite0, which did not learn and has a package of its own."""

CARD = """# mini_dense

Weights of the product `mini_dense` in half precision: a VGGT of four pairs (`mini_dense_backbone.safetensors`) and a dense grid head
(`mini_dense_head.safetensors`), {parameters} parameters. EfficientNet-Lite0, whose cells they read, comes from its own package and did not learn.

**What it does.** Predicts for every pixel of a photo where the same part is on another object of its category, at 128 pixels.

**Recipe.** `experiments/0001_vggt_prior`, `{variant}`, seed 0, the first: {steps}; steps of 8 pairs. The last stage has a
homography of a photo beside every pair of synthetic objects. {seconds} CPU seconds on one core of an EPYC. Commit: the one that added this file, on top of `{commit}`.

**Data.** Synthetic scenes and objects (`homolog.synthetic`): eight categories, none of them a bird or a chair; the photos of
`experiments/training_photos` (freely licensed, from Debian packages; the licence of each is in its list). No benchmark, no annotated
photo, none of the development photos. That there is a last stage was decided after scores on development photos showed what
synthetic objects alone leave out.

**Measured** (`experiments/0001_vggt_prior/results.json`; synthetic instances that it never saw, 40 pairs a row, and eight annotated pairs of
development photos; end-point error in per cent of the image's side, PCK and the photos' error by the longer side of the object's box):

| | {names} |
|---|{rule}|
{rows}

**Limits.** Minutes of training on synthetic objects: **on photos it is no good yet.** Pointing at the same place is right
for a quarter of the points of these photos, which it is not. `mini` is
the matcher for photos. Left and right are confused by a seventh of the points. The confidence says nothing about the
error (AUC {trust:.0f}, 50 is chance). Views more than 70 degrees apart were not trained.

**Licence.** Apache-2.0, as EfficientNet-Lite0's weights.
"""

ROWS = (
    ("seen categories", "epe_share", "seen categories: end-point error"),
    ("seen categories", "pck_0.1", "seen categories: PCK@0.1"),
    ("unseen categories", "epe_share", "birds and chairs: end-point error"),
    ("unseen categories", "pck_0.1", "birds and chairs: PCK@0.1"),
    ("unseen views", "epe_share", "views beyond those of training: end-point error"),
    ("unseen views", "pck_0.1", "views beyond those of training: PCK@0.1"),
    ("photos", "error_share", "photos: mean error"),
    ("photos", "pck_0.1", "photos: PCK@0.1"),
    ("photos", "pck_0.2", "photos: PCK@0.2"),
)
COLUMNS = {
    SHIPPED: "shipped",
    "untrained": "untrained",
    "encoder": "nearest neighbours of its cells",
    "identity": "same place",
}


def main() -> None:
    """Write weights and card, and say what the YAML needs to know."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="where the trainings are")
    arguments = parser.parse_args()
    parameters = 0
    for part in ("backbone", "head"):
        state = load_file(arguments.out / SHIPPED / "synthetic" / f"{part}.safetensors")
        kept = {name: value for name, value in state.items() if not name.startswith(LEFT_OUT)}
        parameters += sum(value.numel() for value in kept.values())
        path = WEIGHTS / f"mini_dense_{part}.safetensors"
        save_file({name: value.to(torch.float16) for name, value in kept.items()}, path)
        content = path.read_bytes()
        print(f"{path.name}: sha256 {hashlib.sha256(content).hexdigest()}, size {len(content)}")
    results: dict[str, Any] = json.loads((FOLDER / "results.json").read_text(encoding="utf-8"))
    (WEIGHTS / "mini_dense.md").write_text(card(results, parameters), encoding="utf-8")


def card(results: dict[str, Any], parameters: int) -> str:
    """Return the card."""
    measured = results["rows"]
    rows: list[str] = []
    for group, figure, said in ROWS:
        shown = [f"{measured[name][group][figure]:.1f}" for name in COLUMNS]
        spread = [measured[name][group][figure] for name in SEEDS if name in measured]
        rows.append(f"| {' | '.join((said, *shown, f'{min(spread):.1f} to {max(spread):.1f}'))} |")
    chain = ("prior", "tuned", SHIPPED)
    steps = [f"{count} of {name}" for each in chain for name, count in TRAININGS[each].steps.items()]
    seeds = sum(name in measured for name in SEEDS)
    return CARD.format(
        variant=SHIPPED,
        parameters=f"{parameters:,}",
        steps=", ".join(steps),
        seconds=round(sum(results["trainings"][each]["cpu_seconds"] for each in chain)),
        commit=results["commit"],
        names=" | ".join((*COLUMNS.values(), f"{seeds} seeds")),
        rule="|".join(["---"] * (len(COLUMNS) + 1)),
        rows="\n".join(rows),
        trust=measured[SHIPPED]["seen categories"]["trust"],
    )


if __name__ == "__main__":
    main()
