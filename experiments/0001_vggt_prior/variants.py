"""What is trained: each variant as words of `homolog train`, and the rows of the tables that come out of it."""

from dataclasses import dataclass, field
from pathlib import Path

SEEN = ["aeroplane", "bicycle", "bottle", "car", "fish", "potted_plant", "quadruped", "tv_monitor"]
UNSEEN = ["bird", "chair"]
TURN = 70
"""Degrees of azimuth between two views in training, at most."""

SMALL_BACKBONE = (
    "backbone.architecture.width=96",
    "backbone.architecture.encoder_depth=3",
    "backbone.architecture.encoder_image_size=128",
    "backbone.architecture.decoder_width=16",
    "backbone.architecture.decoder_channels=[24,48,96,96]",
    "+backbone.architecture.decoder_hidden=8",
)
SMALL_HEAD = (
    "head.decoder.inputs=192",
    "head.decoder.channels=[24,48,96,96]",
    "head.decoder.width=16",
    "head.decoder.hidden=8",
)
"""A fifth of `mini_dense`, which costs several times as much a step."""

PROXY = ("dense", "keypoint")
"""What the first two stages learn from."""

WEIGHTS = {"dense": 10000, "keypoint": 0.01, "smoothness": 1000000, "reconstruction": 1000, "matching": 4}
"""The first two are the paper's. It gives no others: these make each about a tenth of the loss at first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One run of `homolog train`.

    Attributes:
        recipe: its name.
        steps: of each stage that it runs.
        after: the variant whose weights it goes on with (`--from`).
        prior: whether the backbone starts from what `prior` learnt.
        words: further settings.
        seed: of the training.
    """

    recipe: str
    steps: dict[str, int]
    after: str | None = None
    prior: bool = False
    words: tuple[str, ...] = ()
    seed: int = 0

    def command(self, root: Path, shards: Path, scale: float) -> list[str]:
        """Return the words that follow `homolog train`, `--out` left out."""
        words = [f"recipe={self.recipe}", f"seed={self.seed}", "log_every=5", *self.words]
        words += [of_matcher(word) for word in (*SMALL_BACKBONE, *SMALL_HEAD)]
        words += [f"stages.{name}.steps={max(2, round(n * scale))}" for name, n in self.steps.items()]
        words += ["stages.geometry.warmup=50"] if self.recipe == "mini_vggt_prior" else []
        words += [word for source in _sources(self.recipe) for word in sharded(*source, shards)]
        if self.prior:
            words.append(f"matcher.backbone.checkpoint={root / 'prior/geometry/backbone.safetensors'}")
        words += ["--stages", ",".join(self.steps), "--device", "cpu"]
        return words if self.after is None else [*words, "--from", str(root / self.after)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the tables: a matcher and its settings; `{root}` is where trainings are."""

    label: str
    words: tuple[str, ...]
    needs: tuple[str, ...] = field(default_factory=tuple)


def of_matcher(word: str) -> str:
    """Return a setting of the matcher as a word of `homolog train`.

    >>> of_matcher("+head.a=1")
    '+matcher.head.a=1'
    """
    plus = "+" if word.startswith("+") else ""
    return f"{plus}matcher.{word.removeprefix('+')}"


def sharded(source: str, settings: tuple[str, ...], folder: str, shards: Path) -> list[str]:
    """Return the words by which a source of a recipe reads shards instead of making pairs."""
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


TWO = {"sparse": 100, "synthetic": 350}
SHORT = {"synthetic": 60}
BRANCH = {"smooth": 40}
LAST = {"uncertainty": 40}
BRANCH_ONLY = ("stages.synthetic.trainable=['backbone.semantic.*','head.*']",)
"""Encoder, special tokens and shared pairs are frozen."""

_ALL = ",".join(f"{name}:{weight}" for name, weight in WEIGHTS.items())

TRAININGS: dict[str, Training] = {
    "prior": Training(recipe="mini_vggt_prior", steps={"geometry": 400}),
    "tuned": Training(recipe="mini_dense", steps=TWO, prior=True),
    "random": Training(recipe="mini_dense", steps=TWO),
    "continued": Training(recipe="mini_dense", steps=BRANCH, after="tuned", words=_branch()),
    "smooth": Training(recipe="mini_dense", steps=BRANCH, after="tuned", words=_branch("smoothness")),
    "reconstruction": Training(
        recipe="mini_dense", steps=BRANCH, after="tuned", words=_branch("smoothness", "reconstruction")
    ),
    "matching": Training(
        recipe="mini_dense",
        steps=BRANCH,
        after="tuned",
        words=_branch("smoothness", "reconstruction", "matching"),
    ),
    "uncertainty": Training(
        recipe="mini_dense",
        steps=LAST,
        after="matching",
        words=(f"stages.uncertainty.losses={{{_ALL},uncertainty:200}}", "stages.uncertainty.warmup=5"),
    ),
    "shared none": Training(recipe="mini_dense", steps=SHORT, prior=True),
    "shared 0": Training(
        recipe="mini_dense", steps=SHORT, prior=True, words=("matcher.backbone.shared=0", *BRANCH_ONLY)
    ),
    "shared 2": Training(
        recipe="mini_dense", steps=SHORT, prior=True, words=("matcher.backbone.shared=2", *BRANCH_ONLY)
    ),
    "random, seed 1": Training(recipe="mini_dense", steps=SHORT, seed=1),
    "prior, seed 1": Training(recipe="mini_dense", steps=SHORT, prior=True, seed=1),
    "random, short": Training(recipe="mini_dense", steps=SHORT),
}
"""By name; in the order in which they matter."""


def trained(label: str, training: str, stage: str) -> Row:
    """Return the row of what a training left after a stage."""
    return Row(label=label, words=(f"@{training}/{stage}",), needs=(training,))


ROWS: dict[str, Row] = {
    "identity": Row(label="same place", words=()),
    "positions": Row(label="best affine map of positions", words=("positions",)),
    "untrained": Row(
        label="mini_dense, untrained", words=("mini_dense", *SMALL_BACKBONE, *SMALL_HEAD, "longest=128")
    ),
    "no tuning": Row(
        label="prior, no tuning (nearest neighbours)",
        words=(
            "vggt_nn",
            "backbone=vggt_mini",
            *SMALL_BACKBONE,
            "backbone.taps=[2]",
            "backbone.checkpoint={root}/prior/geometry/backbone.safetensors",
            "longest=128",
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
    **{
        name: trained(f"short: {name}", name, "synthetic")
        for name in (
            "shared none",
            "shared 0",
            "shared 2",
            "random, short",
            "prior, seed 1",
            "random, seed 1",
        )
    },
}
"""By name; the order of the table."""
