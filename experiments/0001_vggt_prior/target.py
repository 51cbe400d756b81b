"""What could a confidence know that had learnt its target (eq. 8) perfectly? AUC of the target against the true error.

uv run python experiments/0001_vggt_prior/target.py --out FOLDER

Cells of both images of the test pairs of seen categories; right are those whose true error is at most a tenth of the side.
"""

import argparse
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from run import SIZE, load, pairs_of
from scores import ranking
from variants import ROWS

from homolog.training.batch import collate
from homolog.training.losses.common import area_fraction
from homolog.training.losses.dense import distance_map
from homolog.zoo import load_matcher

ROW, MAP = "+ matching", "blocks.4"
SHARE = 0.1


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="where the trainings are")
    root = parser.parse_args().out
    matcher: Any = load(ROWS[ROW], root, root / "shards")
    overrides = ("backbone=efficientnet_lite0", f"backbone.maps=[{MAP}]", f"descriptor_map={MAP}")
    encoder = cast(Any, load_matcher("dinov2_nn", *overrides, device="cpu")).backbone
    right: list[np.ndarray] = []
    target: list[np.ndarray] = []
    with torch.inference_mode():
        for pair in pairs_of("seen categories"):
            batch = collate([pair.sample], size=(SIZE, SIZE))
            fields = matcher.head(matcher.backbone(batch.images))
            for side, truth in enumerate((pair.sample.dense0, pair.sample.dense1)):
                assert truth is not None
                warped = fields[side].warp(batch.images[:, 1 - side])
                maps = [encoder(image[:, None])[MAP][:, 0] for image in (warped, batch.images[:, side])]
                distance = distance_map(*maps)[0]
                known = (truth.confidence > 0) & truth.grid.isfinite().all(dim=1)
                off = (torch.where(known[:, None], truth.grid - fields[side].grid, 0)).norm(dim=1) / 2
                size = int(distance.shape[0]), int(distance.shape[1])
                shares = area_fraction(known, size)
                # A cell counts if most of its pixels are known.
                cells = shares[0] > 0.5
                if not cells.any():
                    continue
                right.append((area_fraction(off, size) / shares)[0][cells].numpy() <= SHARE)
                inside = distance[cells]
                span = (inside.max() - inside.min()).clamp(min=1e-9)
                target.append((1 - (inside - inside.min()) / span).numpy())
    found = ranking(np.concatenate(right), np.concatenate(target))
    print(f"{sum(map(len, right))} cells: AUC {100 * found:.1f}")


if __name__ == "__main__":
    main()
