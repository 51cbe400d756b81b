"""The products of MATCHA as released: which feature each kind of task gets, at which size, and how it is read."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from skimage import data

from homolog.core.errors import CapabilityError, ConfigError
from homolog.core.features import PIXELS, Features
from homolog.core.image import Image, crop
from homolog.core.io import as_image
from homolog.core.keypoints import Keypoints
from homolog.heads.nearest import Nearest
from homolog.matchers.published import PublishedReadOut
from homolog.matchers.sparse import SparseMatcher
from homolog.zoo import load_matcher

TINY = Path(__file__).parents[1] / "tiny"
CELLS = 16
"""Of a canvas of 128 pixels."""


def tiny(kind: str, name: str) -> list[str]:
    return [f"{kind}.{setting}" for setting in yaml.safe_load((TINY / kind / f"{name}.yaml").read_text())]


@cache
def loaded(name: str) -> Any:
    torch.manual_seed(0)
    backbone = "matcha_light" if "light" in name else "matcha"
    reads = ["canvas.side=128"] if name.endswith(("semantic", "temporal")) else tiny("detector", "disk_4096")
    return load_matcher(name, *tiny("backbone", backbone), *reads, device="cpu")


@pytest.fixture(scope="module")
def photos() -> tuple[Image, Image]:
    photo = as_image(data.astronaut())
    first, second = crop(photo, x=150, y=60, size=(96, 130)), crop(photo, x=166, y=68, size=(110, 128))
    return Image(pixels=first.pixels), Image(pixels=second.pixels)


@pytest.mark.parametrize(
    ("name", "map_", "channels"),
    [
        ("matcha_semantic", "unified_semantic", 16 + 16),
        ("matcha_temporal", "unified", 16 + 16),
        ("matcha_light_semantic", "semantic", 16),
        ("matcha_light_temporal", "joint", 8 + 8),
    ],
)
def test_points_of_a_square_are_read_by_the_cell_and_return_without_half_cells(
    name: str, map_: str, channels: int, photos: tuple[Image, Image]
):
    matcher = loaded(name)
    assert isinstance(matcher, PublishedReadOut)
    assert matcher.map == map_
    found = matcher.match(*photos)
    assert [tuple(each.shape) for each in found.maps] == [(channels, CELLS, CELLS)] * 2
    xy = torch.tensor([[20.0, 31.0], [129.0, 95.0]])
    scale0, scale1 = torch.tensor([128 / 130, 128 / 96]), torch.tensor([1.0, 128 / 110])
    cells = (xy * scale0 / 8).long()
    similarity = found.maps[0][:, cells[:, 1], cells[:, 0]].T @ found.maps[1].flatten(1)
    best = similarity.argmax(dim=1)
    x, y = torch.arange(CELLS).repeat(CELLS), torch.arange(CELLS).repeat_interleave(CELLS)
    away = torch.maximum((x - x[best][:, None]).abs(), (y - y[best][:, None]).abs())
    weight = (similarity.where(away <= 7, 0) / 0.02).softmax(dim=1)
    place = torch.stack((weight @ x.float(), weight @ y.float()), dim=1)
    torch.testing.assert_close(found.transfer(xy).xy, place * 8 / scale1, atol=1e-3, rtol=0)
    with pytest.raises(CapabilityError):
        found.matches()


@pytest.mark.parametrize(("name", "map_"), [("matcha", "unified"), ("matcha_light", "geometric")])
def test_photos_of_one_scene_keep_their_size(name: str, map_: str, photos: tuple[Image, Image]):
    matcher = loaded(name)
    assert isinstance(matcher, SparseMatcher)
    assert matcher.descriptor_map == map_
    features = matcher.extract(list(photos))
    assert [each.geometry.network_size for each in features] == [(96, 128), (96, 128)]
    assert [each.features[map_].shape[-2:] for each in features] == [(12, 16), (12, 16)]
    matches = matcher.match_features(*features).matches()
    assert 0 < len(matches) <= 64
    assert matches.xy0.isfinite().all()
    large = Image(pixels=torch.rand(3, 200, 540))
    assert matcher.extract(large).geometry.network_size == (192, 544)


def test_light_has_one_feature_for_all_tasks_too(photos: tuple[Image, Image]):
    matcher = load_matcher(
        "matcha_light",
        *tiny("backbone", "matcha_light"),
        *tiny("detector", "disk_4096"),
        "descriptor_map=joint",
        device="cpu",
    )
    assert isinstance(matcher, SparseMatcher)
    assert list(matcher.extract(photos[0]).features.maps) == ["joint"]


def test_the_read_out_of_matcha_needs_a_map_and_its_own_settings():
    points = Keypoints(xy=torch.rand(3, 2), score=torch.ones(3), descriptor=torch.rand(3, 4))
    pixels = Features(maps={PIXELS: torch.rand(1, 1, 3, 32, 32)}, image_size=(32, 32))
    with pytest.raises(ConfigError, match="head=nearest_matcha"):
        Nearest(read_out="matcha")
    with pytest.raises(ConfigError, match="source=cell and sigma=null"):
        Nearest(read_out="matcha", source="cell", sigma=2.0)
    with pytest.raises(CapabilityError, match="map of a backbone"):
        Nearest(read_out="matcha", source="cell")(points, points, pixels, pixels)
