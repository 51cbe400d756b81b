"""Count the work of DIFT's two maps for one image, against the way upstream obtains them.

    python experiments/benchmarks/dift_flops.py

Stable Diffusion 2.1's shapes on the meta device: nothing is computed and no weights are needed.
Torch counts 2 operations per multiply-add. What runs is `Dift` itself, so that a change which made it
encode twice or run too deep would show here; upstream is the same networks called as its
`SDFeaturizer.forward` calls them: per map, the encoder on all copies of the image and the U-Net up to
the map's block.
"""

import argparse
import sys
from collections.abc import Mapping

import torch
from torch.utils.flop_counter import FlopCounterMode

from homolog.backbones.dift import Dift, Noise

HIGH, LOW = {"block": 1, "timestep": 261}, {"block": 2, "timestep": 0}
SHARED = {"block": 2, "timestep": 261}
BOUND = 0.4


def counted(
    maps: Mapping[str, Mapping[str, int | None]], *, size: int, ensemble: int, encoded: int = 1
) -> float:
    """Return the tera-operations of one call.

    Args:
        maps: as `Dift` takes them.
        size: of the square image, in pixels.
        ensemble: members per map.
        encoded: how many copies of the image go through the encoder.
    """
    with torch.device("meta"):
        dift = Dift(None, maps, ensemble=ensemble)
        cells = size // 8
        noise = Noise(
            posterior=torch.empty(1, ensemble, 4, cells, cells),
            diffusion=torch.empty(1, ensemble, 4, cells, cells),
        )
        image = torch.empty(1, 3, size, size)
        dift.network.scheduler.alphas_cumprod = dift.network.scheduler.alphas_cumprod.to("meta")
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            dift.extract(image, noise)
            if encoded > 1:
                dift.network.encode(image.expand(encoded - 1, -1, -1, -1))
    return counter.get_total_flops() / 1e12


def main() -> None:
    """Print the table; fail if both maps cost more than `BOUND` of the upstream way."""
    parser = argparse.ArgumentParser(description="Count the work of DIFT's two maps for one image.")
    parser.add_argument("--size", type=int, default=768)
    parser.add_argument("--ensemble", type=int, default=8)
    chosen = parser.parse_args()
    size, ensemble = chosen.size, chosen.ensemble
    upstream = sum(
        counted({"map": tap}, size=size, ensemble=ensemble, encoded=ensemble) for tap in (HIGH, LOW)
    )
    rows = {
        "upstream: two calls, the image encoded for every member": upstream,
        "dift_uni: both maps, each at its timestep": counted(
            {"high": HIGH, "low": LOW}, size=size, ensemble=ensemble
        ),
        "both maps at one timestep": counted({"high": HIGH, "low": SHARED}, size=size, ensemble=ensemble),
        "dift: the high map alone": counted({"high": HIGH}, size=size, ensemble=ensemble),
        "dift_geometric: the low map alone": counted({"low": LOW}, size=size, ensemble=ensemble),
        "cleandift: both maps, one member": counted({"high": HIGH, "low": SHARED}, size=size, ensemble=1),
    }
    print(f"one image of {size} x {size}, ensemble {ensemble}, torch {torch.__version__}")
    print(f"{'':58} TFLOP  of upstream")
    for name, work in rows.items():
        print(f"{name:58} {work:5.1f}  {work / upstream:.3f}")
    ratio = rows["dift_uni: both maps, each at its timestep"] / upstream
    if ratio > BOUND:
        sys.exit(f"both maps cost {ratio:.3f} of the upstream way, more than {BOUND}")


if __name__ == "__main__":
    main()
