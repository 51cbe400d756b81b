"""The matcher base: sizes, extraction of one image and of many, and the caches in memory and on disk."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file

from homolog.core.cache import FeatureCache
from homolog.core.errors import CapabilityError, ConfigError, DataError
from homolog.core.image import Image, crop
from homolog.core.keypoints import Keypoints
from homolog.matchers.base import ImageFeatures
from homolog.matchers.sparse import SparseMatcher

XY = [(2.0, 3.0), (30.0, 20.0), (14.5, 9.25)]


@pytest.fixture
def make(tiny):
    """Make a matcher of tiny parts that describes keypoints by their colours."""

    def matcher(*, joint: bool = False, **settings: Any) -> SparseMatcher:
        settings.setdefault("descriptor_map", "colour")
        return tiny.matcher(XY, backbone=tiny.Colours(joint=joint), **settings)

    return matcher


def same(one: ImageFeatures, other: ImageFeatures) -> bool:
    """Compare all tensors bit by bit."""
    assert isinstance(one.keypoints, Keypoints)
    assert isinstance(other.keypoints, Keypoints)
    pairs = [*zip(one.keypoints.parts().items(), other.keypoints.parts().items(), strict=True)]
    pairs += zip(one.features.maps.items(), other.features.maps.items(), strict=True)
    return all(name == twin and torch.equal(part, other_part) for (name, part), (twin, other_part) in pairs)


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "settings", "size"),
    [
        ((33, 47), {"multiple": 1}, (33, 47)),
        ((50, 128), {"resize": 64}, (24, 64)),
        ((20, 40), {"resize": 64}, (24, 40)),
        ((20, 40), {"resize": 64, "enlarge": True}, (32, 64)),
    ],
)
def test_a_single_image_keeps_its_aspect_up_to_the_multiple(tiny, scene, given, settings, size):
    backbone = tiny.Colours(multiple=settings.pop("multiple", 8))
    matcher = tiny.matcher([], backbone=backbone, **settings)
    features = matcher.extract(scene(given))
    assert features.geometry.network_size == features.features.image_size == size
    assert backbone.seen == [(1, 1, 3, *size)]


@pytest.mark.parametrize("swap", [False, True])
def test_a_joint_pair_is_resized_to_one_size_halfway_in_either_order(make, scene, swap):
    images = [scene((50, 128)), scene((128, 50))]  # 24 x 64 and 64 x 24 alone; 44 is rounded to fours
    matcher = make(joint=True, resize=64)
    matcher.match(*(reversed(images) if swap else images))
    assert matcher.backbone.seen == [(1, 2, 3, 44, 44)]


@pytest.mark.parametrize("setting", [{"resize": 0}, {"batch_size": 0}])
def test_settings_out_of_range_are_errors(make, setting):
    with pytest.raises(ConfigError, match="of at least 1"):
        make(**setting)


# --- extract --------------------------------------------------------------------------------------


def test_the_keypoints_of_an_image_are_given_in_pixels_of_the_original(make, scene):
    features = make(resize=40).extract(crop(scene((100, 100)), x=10, y=20, size=(80, 80)))
    # Half the size: (x + 0.5) * 2 - 0.5, and the corner of the crop.
    expected = torch.tensor([[14.5, 26.5], [70.5, 60.5], [39.5, 39.0]])
    torch.testing.assert_close(features.original_xy, expected)
    torch.testing.assert_close(features.keypoints.xy, torch.tensor(XY))
    assert list(features.features.maps) == ["colour"]


@pytest.mark.parametrize("settings", [{}, {"descriptor_map": None}, {"resize": 37}, {"memory": 0}])
def test_match_equals_matching_extracted_features_bit_for_bit(make, scene, settings):
    image0, image1 = scene((64, 96)), scene((40, 48), shade=0.1)
    matcher = make(**settings)
    expected = matcher.match(image0, image1).matches()
    matcher.forget()
    found = matcher.match_features(matcher.extract(image0), matcher.extract(image1)).matches()
    for name in ("xy0", "xy1", "score", "index0", "index1"):
        assert torch.equal(getattr(found, name), getattr(expected, name))


def test_extracted_features_move_between_devices(make, scene):
    matcher = make()
    features = matcher.extract(scene((40, 48)))
    away = features.to("meta")
    assert away.features["colour"].device.type == away.keypoints.xy.device.type == "meta"
    assert same(features.to("cpu"), features)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_a_list_gives_the_features_of_each_image_in_order(make, scene, batch_size):
    sizes = [(40, 48), (64, 32), (40, 48), (41, 47), (40, 48), (64, 32)]
    images = [scene(size, shade=index / 10) for index, size in enumerate(sizes)]
    one_by_one = make()
    expected = [one_by_one.extract(image) for image in images]
    matcher = make(batch_size=batch_size)
    found = matcher.extract(images)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.keypoints.xy, other.keypoints.xy)
        torch.testing.assert_close(one.keypoints.descriptor, other.keypoints.descriptor)
        torch.testing.assert_close(one.features["colour"], other.features["colour"])
        assert one.geometry.size == other.geometry.size
    batches = [shape[0] for shape in matcher.backbone.seen]
    assert max(batches) == min(batch_size, 4)  # four of them have one size when resized
    assert sum(batches) == 6


def test_an_iterator_is_read_image_by_image(make, scene):
    matcher = make(batch_size=2)
    extracted_before = []

    def photos():
        for index in range(5):
            extracted_before.append(len(matcher.backbone.seen))
            yield scene((40, 48), shade=index / 10)

    assert len(matcher.extract(photos())) == 5
    assert extracted_before == [0, 0, 1, 1, 2]
    assert matcher.extract([]) == []


def test_a_list_uses_the_caches_and_extracts_equal_images_once(make, scene, tmp_path):
    images = [scene((40, 48), shade=shade) for shade in (0.1, 0.2, 0.1, 0.3, 0.2)]
    matcher = make()
    matcher.use_cache(FeatureCache(tmp_path), "recipe")
    matcher.extract(images[1])
    first = matcher.extract(images)
    assert [shape[0] for shape in matcher.backbone.seen] == [1, 2]
    matcher.match(images[0], images[3])
    again = make()
    again.use_cache(FeatureCache(tmp_path), "recipe")
    for one, other in zip(first, again.extract(images), strict=True):
        assert same(one, other)
    assert len(matcher.backbone.seen) == 2
    assert again.backbone.seen == []


def test_a_batch_can_be_dropped_image_by_image(make, scene):
    found = make().extract([scene((40, 48), shade=shade) for shade in (0.1, 0.2, 0.3)])
    for each in found:
        map_ = each.features["colour"]
        assert map_.untyped_storage().nbytes() == map_.nbytes


def test_a_joint_backbone_extracts_only_pairs(make, scene):
    matcher = make(joint=True)
    for images in (scene((40, 48)), [scene((40, 48))]):
        with pytest.raises(CapabilityError, match=r"call match\(image0, image1\) instead of extract"):
            matcher.extract(images)


def test_the_views_of_a_pair_pass_through_a_joint_backbone_together(make, scene, tiny):
    matcher = make(joint=True, descriptor_map=None)
    pair = scene((40, 48)), scene((40, 48), shade=0.1)
    matcher.match(*pair).matches()
    assert matcher.backbone.seen == [(1, 2, 3, 40, 48)]
    whole = tiny.Colours(joint=True)(torch.stack([image.pixels for image in pair])[None])
    for index, features in enumerate(matcher.head.given[0][2:]):
        assert torch.equal(features["gray"], whole.view(index)["gray"])


def test_features_without_keypoints_are_an_error_for_a_sparse_matcher(make, scene):
    matcher = make()
    features = matcher.extract(scene((40, 48)))
    bare = ImageFeatures(features=features.features, keypoints=None, geometry=features.geometry)
    assert bare.original_xy is None
    with pytest.raises(CapabilityError, match="features that this matcher extracted"):
        matcher.match_features(bare, features).matches()


# --- the memory -----------------------------------------------------------------------------------


def test_content_decides_what_is_the_same_image_and_each_keeps_its_own_frame(tiny, scene):
    backbone = tiny.Colours()
    matcher = tiny.matcher([(5.0, 6.0)], backbone=backbone)
    whole = scene((40, 40), name="one")
    moved = crop(scene((40, 40), name="two"), x=0, y=0, size=(40, 40))
    moved = type(moved)(
        pixels=moved.pixels, to_original=moved.to_original + torch.tensor([[0, 0, 7.0], [0, 0, 9.0]])
    )
    matches = matcher.match(whole, moved).matches()
    assert len(backbone.seen) == 1
    assert (matches.xy0.tolist(), matches.xy1.tolist()) == ([[5.0, 6.0]], [[12.0, 15.0]])


# One image of 40 x 48 in cells of 4 has 120 cells of 3 + 1 numbers, and one keypoint has 6.
KEPT = (120 * 4 + 6) * 4


@pytest.mark.parametrize(
    ("memory", "extracted"), [(3 * KEPT, 3), (3 * KEPT - 1, 4), (KEPT, 5), (KEPT - 1, 6)]
)
def test_memory_is_bounded_in_bytes(tiny, scene, memory, extracted):
    backbone = tiny.Colours()
    matcher = tiny.matcher(XY[:1], backbone=backbone, memory=memory)
    first, second, third = (scene((40, 48), shade=shade) for shade in (0.1, 0.2, 0.3))
    matcher.match(first, second)
    matcher.match(third, second)
    matcher.match(first, first)
    assert len(backbone.seen) == extracted


def test_after_forget_everything_is_extracted_again(tiny, scene):
    backbone = tiny.Colours()
    matcher = tiny.matcher(XY, backbone=backbone)
    matcher.match(scene((40, 48)), scene((40, 48)))
    matcher.forget()
    matcher.match(scene((40, 48)), scene((40, 48)))
    assert len(backbone.seen) == 2


def test_paths_pil_images_and_arrays_are_the_same_image(tiny, tmp_path: Path):
    array = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    picture = PIL.Image.fromarray(array)
    picture.save(tmp_path / "a.png")
    backbone = tiny.Colours()
    matcher = tiny.matcher(XY, backbone=backbone)
    matcher.match(tmp_path / "a.png", str(tmp_path / "a.png"))
    matcher.match(picture, array)
    assert len(backbone.seen) == 1


def test_a_file_that_cannot_be_read_is_named(tiny, scene, tmp_path: Path):
    with pytest.raises(DataError, match=r"gone\.jpg"):
        tiny.matcher(XY).match(scene((40, 48)), tmp_path / "gone.jpg")


# --- the disk -------------------------------------------------------------------------------------


def photos(count: int) -> list[Image]:
    generator = torch.Generator().manual_seed(0)
    return [Image(pixels=torch.rand(3, 40, 48, generator=generator), name=f"photo {i}") for i in range(count)]


def cached(make, folder: Path, recipe: str = "recipe", dtype: torch.dtype | None = None, **settings):
    matcher = make(**settings)
    matcher.use_cache(FeatureCache(folder, dtype=dtype), recipe)
    return matcher


def test_all_pairs_of_n_images_cost_n_extractions_in_one_run_and_none_in_the_next(make, tmp_path):
    images = photos(5)
    pairs = [(a, b) for i, a in enumerate(images) for b in images[i + 1 :]]
    first, second = cached(make, tmp_path), cached(make, tmp_path)
    answers = [first.match(a, b).matches() for a, b in pairs]
    again = [second.match(a, b).matches() for a, b in pairs]
    assert len(first.backbone.seen) == 5
    assert len(second.backbone.seen) == 0
    for left, right in zip(answers, again, strict=True):
        assert torch.equal(left.score, right.score)
        assert torch.equal(left.xy1, right.xy1)
    assert all(same(first.extract(image), second.extract(image)) for image in images)


def test_without_memory_no_image_is_extracted_twice(make, tmp_path):
    matcher = cached(make, tmp_path, memory=0)
    for a in photos(4):
        for b in photos(4):
            matcher.match(a, b)
    assert len(matcher.backbone.seen) == 4


def test_another_recipe_or_another_precision_shares_nothing(make, tmp_path):
    for recipe, dtype in (("one", None), ("two", None), ("one", torch.bfloat16)):
        matcher = cached(make, tmp_path, recipe, dtype)
        matcher.match(*photos(2))
        assert len(matcher.backbone.seen) == 2


def test_the_cache_changes_no_features(make, tmp_path):
    (image,) = photos(1)
    plain = make().extract(image)
    for _ in range(2):
        assert same(cached(make, tmp_path).extract(image), plain)


def test_bfloat16_halves_the_maps_and_leaves_coordinates_exact(make, tiny, tmp_path):
    class Described(torch.nn.Module):
        multiple = 1
        points = tiny.Points(XY)

        def forward(self, images, features=None) -> list[Keypoints]:
            angle, scale = torch.linspace(0, 1, 3) / 3, torch.linspace(1, 9, 3) / 7
            return [Keypoints(**each.parts(), scale=scale, angle=angle) for each in self.points(images)]

    (image,) = photos(1)
    found: list[Any] = []
    for dtype in (None, torch.bfloat16, torch.bfloat16):
        matcher = cached(make, tmp_path, dtype=dtype)
        matcher.detector = Described()
        found.append(matcher.extract(image))
    exact, half, again = found
    assert same(half, again)
    for name in ("xy", "score", "scale", "angle"):
        assert torch.equal(getattr(half.keypoints, name), getattr(exact.keypoints, name))
    torch.testing.assert_close(half.features["colour"], exact.features["colour"], rtol=2**-8, atol=0)
    assert half.keypoints.descriptor.dtype == half.features["colour"].dtype == torch.float32
    stored = [load_file(path)["0.map.colour"].dtype for path in tmp_path.glob("??/*.safetensors")]
    assert sorted(stored, key=str) == [torch.bfloat16, torch.float32]


def test_a_damaged_entry_is_extracted_again(make, tmp_path, caplog: pytest.LogCaptureFixture):
    cached(make, tmp_path).match(*photos(2))
    next(tmp_path.glob("??/*.safetensors")).write_bytes(b"damaged")
    matcher = cached(make, tmp_path)
    matcher.match(*photos(2))
    assert len(matcher.backbone.seen) == 1
    assert "damaged" in caplog.text
