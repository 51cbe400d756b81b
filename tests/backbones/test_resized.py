"""A backbone that sees smaller images: which sizes, and that its maps still cover the whole."""

from collections.abc import Generator

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from homolog.backbones.resized import Resized
from homolog.core.errors import ConfigError, ShapeError
from homolog.core.features import Features
from homolog.core.protocols import Backbone


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


@pytest.fixture
def unchecked() -> Generator[None]:
    """Run as in production, without the type checks that tests add."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


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
