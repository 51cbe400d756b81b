"""All matchers of this experiment: how they are trained, if at all, and which map is matched."""

from dataclasses import dataclass

UNION, SMALL = (
    "fusion@backbone.fusion=mini_union",
    ("matcher.backbone.fusion.width=64", "matcher.backbone.fusion.depth=1"),
)

SHORT = 100
"""Steps of the variants that are only compared with each other."""

SOFTER = ("head.temperature=0.03",)
"""Read-out temperature for trained maps, whose cosines differ more; 0.02 elsewhere."""

HALF = ("backbone.fusion.added=0.5",)
"""Half of the trained correction."""

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
    *(f"stages.fuse.losses.{name}=0" for name in ("anchor", "similarity")),
    "stages.fuse.learning_rate=1e-3",
    *SMALL,
)
"""The form and losses of the paper: two features from random weights, each supervised by itself."""


THIRD = "semantic.blocks.6"
"""The frozen semantic map that stands for DINOv2: the fusion does not read it, F_m adds it as it is."""

TABLE_3 = (
    *PAPER,
    "matcher.backbone.backbone.parts.semantic.maps=[blocks.4,blocks.6]",
    f"matcher.backbone.fusion.other={THIRD}",
    "+matcher.backbone.fusion.other_channels=320",
    "matcher.backbone.fusion.semantic_channels=240",
    "matcher.backbone.fusion.geometric_channels=80",
    "+matcher.backbone.fusion.part_weights.other=1.0",
    "matcher.backbone.keep=[unified,joint,semantic,geometric]",
)
"""MATCHA in miniature: F_t strides F_s by 3, and F_m the third map by 2, as in the paper (80 + 80 + 160 channels)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One row of the tables.

    Attributes:
        label: row label of the table.
        overrides: for `homolog train recipe=unified`; None if nothing is trained.
        settings: further settings of the matcher in the evaluation.
        weights: name of another variant whose weights are used.
        thorough: whether to measure all figures.
    """

    label: str
    overrides: tuple[str, ...] | None = None
    settings: tuple[str, ...] = ()
    weights: str | None = None
    thorough: bool = False


def _raw(label: str, geometric: float, semantic: float) -> Variant:
    shares = f"backbone.fusion.part_weights={{geometric:{geometric},semantic:{semantic}}}"
    return Variant(label=label, settings=(UNION, "backbone.fusion.attention=none", shares), thorough=True)


def _attention(start: str, attention: str, label: str) -> Variant:
    added = "+" if start == "paper" else ""  # fusion/mini.yaml does not name it
    overrides = (
        *(PAPER if start == "paper" else ()),
        f"{added}matcher.backbone.fusion.attention={attention}",
    )
    return Variant(label=label, overrides=(*overrides, f"stages.fuse.steps={SHORT}"))


def _map(weights: str, map_: str, label: str, *settings: str) -> Variant:
    return Variant(label=label, weights=weights, settings=(*settings, f"descriptor_map={map_}"))


def _table_3(label: str, *overrides: str, map_: str, steps: int = SHORT) -> Variant:
    return Variant(
        label=label,
        overrides=(*TABLE_3, *overrides, f"stages.fuse.steps={steps}"),
        settings=(f"descriptor_map={map_}",),
    )


VARIANTS = {
    "union": _raw("their plain union: `mini` as it was", 0.65, 0.35),
    "xfeat": _raw("XFeat alone, untrained", 1, 0),
    "efficientnet": _raw("EfficientNet-Lite0 alone, untrained", 0, 1),
    "full": Variant(label="union start, points read at 0.03", overrides=(), settings=SOFTER, thorough=True),
    "full_seed1": Variant(label="the same, seed 1", overrides=("seed=1",), settings=SOFTER),
    "full_seed2": Variant(label="the same, seed 2", overrides=("seed=2",), settings=SOFTER),
    "union_softer": Variant(
        label="the plain union, points read at 0.03",
        settings=(UNION, "backbone.fusion.attention=none", *SOFTER),
    ),
    "half": Variant(
        label="half of the trained correction, seed 0", weights="full", settings=(*HALF, *SOFTER)
    ),
    "half_seed1": Variant(label="the same, seed 1", weights="full_seed1", settings=(*HALF, *SOFTER)),
    "half_seed2": Variant(label="the same, seed 2", weights="full_seed2", settings=(*HALF, *SOFTER)),
    "short": Variant(
        label="after 100 steps, all of it", weights="union_both", settings=SOFTER, thorough=True
    ),
    **{
        f"short_seed{seed}": Variant(
            label=f"the same, seed {seed}",
            overrides=(
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
            label=label,
            overrides=("stages.fuse.losses.similarity=4", *seed),
            settings=SOFTER,
            thorough=True,
        )
        for name, label, seed in (
            ("guarded", "similarity weighs 4 instead of 1", ()),
            ("guarded_seed1", "the same, seed 1", ("seed=1",)),
            ("guarded_seed2", "the same, seed 2", ("seed=2",)),
        )
    },
    "half_sharp": Variant(
        label="half, seed 0, points read at 0.02", weights="full", settings=HALF, thorough=True
    ),
    "full_semantic": _map("full", "semantic", "F_s of the trained union, alone", *SOFTER),
    "full_geometric": _map("full", "geometric", "F_g of the trained union, alone", *SOFTER),
    **{
        f"{start}_{kind}": _attention(start, kind, f"{start_label}: {label}")
        for start, start_label in (("union", "union start"), ("paper", "random start"))
        for kind, label in (
            ("none", "no attention"),
            ("self", "self-attention"),
            ("cross", "cross-attention"),
            ("both", "self- and cross-attention"),
        )
    },
    "paper_semantic": _map("paper_both", "semantic", "F_s of the last one, alone"),
    "paper_strided": _map("paper_both", "semantic_strided", "the channels of it that F_t keeps, alone"),
    "paper_geometric": _map("paper_both", "geometric", "F_g of it, alone"),
    # What table 3 of the paper varies. Without fusion and without the third map: `union`.
    "plain_third": Variant(
        label="no fusion, with the third map",
        settings=(
            UNION,
            "backbone.backbone.parts.semantic.maps=[blocks.4,blocks.6]",
            "backbone.keep=[unified]",
            "descriptor_map=unified",
            "backbone.fusion.attention=none",
            f"backbone.fusion.other={THIRD}",
            "+backbone.fusion.other_channels=320",
            "+backbone.fusion.part_weights.other=0.5",
        ),
    ),
    "each": _table_3("fused, each map supervised: F_m, as in MATCHA", map_="unified"),
    "each_joint": _map("each", "joint", "the same without the third map: F_t"),
    "each_semantic": _map("each", "semantic", "two features, the semantic one: F_s"),
    "each_geometric": _map("each", "geometric", "two features, the geometric one: F_g"),
    "semantic_only": _table_3(
        "fused, only F_s supervised: F_m",
        "stages.fuse.losses.dual_softmax=0",
        "~stages.fuse.data.photos",
        "~stages.fuse.data.scenes",
        map_="unified",
        steps=2 * SHORT // 5,
    ),
    "geometric_only": _table_3(
        "fused, only F_g supervised: F_m",
        "stages.fuse.losses.contrastive=0",
        "stages.fuse.losses.flow=0",
        "~stages.fuse.data.semantic",
        map_="unified",
        steps=3 * SHORT // 5,
    ),
    "one_only": _table_3(
        "fused, only F_m supervised: F_m",
        "+objective.joint=unified",
        *(f"stages.fuse.losses.{name}=0" for name in ("contrastive", "flow", "dual_softmax")),
        *(
            f"stages.fuse.losses.{name}={weight}"
            for name, weight in (("joint_contrastive", 1), ("joint_flow", 0.1), ("joint_softmax", 1))
        ),
        map_="unified",
    ),
}
