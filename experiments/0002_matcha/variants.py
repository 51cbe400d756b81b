"""Every matcher that the experiment compares: how it is trained, if at all, and which map of it matches."""

from dataclasses import dataclass

UNION, SMALL = (
    "fusion@backbone.fusion=mini_union",
    ("matcher.backbone.fusion.width=64", "matcher.backbone.fusion.depth=1"),
)

SHORT = 100
"""Steps of the variants that are compared with each other only."""

SOFTER = ("head.temperature=0.03",)
"""How points are read on trained maps, whose cosines lie further apart; 0.02 elsewhere."""

HALF = ("backbone.fusion.added=0.5",)
"""Half of what was learnt."""

PAPER = (
    "matcher.fusion@backbone.fusion=mini",
    "matcher.backbone.keep=[joint,semantic,geometric,semantic_strided]",
    *(
        f"+stages.fuse.losses.{name}={weight}"
        for name, weight in (("contrastive", 1), ("flow", 0.1), ("dual_softmax", 1))
    ),
    *(
        f"stages.fuse.losses.{name}=0"
        for name in ("joint_softmax", "joint_transfer", "joint_contrastive", "joint_flow")
    ),
    *(f"stages.fuse.losses.{name}=0" for name in ("kept", "likeness")),
    "stages.fuse.learning_rate=1e-3",
    *SMALL,
)
"""MATCHA's own form and losses: two new features from random weights, of which only each by itself is supervised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One row of the tables.

    Attributes:
        says: for the table.
        words: of `homolog train recipe=unified`; None for what is not trained.
        settings: of the matcher in the evaluation, beside those of the training.
        weights: the variant whose weights this one reads, if it is another.
        thorough: whether it is measured on everything.
    """

    says: str
    words: tuple[str, ...] | None = None
    settings: tuple[str, ...] = ()
    weights: str | None = None
    thorough: bool = False


def _raw(says: str, geometric: float, semantic: float) -> Variant:
    shares = f"backbone.fusion.part_weights={{geometric:{geometric},semantic:{semantic}}}"
    return Variant(says=says, settings=(UNION, "backbone.fusion.attention=none", shares), thorough=True)


def _attention(start: str, attention: str, says: str) -> Variant:
    added = "+" if start == "paper" else ""  # fusion/mini.yaml does not name it
    words = (*(PAPER if start == "paper" else ()), f"{added}matcher.backbone.fusion.attention={attention}")
    return Variant(says=says, words=(*words, f"stages.fuse.steps={SHORT}"))


def _map(weights: str, map_: str, says: str, *settings: str) -> Variant:
    return Variant(says=says, weights=weights, settings=(*settings, f"descriptor_map={map_}"))


VARIANTS = {
    "union": _raw("their plain union: `mini` as it was", 0.65, 0.35),
    "xfeat": _raw("XFeat alone, untrained", 1, 0),
    "efficientnet": _raw("EfficientNet-Lite0 alone, untrained", 0, 1),
    "full": Variant(says="union start, points read at 0.03", words=(), settings=SOFTER, thorough=True),
    "full_seed1": Variant(says="the same, seed 1", words=("seed=1",), settings=SOFTER),
    "full_seed2": Variant(says="the same, seed 2", words=("seed=2",), settings=SOFTER),
    "union_softer": Variant(
        says="the plain union, points read at 0.03",
        settings=(UNION, "backbone.fusion.attention=none", *SOFTER),
    ),
    "half": Variant(says="half of what was learnt, seed 0", weights="full", settings=(*HALF, *SOFTER)),
    "half_seed1": Variant(says="the same, seed 1", weights="full_seed1", settings=(*HALF, *SOFTER)),
    "half_seed2": Variant(says="the same, seed 2", weights="full_seed2", settings=(*HALF, *SOFTER)),
    "short": Variant(says="after 100 steps, all of it", weights="union_both", settings=SOFTER, thorough=True),
    **{
        f"short_seed{seed}": Variant(
            says=f"the same, seed {seed}",
            words=(
                "matcher.backbone.fusion.attention=both",
                f"stages.fuse.steps={SHORT}",
                f"seed={seed}",
            ),
            settings=SOFTER,
            thorough=True,
        )
        for seed in (1, 2)
    },
    **{
        name: Variant(
            says=says,
            words=("stages.fuse.losses.likeness=4", *seed),
            settings=SOFTER,
            thorough=True,
        )
        for name, says, seed in (
            ("guarded", "likeness weighs 4 instead of 1", ()),
            ("guarded_seed1", "the same, seed 1", ("seed=1",)),
            ("guarded_seed2", "the same, seed 2", ("seed=2",)),
        )
    },
    "half_sharp": Variant(
        says="half, seed 0, points read at 0.02", weights="full", settings=HALF, thorough=True
    ),
    "full_semantic": _map("full", "semantic", "F_s of the trained union, alone", *SOFTER),
    "full_geometric": _map("full", "geometric", "F_g of the trained union, alone", *SOFTER),
    **{
        f"{start}_{kind}": _attention(start, kind, f"{number}, {told}: {said}")
        for start, told in (("union", "union start"), ("paper", "the paper's start"))
        for number, kind, said in (
            ("M1", "none", "no attention"),
            ("M2", "self", "self-attention"),
            ("M3", "cross", "cross-attention"),
            ("M4", "both", "self- and cross-attention"),
        )
    },
    "paper_semantic": _map("paper_both", "semantic", "F_s of M4, the paper's start, alone"),
    "paper_strided": _map("paper_both", "semantic_strided", "the channels of it that F_t keeps, alone"),
    "paper_geometric": _map("paper_both", "geometric", "F_g of M4, the paper's start, alone"),
}
