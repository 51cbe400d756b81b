"""Evaluate all products on all development sets: one sweep, one table.

    uv run python experiments/0005_small/run.py --data DATA --out OUT [--half report] [--products mini xfeat]

DATA holds `photos/`, `phototourism/`, `pairs/`, `sacre_coeur/`, `semantic/` and `clip/`; other photos are fetched
once with apt and pip. OUT receives the sets, a configs folder with a task for each of them, the results of
`homolog sweep`, the feature cache, and `table.md`. The same command resumes, and repeats only what has changed.

Cost is CPU seconds per pair of 1024 x 768 pixels on one thread: both photos new, and both already extracted.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from sets import HALVES, fetched_sources, make_sets

from homolog.core.atomic import write_json
from homolog.zoo.compose import configs_folder

FOLDER = Path(__file__).parent
PRODUCTS = (
    "mini",
    "xfeat",
    "xfeat_lighterglue",
    "aliked_mnn",
    "lightglue_aliked",
    "lightglue_disk",
    "sift",
    "small",
)
MATCHES = {
    "_target_": "homolog.evaluators.predictors.MatchPredictor",
    "max_matches": None,
    "foreground": False,
}
POINTS = {"_target_": "homolog.evaluators.predictors.PointPredictor"}
HOMOGRAPHY = {
    "poselib": "hpatches@protocols.poselib: h-auc-gf",
    "opencv": "hpatches@protocols.opencv: h-auc-gf-opencv",
}
POSE = {"poselib": "pair_list@protocols.poselib: poselib", "opencv": "pair_list@protocols.opencv: superglue"}
PCK = {"pck": "synthetic_semantic@protocols.pck: homolog"}

SETS: dict[str, dict[str, Any]] = {
    "homography_mild": {"data": "pair_list", "protocols": HOMOGRAPHY, "predict": MATCHES},
    "homography_strong": {"data": "pair_list", "protocols": HOMOGRAPHY, "predict": MATCHES},
    "homography_dark": {"data": "pair_list", "protocols": HOMOGRAPHY, "predict": MATCHES},
    "pose_room": {
        "data": "pair_list",
        # The two places are so close (1 degree of parallax) that a translation cannot be measured.
        "settings_of_protocol": {"error": "rotation", "thresholds": [1, 2, 5]},
        "protocols": POSE,
        "predict": MATCHES,
    },
    "pose_stereo": {"data": "pair_list", "protocols": POSE, "predict": MATCHES},
    "pose_synthetic": {
        "data": "synthetic_geometric",
        "settings": {"count": 20, "size": [480, 640], "turn": 60.0, "overlap": [0.25, 0.75]},
        "protocols": POSE,
        "predict": MATCHES,
    },
    "pose_outdoor": {"data": "pair_list", "protocols": POSE, "predict": MATCHES},
    "semantic": {"data": "named_keypoints", "protocols": PCK, "predict": POINTS},
    "semantic_synthetic": {
        "data": "synthetic_semantic",
        "settings": {"count": 24, "size": 384},
        "protocols": PCK,
        "predict": POINTS,
    },
    "transfer": {
        "data": "pair_list",
        "protocols": PCK,
        "settings_of_protocol": {"alphas": [0.02, 0.01, 0.005]},
        "predict": POINTS,
    },
    "tracks": {"data": "synthetic_video", "settings": {"count": 2, "tracks": 96}},
    "tracks_clip": {"data": "tapvid", "halves": ("report",)},
}
"""The sets: where the data comes from, and what is measured. The first protocol is shown."""


def main() -> None:
    """Prepare, sweep, measure the cost, and print the table."""
    arguments = read_arguments()
    out, half = arguments.out.resolve(), arguments.half
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["HOMOLOG_CACHE"] = str(out / "cache")
    sources = fetched_sources(arguments.data.resolve(), out / "sources")
    make_sets(sources, out / "sets", arguments.sets)
    configs = make_configs(out, arguments.data.resolve(), arguments.weights)
    known = {path.stem for path in (configs / "matcher").glob("*.yaml")}
    products = [name for name in arguments.products if name in known]
    sets = [name for name in arguments.sets if half in SETS[name].get("halves", HALVES)]
    tasks = [f"{name}_{half}" for name in sets]
    command = [
        *(sys.executable, "-m", "homolog.cli", "sweep"),
        f"matcher={','.join(products)}",
        f"task={','.join(tasks)}",
        *arguments.settings,
        *("--out", str(out / "results"), "--configs", str(configs), "--device", "cpu"),
    ]
    subprocess.run(command, check=False)  # 1: some product cannot do some task
    rows = read_rows(out / "results", products, tasks)
    if not arguments.no_cost:
        add_costs(rows, out, configs)
    write_json(out / f"results_{half}.json", {"sets": sets, "rows": list(rows.values())})
    text = table(rows, sets, half)
    (out / f"table_{half}.md").write_text(text, encoding="utf-8")
    print(text)


def read_arguments() -> argparse.Namespace:
    """Read the command line; what is left over are settings that the sweep passes on."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--half", choices=HALVES, default="report")
    parser.add_argument("--products", nargs="+", default=PRODUCTS)
    parser.add_argument("--sets", nargs="+", default=tuple(SETS), choices=tuple(SETS))
    parser.add_argument(
        "--settings", nargs="+", default=[], help="settings of the matchers, such as resize=640,1024"
    )
    parser.add_argument("--weights", type=Path, help="folder of weight files that the YAMLs do not find")
    parser.add_argument("--no-cost", action="store_true", help="do not measure the cost")
    return parser.parse_args()


def make_configs(out: Path, data: Path, weights: Path | None) -> Path:
    """Return a configs folder with a task for each half of each set beside homolog's own files."""
    configs = out / "configs"
    shutil.copytree(configs_folder(), configs, dirs_exist_ok=True)
    for name, of in SETS.items():
        for half in of.get("halves", HALVES):
            text = yaml.safe_dump(task_of(name, half, out, data), sort_keys=False)
            (configs / "task" / f"{name}_{half}.yaml").write_text(
                f"# @package _global_\n{text}", encoding="utf-8"
            )
    files = {
        "detector/aliked": "aliked-n16",
        "head/lightglue_aliked": "aliked_lightglue",
        "detector/disk": "disk-depth-save",
        "head/lightglue_disk": "disk_lightglue",
    }
    for config, file in files.items():
        if weights is None:
            break
        path = configs / f"{config}.yaml"
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        settings["checkpoint"] = str(weights.resolve() / f"{file}.pth")
        path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return configs


def task_of(name: str, half: str, out: Path, data: Path) -> dict[str, Any]:
    """Return the configuration of a task."""
    of = SETS[name]
    folder = str(out / "sets" / f"{name}_{half}")
    settings: dict[str, Any] = dict(of.get("settings", {}))
    settings |= {
        "pair_list": {"root": folder},
        "named_keypoints": {"root": folder},
        "tapvid": {"file": str(data / "clip" / "demo_clip.pkl")},
    }.get(of["data"], {"seed": HALVES.index(half)})
    if name.startswith("tracks"):
        base = "tapvid_file" if name == "tracks_clip" else "synthetic_video"
        return {"defaults": [base, "_self_"], "data": settings}
    protocols = [line.partition(": ") for line in of["protocols"].values()]
    return {
        "defaults": [
            {"/data@data": of["data"]},
            *({f"/protocol/{key}": value} for key, _, value in protocols),
            "_self_",
        ],
        "_target_": "homolog.evaluators.benchmark.Benchmark",
        "kind": "semantic" if of["predict"] is POINTS else "geometric",
        "headline": next(iter(of["protocols"])),
        "predict": of["predict"],
        "data": settings,
        "protocols": {key: of.get("settings_of_protocol", {}) for key in of["protocols"]},
    }


def read_rows(results: Path, products: list[str], tasks: list[str]) -> dict[str, dict[str, Any]]:
    """Return for each product (with its settings) the scores of each set, and the seconds of a sample."""
    rows: dict[str, dict[str, Any]] = {}
    for path in sorted(results.glob("*/result.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        name = result["matcher"].split()[0]
        if name not in products or result["task"] not in tasks:
            continue
        row = rows.setdefault(result["matcher"], {"product": result["matcher"], "scores": {}, "seconds": {}})
        if result["status"] == "done":
            row["scores"][result["task"]] = {
                key: [
                    (score["name"], score["value"]) for score in protocol["scores"] if not score["category"]
                ]
                for key, protocol in result["protocols"].items()
            }
            row["seconds"][result["task"]] = result["seconds"]["per_sample"]
            row["settings"] = result["settings"]["matcher"]
        else:
            row["scores"][result["task"]] = {"failed": result["reason"]}
    order = {name: index for index, name in enumerate(products)}
    return dict(sorted(rows.items(), key=lambda item: (order[item[0].split()[0]], item[0])))


def add_costs(rows: dict[str, dict[str, Any]], out: Path, configs: Path) -> None:
    """Measure the CPU seconds per pair of each product, on one thread and without a cache."""
    import torch

    from homolog.core import as_image
    from homolog.zoo import load_matcher

    torch.set_num_threads(1)
    photos = cost_photos(out)
    for row in rows.values():
        if "settings" not in row:
            continue
        name, *overrides = (word.removeprefix("matcher=") for word in row["settings"])
        matcher: Any = load_matcher(name, *overrides, device="cpu", configs=configs)
        times: list[tuple[float, float]] = []
        for first, second in zip(photos[::2], photos[1::2], strict=True):
            start = time.process_time()
            matcher.match(as_image(first), as_image(second)).matches()
            middle = time.process_time()
            matcher.match(as_image(first), as_image(second)).matches()
            times.append((middle - start, time.process_time() - middle))
        # The first pair warms up.
        row["cost_new"], row["cost_known"] = (
            sorted(part)[len(part) // 2] for part in zip(*times[1:], strict=True)
        )


def cost_photos(out: Path) -> list[Any]:
    """Return eight photos of 1024 x 768, in pairs: enlarged parts of the outdoor photos."""
    from PIL import Image

    files = sorted((out / "sets" / "pose_outdoor_report").glob("*.png"))[:8]
    return [Image.open(file).convert("RGB").resize((1024, 768)) for file in files]


def table(rows: dict[str, dict[str, Any]], sets: list[str], half: str) -> str:
    """Return the scores of the first protocol of each set as a table in Markdown."""
    lines = [
        "| " + " | ".join(["product", *sets, "new pair", "known pair"]) + " |",
        "|" + "---|" * (len(sets) + 3),
    ]
    for row in rows.values():
        cells = [shown(row["scores"].get(f"{name}_{half}")) for name in sets]
        costs = [f"{row[key]:.2f}" if key in row else "-" for key in ("cost_new", "cost_known")]
        lines.append("| " + " | ".join([row["product"], *cells, *costs]) + " |")
    return "\n".join(lines) + "\n"


def shown(scores: dict[str, Any] | None) -> str:
    """Return the main figures of the first protocol, such as 59.7/85.6/91.4."""
    if scores is None or "failed" in scores:
        return "-"
    figures = [
        value
        for name, value in next(iter(scores.values()))
        if name.startswith(("AUC", "PCK", "AJ", "<delta", "OA"))
    ]
    return "/".join("-" if value is None else f"{100 * value:.1f}" for value in figures[:3])


if __name__ == "__main__":
    main()
