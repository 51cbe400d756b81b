"""Tiny parts that know the truth: every pixel's colour says where in the scene it is."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from homolog.core.coords import Size, identity_grid
from homolog.core.dense import Described, Transfer
from homolog.core.features import Features
from homolog.core.image import Image
from homolog.core.keypoints import Keypoints, Matches
from homolog.matchers.sparse import SparseMatcher


class Colours(nn.Module):
    """A backbone whose map is the mean colour of cells; it records the shapes of its inputs."""

    def __init__(self, *, multiple: int = 4, joint: bool = False) -> None:
        super().__init__()
        self.multiple = multiple
        self.joint = joint
        self.channels = {"colour": 3, "gray": 1}
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Features:
        self.seen.append(tuple(images.shape))
        pooled = nn.functional.avg_pool2d(images.flatten(0, 1), self.multiple).unflatten(0, images.shape[:2])
        if self.joint:  # the maps of one view depend on the other
            pooled = pooled + pooled.flip(1)
        size = (images.shape[-2], images.shape[-1])
        return Features(maps={"colour": pooled, "gray": pooled.mean(dim=2, keepdim=True)}, image_size=size)


class Points(nn.Module):
    """A detector of given points, each described by the colour of its pixel."""

    def __init__(self, xy: list[tuple[float, float]], *, multiple: int = 1) -> None:
        super().__init__()
        self.xy = torch.tensor(xy).reshape(-1, 2)
        self.multiple = multiple
        self.calls = 0

    def forward(self, images: Tensor, features: Features | None = None) -> list[Keypoints]:
        self.calls += 1
        x, y = self.xy.round().long().unbind(dim=1)
        score = torch.arange(len(self.xy), 0, -1).float()
        return [Keypoints(xy=self.xy, score=score, descriptor=image[:, y, x].T) for image in images]


class InOrder(nn.Module):
    """A head that pairs the i-th keypoints, the last one best, and records its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[Keypoints, Keypoints, Features, Features]] = []

    def forward(
        self, keypoints0: Keypoints, keypoints1: Keypoints, features0: Features, features1: Features
    ) -> Matches:
        self.given.append((keypoints0, keypoints1, features0, features1))
        index = torch.arange(min(len(keypoints0), len(keypoints1)))
        return Matches(
            xy0=keypoints0.xy[index],
            xy1=keypoints1.xy[index],
            score=index.float(),
            index0=index,
            index1=index,
        )


class SamePlace(InOrder):
    """A head that also transfers: to the same place relative to the image, with confidence 0.75."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Tensor] = []

    def describe(self, xy: Tensor, features: Features) -> Described:
        height, width = features.image_size
        return Described(tensors={"place": (xy + 0.5) / xy.new_tensor((width, height))})

    def find(self, described: Described, features: Features) -> Transfer:
        height, width = features.image_size
        place = described.tensors["place"]
        return Transfer(place * place.new_tensor((width, height)) - 0.5, torch.full((len(place),), 0.75))

    def transfer(self, xy0: Tensor, features0: Features, features1: Features) -> Transfer:
        self.asked.append(xy0)
        (height0, width0), (height1, width1) = features0.image_size, features1.image_size
        scale = xy0.new_tensor((width1 / width0, height1 / height0))
        return Transfer((xy0 + 0.5) * scale - 0.5, torch.full((len(xy0),), 0.75))


@pytest.fixture
def scene() -> Callable[..., Image]:
    """Makes an image of a size whose red is x and whose green is y; `shade` is its blue."""

    def make(size: Size, *, shade: float = 0.5, name: str = "scene") -> Image:
        x, y = (identity_grid(size) + 1) / 2
        return Image(pixels=torch.stack((x, y, torch.full(size, shade))), name=name)

    return make


@pytest.fixture
def tiny() -> SimpleNamespace:
    """The tiny parts, and a sparse matcher of them; test files cannot import one another."""

    def matcher(xy: list[tuple[float, float]], *, head: Any = None, **settings: Any) -> SparseMatcher:
        return SparseMatcher(detector=Points(xy), head=head or InOrder(), **settings)

    return SimpleNamespace(
        Colours=Colours, Points=Points, InOrder=InOrder, SamePlace=SamePlace, matcher=matcher
    )
