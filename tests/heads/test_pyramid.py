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
