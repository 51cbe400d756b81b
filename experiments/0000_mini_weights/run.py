"""Which weights of EfficientNet-Lite0 and XFeat, and which read-out, make the best small default matcher?

    uv run python experiments/0000_mini_weights/run.py DATA [--out results.json]

DATA holds `phototourism/` and `pairs/` (photos of one scene), `photos/` (warped by known homographies)
and `semantic/pairs.json` (annotated pairs of one category). None of them is part of the repository.

Figures, each a mean over its pairs:
  inliers    matches that agree with one fundamental matrix (poselib, 0.3 % of the longer side, seed 0)
  agreeing   fraction of the matches that are inliers
  correct    matches of a photo with its known perspective view that are off by at most 3 px
  exact      fraction of those matches that are correct
  transfer   fraction of points of such a photo that are transferred to within 3 px
  trust      how often a point transferred to within 3 px has a higher confidence than one that is not
             (area under the ROC curve, over the points of all views; 0.5 is chance)
  pck        PCK@0.1, radius 0.1 of the longer side of the target's box, mean per pair, by transfer
  pck_trust  the same as trust, for the annotated points of all pairs
  seconds    per pair of `phototourism/` and `pairs/`, all included; each photo is extracted once
"""

import argparse
import json
import platform
import shlex
import time
from dataclasses import asdict, dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import poselib
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from homolog.cli.provenance import commit, versions
from homolog.core.atomic import write_json
from homolog.core.coords import inside, pixel_grid, pixel_to_normalised
from homolog.core.image import Image
from homolog.core.io import read_image
from homolog.core.protocols import Matcher
from homolog.core.sampling import warp_maps
from homolog.zoo import load_matcher

FOLDER = Path(__file__).parent
SEED = 0

Answers = tuple[torch.Tensor, torch.Tensor]
"""Which points were transferred correctly, and their confidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The figures of one variant."""

    inliers: float
    agreeing: float
    correct: float
    exact: float
    transfer: float | None
    trust: float | None
    pck: float | None
    pck_trust: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """All pairs, read once."""

    scenes: list[tuple[Image, Image]]
    views: list[tuple[Image, Image, torch.Tensor]]
    semantic: list[dict[str, Any]]


def main() -> None:
    """Score every variant of `overrides.txt` and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--variants", type=Path, default=FOLDER / "overrides.txt")
    parser.add_argument("--out", type=Path, default=FOLDER / "results.json")
    arguments = parser.parse_args()
    data = Data(
        scenes=scene_pairs(arguments.data),
        views=known_views(sorted((arguments.data / "photos").iterdir())),
        semantic=semantic_pairs(arguments.data / "semantic"),
    )
    lines = arguments.variants.read_text(encoding="utf-8").splitlines()
    variants = [shlex.split(line) for line in lines if line.strip() and not line.startswith("#")]
    rows: list[dict[str, Any]] = []
    for name, *overrides in track(variants, description="variants"):
        scores = score(load_matcher(name, *overrides, device="cpu"), data)
        rows.append({"matcher": name, "overrides": overrides, **asdict(scores)})
        write_json(arguments.out, {**circumstances(data), "results": rows})
    show(rows)


def score(matcher: Matcher, data: Data) -> Scores:
    """Return the figures of one matcher."""
    start = time.perf_counter()
    scenes = [count_inliers(matcher, *pair) for pair in data.scenes]
    seconds = (time.perf_counter() - start) / len(data.scenes)
    views = [count_correct(matcher, *view) for view in data.views]
    points = [transfer_grid(matcher, *view) for view in data.views]
    annotated = [transfer_annotated(matcher, pair) for pair in data.semantic]
    return Scores(
        inliers=float(np.mean([inliers for inliers, _ in scenes])),
        agreeing=float(np.mean([inliers / max(1, matches) for inliers, matches in scenes])),
        correct=float(np.mean([correct for correct, _ in views])),
        exact=float(np.mean([correct / max(1, matches) for correct, matches in views])),
        transfer=mean_fraction(points),
        trust=ranking(points),
        pck=mean_fraction(annotated),
        pck_trust=ranking(annotated),
        seconds=seconds,
    )


def count_inliers(matcher: Matcher, image0: Image, image1: Image) -> tuple[int, int]:
    """Count the matches that agree with one fundamental matrix, and all of them."""
    matches = matcher.match(image0, image1).matches()
    if len(matches) < 8:
        return 0, len(matches)
    options = {"max_epipolar_error": 0.003 * max(*image0.size, *image1.size), "seed": SEED}
    _, found = poselib.estimate_fundamental(
        matches.xy0.double().numpy(), matches.xy1.double().numpy(), options, {}
    )
    return int(np.sum(found["inliers"])), len(matches)


def count_correct(matcher: Matcher, photo: Image, view: Image, H: torch.Tensor) -> tuple[int, int]:
    """Count the matches that land within 3 px of the truth, and all of them."""
    matches = matcher.match(photo, view).matches()
    off = (apply(H, matches.xy0) - matches.xy1).norm(dim=1)
    return int((off <= 3).sum()), len(matches)


def transfer_grid(matcher: Matcher, photo: Image, view: Image, H: torch.Tensor) -> Answers | None:
    """Transfer the visible points of a grid; correct is within 3 px."""
    found = matcher.match(photo, view)
    if not found.can_transfer:
        return None
    points = pixel_grid((24, 24)) / 24 * torch.tensor([photo.size[1], photo.size[0]])
    truth = apply(H, points)
    visible = inside(truth, view.size)
    xy, confidence = found.transfer(points[visible])
    return (xy - truth[visible]).norm(dim=1) <= 3, confidence


def transfer_annotated(matcher: Matcher, pair: dict[str, Any]) -> Answers | None:
    """Transfer annotated points; correct is within 0.1 of the longer side of the target's box."""
    found = matcher.match(pair["image0"], pair["image1"])
    if not found.can_transfer:
        return None
    xy, confidence = found.transfer(pair["xy0"])
    return (xy - pair["xy1"]).norm(dim=1) <= 0.1 * pair["side"], confidence


def mean_fraction(answers: list[Answers | None]) -> float | None:
    """Return the fraction of correct points, averaged over pairs."""
    fractions = [float(right.double().mean()) for right, _ in filter(None, answers)]
    return float(np.mean(fractions)) if fractions else None


def ranking(answers: list[Answers | None]) -> float | None:
    """Return how often a correct point has a higher confidence than a wrong one."""
    given = list(filter(None, answers))
    if not given:
        return None
    right, confidence = (torch.cat(parts) for parts in zip(*given, strict=True))
    good, bad = confidence[right], confidence[~right]
    if not len(good) or not len(bad):
        return None
    return float(((good[:, None] > bad).double() + 0.5 * (good[:, None] == bad).double()).mean())


def scene_pairs(folder: Path) -> list[tuple[Image, Image]]:
    """Read the photos of each landmark, and the two of `pairs/`, and pair all those of one scene."""
    scenes: dict[str, list[Image]] = {}
    for path in sorted((folder / "phototourism").glob("*.jpg")):
        landmark = path.name.rsplit("_", 2)[0]
        scenes.setdefault(landmark, []).append(read_image(path))
    scenes["pairs"] = [read_image(path) for path in sorted((folder / "pairs").glob("*.jpg"))]
    return [pair for images in scenes.values() for pair in combinations(images, 2)]


def known_views(files: list[Path]) -> list[tuple[Image, Image, torch.Tensor]]:
    """Return each photo with a perspective view of it and the homography between their pixels."""
    generator = np.random.default_rng(SEED)
    views: list[tuple[Image, Image, torch.Tensor]] = []
    for file in files:
        photo = read_image(file)
        height, width = photo.size
        corners = np.array(
            [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], dtype=np.float64
        )
        moved = corners + generator.uniform(-0.15, 0.15, (4, 2)) * (width, height)
        H = homography(corners, moved)
        back = apply(torch.linalg.inv(H), pixel_grid(photo.size).double())
        grid = pixel_to_normalised(back, photo.size).T.reshape(1, 2, height, width).float()
        pixels = warp_maps(photo.pixels[None], grid)[0].clamp(0, 1)
        views.append((photo, Image(pixels=pixels, name=f"view of {file.name}"), H))
    return views


def semantic_pairs(folder: Path) -> list[dict[str, Any]]:
    """Read the annotated pairs."""
    facts = json.loads((folder / "pairs.json").read_text(encoding="utf-8"))
    pairs: list[dict[str, Any]] = []
    for pair in facts["pairs"]:
        source, target = facts["images"][pair["src"]], facts["images"][pair["trg"]]
        pairs.append(
            {
                "image0": read_image(folder / source["file"]),
                "image1": read_image(folder / target["file"]),
                "xy0": torch.tensor([source["keypoints"][name] for name in pair["names"]]),
                "xy1": torch.tensor([target["keypoints"][name] for name in pair["names"]]),
                "side": max(target["bbox"][2:]),
            }
        )
    return pairs


def homography(source: np.ndarray, target: np.ndarray) -> torch.Tensor:
    """Return the homography through four pairs of points."""
    rows: list[list[float]] = []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [
            [x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y, -u],
            [0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y, -v],
        ]
    return torch.from_numpy(np.linalg.svd(np.array(rows))[2][-1].reshape(3, 3))


def apply(H: torch.Tensor, xy: torch.Tensor) -> torch.Tensor:
    """Move points through a homography."""
    moved = torch.cat((xy.double(), torch.ones(len(xy), 1, dtype=torch.float64)), dim=1) @ H.T
    return (moved[:, :2] / moved[:, 2:]).to(xy.dtype)


def circumstances(data: Data) -> dict[str, Any]:
    """Return commit, versions and hardware."""
    return {
        "command": "uv run python experiments/0000_mini_weights/run.py DATA",
        "commit": commit(),
        "seed": SEED,
        "pairs": {"scenes": len(data.scenes), "views": len(data.views), "semantic": len(data.semantic)},
        "versions": versions(("torch", "timm", "kornia", "poselib", "numpy")),
        "hardware": f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
    }


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    names = [field.name for field in fields(Scores)]
    counts = ("inliers", "correct", "seconds")
    table = Table("variant", *names, box=None)
    for row in rows:
        figures = [
            "-" if row[name] is None else f"{row[name] * (1 if name in counts else 100):.3g}"
            for name in names
        ]
        table.add_row(" ".join([row["matcher"], *row["overrides"]]), *figures)
    Console().print(table)


if __name__ == "__main__":
    main()
