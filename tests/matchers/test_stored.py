"""Extractions on disk: the second run extracts nothing and answers the same."""

from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from homolog.core.feature_cache import FeatureCache
from homolog.core.features import Features
from homolog.core.image import Image
from homolog.core.keypoints import Keypoints, Matches
from homolog.matchers.sparse import SparseMatcher
from homolog.matchers.stored import from_tensors, to_tensors


class _Counting(nn.Module):
    """A backbone of two channels that counts what it was given."""

    multiple = 8
    joint = False

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    @property
    def channels(self) -> dict[str, int]:
        return {"colour": 3}

    def forward(self, images: Tensor) -> Features:
        self.calls += 1
        pooled = nn.functional.avg_pool2d(images[:, 0], 8)
        return Features(maps={"colour": pooled[:, None]}, image_size=_size(images))


class _Corners(nn.Module):
    multiple = 8

    def forward(self, images: Tensor, features: Features | None = None) -> list[Keypoints]:
        xy = torch.tensor([[3.25, 4.0], [20.5, 9.0], [11.0, 30.125]])
        return [Keypoints(xy=xy, score=torch.tensor([3.0, 2.0, 1.0])) for _ in images]


class _InOrder(nn.Module):
    def forward(
        self, keypoints0: Keypoints, keypoints1: Keypoints, features0: Features, features1: Features
    ) -> Matches:
        assert keypoints0.descriptor is not None
        return Matches(xy0=keypoints0.xy, xy1=keypoints1.xy, score=keypoints0.descriptor.float().mean(dim=1))


def _size(images: Tensor) -> tuple[int, int]:
    return int(images.shape[-2]), int(images.shape[-1])


def _matcher(cache: FeatureCache | None, recipe: str = "recipe") -> tuple[SparseMatcher, _Counting]:
    backbone = _Counting()
    matcher = SparseMatcher(detector=_Corners(), head=_InOrder(), backbone=backbone, descriptor_map="colour")
    if cache is not None:
        matcher.use_cache(cache, recipe)
    return matcher, backbone


def _photos(count: int) -> list[Image]:
    generator = torch.Generator().manual_seed(0)
    return [Image(pixels=torch.rand(3, 40, 48, generator=generator), name=f"photo {i}") for i in range(count)]


def test_all_pairs_of_n_images_cost_n_extractions_in_one_run_and_none_in_the_next(tmp_path: Path) -> None:
    photos = _photos(5)
    pairs = [(a, b) for i, a in enumerate(photos) for b in photos[i + 1 :]]
    first, counted = _matcher(FeatureCache(tmp_path))
    answers = [first.match(a, b).matches() for a, b in pairs]
    assert counted.calls == 5

    second, counted = _matcher(FeatureCache(tmp_path))
    again = [second.match(a, b).matches() for a, b in pairs]
    assert counted.calls == 0
    for left, right in zip(answers, again, strict=True):
        assert torch.equal(left.score, right.score)
        assert torch.equal(left.xy1, right.xy1)


def test_even_with_no_memory_at_all_no_image_is_extracted_twice(tmp_path: Path) -> None:
    backbone = _Counting()
    matcher = SparseMatcher(
        detector=_Corners(), head=_InOrder(), backbone=backbone, descriptor_map="colour", memory=0
    )
    matcher.use_cache(FeatureCache(tmp_path), "recipe")
    photos = _photos(4)
    for a in photos:
        for b in photos:
            matcher.match(a, b)
    assert backbone.calls == 4


def test_another_recipe_or_another_precision_shares_nothing(tmp_path: Path) -> None:
    photo0, photo1 = _photos(2)
    for cache, recipe in (
        (FeatureCache(tmp_path), "one"),
        (FeatureCache(tmp_path), "two"),
        (FeatureCache(tmp_path, dtype=torch.bfloat16), "one"),
    ):
        matcher, counted = _matcher(cache, recipe)
        matcher.match(photo0, photo1)
        assert counted.calls == 2


def test_the_cache_changes_no_answer(tmp_path: Path) -> None:
    photo0, photo1 = _photos(2)
    plain = _matcher(None)[0].match(photo0, photo1).matches()
    cached = _matcher(FeatureCache(tmp_path))[0].match(photo0, photo1).matches()
    assert torch.equal(plain.score, cached.score)
    assert torch.equal(plain.xy0, cached.xy0)


def test_bfloat16_halves_the_maps_and_leaves_coordinates_exact() -> None:
    keypoints = Keypoints(
        xy=torch.rand(9, 2) * 640,
        score=torch.rand(9),
        descriptor=torch.randn(9, 6),
        scale=torch.rand(9),
        angle=torch.rand(9),
    )
    features = Features(maps={"colour": torch.randn(1, 1, 3, 5, 6)}, image_size=(40, 48))
    from homolog.matchers.extraction import Extraction

    kept = to_tensors([Extraction(features=features, keypoints=keypoints)], dtype=torch.bfloat16)
    assert kept["0.map.colour"].dtype == torch.bfloat16
    (back,) = from_tensors(kept, device=torch.device("cpu"))
    assert torch.equal(back.keypoints.xy, keypoints.xy)
    assert torch.equal(back.keypoints.score, keypoints.score)
    assert torch.equal(cast(Tensor, back.keypoints.scale), cast(Tensor, keypoints.scale))
    assert torch.equal(cast(Tensor, back.keypoints.angle), cast(Tensor, keypoints.angle))
    assert back.features.image_size == (40, 48)
    torch.testing.assert_close(back.features["colour"], features["colour"], rtol=2**-8, atol=0)
    assert back.keypoints.descriptor is not None
    assert back.keypoints.descriptor.dtype == torch.float32


def test_a_damaged_entry_is_extracted_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photo0, photo1 = _photos(2)
    _matcher(FeatureCache(tmp_path))[0].match(photo0, photo1)
    next(tmp_path.glob("??/*.safetensors")).write_bytes(b"damaged")
    matcher, counted = _matcher(FeatureCache(tmp_path))
    matcher.match(photo0, photo1)
    assert counted.calls == 1
    assert "damaged" in caplog.text
