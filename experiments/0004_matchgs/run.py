"""Are labels from the plane depth of Gaussians worth more to a semi-dense matcher than those from expected depth?

    uv run python experiments/0004_matchgs/run.py --photos PHOTOS --data DATA --out FOLDER
        [--seeds 0 1 2] [--branches 0 1] [--steps-scale 0.01]

PHOTOS are for training (`experiments/training_photos`), DATA those for development (experiment 0000 says
which); neither is part of the repository. What is finished in FOLDER is not done again. `results.json` is
written beside this file; `figures.py` draws it, `ship.py` puts a variant into the zoo.
"""

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measures import exact_scenes, on_photos, on_scenes
from pairs import KINDS, label_errors, label_share, render
from training import SECONDS, Variant, keep_refinement, shared_overrides, train_branch, train_shared

from homolog.cli.provenance import commit, hardware, versions
from homolog.core.atomic import write_json
from homolog.training.map_cache import MapCache
from homolog.zoo import load_matcher

FOLDER = Path(__file__).parent
PAIRS, SIZE, GAUSSIANS, SEED = 288, 192, 30_000, 4
SCENES = 24
STRICT = 0.3
"""Probability that a match of cells exceeds, where fewer and surer ones are asked for."""
VARIANTS = (
    Variant(labels="plane"),
    Variant(labels="expected"),
    Variant(labels="plane", aligned=True),
    Variant(labels="expected", aligned=True),
    *(Variant(labels=kind, fine=True) for kind in KINDS),
)
UNTRAINED = ("head.depth=1", "backbone.fusion.checkpoint=null", "head.checkpoint=null")
RANDOM = (*UNTRAINED, "backbone.fusion.start=random", "head.start=random")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Something to measure.

    Attributes:
        matcher: name of the product.
        overrides: settings of the matcher.
        semidense: whether it matches cells.
        photos: whether photos are measured; variants that differ in the refinement only are measured on scenes.
    """

    matcher: str = "mini_semidense"
    overrides: Sequence[str] = ()
    semidense: bool = True
    photos: bool = True


def main() -> None:
    """Train and measure what is not finished, and write the results."""
    arguments = parsed()
    torch.set_num_threads(1)
    out: Path = arguments.out
    render(out / "pairs", count=PAIRS, size=SIZE, gaussians=GAUSSIANS, seed=SEED)
    for seed in arguments.seeds:
        shared = out / f"shared-{seed}"
        train_shared(shared, shared_overrides(arguments.photos, arguments.steps_scale, seed))
        keep_refinement(shared / "scenes", out / f"refined-{seed}")
        for variant in (replace(each, seed=seed) for each in VARIANTS if seed in arguments.branches):
            folder = out / variant.name
            train_branch(folder, variant, pairs=out / "pairs", start=shared, scale=arguments.steps_scale)
    measured = measure(rows(out, arguments.seeds), out / "measured", arguments.data)
    write_json(
        arguments.results,
        {
            **circumstances(),
            "labels": labels(out / "pairs"),
            "training_cpu_seconds": {
                path.parent.name: int(path.read_text()) for path in sorted(out.glob(f"*-[0-9]/{SECONDS}"))
            },
            "results": measured,
        },
    )


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("--photos", "--data", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--results", type=Path, default=FOLDER / "results.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps-scale", type=float, default=1.0)
    parser.add_argument("--branches", type=int, nargs="*", default=[0, 1, 2], help="seeds with branches")
    return parser.parse_args()


def rows(out: Path, seeds: Sequence[int]) -> dict[str, Row]:
    """Return what is measured: references, the shared stage, and its branches."""
    found = {
        "xfeat": Row(matcher="xfeat", semidense=False),
        "untrained": Row(overrides=UNTRAINED),
        "untrained-random": Row(overrides=RANDOM),
    }
    for seed in seeds:
        shared = _weights(out / f"shared-{seed}" / "scenes")
        found[f"shared-{seed}"] = Row(overrides=shared)
        found[f"refined-{seed}"] = Row(overrides=_weights(out / f"refined-{seed}", depth=0))
        for variant in (replace(each, seed=seed) for each in VARIANTS):
            if not (out / variant.name / SECONDS).exists():
                continue
            width = ("head.alignment_channels=32",) if variant.aligned else ()
            overrides = (*width, *_weights(out / variant.name / "splat"))
            found[variant.name] = Row(overrides=overrides, photos=not variant.fine)
    if 0 in seeds:
        found["shared-0, strict"] = Row(
            overrides=(*found["shared-0"].overrides, f"head.match_threshold={STRICT}")
        )
    return found


def measure(wanted: dict[str, Row], out: Path, data: Path) -> dict[str, Any]:
    """Measure what is not measured yet."""
    out.mkdir(parents=True, exist_ok=True)
    scenes = exact_scenes(SCENES) if any(not (out / f"{name}.json").exists() for name in wanted) else []
    # The frozen backbones say the same of an image, whatever was learnt after them.
    cache = MapCache(parts=["backbone.backbone"])
    for name, row in wanted.items():
        file = out / f"{name}.json"
        if file.exists():
            continue
        torch.manual_seed(0)
        matcher: Any = load_matcher(row.matcher, *row.overrides, device="cpu")
        matcher.requires_grad_(requires_grad=False)
        begin = time.process_time()
        serving = cache.serving(matcher) if row.semidense else nullcontext()
        with serving:
            figures = {"scenes": on_scenes(matcher, scenes, cells=row.semidense)}
            if row.photos:
                figures["photos"] = on_photos(matcher, data)
        write_json(file, figures)
        print(name, f"{time.process_time() - begin:.0f} s", json.dumps(figures), flush=True)
    return {name: json.loads((out / f"{name}.json").read_text()) for name in wanted}


def labels(pairs: Path) -> dict[str, Any]:
    """Say how far labels of each kind are from the exact ones, in pixels, and how many there are."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        errors = label_errors(pairs, kind)
        found[kind] = {
            "share": round(label_share(pairs, kind), 4),
            **{f"q{round(100 * q)}": round(float(np.quantile(errors, q)), 4) for q in (0.5, 0.9, 0.95)},
            "within_half_a_pixel": round(float((errors <= 0.5).mean()), 4),
        }
    return found


def circumstances() -> dict[str, Any]:
    """Say under which circumstances the figures were taken."""
    return {
        "command": "uv run python experiments/0004_matchgs/run.py --photos PHOTOS --data DATA --out FOLDER",
        "commit": commit(),
        "versions": versions(("torch", "lightning", "timm", "kornia", "poselib", "numpy")),
        "hardware": {"machine": hardware(), "threads": torch.get_num_threads()},
        "rendered": {"pairs": PAIRS, "size": SIZE, "gaussians": GAUSSIANS, "seed": SEED},
        "scenes": SCENES,
    }


def _weights(folder: Path, *, depth: int = 1) -> tuple[str, ...]:
    parts = ("backbone.fusion", "head")
    return (f"head.depth={depth}", *(f"{part}.checkpoint={folder / f'{part}.safetensors'}" for part in parts))


if __name__ == "__main__":
    main()
