"""Training of the variants: one stage that all share, then a short branch for each kind of label."""

import shlex
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pairs import Kind, Stored
from safetensors.torch import load_file, save_file

from homolog.cli.commands.train import composed
from homolog.training.recipe import Recipe
from homolog.training.trainer import fit
from homolog.zoo.build import build
from homolog.zoo.compose import compose

ALIGNMENT = (
    "+stages.splat.losses.alignment=0.1",
    "objective.alignment_channels=32",
    "matcher.head.alignment_channels=32",
)
FOLDER = Path(__file__).parent
REFINEMENT = (
    "backbone.fusion.lateral.2.*",
    "backbone.fusion.lateral.3.*",
    "backbone.fusion.descend.*",
    "backbone.fusion.smooth.1.*",
    "backbone.fusion.smooth.2.*",
    "head.refine_with.*",
    "head.sharpness",
)
"""What only the refinement reads."""

FINE = (
    "stages.splat.losses.coarse=0",
    "stages.splat.trainable=[" + ",".join(f'"{name}"' for name in REFINEMENT) + "]",
    "stages.splat.learning_rate=2.0e-3",
    "+stages.splat.factors={head.sharpness:50}",
)
SECONDS = "cpu_seconds.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A branch.

    Attributes:
        labels: what depth they are made of.
        aligned: whether coarse cells are aligned with Gaussians.
        fine: whether the refinement alone learns. All such variants match the same cells, so that what the
            labels did to the refinement is compared for each pair of cells.
        seed: of order, swaps and what is drawn.
    """

    labels: Kind
    aligned: bool = False
    fine: bool = False
    seed: int = 0

    @property
    def name(self) -> str:
        """As results name it."""
        return f"{'fine-' if self.fine else ''}{self.labels}{'-aligned' if self.aligned else ''}-{self.seed}"

    def overrides(self, scale: float) -> list[str]:
        """Return its settings of the recipe."""
        steps = _steps("splat", 300 if self.fine else 200, scale)
        overrides = ["recipe=mini_semidense", f"seed={self.seed}", steps]
        return [*overrides, *(ALIGNMENT if self.aligned else ()), *(FINE if self.fine else ())]


def shared_overrides(photos: Path, scale: float, seed: int) -> list[str]:
    """Return the settings of the stage that comes first: homographies of photos and synthetic scenes."""
    lines = (FOLDER / "overrides.txt").read_text(encoding="utf-8").splitlines()
    overrides = [each for line in lines if not line.startswith("#") for each in shlex.split(line)]
    return [*overrides, f"seed={seed}", f"sources.photos.photos={photos}", _steps("scenes", 600, scale)]


def train_shared(folder: Path, overrides: list[str]) -> None:
    """Train the stage that all branches start from."""
    _train(folder, overrides, stage="scenes", labels=None, pairs=None, start=None)


def train_branch(folder: Path, variant: Variant, *, pairs: Path, start: Path, scale: float) -> None:
    """Train a variant on the pairs of a folder."""
    _train(folder, variant.overrides(scale), stage="splat", labels=variant.labels, pairs=pairs, start=start)


def keep_refinement(shared: Path, folder: Path) -> None:
    """Write weights that match the untrained cells, XFeat's own, and refine them as the shared stage has learnt to.

    For a head without attention (`head.depth=0`), which then adds nothing to the cells.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fusion = load_file(shared / "backbone.fusion.safetensors")
    head = load_file(shared / "head.safetensors")
    for name in ("added.weight", "added.bias"):
        fusion[name].zero_()
    kept = {name: value for name, value in head.items() if name.startswith(("refine_with.", "sharpness"))}
    width = len(head["project.weight"])
    kept["project.weight"] = torch.eye(width)[..., None, None].contiguous()
    kept["project.bias"] = torch.zeros(width)
    save_file(fusion, folder / "backbone.fusion.safetensors")
    save_file(kept, folder / "head.safetensors")


def _train(
    folder: Path,
    overrides: list[str],
    *,
    stage: str,
    labels: Kind | None,
    pairs: Path | None,
    start: Path | None,
) -> None:
    if (folder / SECONDS).exists():
        return
    begin = time.process_time()
    config = composed(overrides, None)
    torch.manual_seed(config["seed"])
    matcher: Any = build(compose("match", (f"matcher={config['matcher']}", *config["settings"])))
    recipe: Recipe = build(config)
    if labels is not None and pairs is not None:
        # The same images as those of the recipe's source, which renders anew what is read here.
        recipe = replace(recipe, sources={**recipe.sources, "splat": partial(Stored, pairs, labels)})
    record = {**config, "labels": labels}
    resume = (folder / "training.json").exists()
    fit(recipe, matcher, folder, config=record, stages=[stage], start=start, resume=resume, device="cpu")
    (folder / SECONDS).write_text(f"{time.process_time() - begin:.0f}\n")


def _steps(stage: str, steps: int, scale: float) -> str:
    return f"stages.{stage}.steps={max(2, round(steps * scale))}"
