"""Maps of frozen backbones that are computed once for each image."""

from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from homolog.core.errors import ConfigError
from homolog.core.features import Features
from homolog.training.map_cache import MapCache
from homolog.training.objectives.fusion import FusionObjective
from homolog.training.recipe import Recipe
from homolog.training.stage import Stage
from homolog.training.trainer import fit
from homolog.zoo.build import build
from homolog.zoo.compose import compose

WORDS = (
    "matcher=mini_fusion",
    "fusion@backbone.fusion=mini_union",
    "backbone.keep=[joint,semantic,geometric,semantic_input,geometric_input,joint_input]",
)
"""A fusion that learns, behind backbones that do not."""


class Blurred(nn.Module):
    """A backbone of one convolution that counts how many images it was shown."""

    multiple = 8
    joint = False

    def __init__(self, seed: int = 0, *, channels: int = 4) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Conv2d(3, channels, 8, stride=8)
        self.channels = {"map": channels}
        self.shown = 0

    def forward(self, images: Tensor) -> Features:
        self.shown += len(images.flatten(0, 1))
        maps = self.layer(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        return Features(maps={"map": maps}, image_size=(images.shape[-2], images.shape[-1]))


def matcher(seed: int = 0, **changes: Any) -> Any:
    whole: Any = nn.Module()
    whole.backbone = Blurred(seed, **changes).requires_grad_(False)
    whole.head = nn.Linear(4, 4)
    return whole


def images(*numbers: int, size: int = 16) -> Tensor:
    return torch.stack(
        [torch.rand(3, size, size, generator=torch.Generator().manual_seed(n)) for n in numbers]
    )[None]


def test_it_serves_a_training_in_bfloat16():
    whole, cache = matcher(), MapCache(parts=["backbone"])
    with cache.serving(whole), torch.autocast("cpu", dtype=torch.bfloat16):
        found = whole.backbone(images(1, 2))["map"]
    torch.testing.assert_close(found, whole.backbone(images(1, 2))["map"], rtol=2**-6, atol=1e-2)


def test_an_image_is_computed_once_whatever_stands_beside_it():
    whole, cache = matcher(), MapCache(parts=["backbone"])
    expected = whole.backbone(images(1, 2, 3))["map"]
    whole.backbone.shown = 0
    with cache.serving(whole):
        first = whole.backbone(images(1, 2))
        again = whole.backbone(images(3, 1))
    assert whole.backbone.shown == cache.computed == 3
    assert first.image_size == (16, 16)
    # Half precision: 11 bits.
    torch.testing.assert_close(first["map"], expected[:, :2], rtol=2**-11, atol=1e-6)
    assert torch.equal(again["map"][:, 1], first["map"][:, 0])
    assert again["map"].dtype == torch.float32


def test_what_is_forgotten_comes_back_the_same():
    whole, cache = matcher(), MapCache(parts=["backbone"], memory=0)
    with cache.serving(whole):
        pair, alone = whole.backbone(images(1, 2))["map"], whole.backbone(images(2))["map"]
    assert torch.equal(pair[:, 1:], alone)
    assert whole.backbone.shown == 3


def test_memory_is_bounded_and_the_least_recently_used_goes():
    one = 4 * 2 * 2 * 2  # channels, cells and bytes
    whole, cache = matcher(), MapCache(parts=["backbone"], memory=2 * one)
    with cache.serving(whole):
        for number in (1, 2, 1, 3, 1):
            whole.backbone(images(number))
            assert cache.weight <= 2 * one
        assert cache.computed == 3
        whole.backbone(images(2))
        assert cache.computed == 4


def test_the_part_answers_for_itself_again_afterwards_even_after_a_failure():
    whole = matcher()
    with pytest.raises(RuntimeError), MapCache(parts=["backbone"]).serving(whole):
        raise RuntimeError
    assert "forward" not in vars(whole.backbone)
    assert [name for name, _ in whole.named_parameters()] == [
        name for name, _ in matcher().named_parameters()
    ]


def test_a_folder_serves_other_runs_with_the_same_weights_and_no_others(tmp_path: Path):
    def asked(whole: Any, **changes: Any) -> tuple[Tensor, int]:
        cache = MapCache(parts=["backbone"], folder=tmp_path, **changes)
        with cache.serving(whole):
            return whole.backbone(images(1, 2))["map"], cache.computed

    first, computed = asked(matcher())
    again, found = asked(matcher())
    assert (computed, found) == (2, 0)
    assert torch.equal(first, again)
    assert asked(matcher(seed=1))[1] == 2
    assert asked(matcher(), dtype="bfloat16")[1] == 2


def test_images_of_the_same_bytes_and_another_shape_are_others():
    whole, cache = matcher(), MapCache(parts=["backbone"])
    wide = images(1).reshape(1, 1, 3, 8, 32)
    with cache.serving(whole):
        shapes = [tuple(whole.backbone(each)["map"].shape[-2:]) for each in (images(1), wide)]
    assert shapes == [(2, 2), (1, 4)]


def test_what_learns_what_sees_other_views_and_what_is_not_there_is_refused():
    learning, joint = matcher(), matcher()
    learning.backbone.requires_grad_(True)
    joint.backbone.joint = True
    for whole, part, said in (
        (learning, "backbone", "expected backbone to be frozen"),
        (joint, "backbone", "sees one image at a time"),
        (matcher(), "head", "sees one image at a time"),
        (matcher(), "backbones", "did you mean backbone"),
    ):
        with pytest.raises(ConfigError, match=said), MapCache(parts=[part]).serving(whole):
            pass


@pytest.mark.slow
def test_a_training_ends_with_the_same_weights_whether_maps_were_kept_or_computed_again(
    shifts: Any, tmp_path: Path
):
    def weights(name: str, **changes: Any) -> tuple[Tensor, int]:
        torch.manual_seed(0)
        whole: Any = build(compose("match", WORDS))
        cache = MapCache(parts=["backbone.backbone"], **changes)
        recipe = Recipe(
            matcher="mini_fusion",
            objective=FusionObjective(points=16),
            sources={"shifts": partial(shifts, 2, size=64)},
            stages={
                "fuse": Stage(
                    steps=3,
                    batch=2,
                    losses={"joint_softmax": 1, "similarity": 1},
                    data={"shifts": 1},
                    trainable=["backbone.fusion.*"],
                    learning_rate=1e-3,
                )
            },
            size=[64, 64],
            parts=["backbone.fusion"],
            cache=cache,
        )
        fit(recipe, whole, tmp_path / name, device="cpu")
        assert "forward" not in vars(whole.backbone.backbone)
        return whole.backbone.fusion.direct.weight, cache.computed

    (kept, few), (again, many) = weights("kept"), weights("again", memory=0)
    assert (few, many) == (4, 12)
    assert torch.equal(kept, again)
    assert kept.abs().max() > 0


@pytest.mark.parametrize("wrong", [{"parts": []}, {"memory": -1}, {"dtype": "float32"}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any], unchecked: None):
    with pytest.raises(ConfigError, match="map cache: expected parts"):
        MapCache(**cast(Any, {"parts": ["backbone"], **wrong}))
