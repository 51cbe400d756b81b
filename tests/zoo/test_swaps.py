"""The products of `configs/`: any part of one can be replaced by another that does the same job."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from homolog.core.errors import ConfigError
from homolog.zoo.build import build, resolved
from homolog.zoo.compose import compose, configs_folder

# Those that are put together of a detector and a head; dense ones and adapters of others' code are not.
MATCHERS = sorted(
    path.stem
    for path in (configs_folder() / "matcher").glob("*.yaml")
    if {"detector", "head"} <= compose("match", [f"matcher={path.stem}"]).keys()
)
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
    assert built.descriptor_map in built.backbone.channels
    if described_by is None:
        assert built.descriptor_map == list(built.backbone.channels)[-1]
        assert built.detector.map == built.descriptor_map
    else:
        assert built.descriptor_map == described_by


@pytest.mark.parametrize(("matcher", "setting"), [("external", "function"), ("vismatch", "name")])
def test_an_adapter_names_the_setting_that_the_user_has_to_give(matcher: str, setting: str):
    assert matcher not in MATCHERS
    with pytest.raises(
        ConfigError, match=f"the setting {setting} has no value yet; give it as {setting}=VALUE"
    ):
        build(compose("match", [f"matcher={matcher}"]))


def test_an_external_function_is_named_on_the_command_line(tmp_path: Path):
    file = tmp_path / "theirs.py"
    file.write_text(
        "def match(image0, image1):\n    return [[1, 2]], [[3, 4]]\n\ndef move(a, b, xy):\n    return xy\n"
    )
    settings = ("matcher=external", f"function={file}:match", f"transfer={file}:move")
    matcher = build(compose("match", settings))
    found = matcher.match(np.zeros((16, 16, 3), dtype=np.uint8), np.zeros((16, 16, 3), dtype=np.uint8))
    assert found.matches().xy1.tolist() == [[3, 4]]
    assert found.transfer([[5.0, 6.0]]).xy.tolist() == [[5, 6]]


def test_another_block_or_pair_describes_when_it_alone_is_read():
    assert composed("matcher=dinov2_nn", "backbone.blocks=[8]")["descriptor_map"] == "block.8"
    assert composed("matcher=vggt_nn", "backbone.taps=[11]")["descriptor_map"] == "block.11"


def test_the_ratio_test_is_a_head_of_its_own():
    assert composed("matcher=sift")["head"]["ratio"] == 0.9
    assert composed("matcher=sift", "head=nearest")["head"]["ratio"] is None
    assert "ratio" not in composed("matcher=sift", "head=dual_softmax")["head"]
