"""Whether anything is left on photos: annotated development pairs, which nothing was trained on or chosen by."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from homolog.core.io import read_image
from homolog.core.protocols import Matcher

ALPHAS = (0.1, 0.2)


def score_photos(matcher: Matcher, data: Path) -> dict[str, float]:
    """Return PCK (share of the longer side of the target's box, per cent, mean over pairs) and mean error."""
    folder = data / "semantic"
    facts: dict[str, Any] = json.loads((folder / "pairs.json").read_text(encoding="utf-8"))
    shares: list[list[float]] = []
    for pair in facts["pairs"]:
        source, target = (facts["images"][pair[side]] for side in ("src", "trg"))
        xy0, xy1 = (
            torch.tensor([image["keypoints"][name] for name in pair["names"]]) for image in (source, target)
        )
        images = [read_image(folder / image["file"]) for image in (source, target)]
        off = (matcher.match(*images).transfer(xy0).xy - xy1).norm(dim=1) / max(target["bbox"][2:])
        shares.append([*((off <= alpha).double().mean().item() for alpha in ALPHAS), off.mean().item()])
    names = [*(f"pck_{alpha:g}" for alpha in ALPHAS), "error_share"]
    return {
        name: round(100 * float(value), 2) for name, value in zip(names, np.mean(shares, axis=0), strict=True)
    }
