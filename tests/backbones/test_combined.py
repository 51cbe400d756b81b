"""Backbones made of backbones."""

from math import sqrt
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from homolog.backbones.combined import Fused, Resized, Stack
from homolog.core.errors import ConfigError, ShapeError
from homolog.core.features import Features
from homolog.core.protocols import Backbone


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


class Means(nn.Module):
    """The mean colours of cells of 14 pixels; it remembers the images."""

    multiple = 14
    joint = False

    def __init__(self) -> None:
        super().__init__()
        self.channels = {"mean": 3}
        self.seen = torch.zeros(0)

    def forward(self, images: Tensor) -> Features:
        self.seen = images
        size = (images.shape[-2], images.shape[-1])
        return Features(
            maps={"mean": F.avg_pool2d(images.flatten(0, 1), 14).unflatten(0, images.shape[:2])},
            image_size=size,
        )


@pytest.mark.parametrize(
    ("given", "rounding", "seen"),
    [
        ((420, 560), "down", (420, 560)),  # small enough
        ((630, 630), "nearest", (630, 630)),
        ((756, 1008), "down", (462, 630)),  # 472.5, cut to 472, then to 33 patches
        ((756, 1008), "nearest", (476, 630)),
        ((1008, 154), "down", (630, 84)),  # 96.25
        ((1400, 14), "down", (630, 14)),
    ],
)
def test_it_shows_the_backbone_the_size_of_the_release(given, rounding, seen):
    inner = Means()
    features = Resized(inner, resize=630, rounding=rounding)(torch.rand(1, 2, 3, *given))
    assert inner.seen.shape == (1, 2, 3, *seen)
    assert features.image_size == given
    assert features["mean"].shape == (1, 2, 3, seen[0] // 14, seen[1] // 14)


def test_its_maps_are_read_at_the_same_places():
    x = torch.arange(1120.0) / 1120
    image = x.expand(1, 1, 3, 560, 1120)
    features = Resized(Means(), resize=280)(image)
    xy = torch.tensor([[200.0, 100.0], [731.5, 333.0]])
    torch.testing.assert_close(features.at("mean", xy)[:, 0], xy[:, 0] / 1120, rtol=0, atol=2e-3)


def test_filtering_is_a_choice():
    image = torch.rand(1, 1, 3, 560, 560, generator=torch.Generator().manual_seed(0))
    smooth, rough = (
        Resized(Means(), resize=140, antialias=antialias)(image)["mean"].std() for antialias in (True, False)
    )
    assert smooth < rough


def test_it_is_a_backbone_like_the_one_inside():
    outer = Resized(Means(), resize=140)
    assert isinstance(outer, Backbone)
    assert (outer.multiple, outer.channels, outer.joint) == (14, {"mean": 3}, False)
    with pytest.raises(ShapeError, match="Resized: expected an image with sides in multiples of 14"):
        outer(torch.rand(1, 1, 3, 30, 28))


def test_settings_that_make_no_sense_are_refused(unchecked):
    with pytest.raises(ConfigError, match="expected resize of at least 14, got 10"):
        Resized(Means(), resize=10)
    with pytest.raises(ConfigError, match="expected the rounding nearest or down, got up"):
        Resized(Means(), resize=140, rounding="up")  # type: ignore[arg-type]


class Part(nn.Module):
    """A backbone of random but fixed projections of the pixels, averaged over cells."""

    def __init__(
        self, channels: int, stride: int, *, multiple: int = 1, joint: bool = False, seed: int = 0
    ) -> None:
        super().__init__()
        self.multiple = multiple
        self.joint = joint
        self.channels = {"map": channels, "extra": 1}
        self.stride = stride
        self.projection = nn.Parameter(
            torch.randn(channels, 3, generator=torch.Generator().manual_seed(seed))
        )
        self.seen: tuple[int, int] = (0, 0)

    def forward(self, images: Tensor) -> Features:
        self.seen = (images.shape[-2], images.shape[-1])
        cells = F.avg_pool2d(images.flatten(0, 1), self.stride)
        map_ = torch.einsum("cd, ndhw -> nchw", self.projection, cells - 0.5).unflatten(0, images.shape[:2])
        return Features(maps={"map": map_, "extra": map_[:, :, :1]}, image_size=self.seen)


def images(height: int = 32, width: int = 48, views: int = 2) -> Tensor:
    return torch.rand(2, views, 3, height, width, generator=torch.Generator().manual_seed(0))


def cosines(map_: Tensor) -> Tensor:
    cells = F.normalize(map_.movedim(2, -1).reshape(-1, map_.shape[2]), dim=-1)
    return cells @ cells.T


def stack(**changes: Any) -> Stack:
    settings: dict[str, Any] = {
        "parts": {"fine": Part(8, 4), "coarse": Part(5, 8, seed=1)},
        "weights": {"fine": 0.75, "coarse": 0.25},
        "maps": {"fine": "map", "coarse": "map"},
        "grid": "fine",
    }
    return Stack(**(settings | changes))


def test_the_cosine_of_the_joined_map_is_the_weighted_mean_of_the_parts_cosines():
    # Equal strides, so that nothing is resampled; weights in any unit.
    parts = {"one": Part(8, 4), "two": Part(5, 4, seed=1)}
    joined = stack(parts=parts, weights={"one": 3, "two": 1}, maps={"one": "map", "two": "map"}, grid="one")
    one, two = (cosines(part(images())["map"]) for part in parts.values())
    torch.testing.assert_close(cosines(joined(images())["unified"]), 0.75 * one + 0.25 * two)


def test_the_joined_map_has_unit_norm_also_after_resampling():
    norm = stack()(images())["unified"].norm(dim=2)
    torch.testing.assert_close(norm, torch.ones_like(norm))


def test_parts_lie_side_by_side_scaled_by_the_root_of_their_weight():
    unified = stack()(images())["unified"]
    fine, coarse = unified.split([8, 5], dim=2)
    torch.testing.assert_close(fine.norm(dim=2), torch.full_like(fine[:, :, 0], sqrt(0.75)))
    torch.testing.assert_close(coarse.norm(dim=2), torch.full_like(coarse[:, :, 0], 0.5))


@pytest.mark.parametrize(
    ("grid", "cells"), [("fine", (8, 12)), ("coarse", (4, 6)), (2, (16, 24)), (16, (2, 3))]
)
def test_the_grid_is_that_of_a_part_or_a_stride(grid, cells):
    assert stack(grid=grid)(images())["unified"].shape == (2, 2, 13, *cells)


def test_resampling_keeps_everything_in_its_place():
    # An angle that grows with x turns a 2-d unit vector; its position must survive the change of grid.
    class Angle(Part):
        def forward(self, images: Tensor) -> Features:
            width = images.shape[-1] // self.stride
            angle = (torch.arange(width) + 0.5) / width
            map_ = torch.stack((angle.cos(), angle.sin()))[:, None].expand(
                1, 1, 2, images.shape[-2] // self.stride, width
            )
            return Features(maps={"map": map_, "extra": map_[:, :, :1]}, image_size=(32, 48))

    for grid, stride in ((4, 8), (8, 4)):
        part = Angle(2, stride)
        joined = stack(parts={"part": part}, weights={"part": 1}, maps={"part": "map"}, grid=grid)
        unified = joined(images()[:1, :1])["unified"][0, 0, :, 1]
        angle = torch.atan2(unified[1], unified[0])
        cells = 48 // grid
        expected = (torch.arange(cells) + 0.5) / cells
        torch.testing.assert_close(angle[1:-1], expected[1:-1], rtol=0, atol=2e-3)


def test_other_maps_pass_through_under_the_name_of_their_part():
    joined = stack()
    features = joined(images())
    assert set(features.maps) == {"unified", "fine.extra", "coarse.extra"} == joined.channels.keys()
    assert joined.channels == {"unified": 13, "fine.extra": 1, "coarse.extra": 1}
    assert torch.equal(features["fine.extra"], joined.parts["fine"](images())["extra"])
    assert features.image_size == (32, 48)


def test_a_part_of_weight_zero_only_passes_its_maps_through():
    joined = stack(weights={"fine": 1, "coarse": 0})
    features, part = joined(images()), joined.parts["fine"]
    assert joined.channels == {"unified": 8, "fine.extra": 1, "coarse.map": 5, "coarse.extra": 1}
    assert {name: map_.shape[2] for name, map_ in features.maps.items()} == joined.channels
    torch.testing.assert_close(features["unified"], F.normalize(part(images())["map"], dim=2))


def test_a_part_may_have_no_weight_at_all():
    joined = stack(weights={"fine": 1}, maps={"fine": "map"})
    assert joined.channels == {"unified": 8, "fine.extra": 1, "coarse.map": 5, "coarse.extra": 1}


def test_images_have_to_suit_all_parts_and_the_stride():
    parts = {"fine": Part(8, 4, multiple=4), "coarse": Part(5, 6, multiple=6)}
    assert stack(parts=parts).multiple == 12
    assert stack(parts=parts, grid=8).multiple == 24
    with pytest.raises(ShapeError, match="multiples of 12"):
        stack(parts=parts)(images(32, 48))


def test_a_scaled_part_sees_the_scaled_image_rounded_to_its_own_multiple():
    parts = {"fine": Part(8, 4, multiple=4), "coarse": Part(5, 7, multiple=14)}
    joined = stack(parts=parts, scales={"coarse": 1.5})
    assert joined.multiple == 4  # the other one is resized anyway
    features = joined(images(32, 48))
    assert parts["coarse"].seen == (42, 70)  # nearest multiples of 14 to 48 and 72
    assert parts["fine"].seen == (32, 48)
    assert features["unified"].shape[-2:] == (8, 12)
    assert features.image_size == (32, 48)


def test_scale_one_lets_a_part_round_by_itself():
    parts = {"fine": Part(8, 4, multiple=32), "coarse": Part(5, 7, multiple=14)}
    assert stack(parts=parts).multiple == 224
    joined = stack(parts=parts, scales={"coarse": 1.0})
    assert joined.multiple == 32
    joined(images(32, 64))
    assert parts["coarse"].seen == (28, 70)


@pytest.mark.parametrize("joint", [False, True])
def test_it_is_joint_when_a_part_is(joint):
    assert stack(parts={"fine": Part(8, 4), "coarse": Part(5, 8, joint=joint)}).joint is joint


def test_gradients_reach_every_joined_part():
    joined = stack()
    # Not a plain sum of squares: the norm of the joined map is 1 whatever the parts say.
    joined(images())["unified"].sum().backward()
    for parameter in joined.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": {"fine": 1, "course": 1}}, "Stack has no part course; did you mean coarse"),
        ({"maps": {"fine": "mop", "coarse": "map"}}, "fine has no map mop; did you mean map"),
        ({"maps": {"fine": "map"}}, "expected the map of coarse to join, got none; set maps.coarse"),
        ({"weights": {"fine": 0, "coarse": 0}}, "expected weights of 0 or more, one above 0"),
        ({"weights": {"fine": 2, "coarse": -1}}, "expected weights of 0 or more, one above 0"),
        ({"grid": "medium"}, "Stack has no part medium; choose from coarse, fine"),
        ({"grid": 0}, "expected scales and stride above 0"),
        ({"scales": {"fine": 0.0}}, "expected scales and stride above 0"),
        ({"name": "fine.extra"}, "expected a name for the joined map that no part uses, got fine.extra"),
    ],
)
def test_settings_that_do_not_fit_the_parts_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        stack(**changes)
