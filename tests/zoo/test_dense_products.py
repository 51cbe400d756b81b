"""The dense products, composed from YAML alone."""

import pytest
import torch
from torch import nn

from homolog.core.errors import ConfigError
from homolog.core.protocols import Matcher
from homolog.matchers.dense import DenseMatcher
from homolog.zoo import load_matcher
from homolog.zoo.build import build
from homolog.zoo.compose import compose

UNTRAINED = ("head.checkpoint=null", "backbone.checkpoint=null")


def full_size(*settings: str) -> DenseMatcher:
    """Build without weights, and without memory for them."""
    with torch.device("meta"):
        return build(compose("match", ["backbone.checkpoint=null", *settings]))


def test_vggt_semantic_has_the_size_of_the_paper_s_matcher():
    matcher = full_size("matcher=vggt_semantic")
    assert isinstance(matcher.head, nn.Module)
    assert isinstance(matcher.backbone, nn.Module)
    head = sum(parameter.numel() for parameter in matcher.head.parameters())
    # VGGT's depth decoder has 32 654 562 parameters for 2 outputs, its point decoder 66 more for 4.
    assert head == 32_654_595
    learning = sum(p.numel() for p in matcher.backbone.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in matcher.backbone.parameters() if not p.requires_grad)
    # 20 of 24 pairs learn. Encoder, special tokens and 4 pairs are shared; the encoder has no mask token
    # here, and the position of its class token is part of that token.
    pairs = 302_364_672 * 2
    assert learning == pairs * 20 // 24
    assert frozen == 304_372_736 - 1024 - 1024 + 10_240 + pairs * 4 // 24


@pytest.mark.parametrize(
    "settings",
    [
        ("matcher=vggt_semantic", "backbone=vggt"),
        ("matcher=vggt_semantic", "backbone.taps=[3,10,16,22]"),
        ("matcher=vggt_semantic", "passes=mean"),
        ("matcher=mini_dense", *UNTRAINED, "backbone.shared=2", "backbone.encoder.checkpoint=null"),
        ("matcher=mini_dense", "backbone=vggt", "head=dense_grid"),
    ],
)
def test_parts_and_settings_can_be_swapped(settings):
    assert isinstance(full_size(*settings), Matcher)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (
            ("matcher=mini_dense", "backbone=dinov2_s", "head.checkpoint=null"),
            "expected a backbone that sees both images together",
        ),
        (
            ("matcher=mini_dense", "backbone=vggt", "head.checkpoint=null"),
            "expected maps of 192 channels, got block.4 of 2048",
        ),
        (("matcher=vggt_semantic", "backbone.taps=[17]"), "expected 4 maps, .* got block.17"),
        (("matcher=vggt_nn", "head=dense_grid"), "a sparse matcher expects a head that pairs keypoints"),
        (
            ("matcher=mini_dense", "backbone.encoder.checkpoint=null", "head=dual_softmax"),
            "a dense matcher expects a dense head",
        ),
    ],
)
def test_parts_that_do_not_fit_are_an_error_when_built(settings, problem):
    with pytest.raises(ConfigError, match=problem):
        full_size(*settings)


@pytest.mark.parametrize("passes", ["one", "mean"])
def test_mini_dense_runs_on_photos_of_any_size_before_anyone_trained_it(passes):
    torch.manual_seed(0)
    matcher = load_matcher("mini_dense", *UNTRAINED, f"passes={passes}", "resize=96", device="cpu")
    assert isinstance(matcher, DenseMatcher)
    photos = [torch.rand(size, generator=torch.Generator().manual_seed(0)).numpy() for size in ((50, 70, 3), (90, 40, 3))]  # fmt: skip
    found = matcher.match(*photos)
    field0, field1 = found.fields
    assert field0.size == field1.size == (80, 80)  # halfway between 64 x 96 and 96 x 48, rounded up
    for field in (field0, field1):
        assert field.grid.abs().max() <= 1
        assert (field.confidence - 0.5).abs().max() < 0.1  # it knows nothing
    matches = found.matches(7)
    assert len(matches) == 7
    assert (matches.xy0 <= torch.tensor([69, 49])).all()
    assert (matches.xy1 <= torch.tensor([39, 89])).all()
    assert found.transfer([[3.0, 4.0]]).xy.isfinite().all()
