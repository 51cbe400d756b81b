"""Does a geometry prior help a dense semantic matcher? The VGGT-prior matcher in miniature.

    uv run python experiments/0001_vggt_prior/run.py --out runs/0001 [--only tuned random] [--steps-scale 0.01]
    uv run python experiments/0001_vggt_prior/run.py --out runs/0001 --figures

Makes shards of synthetic pairs, trains every variant of `variants.py` with `homolog train`, and scores the rows of
the tables (`scores.py`). Finished trainings and rows are skipped when it is started again. DATA (--data) is a folder of
development photos with `semantic/pairs.json`; it is used at the end only, and no choice depends on it.
"""

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from figures import draw, table
from positions import fitted, same_place
from scores import Once, Pair, drawn_pairs, score, score_photos
from variants import PHOTOS, ROWS, SEEN, TRAININGS, TURN, UNSEEN, Row

from homolog.cli.main import main as homolog
from homolog.cli.provenance import commit, hardware, versions
from homolog.core.atomic import write_json
from homolog.core.protocols import Matcher
from homolog.synthetic.shards.reading import ShardedPairs
from homolog.zoo import load_matcher

FOLDER = Path(__file__).parent
SIZE = 128
PAIRS = 40
"""Of each of the three test sets."""

FITTED = 300
"""Number of pairs for fitting the affine map of positions."""

SHARDS = {
    "semantic": ("semantic", 6000, 1, [f"names=[{','.join(SEEN)}]", f"turn={TURN}"]),
    "keypoints": ("semantic", 1500, 2, [f"names=[{','.join(SEEN)}]", f"turn={TURN}"]),
    "geometric": ("geometric", 3072, 3, ["turn=60", "overlap=[0.3,0.9]"]),
}
"""Folder: kind, number of pairs, seed, settings."""


def main() -> None:
    """Train, score, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of shards and trainings")
    parser.add_argument("--shards", type=Path, help="folder of the shards, if elsewhere")
    parser.add_argument("--photos", type=Path, help="training photos (experiments/training_photos)")
    parser.add_argument("--only", nargs="+", choices=TRAININGS, help="train these only")
    parser.add_argument("--steps-scale", type=float, default=1.0)
    parser.add_argument("--data", type=Path, help="development photos")
    parser.add_argument("--results", type=Path, default=FOLDER / "results.json")
    parser.add_argument("--generate", action="store_true", help="only make the shards")
    parser.add_argument("--unscored", action="store_true", help="only train")
    parser.add_argument("--figures", action="store_true", help="only draw the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = read(arguments.results)
    shards = arguments.shards or arguments.out / "shards"
    if not arguments.figures:
        generate(shards, arguments.steps_scale)
    if arguments.generate:
        return
    if not arguments.figures:
        train_all(arguments, shards, results)
    if arguments.unscored:
        return
    if not arguments.figures:
        score_all(arguments, shards, results)
    print(table(results["rows"]))
    draw(FOLDER, arguments.out, results, lambda row: load(row, arguments.out, shards), pairs_of)


def generate(shards: Path, scale: float) -> None:
    """Make the missing shards."""
    for folder, (kind, count, seed, settings) in SHARDS.items():
        if (shards / folder / "dataset.json").exists():
            continue
        overrides = ["--count", str(max(16, round(count * scale))), "--size", str(SIZE), "--seed", str(seed)]
        run(["generate", kind, *overrides, "--out", str(shards / folder), *settings])


def train_all(arguments: argparse.Namespace, shards: Path, results: dict[str, Any]) -> None:
    """Run the requested trainings that are not finished."""
    for name, training in TRAININGS.items():
        if (arguments.only and name not in arguments.only) or name in results["trainings"]:
            continue
        needed = [training.after] if training.after else ["prior"] if training.prior else []
        if any(other not in results["trainings"] for other in needed):
            print(f"{name}: skipped, it needs {', '.join(map(str, needed))}", file=sys.stderr)
            continue
        if training.overrides == PHOTOS and arguments.photos is None:
            print(f"{name}: skipped, it needs --photos", file=sys.stderr)
            continue
        overrides = training.command(arguments.out, shards, arguments.photos, arguments.steps_scale)
        before = time.process_time()
        run(["train", *overrides, "--out", str(arguments.out / name), "--resume"])
        results["trainings"][name] = {
            "words": [
                each.replace(str(arguments.out), "RUNS")
                .replace(str(shards), "SHARDS")
                .replace(str(arguments.photos), "PHOTOS")
                for each in overrides
            ],
            "steps": training.steps,
            "cpu_seconds": round(time.process_time() - before, 1),
        }
        write_json(arguments.results, {**results, **circumstances()})


def score_all(arguments: argparse.Namespace, shards: Path, results: dict[str, Any]) -> None:
    """Score the rows that are trained but not scored."""
    sets: dict[str, list[Pair]] = {}
    for name, row in ROWS.items():
        if name in results["rows"] or any(need not in results["trainings"] for need in row.needs):
            continue
        matcher, before = Once(load(row, arguments.out, shards)), time.process_time()
        figures: dict[str, Any] = {}
        for title in TESTS:
            pairs = sets.setdefault(title, pairs_of(title))
            figures[title] = score(matcher, pairs)
        if arguments.data:
            figures["photos"] = score_photos(matcher, arguments.data)
        seconds = round(time.process_time() - before, 1)
        results["rows"][name] = {"label": row.label, "cpu_seconds": seconds, **figures}
        write_json(arguments.results, {**results, **circumstances()})
        print(name, json.dumps(figures["seen categories"]), flush=True)


TESTS: dict[str, Callable[[], list[Pair]]] = {
    "seen categories": lambda: drawn_pairs(PAIRS, SIZE, names=SEEN, turn=TURN),
    "unseen views": lambda: drawn_pairs(PAIRS, SIZE, names=SEEN, turn=150, beyond=TURN, seed=1),
    "unseen categories": lambda: drawn_pairs(PAIRS, SIZE, names=UNSEEN, turn=TURN),
}
"""Instances that are not in the training data: with views as far apart as in training, farther apart, and new categories."""


def pairs_of(title: str) -> list[Pair]:
    """Return the pairs of a test set."""
    return TESTS[title]()


def load(row: Row, root: Path, shards: Path) -> Matcher:
    """Return the matcher of a row; `root` is the folder of the trainings."""
    if not row.overrides:
        return cast(Matcher, same_place())
    if row.overrides == ("positions",):
        pairs = ShardedPairs(shards / "semantic")
        return cast(Matcher, fitted(pairs[index] for index in range(min(FITTED, len(pairs)))))
    overrides = [each.replace("{root}", str(root)) for each in row.overrides]
    if overrides[0].startswith("@"):
        text = (root / overrides[0][1:] / "overrides.txt").read_text(encoding="utf-8")
        overrides = [each.removeprefix("matcher=") for each in shlex.split(text)]
    torch.manual_seed(0)
    return load_matcher(overrides[0], *overrides[1:], device="cpu")


def run(overrides: Sequence[str]) -> None:
    """Run a homolog command, and exit if it fails."""
    print("homolog", *overrides, flush=True)
    code = homolog(list(overrides))
    if code:
        raise SystemExit(code)


def read(path: Path) -> dict[str, Any]:
    """Return earlier results."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {"trainings": found.get("trainings", {}), "rows": found.get("rows", {})}


def circumstances() -> dict[str, Any]:
    """Return commit, versions and hardware."""
    return {
        "command": "uv run python experiments/0001_vggt_prior/run.py --out RUNS --photos PHOTOS --data DATA",
        "commit": commit(),
        "versions": versions(("torch", "timm", "lightning", "numpy")),
        "hardware": {**hardware(), "threads": torch.get_num_threads(), "cores": os.cpu_count()},
        "pairs": {**{name: count for name, (_, count, _, _) in SHARDS.items()}, "test": PAIRS},
    }


if __name__ == "__main__":
    main()
