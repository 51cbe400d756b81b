"""Export the main run's head in half precision into the zoo, with a model card."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from homolog.core.atomic import atomic, write_bytes

FOLDER = Path(__file__).resolve().parents[2] / "packages" / "zoo" / "src" / "homolog" / "zoo" / "weights"
NAME = "mini_omniglue"

CARD = """# mini_omniglue

The head of the product `mini_omniglue`: a guided graph matcher (OmniGlue, Jiang et al. 2024) of three pairs of layers and width 96, for
the keypoints of XFeat, guided by map `blocks.4` of EfficientNet-Lite0. {parameters} parameters in float16.

- **Trained on** homographies of photos (moved corners as in SH100 and SH200) and synthetic scenes, {pairs} pairs in all. The
  photos are those of `experiments/training_photos`: backgrounds and photographed objects of Debian packages.
- **Recipe** `mini_omniglue_homography`: `homolog train @experiments/0003_omniglue/overrides.txt`, seed 0, chosen before any
  figure was seen. {cpu} CPU seconds on one thread, without seeing the pairs ({seen} CPU seconds, once for all variants).
- **Commit**: the one that added this file; its parent is {commit}.
- **Licence** of the weights: Apache-2.0. Of the photos: CC BY 4.0, CC BY-SA 3.0 and 4.0, CC0 and GPL-2+, by package, as
  `experiments/training_photos/README.md` lists them; none of them is part of the file. XFeat and EfficientNet-Lite0 (Apache-2.0) are not part of
  it either.
- **File** SHA-256 {sha256}, {size} bytes.

## Measured

At the same keypoints of XFeat; 512 on held-out homographies and scenes (right within 3 px, wrong beyond 5), 1024 on the
pairs of development photos, where "agreeing" is the share of matches that agree with one fundamental matrix.

{table}

Three seeds of the same recipe: {spread}.

## Limits

Minutes of training on a CPU. LighterGlue (product `xfeat_lighterglue`) has seen depth and pose of real scenes: {behind}. Photos that are turned by more than a few tens
of degrees, night and day, and other detectors than XFeat were not trained. The figures are of few pairs.
"""

COLUMNS = {
    "sh100.precision": "SH100 P",
    "sh100.recall": "SH100 R",
    "sh200.precision": "SH200 P",
    "sh200.recall": "SH200 R",
    "scenes.precision": "scenes P",
    "scenes.recall": "scenes R",
    "real.inliers": "real inliers",
    "real.agreeing": "real agreeing",
}


def write_weights(head: Path) -> Path:
    """Write the head in half precision where the package of products has it, and return the file."""
    state = {name: value.to(torch.float16) for name, value in load_file(head).items()}
    path = FOLDER / f"{NAME}.safetensors"
    with atomic(path) as temporary:
        save_file(state, temporary)
    return path


def write_card(
    file: Path,
    rows: Mapping[str, Mapping[str, float]],
    *,
    seeds: Sequence[Mapping[str, float]],
    facts: Mapping[str, Any],
) -> None:
    """Write the card beside the weights.

    Args:
        file: the weights.
        rows: figures by name, of the shipped head (`mini_omniglue`), its peers among them `LighterGlue`.
        seeds: the figures of all seeds.
        facts: `commit`, `pairs`, `cpu` and `seen`, as text.
    """
    own, best = rows["mini_omniglue"], rows["LighterGlue"]
    behind = ", ".join(
        f"{COLUMNS[name]} {shown(name, own[name])} against {shown(name, best[name])}"
        for name in ("sh200.recall", "real.inliers", "real.agreeing")
    )
    spread = ", ".join(
        f"{label} {shown(name, min(values))} to {shown(name, max(values))}"
        for name, label in COLUMNS.items()
        for values in [[figures[name] for figures in seeds]]
    )
    text = CARD.format(
        parameters=f"{sum(value.numel() for value in load_file(file).values()):,}",
        sha256=sha256_of(file),
        size=file.stat().st_size,
        table=table(rows),
        spread=spread,
        behind=behind,
        **facts,
    )
    write_bytes(file.with_suffix(".md"), text.encode())


def table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Return rows of figures as a table in Markdown: shares in per cent."""
    lines = ["| | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for label, figures in rows.items():
        lines.append(f"| {label} | " + " | ".join(shown(name, figures[name]) for name in COLUMNS) + " |")
    return "\n".join(lines)


def shown(name: str, value: float) -> str:
    """Return a figure as the tables have it."""
    return f"{value:.0f}" if name in ("real.inliers", "real.matches") else f"{100 * value:.1f}"


def sha256_of(file: Path) -> str:
    """Return the hash that a configuration names."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def read_row(file: Path) -> dict[str, float]:
    """Return the figures of a row."""
    return json.loads(file.read_text(encoding="utf-8"))["figures"]
