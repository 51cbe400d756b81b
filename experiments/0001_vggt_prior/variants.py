"""The trainings, as overrides of `homolog train`, and the rows of the tables."""

from dataclasses import dataclass, field
from pathlib import Path

SEEN = ["aeroplane", "bicycle", "bottle", "car", "fish", "potted_plant", "quadruped", "tv_monitor"]
UNSEEN = ["bird", "chair"]
TURN = 70
"""Degrees of azimuth between two views in training, at most."""

PROXY = ("dense", "keypoint")
"""Losses of the first two stages."""

WEIGHTS = {"dense": 10000, "keypoint": 0.01, "smoothness": 40000, "reconstruction": 80, "matching": 0.2}
"""The first two are the paper's. The others are ours: each is about a tenth of the loss at first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One run of `homolog train`.

    Attributes:
        recipe: name of the recipe.
        steps: steps of each stage that it runs.
        after: the training whose weights it starts from (`--from`).
        prior: whether the backbone starts from the weights of `prior`.
        overrides: further settings; `{photos}` is the folder of training photos.
        seed: seed of the training.
    """

    recipe: str
    steps: dict[str, int]
    after: str | None = None
    prior: bool = False
    overrides: tuple[str, ...] = ()
    seed: int = 0

    def command(self, root: Path, shards: Path, photos: Path | None, scale: float) -> list[str]:
        """Return the arguments of `homolog train`, without `--out`."""
        overrides = [f"recipe={self.recipe}", f"seed={self.seed}", "log_every=5"]
        overrides += [each.replace("{photos}", str(photos)) for each in self.overrides]
        overrides += [f"stages.{name}.steps={max(2, round(n * scale))}" for name, n in self.steps.items()]
        overrides += ["stages.geometry.warmup=50"] if self.recipe == "mini_vggt_prior" else []
        overrides += [each for source in _sources(self.recipe) for each in sharded(*source, shards)]
        overrides.append(f"+cache.folder={root / 'maps'}")
        if self.prior:
            overrides.append(f"matcher.backbone.checkpoint={root / 'prior/geometry/backbone.safetensors'}")
        overrides += ["--stages", ",".join(self.steps), "--device", "cpu"]
        return overrides if self.after is None else [*overrides, "--from", str(root / self.after)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the tables: a matcher and its settings; `{root}` is the folder of the trainings."""

    label: str
    overrides: tuple[str, ...]
    needs: tuple[str, ...] = field(default_factory=tuple)


def sharded(source: str, settings: tuple[str, ...], folder: str, shards: Path) -> list[str]:
    """Return the overrides that make a source of a recipe read shards instead of making pairs."""
    dropped = [f"~sources.{source}.{name}" for name in ("count", "size", "seed", *settings)]
    return [
        f"~source@sources.{source}",
        f"+data@sources.{source}=sharded_pairs",
        *dropped,
        f"sources.{source}.root={shards / folder}",
    ]


def _sources(recipe: str) -> list[tuple[str, tuple[str, ...], str]]:
    if recipe == "mini_vggt_prior":
        return [("scenes", ("turn", "overlap"), "geometric")]
    return [("synthetic", (), "semantic"), ("keypoints", (), "keypoints")]


def _branch(*terms: str) -> tuple[str, ...]:
    losses = ",".join(f"{name}:{WEIGHTS[name]}" for name in (*PROXY, *terms))
    off = ",".join(f"{name}:0" for name in ("smoothness", "reconstruction", "matching") if name not in terms)
    return (f"stages.smooth.losses={{{losses}{',' if off else ''}{off}}}", "stages.smooth.warmup=5")


TWO = {"sparse": 300, "synthetic": 2000}
MORE = {"uncertainty": 300}
SHORT = {"synthetic": 600}
BRANCH = {"smooth": 150}
LAST = {"uncertainty": 150}
BRANCH_ONLY = ("stages.synthetic.trainable=['backbone.semantic.*','head.*']",)
"""Encoder, special tokens and shared pairs are frozen."""

THREE_TAPS = ("matcher.head.decoder.channels=[24,48,96]", "matcher.head.decoder.scales=[4,2,1]")
"""A head that reads three pairs, so that there is something to choose from four."""

PHOTOS = (
    "+source@sources.photos=homography",
    "+sources.photos._partial_=true",
    "sources.photos.photos={photos}",
    "sources.photos.count=1500",
    "sources.photos.size=[128,128]",
    "sources.photos.displacement=40",
    "+stages.synthetic.data.photos=1",
    "stages.synthetic.learning_rate=5e-4",
)
"""Homographies of photos, one for each pair of synthetic categories."""

_ALL = ",".join(f"{name}:{weight}" for name, weight in WEIGHTS.items())

TRAININGS: dict[str, Training] = {
    "prior": Training(recipe="mini_vggt_prior", steps={"geometry": 1200}),
    "tuned": Training(recipe="mini_dense", steps=TWO, prior=True),
    "random": Training(recipe="mini_dense", steps=TWO),
    "continued": Training(recipe="mini_dense", steps=BRANCH, after="tuned", overrides=_branch()),
    "smooth": Training(recipe="mini_dense", steps=BRANCH, after="tuned", overrides=_branch("smoothness")),
    "reconstruction": Training(
        recipe="mini_dense", steps=BRANCH, after="tuned", overrides=_branch("smoothness", "reconstruction")
    ),
    "matching": Training(
        recipe="mini_dense",
        steps=BRANCH,
        after="tuned",
        overrides=_branch("smoothness", "reconstruction", "matching"),
    ),
    "uncertainty": Training(
        recipe="mini_dense",
        steps=LAST,
        after="matching",
        overrides=(f"stages.uncertainty.losses={{{_ALL},uncertainty:20}}", "stages.uncertainty.warmup=5"),
    ),
    "shared none": Training(recipe="mini_dense", steps=SHORT, prior=True),
    "shared 0": Training(
        recipe="mini_dense", steps=SHORT, prior=True, overrides=("matcher.backbone.shared=0", *BRANCH_ONLY)
    ),
    "shared 2": Training(
        recipe="mini_dense", steps=SHORT, prior=True, overrides=("matcher.backbone.shared=2", *BRANCH_ONLY)
    ),
    "taps tuned": Training(
        recipe="mini_dense",
        steps=SHORT,
        prior=True,
        overrides=("matcher.backbone.shared=1", "matcher.backbone.taps=[1,2,3]", *THREE_TAPS, *BRANCH_ONLY),
    ),
    "taps shared": Training(
        recipe="mini_dense",
        steps=SHORT,
        prior=True,
        overrides=("matcher.backbone.shared=1", "matcher.backbone.taps=[0,2,3]", *THREE_TAPS, *BRANCH_ONLY),
    ),
    "tuned, seed 1": Training(recipe="mini_dense", steps=TWO, prior=True, seed=1),
    "random, seed 1": Training(recipe="mini_dense", steps=TWO, seed=1),
    "tuned, seed 2": Training(recipe="mini_dense", steps=TWO, prior=True, seed=2),
    "random, seed 2": Training(recipe="mini_dense", steps=TWO, seed=2),
    "uncertainty, heavier": Training(
        recipe="mini_dense",
        steps=MORE,
        after="matching",
        overrides=(f"stages.uncertainty.losses={{{_ALL},uncertainty:1000}}", "stages.uncertainty.warmup=5"),
    ),
    "uncertainty, true": Training(
        recipe="mini_dense",
        steps=LAST,
        after="matching",
        overrides=(
            f"stages.uncertainty.losses={{{_ALL},uncertainty:1000}}",
            "stages.uncertainty.warmup=5",
            "+objective.error=truth",
            "stages.uncertainty.data={synthetic:1}",
        ),
    ),
    "photos": Training(recipe="mini_dense", steps=SHORT, after="tuned", overrides=PHOTOS),
    "photos, seed 1": Training(
        recipe="mini_dense", steps=SHORT, after="tuned, seed 1", overrides=PHOTOS, seed=1
    ),
    "photos, seed 2": Training(
        recipe="mini_dense", steps=SHORT, after="tuned, seed 2", overrides=PHOTOS, seed=2
    ),
}
"""By name, the most important first."""


def trained(label: str, training: str, stage: str) -> Row:
    """Return the row of a training's weights after a stage."""
    return Row(label=label, overrides=(f"@{training}/{stage}",), needs=(training,))


ROWS: dict[str, Row] = {
    "identity": Row(label="same place", overrides=()),
    "positions": Row(label="best affine map of positions", overrides=("positions",)),
    "encoder": Row(
        label="EfficientNet-Lite0's cells, nearest neighbours",
        overrides=(
            "dinov2_nn",
            "backbone=efficientnet_lite0",
            "backbone.maps=[blocks.4]",
            "descriptor_map=blocks.4",
            "resize=128",
        ),
    ),
    "untrained": Row(
        label="mini_dense, untrained",
        overrides=("mini_dense", "resize=128", "backbone.checkpoint=null", "head.checkpoint=null"),
    ),
    "no tuning": Row(
        label="prior, no tuning (nearest neighbours)",
        overrides=(
            "vggt_nn",
            "backbone=vggt_mini",
            "backbone.taps=[2]",
            "backbone.checkpoint={root}/prior/geometry/backbone.safetensors",
            "resize=128",
        ),
        needs=("prior",),
    ),
    "random + sparse": trained("random start, + sparse", "random", "sparse"),
    "random + synthetic": trained("random start, + sparse + synthetic", "random", "synthetic"),
    "+ sparse": trained("prior + sparse", "tuned", "sparse"),
    "+ synthetic": trained("prior + sparse + synthetic", "tuned", "synthetic"),
    "continued": trained("the same, continued as long as below", "continued", "smooth"),
    "+ smooth": trained("+ smoothness", "smooth", "smooth"),
    "+ reconstruction": trained("+ smoothness, reconstruction", "reconstruction", "smooth"),
    "+ matching": trained("+ smoothness, reconstruction, matching", "matching", "smooth"),
    "+ uncertainty": trained("all, then + uncertainty", "uncertainty", "uncertainty"),
    "uncertainty, heavier": trained(
        "all, then + uncertainty, 50 times its weight, 300 steps", "uncertainty, heavier", "uncertainty"
    ),
    "uncertainty, true": trained(
        "the same from the true error, 150 steps, dense pairs only", "uncertainty, true", "uncertainty"
    ),
    **{
        f"{start}+ {stage}, seed {seed}": trained(
            f"{start_label} + {stage_label}, seed {seed}", f"{training}, seed {seed}", stage
        )
        for seed in (1, 2)
        for start, start_label, training in (("random ", "random start,", "random"), ("", "prior", "tuned"))
        for stage, stage_label in (("sparse", "sparse"), ("synthetic", "sparse + synthetic"))
    },
    "shared none": trained("600 steps of synthetic: all is tuned", "shared none", "synthetic"),
    "shared 0": trained("the same, special tokens frozen, no pair shared", "shared 0", "synthetic"),
    "shared 2": trained("the same, two pairs of four shared", "shared 2", "synthetic"),
    "taps tuned": trained("one pair shared, taps 1, 2, 3: all tuned", "taps tuned", "synthetic"),
    "taps shared": trained("one pair shared, taps 0, 2, 3: one shared", "taps shared", "synthetic"),
    "photos": trained("prior + sparse + synthetic, then photos in the mix", "photos", "synthetic"),
    "photos, seed 1": trained("the same, seed 1", "photos, seed 1", "synthetic"),
    "photos, seed 2": trained("the same, seed 2", "photos, seed 2", "synthetic"),
}
"""By name; the order of the table."""
