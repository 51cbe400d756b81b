"""Fixtures of the training tests."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import settings
from torch import nn

from homolog.core.coords import identity_grid, pixel_to_normalised
from homolog.core.dense import DenseField
from homolog.core.image import Image, resize
from homolog.core.samples import PairSample
from homolog.training.objectives.dense import DenseObjective
from homolog.training.recipe import Recipe
from homolog.training.stage import Stage
from homolog.zoo.build import build
from homolog.zoo.compose import compose

# How long an example takes says more about the machine than about the code.
settings.register_profile("homolog", deadline=None)
settings.load_profile("homolog")

TINY_DENSE = (
    "backbone.taps=[0,1]",
    "backbone.architecture.width=16",
    "backbone.architecture.depth=2",
    "backbone.architecture.attention_heads=2",
    "backbone.architecture.patch=8",
    "backbone.encoder=null",  # its own, which needs no file
    "backbone.checkpoint=null",
    "head.checkpoint=null",
    "+backbone.architecture.encoder_depth=1",
    "+backbone.architecture.encoder_attention_heads=2",
    "backbone.architecture.encoder_image_size=32",
    "backbone.architecture.decoder_taps=[0,1]",
    "backbone.architecture.camera_attention_heads=2",
    "head.decoder.inputs=32",
    "head.decoder.channels=[8,8]",
    "head.decoder.scales=[2,1]",
    "head.decoder.width=8",
    "head.decoder.hidden=8",
    "resize=32",
)
"""Settings that make the product mini_dense tiny."""


class Shifts:
    """Photos of noise and the same moved by whole pixels, with all labels."""

    def __init__(self, count: int = 64, *, size: int = 32, seed: int = 0, semantic: bool = False) -> None:
        self.count, self.size, self.seed, self.semantic = count, size, seed, semantic

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> PairSample:
        drawn = torch.Generator().manual_seed(1000 * self.seed + index)
        wide = resize(Image(pixels=torch.rand(3, 12, 12, generator=drawn)), (self.size * 2, self.size * 2))
        move = torch.randint(-4, 5, (2,), generator=drawn)
        middle, size = self.size // 2, (self.size, self.size)
        images = [
            Image(pixels=wide.pixels[:, middle - y :, middle - x :][:, : self.size, : self.size])
            for x, y in ((0, 0), move.tolist())
        ]
        xy0 = torch.randint(4, self.size - 4, (5, 2), generator=drawn).float()
        fields = [_moved(size, sign * move) for sign in (1, -1)]
        homography = torch.eye(3)
        homography[:2, 2] = move.float()
        sample = PairSample(
            image0=images[0],
            image1=images[1],
            xy0=xy0,
            xy1=xy0 + move,
            dense0=fields[0],
            dense1=fields[1],
            category="noise",
            name=f"shift-{index}",
        )
        return sample if self.semantic else replace(sample, homography=homography)


def _moved(size: tuple[int, int], by: torch.Tensor) -> DenseField:
    step = pixel_to_normalised(by.float(), size) - pixel_to_normalised(torch.zeros(2), size)
    grid = identity_grid(size)[None] + step[None, :, None, None]
    return DenseField(grid=grid, confidence=(grid.abs() <= 1).all(dim=1).float())


@pytest.fixture
def shifts() -> type[Shifts]:
    """A cheap source of pairs."""
    return Shifts


def tiny_dense(*words: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build(compose("match", ["matcher=mini_dense", *TINY_DENSE, *words]))


@pytest.fixture
def dense_matcher() -> nn.Module:
    """A tiny VGGT with a dense grid head."""
    return tiny_dense()


@pytest.fixture
def make_matcher() -> Any:
    """Makes the tiny dense matcher, always the same."""
    return tiny_dense


def recipe_of_two_stages(**changes: Any) -> Recipe:
    common: dict[str, Any] = {"batch": 2, "data": {"shifts": 1.0}, "trainable": ["*"], "learning_rate": 1e-3}
    stages = {
        "first": Stage(steps=4, losses={"keypoint": 0.01}, **common),
        "second": Stage(steps=4, losses={"dense": 10.0, "smoothness": 0.1}, warmup=2, **common),
    }
    plain: dict[str, Any] = {
        "matcher": "mini_dense",
        "settings": TINY_DENSE,
        "objective": DenseObjective(),
        "sources": {"shifts": Shifts},
        "stages": stages,
        "size": [32, 32],
        "parts": ["backbone", "head"],
        "checkpoint_every": 2,
        "log_every": 1,
    }
    return Recipe(**{**plain, **changes})


@pytest.fixture
def make_recipe() -> Any:
    """Makes a recipe for the tiny dense matcher: two stages of a few steps."""
    return recipe_of_two_stages
