"""Does guidance make a small graph matcher generalise, and are minutes of training worth shipping? Trains and measures all variants.

    uv run python experiments/0003_omniglue/run.py --out FOLDER --photos PHOTOS --data DATA [--only NAME ...] [--ship] [--draw]

PHOTOS holds `train/` and `heldout/`, as `experiments/training_photos/collect.py` makes them; DATA the development photos
that experiment 0000 describes. Finished variants in FOLDER are skipped. `--ship` writes weights and their card; `--draw` the figures, after `sweep.py`.
"""

import argparse
import json
import shlex
import time
from pathlib import Path
from typing import Any

import torch
from drawing import draw_bars, draw_curves, draw_pair
from scoring import LABELLED_POINTS, REAL_POINTS, Sets, figures, read_sets
from shipping import COLUMNS, read_row, sha256_of, write_card, write_weights

from homolog.cli.main import main as homolog
from homolog.cli.provenance import commit, hardware, versions
from homolog.core.atomic import write_json
from homolog.zoo import load_matcher
from homolog.zoo.build import build, resolved
from homolog.zoo.compose import compose

FOLDER = Path(__file__).parent
PACKAGES = ("torch", "lightning", "timm", "kornia", "poselib", "numpy")

MAIN = "full, seed 0"
MINIMUM = "head.match_threshold=0.1"
"""Also LighterGlue's."""
PAIR = "st_pauls_cathedral"
"""The pair in the figures."""

TRAINED: dict[str, list[str]] = {
    "full, seed 0": [],
    "guidance none": ["matcher.head.guidance=none"],
    "SuperGlue's: entangled, no guidance": ["matcher.head.guidance=none", "matcher.head.position=entangled"],
    "position entangled": ["matcher.head.position=entangled"],
    "full, seed 1": ["seed=1"],
    "position none": ["matcher.head.position=none"],
    "full, seed 2": ["seed=2"],
    "guidance self and cross": ["matcher.head.guidance=self_and_cross"],
    "position self only": ["matcher.head.position=self_only"],
}
"""Overrides besides `overrides.txt`, the most important first; all but the full ones are trained on SH100 only."""

PEERS: dict[str, list[str]] = {
    "mutual nearest": ["head=nearest"],
    "mutual nearest, cosine above 0.82": ["head=nearest", "head.match_threshold=0.82"],
    "LighterGlue": ["head=lighterglue"],
    "untrained, random start": [
        "head=guided_matcher",
        "head.input_dim=64",
        "head.width=96",
        "head.layers=3",
    ],
    "untrained, nearest start": ["head.checkpoint=null"],
}
"""Heads that are not trained here, all with the same keypoints of XFeat."""


def main() -> None:
    """Train and measure the unfinished variants, and write `results.json`."""
    arguments = parsed()
    arguments.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments)
    cache_pairs(arguments)
    for name in arguments.only or [*TRAINED, *PEERS, "mini"]:
        if name in TRAINED:
            train(name, arguments)
            for stage in stages(name):
                bench.measure(f"{name}, after {stage}", head=weights(arguments.out, name, stage))
        elif name in PEERS:
            bench.measure(name, overrides=PEERS[name])
        else:
            bench.measure(name, product=name)
    if arguments.ship:
        ship(arguments.out, bench)
    if arguments.draw:
        draw(arguments.out, arguments.data, arguments.results.parent)
    sweep = arguments.out / "sweep.json"
    write_json(
        arguments.results,
        {
            **circumstances(),
            "seen": json.loads((arguments.out / "seen.json").read_text(encoding="utf-8")),
            "rows": rows(arguments.out),
            "sweep": json.loads(sweep.read_text(encoding="utf-8")) if sweep.is_file() else None,
        },
    )


class Bench:
    """Measures heads with the same keypoints, which are detected once."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Store the arguments; data is read on first use."""
        self._arguments = arguments
        self._sets: Sets | None = None
        self._matchers: dict[int, Any] = {}

    def measure(
        self,
        name: str,
        *,
        overrides: list[str] | None = None,
        head: Path | None = None,
        product: str = "mini_omniglue",
        points: tuple[int, int] = (LABELLED_POINTS, REAL_POINTS),
    ) -> None:
        """Measure a variant that has no row yet.

        Args:
            name: of the row.
            overrides: settings of the product.
            head: exported weights next to their `overrides.txt`; replaces `overrides`.
            product: name of the product; others than `mini_omniglue` have their own keypoints.
            points: maximum keypoints per image, on labelled and on real pairs.
        """
        file = row_file(self._arguments.out, name)
        if file.is_file():
            return
        settings = settings_of(head) if head is not None else overrides or []
        begin = time.process_time()
        found = self.figures_of(product, settings, points=points)
        seconds = round(time.process_time() - begin, 1)
        write_json(file, {"name": name, "settings": settings, "figures": found, "evaluation_cpu_s": seconds})
        print(name, json.dumps({key: round(value, 3) for key, value in found.items()}), flush=True)

    def figures_of(
        self, product: str, settings: list[str], *, points: tuple[int, int] = (LABELLED_POINTS, REAL_POINTS)
    ) -> dict[str, float]:
        """Return the figures of a product with some settings, at some numbers of keypoints."""
        if self._sets is None:
            self._sets = read_sets(self._arguments.photos / "heldout", self._arguments.data)
        torch.manual_seed(0)
        if product != "mini_omniglue":
            matchers = [self._limited(product, each, settings) for each in points]
            return figures(matchers[0], matchers[1], self._sets)
        head = build(compose("match", ["matcher=mini_omniglue", *settings])["head"])
        for each in points:
            if each not in self._matchers:
                self._matchers[each] = self._limited(product, each, ["+memory=4000000000"])
            self._matchers[each].head = head
        return figures(self._matchers[points[0]], self._matchers[points[1]], self._sets)

    def _limited(self, product: str, points: int, settings: list[str]) -> Any:
        return load_matcher(product, f"detector.max_keypoints={points}", *settings, device="cpu")


def cache_pairs(arguments: argparse.Namespace) -> None:
    """Cache the keypoints of all pairs beforehand, so that no variant's time includes it."""
    file = arguments.out / "seen.json"
    if file.is_file():
        return
    begin = time.process_time()
    recipe = build(resolved(compose("train", [*main_overrides(), *places(arguments)])))
    counts: dict[str, int] = {}
    for name, make in recipe.sources.items():
        source = make()
        counts[name] = sum(1 for _ in map(source.__getitem__, range(len(source))))
    write_json(file, {"pairs": counts, "cpu_s": round(time.process_time() - begin, 1)})


def train(name: str, arguments: argparse.Namespace) -> None:
    """Train a variant as `homolog train` does, and note the CPU seconds of what ran now."""
    out = folder(arguments.out, name)
    if all((out / stage / "finished.json").is_file() for stage in stages(name)):
        return
    overrides = [*main_overrides(), *places(arguments), *TRAINED[name]]
    if arguments.steps_scale != 1:
        overrides += [
            f"stages.{stage}.steps={max(2, round(300 * arguments.steps_scale))}"
            for stage in ("sh100", "sh200")
        ]
    begin = time.process_time()
    resume = ["--resume"] if (out / "training.json").is_file() else []
    command = [
        "train",
        *overrides,
        "--stages",
        ",".join(stages(name)),
        "--out",
        str(out),
        "--device",
        "cpu",
        *resume,
    ]
    if homolog(command):
        raise RuntimeError(f"{name}: homolog {shlex.join(command)} failed")
    write_json(
        out / "cost.json",
        {"cpu_s": round(time.process_time() - begin, 1), "words": [*main_overrides(), *TRAINED[name]]},
    )


def ship(out: Path, bench: Bench) -> None:
    """Write the weights of seed 0 in half precision, measure that file, and write its card."""
    file = write_weights(weights(out, MAIN, "sh200"))
    bench.measure("mini_omniglue as shipped", overrides=[f"head.checkpoint={file}", MINIMUM])
    seeds = [row_file(out, f"{name}, after sh200") for name in TRAINED if name.startswith("full")]
    shown = {
        "mini_omniglue": "mini_omniglue as shipped",
        **{name: name for name in PEERS},
        "mini (own keypoints)": "mini",
    }
    seen = json.loads((out / "seen.json").read_text(encoding="utf-8"))
    cost = json.loads((folder(out, MAIN) / "cost.json").read_text(encoding="utf-8"))
    write_card(
        file,
        {
            label: read_row(row_file(out, name))
            for label, name in shown.items()
            if row_file(out, name).is_file()
        },
        seeds=[read_row(each) for each in seeds if each.is_file()],
        facts={
            "commit": commit(),
            "pairs": " + ".join(str(count) for count in seen["pairs"].values()),
            "cpu": cost["cpu_s"],
            "seen": seen["cpu_s"],
        },
    )
    print(f"{file}: sha256: {sha256_of(file)}, size: {file.stat().st_size}")


def draw(out: Path, data: Path, to: Path) -> None:
    """Draw the figures of the README."""
    trained = {name: folder(out, name) / "sh100" / "metrics.csv" for name in TRAINED}
    sweep = json.loads((out / "sweep.json").read_text(encoding="utf-8"))
    draw_curves({name: path for name, path in trained.items() if path.is_file()}, sweep, to / "curves.png")
    known = {name: row_file(out, f"{name}, after sh100") for name in TRAINED}
    bars = [(name, read_row(file)) for name, file in known.items() if file.is_file()]
    peers = [(name, read_row(row_file(out, name))) for name in ("mutual nearest", "LighterGlue")]
    seeds = [figures for name, figures in bars if name.startswith("full")]
    spread = {name: max(each[name] for each in seeds) - min(each[name] for each in seeds) for name in COLUMNS}
    others = [row for row in bars if row[0] == MAIN or not row[0].startswith("full")]
    draw_bars([*others, *peers], spread, to / "ablations.png")
    files = sorted((data / "phototourism").glob(f"{PAIR}*.jpg"))[:2]
    pictures: list[Path] = []
    for label, overrides in {
        "before": [*PEERS["mutual nearest"], "head.map=blocks.4"],
        "after": [f"head.checkpoint={weights(out, MAIN, 'sh200')}", MINIMUM],
    }.items():
        at = out / "pictures" / label
        homolog(
            [
                "match",
                *map(str, files),
                "matcher=mini_omniglue",
                *overrides,
                "--out",
                str(at),
                "--device",
                "cpu",
            ]
        )
        pictures += sorted(at.rglob("matches.png"))[:1]
    # The photos may not be handed on, so the picture stays with the run.
    draw_pair(pictures, out / "pair.png")


def main_overrides() -> list[str]:
    """Return the overrides in `overrides.txt`."""
    lines = (FOLDER / "overrides.txt").read_text(encoding="utf-8").splitlines()
    return [each for line in lines if not line.startswith("#") for each in shlex.split(line)]


def places(arguments: argparse.Namespace) -> list[str]:
    """Return the overrides with the folders of photos and cached pairs."""
    photos = [f"sources.{name}.source.photos={arguments.photos / 'train'}" for name in ("sh100", "sh200")]
    cached = [
        f"sources.{name}.folder={arguments.out / 'seen' / name}" for name in ("sh100", "sh200", "scenes")
    ]
    return [*photos, *cached]


def stages(name: str) -> list[str]:
    """The stages that a variant goes through."""
    return ["sh100", "sh200"] if name.startswith("full") else ["sh100"]


def weights(out: Path, name: str, stage: str) -> Path:
    """Where a stage has left the head."""
    return folder(out, name) / stage / "head.safetensors"


def settings_of(head: Path) -> list[str]:
    """The settings with which a head was trained, and its weights."""
    lines = (head.parent / "overrides.txt").read_text(encoding="utf-8").split()
    return [each for each in lines if not each.startswith("matcher=")]


def folder(out: Path, name: str) -> Path:
    """The folder of a training."""
    return out / "trained" / slug(name)


def row_file(out: Path, name: str) -> Path:
    """The file of a row."""
    return out / "rows" / f"{slug(name)}.json"


def slug(name: str) -> str:
    """A name of a file."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def rows(out: Path) -> list[dict[str, Any]]:
    """All rows there are, those of trained variants with their cost."""
    found: list[dict[str, Any]] = []
    for file in sorted((out / "rows").glob("*.json")):
        row = json.loads(file.read_text(encoding="utf-8"))
        row["settings"] = [
            each for each in row["settings"] if "checkpoint=" not in each or each.endswith("null")
        ]
        cost = folder(out, row["name"].rsplit(", after", 1)[0]) / "cost.json"
        found.append({**row, "training": json.loads(cost.read_text()) if cost.is_file() else None})
    return found


def circumstances() -> dict[str, Any]:
    """Return commit, versions and hardware."""
    return {
        "command": "uv run python experiments/0003_omniglue/run.py --out FOLDER --photos PHOTOS --data DATA",
        "commit": commit(),
        "versions": versions(PACKAGES),
        "hardware": {"machine": hardware(), "threads": torch.get_num_threads()},
    }


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=FOLDER / "results.json")
    parser.add_argument("--only", nargs="*", choices=[*TRAINED, *PEERS, "mini"])
    parser.add_argument("--steps-scale", type=float, default=1.0)
    parser.add_argument("--ship", action="store_true")
    parser.add_argument("--draw", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
