"""The fusions: MATCHA's attention, the plain union, the pyramid."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from homolog.backbones.combined import Stack
from homolog.core.errors import ConfigError, ShapeError
from homolog.core.features import Features
from homolog.heads.fusion import AttentionFusion, Concatenation, FeaturePyramid

SMALL: dict[str, Any] = {
    "high": "h",
    "low": "l",
    "high_channels": 10,
    "low_channels": 6,
    "width": 16,
    "depth": 2,
    "heads": 4,
}
SIZES: dict[str, Any] = {"semantic_channels": 12, "geometric_channels": 4}


def fusion(**changes: Any) -> AttentionFusion:
    torch.manual_seed(0)
    return AttentionFusion(**{**SMALL, **SIZES, **changes}).eval()


def features(grid: tuple[int, int] = (8, 12), lead: tuple[int, int] = (1, 1), seed: int = 0) -> Features:
    random = torch.Generator().manual_seed(seed)

    def map_(channels: int, height: int, width: int) -> Tensor:
        return torch.randn(*lead, channels, height, width, generator=random)

    height, width = grid
    maps = {"h": map_(10, -(-height // 2), -(-width // 2)), "l": map_(6, height, width), "d": map_(16, 5, 7)}
    return Features(maps=maps, image_size=(height * 8, width * 8))


@pytest.mark.parametrize("align", ["fine", "coarse"])
@pytest.mark.parametrize("grid", [(8, 12), (7, 9), (1, 1)])
def test_every_map_has_the_grid_of_the_low_map_whatever_the_patch(align: str, grid: tuple[int, int]):
    net = fusion(align=align, other="d", other_channels=16)
    found = net(features(grid, lead=(2, 3)))
    assert {name: map_.shape[2] for name, map_ in found.maps.items()} == net.channels
    assert all(map_.shape[:2] == (2, 3) and map_.shape[-2:] == grid for map_ in found.maps.values())
    assert found.image_size == (grid[0] * 8, grid[1] * 8)


def test_the_channels_of_the_paper_come_out_at_1024():
    with torch.device("meta"):
        net = AttentionFusion(
            high="h", low="l", high_channels=1280, low_channels=640, other="d", other_channels=1024
        )
    assert net.channels == {
        "semantic": 768,
        "geometric": 256,
        "semantic_strided": 256,
        "joint": 512,
        "unified": 1024,
    }


def test_light_has_no_unified_map():
    found = fusion()(features())
    assert set(found.maps) == {"semantic", "geometric", "semantic_strided", "joint"}


def test_the_stride_keeps_channels_0_d_2d_and_parts_have_unit_norm_before_they_are_joined():
    found = fusion(other="d", other_channels=16)(features())
    semantic, geometric = found["semantic"][0, 0], found["geometric"][0, 0]
    kept = semantic[[0, 3, 6, 9]]
    assert torch.equal(found["semantic_strided"][0, 0], kept)
    parts = [F.normalize(geometric, dim=0), F.normalize(kept, dim=0)]
    torch.testing.assert_close(found["joint"][0, 0], torch.cat(parts) / 2**0.5)
    tokens = F.interpolate(features()["d"][0], size=(8, 12), mode="bilinear", align_corners=False)[0]
    expected = torch.cat([*parts, F.normalize(tokens[::2], dim=0)]) / 3**0.5
    torch.testing.assert_close(found["unified"][0, 0], expected)


def test_part_weights_are_the_shares_in_a_cosine():
    net = fusion(part_weights={"geometric": 3.0, "semantic": 1.0})
    joint = net(features())["joint"][0, 0]
    torch.testing.assert_close(joint[:4].square().sum(0), torch.full((8, 12), 0.75))
    torch.testing.assert_close(joint[4:].square().sum(0), torch.full((8, 12), 0.25))


def test_plain_merging_is_equation_6_as_printed():
    found = fusion(merging="plain", other="d", other_channels=16)(features())
    assert torch.equal(found["joint"], torch.cat((found["geometric"], found["semantic_strided"]), dim=2))


def test_the_residual_of_the_paper_leaves_out_what_self_attention_found():
    # With cross-attention silenced, `paper` returns its input, `sequential` what self-attention added.
    outputs: dict[str, Any] = {}
    for residual in ("paper", "sequential"):
        net = fusion(residual=residual, depth=1)
        block = cast(Any, net.blocks[0])
        for cross in (block.cross_high, block.cross_low):
            for layer in (cross.out, cross.feed_forward[-1]):
                torch.nn.init.zeros_(layer.weight)
                torch.nn.init.zeros_(layer.bias)
        tokens = torch.randn(2, 5, 16)
        outputs[residual] = (tokens, *block(tokens, tokens + 1), block)
    tokens, high, low, _ = outputs["paper"]
    assert torch.equal(high, tokens)
    assert torch.equal(low, tokens + 1)
    tokens, high, low, block = outputs["sequential"]
    torch.testing.assert_close(high, tokens + block.self_high(tokens, tokens))
    torch.testing.assert_close(low, tokens + 1 + block.self_low(tokens + 1, tokens + 1))


def test_cross_attention_reads_the_other_stream():
    net, given = fusion(), features()
    changed = Features(maps={**given.maps, "h": given["h"] + 1}, image_size=given.image_size)
    assert not torch.allclose(net(given)["geometric"], net(changed)["geometric"])


def test_without_a_block_of_its_own_weights_are_not_shared_between_the_streams():
    block = cast(Any, fusion().blocks[0])
    assert not torch.equal(block.self_high.query.weight, block.self_low.query.weight)
    assert not torch.equal(block.cross_high.query.weight, block.cross_low.query.weight)


def test_views_and_batches_do_not_see_each_other():
    net, whole = fusion(), features(lead=(2, 2))
    found = net(whole)["joint"]
    for b in range(2):
        for v in range(2):
            alone = Features(
                maps={name: map_[b : b + 1, v : v + 1] for name, map_ in whole.maps.items()},
                image_size=whole.image_size,
            )
            torch.testing.assert_close(net(alone)["joint"][0, 0], found[b, v], rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_parameter():
    net = fusion(other="d", other_channels=16)
    found = net(features())
    (found["semantic"].square().sum() + found["geometric"].square().sum()).backward()
    silent = [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()]
    # A key's bias moves all of its query's logits alike.
    assert [name for name in silent if "key_value.bias" not in name] == []


def test_half_precision_features_are_read():
    given = features()
    half = Features(
        maps={name: map_.to(torch.bfloat16) for name, map_ in given.maps.items()}, image_size=given.image_size
    )
    assert fusion()(half)["joint"].dtype == torch.float32


def test_a_checkpoint_is_restored(tmp_path: Path):
    net = fusion()
    save_file(net.state_dict(), tmp_path / "fusion.safetensors")
    torch.manual_seed(5)
    again = AttentionFusion(**SMALL, **SIZES, checkpoint=tmp_path / "fusion.safetensors").eval()
    assert torch.equal(net(features())["joint"], again(features())["joint"])


UNION: dict[str, Any] = {
    "start": "union",
    "semantic_channels": 10,
    "geometric_channels": 6,
    "strided": False,
    "part_weights": {"geometric": 3.0, "semantic": 1.0},
}


@pytest.mark.parametrize("grid", [(8, 12), (7, 9)])
@pytest.mark.parametrize("align", ["fine", "coarse"])
def test_an_untrained_union_is_both_maps_side_by_side(grid: tuple[int, int], align: str):
    given = features(grid, lead=(2, 1))
    found = fusion(**UNION, align=align)(given)
    high = F.interpolate(
        F.normalize(given["h"][:, 0], dim=1), size=grid, mode="bilinear", align_corners=False
    )
    high, low = F.normalize(high, dim=1), F.normalize(given["l"][:, 0], dim=1)
    torch.testing.assert_close(found["semantic"][:, 0], high)
    torch.testing.assert_close(found["geometric"][:, 0], low)
    torch.testing.assert_close(found["joint"][:, 0], torch.cat((low * 0.75**0.5, high * 0.5), dim=1))
    assert torch.equal(found["semantic"], found["semantic_input"])
    assert torch.equal(found["geometric"], found["geometric_input"])
    assert torch.equal(found["joint"], found["joint_input"])


def test_a_union_matches_as_the_stack_of_its_parts():
    given = features((8, 12))

    class Part(torch.nn.Module):
        multiple, joint = 8, False

        def __init__(self, map_: Tensor) -> None:
            super().__init__()
            self.map, self.channels = map_, {"map": map_.shape[2]}

        def forward(self, images: Tensor) -> Features:
            return Features(maps={"map": self.map}, image_size=(images.shape[-2], images.shape[-1]))

    stack = Stack(
        {"h": Part(given["h"]), "l": Part(given["l"])},
        weights={"h": 1, "l": 3},
        maps={"h": "map", "l": "map"},
        grid="l",
    )
    one = stack(torch.zeros(1, 1, 3, 64, 96))["unified"][0, 0].flatten(1)
    two = fusion(**UNION)(given)["joint"][0, 0].flatten(1)
    torch.testing.assert_close(two.T @ two, one.T @ one)


def test_a_union_learns_in_its_last_layers_first_and_then_everywhere():
    net = fusion(**UNION)

    def silent() -> list[str]:
        net.zero_grad()
        joint = net(features())["joint"]
        (joint * torch.randn(joint.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
        return [
            name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()
        ]

    first = silent()
    assert {"blocks.0.self_high.query.weight", "project_low.weight"} <= set(first)
    assert not {"direct.weight", "out_high.2.weight", "out_low.2.weight"} & set(first)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    optimizer.step()
    assert [name for name in silent() if "key_value.bias" not in name] == []


def test_half_of_what_was_learnt_lies_halfway():
    given = features()
    found = {}
    for added in (0.0, 0.5, 1.0):
        net = fusion(**UNION, added=added)
        for last in (net.direct, net.out_high[-1], net.out_low[-1]):
            torch.manual_seed(1)
            torch.nn.init.normal_(last.get_parameter("weight"), std=0.1)
        found[added] = net(given)["semantic"]
    assert torch.equal(found[0.0], net(given)["semantic_input"])
    torch.testing.assert_close(found[0.5], (found[0.0] + found[1.0]) / 2)
    assert not torch.allclose(found[0.0], found[1.0])


@pytest.mark.parametrize(
    ("attention", "layers"),
    [("none", set[str]()), ("self", {"self_high", "self_low"}), ("cross", {"cross_high", "cross_low"})],
)
def test_a_block_has_the_attention_that_was_asked_for(attention: str, layers: set[str]):
    net, given = fusion(attention=attention), features()
    assert {name.split(".")[2] for name, _ in net.blocks.named_parameters(prefix="blocks")} == layers
    changed = Features(maps={**given.maps, "h": given["h"] + 1}, image_size=given.image_size)
    apart = (net(given)["geometric"] - net(changed)["geometric"]).abs().max().item()
    assert (apart > 1e-4) == (attention == "cross")


@pytest.mark.parametrize("place", [True, False])
def test_equal_patches_differ_by_their_place_alone(place: bool):
    constant = Features(
        maps={"h": torch.ones(1, 1, 10, 4, 6), "l": torch.ones(1, 1, 6, 8, 12)}, image_size=(64, 96)
    )
    semantic = fusion(patch=1, place=place)(constant)["semantic"][0, 0].flatten(1)
    if place:
        distances = torch.cdist(semantic.T, semantic.T)
        assert distances[~torch.eye(len(distances), dtype=torch.bool)].min() > 1e-6
    else:
        torch.testing.assert_close(semantic, semantic[:, :1].expand_as(semantic))


def test_a_bilinear_spread_does_not_know_where_patches_begin():
    net, shuffled = fusion(spread="bilinear", depth=1), fusion(depth=1)
    assert sum(p.numel() for p in net.parameters()) < sum(p.numel() for p in shuffled.parameters())
    steps = net(features((8, 12)))["geometric"][0, 0].diff(dim=-1)
    # Straight lines between the centres of patches: within a patch, the mean of the steps to both sides.
    torch.testing.assert_close(steps[..., 2:-2:2], (steps[..., 1:-3:2] + steps[..., 3:-1:2]) / 2)
    assert net(features((7, 9)))["semantic"].shape[-2:] == (7, 9)


def test_without_striding_all_channels_are_joined():
    net = fusion(strided=False, semantic_channels=10, other="d", other_channels=16)
    assert net.channels == {"semantic": 10, "geometric": 4, "joint": 14, "unified": 30}
    found = net(features())
    assert {name: map_.shape[2] for name, map_ in found.maps.items()} == net.channels
    parts = [F.normalize(found[name][0, 0], dim=0) for name in ("geometric", "semantic")]
    torch.testing.assert_close(found["joint"][0, 0], torch.cat(parts) / 2**0.5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {**UNION, "semantic_channels": 12},
            "channels of F_h and F_l for start union, got 12 and 6 for 10 and 6",
        ),
        ({"heads": 3}, "heads 3"),
        ({"depth": 0}, "at least one block"),
        ({"patch": 3, "align": "coarse"}, "even one for align coarse"),
        ({"semantic_channels": 10}, "multiple of geometric_channels"),
        ({"other": "d", "other_channels": 12}, "multiple of 8 channels"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(changes: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said):
        fusion(**changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"attention": "crossed"}, "expected attention to be one of .*; did you mean cross"),
        ({"start": "unions"}, "expected start to be one of .*; did you mean union"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_words_that_do_not_exist_are_refused(changes: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said):
        fusion(**changes)


def test_a_map_that_is_not_there_is_named():
    with pytest.raises(ShapeError, match="no feature map named nowhere"):
        fusion(low="nowhere")(features())


def two_maps() -> Features:
    random = torch.Generator().manual_seed(0)
    maps = {
        "a": torch.randn(1, 2, 4, 6, 8, generator=random),
        "b": torch.randn(1, 2, 6, 3, 4, generator=random),
    }
    return Features(maps=maps, image_size=(48, 64))


def test_parts_are_thinned_resampled_brought_to_unit_norm_and_weighted():
    given = two_maps()
    parts = [{"map": "a", "channels": 4, "weight": 3.0}, {"map": "b", "channels": 6, "stride": 2}]
    net = Concatenation(parts=parts)
    found = net(given)["unified"]
    assert net.channels == {"unified": 7}
    b = F.interpolate(given["b"][0, :, ::2], size=(6, 8), mode="bilinear", align_corners=False)
    expected = [F.normalize(given["a"][0], dim=1) * 0.75**0.5, F.normalize(b, dim=1) * 0.25**0.5]
    torch.testing.assert_close(found[0], torch.cat(expected, dim=1))


def test_plain_merging_only_concatenates():
    given = two_maps()
    net = Concatenation(parts=[{"map": "a", "channels": 4, "stride": 3}], merging="plain", name="joined")
    assert torch.equal(net(given)["joined"], given["a"][:, :, ::3])
    assert net.channels == {"joined": 2}


@pytest.mark.parametrize("changes", [{"stride": 0}, {"weight": 0.0}, {"channels": 0}])
def test_what_leaves_nothing_is_refused(changes: dict[str, Any]):
    with pytest.raises(ConfigError, match="concatenation"):
        Concatenation(parts=[{"map": "a", "channels": 4, **changes}])
    with pytest.raises(ConfigError, match="at least one map"):
        Concatenation(parts=[])


LEVELS = {"c": 12, "b": 8, "a": 4}


def pyramid_maps(changed: str = "") -> Features:
    random = torch.Generator().manual_seed(0)
    maps = {
        name: torch.randn(2, 3, channels, 4 * 2**level, 6 * 2**level, generator=random)
        for level, (name, channels) in enumerate(LEVELS.items())
    }
    if changed:
        maps[changed] = maps[changed] + 1
    return Features(maps=maps, image_size=(32, 48))


def pyramid(**changes: Any) -> FeaturePyramid:
    torch.manual_seed(0)
    small: dict[str, Any] = {"levels": LEVELS, "coarse": "b", "coarse_channels": 16, "fine_channels": 6}
    return FeaturePyramid(**{**small, **changes})


def test_two_levels_come_out_on_the_grids_that_were_named():
    net = pyramid()
    found = net(pyramid_maps())
    assert net.channels == {"coarse": 16, "fine": 6}
    assert found["coarse"].shape == (2, 3, 16, 8, 12)
    assert found["fine"].shape == (2, 3, 6, 16, 24)


@pytest.mark.parametrize(
    ("changed", "reaches"), [("c", (True, True)), ("b", (True, True)), ("a", (False, True))]
)
def test_knowledge_flows_down_only(changed: str, reaches: tuple[bool, bool]):
    net = pyramid()
    before, after = net(pyramid_maps()), net(pyramid_maps(changed))
    assert tuple(not torch.equal(before[name], after[name]) for name in ("coarse", "fine")) == reaches


@pytest.mark.parametrize("coarse", ["a", "nowhere"])
def test_the_coarse_level_has_to_lie_above_the_fine_one(coarse: str):
    with pytest.raises(ConfigError, match="pyramid: expected coarse to be one of c, b"):
        pyramid(coarse=coarse)


def test_a_start_from_the_features_is_the_coarse_map_itself_and_learns_to_add():
    net = pyramid(start="features", coarse_channels=8)
    given = pyramid_maps()
    found = net(given)["coarse"]
    cells = given["b"]
    scaled = cells / cells.square().mean(dim=2, keepdim=True).sqrt()
    assert torch.allclose(found, scaled, atol=1e-5)
    found.sum().backward()
    assert net.added is not None
    assert net.added.weight.grad is not None
    assert net.added.weight.grad.abs().max() > 0
    with torch.no_grad():
        net.added.weight.normal_()
    assert not torch.allclose(net(given)["coarse"], scaled, atol=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "zeros"}, "expected start to be one of"),
        ({"start": "features"}, "expected coarse_channels to be the 8 of b, to start from it, got 16"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_start_that_cannot_be_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        pyramid(**changes)
