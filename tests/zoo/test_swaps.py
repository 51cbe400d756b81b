"""The products of `configs/`: any part of one can be replaced by another that does the same job."""

from typing import Any

import pytest
import torch

from homolog.zoo.build import build, resolved
from homolog.zoo.compose import compose, configs_folder

MATCHERS = sorted(path.stem for path in (configs_folder() / "matcher").glob("*.yaml"))
DINO = [f"dinov2_{size}{registers}" for size in "sblg" for registers in ("", "_reg")] + [
    f"dinov3_{size}" for size in "sblh"
]


def composed(*settings: str) -> dict[str, Any]:
    """Return a matcher's configuration whose weights are left random."""
    return without_weights(resolved(compose("match", settings)))


def without_weights(node: Any) -> Any:
    if isinstance(node, dict):
        return None if "licence" in node else {key: without_weights(below) for key, below in node.items()}
    return [without_weights(below) for below in node] if isinstance(node, list) else node


@pytest.mark.parametrize("matcher", MATCHERS)
def test_no_matcher_leaves_settings_behind_that_another_head_or_detector_does_not_take(matcher: str):
    # These two take next to nothing, so that whatever a matcher's own YAML sets in them would be too much.
    config = composed(f"matcher={matcher}", "head=dual_softmax", "detector=lattice")
    build(config["head"])
    build(config["detector"])


@pytest.mark.parametrize(
    ("matcher", "backbone", "described_by"),
    [
        *(("dinov2_nn", name, None) for name in DINO),
        ("dift_nn", "dift_uni", "dift.high"),
        ("dift_nn", "cleandift", "dift.high"),
        ("dift_geometric_nn", "dift_uni", "dift.low"),
        ("dift_geometric_nn", "cleandift", "dift.low"),
        ("vggt_nn", "vggt_semantic", "block.17"),
    ],
)
def test_a_matcher_takes_the_relatives_of_its_backbone(matcher: str, backbone: str, described_by: str | None):
    with torch.device("meta"):
        built = build(composed(f"matcher={matcher}", f"backbone={backbone}"))
    assert built.describe in built.backbone.channels
    if described_by is None:
        assert built.describe == list(built.backbone.channels)[-1]
        assert built.detector.map == built.describe
    else:
        assert built.describe == described_by


def test_another_block_or_pair_describes_when_it_alone_is_read():
    assert composed("matcher=dinov2_nn", "backbone.blocks=[8]")["describe"] == "block.8"
    assert composed("matcher=vggt_nn", "backbone.taps=[11]")["describe"] == "block.11"


def test_the_ratio_test_is_a_head_of_its_own():
    assert composed("matcher=sift")["head"]["ratio"] == 0.9
    assert composed("matcher=sift", "head=nearest")["head"]["ratio"] is None
    assert "ratio" not in composed("matcher=sift", "head=dual_softmax")["head"]
