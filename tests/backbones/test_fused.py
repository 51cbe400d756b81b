"""A backbone and a fusion as one."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from homolog.backbones.fused import Fused
from homolog.backbones.stack import Stack
from homolog.core.errors import ConfigError
from homolog.core.features import Features


class Pixels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.multiple, self.joint = 2, False
        self.channels = {"rgb": 3, "red": 1}

    def forward(self, images: Tensor) -> Features:
        size = (images.shape[-2], images.shape[-1])
        return Features(maps={"rgb": images, "red": images[:, :, :1]}, image_size=size)


class Negative(nn.Module):
    def __init__(self, read: str = "rgb") -> None:
        super().__init__()
        self.read = read
        self.channels = {"negative": 3, "zero": 1}

    def forward(self, features: Features) -> Features:
        maps = {"negative": -features[self.read], "zero": 0 * features[self.read][:, :, :1]}
        return Features(maps=maps, image_size=features.image_size)


IMAGES = torch.rand(2, 3, 3, 4, 6)


def test_the_fusion_reads_what_the_backbone_gives():
    fused = Fused(backbone=Pixels(), fusion=Negative())
    found = fused(IMAGES)
    assert (fused.multiple, fused.joint, fused.channels) == (2, False, {"negative": 3, "zero": 1})
    assert torch.equal(found["negative"], -IMAGES)
    assert found.image_size == (4, 6)


def test_maps_are_chosen_and_may_pass_through():
    fused = Fused(backbone=Pixels(), fusion=Negative(), keep=["negative"], through=["red"])
    assert fused.channels == {"negative": 3, "red": 1}
    assert set(fused(IMAGES).maps) == {"negative", "red"}


@pytest.mark.parametrize("changes", [{"keep": ["minus"]}, {"through": ["green"]}])
def test_a_map_that_nobody_makes_is_refused(changes: dict[str, Any]):
    with pytest.raises(ConfigError, match="there is no map"):
        Fused(backbone=Pixels(), fusion=Negative(), **changes)


def test_a_stack_without_weights_lets_parts_stand_side_by_side():
    stack = Stack({"a": Pixels(), "b": Pixels()})
    assert stack.channels == {"a.rgb": 3, "a.red": 1, "b.rgb": 3, "b.red": 1}
    assert set(stack(IMAGES).maps) == set(stack.channels)
    fused = Fused(backbone=stack, fusion=Negative("b.rgb"))
    assert torch.equal(fused(IMAGES)["negative"], -IMAGES)
