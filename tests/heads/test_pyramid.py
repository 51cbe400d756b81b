"""The feature pyramid."""

from typing import Any

import pytest
import torch

from homolog.core.errors import ConfigError
from homolog.core.features import Features
from homolog.heads.pyramid import FeaturePyramid

LEVELS = {"c": 12, "b": 8, "a": 4}


def features(changed: str = "") -> Features:
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
    found = net(features())
    assert net.channels == {"coarse": 16, "fine": 6}
    assert found["coarse"].shape == (2, 3, 16, 8, 12)
    assert found["fine"].shape == (2, 3, 6, 16, 24)


@pytest.mark.parametrize(
    ("changed", "reaches"), [("c", (True, True)), ("b", (True, True)), ("a", (False, True))]
)
def test_knowledge_flows_down_only(changed: str, reaches: tuple[bool, bool]):
    net = pyramid()
    before, after = net(features()), net(features(changed))
    assert tuple(not torch.equal(before[name], after[name]) for name in ("coarse", "fine")) == reaches


@pytest.mark.parametrize("coarse", ["a", "nowhere"])
def test_the_coarse_level_has_to_lie_above_the_fine_one(coarse: str):
    with pytest.raises(ConfigError, match="pyramid: expected coarse to be one of c, b"):
        pyramid(coarse=coarse)


def test_a_start_from_the_features_is_the_coarse_map_itself_and_learns_to_add():
    net = pyramid(start="features", coarse_channels=8)
    given = features()
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
        ({"start": "zeros"}, "there is no start zeros"),
        ({"start": "features"}, "expected coarse_channels to be the 8 of b, to start from it, got 16"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_start_that_cannot_be_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        pyramid(**changes)
