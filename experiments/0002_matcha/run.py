"""Is MATCHA's attention fusion, trained on a CPU, a better default matcher than the plain union?

    uv run python experiments/0002_matcha/run.py --out FOLDER --data DATA --synthetic SYNTHETIC [--only NAME ...]

DATA holds the development photos (see experiment 0000), SYNTHETIC the shards that `generate.sh` writes.
Variants that are finished in FOLDER are skipped.
"""

import argparse
import json
import shlex
import time
from pathlib import Path
from typing import Any

import torch
from measure import Sets, figures, read_sets
from variants import VARIANTS, Variant

from homolog.cli.main import main as homolog
from homolog.cli.provenance import commit, hardware, versions
from homolog.core.atomic import write_json
from homolog.training.map_cache import MapCache
from homolog.zoo import load_matcher

FOLDER = Path(__file__).parent


def main() -> None:
    """Train and measure the unfinished variants, and write `results.json`."""
    arguments = parsed()
    arguments.out.mkdir(parents=True, exist_ok=True)
    missing = [name for name in arguments.only or VARIANTS if not (arguments.out / f"{name}.json").is_file()]
    trainings = {name: trained(name, VARIANTS[name], arguments) for name in missing}
    sets = read_sets(arguments.data, arguments.synthetic) if missing else None
    for name in missing:
        begin = time.process_time()
        found = measured(name, VARIANTS[name], sets, arguments)
        # Keys as in the recorded results.json.
        row = {"says": VARIANTS[name].label, "training": trainings[name], "figures": found}
        write_json(
            arguments.out / f"{name}.json", {**row, "evaluation_cpu_s": round(time.process_time() - begin, 1)}
        )
        print(name, json.dumps({key: round(value, 3) for key, value in found.items()}), flush=True)
    rows = {name: arguments.out / f"{name}.json" for name in VARIANTS}
    write_json(
        arguments.results,
        {
            **circumstances(),
            "variants": {name: json.loads(file.read_text()) for name, file in rows.items() if file.is_file()},
        },
    )


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--synthetic", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=FOLDER / "results.json")
    parser.add_argument("--only", nargs="*", choices=[*VARIANTS])
    parser.add_argument("--quick", action="store_true", help="skip the slow measurements")
    parser.add_argument("--steps-scale", type=float, default=1.0)
    return parser.parse_args()


def trained(name: str, variant: Variant, arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Train a variant with `homolog train`; return None if it needs no training."""
    if variant.overrides is None:
        return None
    out, facts = arguments.out / name, arguments.out / name / "cpu.json"
    if facts.is_file():
        return json.loads(facts.read_text())
    overrides = [
        *training_overrides(),
        *variant.overrides,
        *places(arguments.synthetic),
        f"cache.folder={arguments.out}/maps",
    ]
    if arguments.steps_scale != 1:
        overrides.append(f"stages.fuse.steps={max(2, round(300 * arguments.steps_scale))}")
    begin = time.process_time()
    command = [
        "train",
        *overrides,
        "--out",
        str(out),
        "--device",
        "cpu",
        *(["--resume"] if out.exists() else []),
    ]
    if homolog(command):
        raise RuntimeError(f"{name}: homolog {shlex.join(command)} failed")
    record = {"words": overrides, "cpu_s": round(time.process_time() - begin, 1)}
    write_json(facts, record)
    return record


def training_overrides() -> list[str]:
    """Return the overrides in `overrides.txt`."""
    lines = (FOLDER / "overrides.txt").read_text(encoding="utf-8").splitlines()
    return [each for line in lines if not line.startswith("#") for each in shlex.split(line)]


def places(synthetic: Path) -> list[str]:
    """Return the overrides with the paths of the shards."""
    return [f"sources.{name}.root={synthetic / name}" for name in ("semantic", "scenes", "photos")]


def measured(
    name: str, variant: Variant, sets: Sets | None, arguments: argparse.Namespace
) -> dict[str, float]:
    """Build a variant with its weights and measure it; maps of the frozen backbones come from the cache."""
    if sets is None:
        raise ValueError("expected sets to measure on")
    settings = list(variant.settings)
    source = variant.weights or (name if variant.overrides is not None else None)
    if source is not None:
        trained_settings = json.loads((arguments.out / source / "training.json").read_text())["config"][
            "settings"
        ]
        settings = [*trained_settings, *settings]
        settings.append(
            f"backbone.fusion.checkpoint={arguments.out / source / 'fuse' / 'backbone.fusion.safetensors'}"
        )
    torch.manual_seed(0)
    matcher: Any = load_matcher("mini_fusion", *settings, device="cpu")
    matcher.requires_grad_(False)
    cache = MapCache(parts=["backbone.backbone"], memory=0, folder=arguments.out / "maps")
    with cache.serving(matcher):
        return figures(matcher, sets, thorough=variant.thorough and not arguments.quick)


def circumstances() -> dict[str, Any]:
    """Return commit, versions and hardware."""
    return {
        "command": "uv run python experiments/0002_matcha/run.py --out FOLDER --data DATA --synthetic SYNTHETIC",
        "commit": commit(),
        "versions": versions(("torch", "lightning", "timm", "kornia", "poselib", "numpy")),
        "hardware": {"machine": hardware(), "threads": torch.get_num_threads()},
    }


if __name__ == "__main__":
    main()
