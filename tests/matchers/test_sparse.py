"""The sparse matcher: what the parts see, matches, keypoints and transferred points in original pixels."""

from typing import Any

import numpy as np
import pytest
import torch

from homolog.core.cache import FeatureCache
from homolog.core.errors import CapabilityError, ConfigError, DataError, ShapeError
from homolog.core.features import PIXELS
from homolog.core.image import crop
from homolog.core.keypoints import Matches
from homolog.core.protocols import Correspondence, Matcher, ReadsPoints
from homolog.matchers.sparse import SparseMatcher

XY = [(2.0, 3.0), (30.0, 20.0), (14.5, 9.25)]


def test_it_satisfies_the_protocols(tiny, scene):
    matcher = tiny.matcher(XY)
    assert isinstance(matcher, Matcher)
    assert isinstance(matcher, ReadsPoints)
    assert isinstance(matcher.match(scene((40, 48)), scene((40, 48))), Correspondence)


def test_matches_come_best_first_in_pixels_of_the_original_files(tiny, scene):
    detector = tiny.Points([(2.0, 3.0), (12.0, 10.0), (7.5, 9.25)], multiple=16)
    matcher = SparseMatcher(detector=detector, head=tiny.InOrder(), resize=32)
    matches = matcher.match(scene((96, 64)), scene((48, 128))).matches()
    # The parts see 32 x 16 and 16 x 32, hence (x + 0.5) * 4 - 0.5 and (y + 0.5) * 3 - 0.5 in both.
    assert matches.score.tolist() == [2.0, 1.0, 0.0]
    torch.testing.assert_close(matches.xy0, torch.tensor([[31.5, 28.75], [49.5, 31.0], [9.5, 10.0]]))
    torch.testing.assert_close(matches.xy1, matches.xy0)


def test_the_colour_under_a_match_is_the_colour_that_the_detector_saw(tiny, scene):
    head = tiny.InOrder()
    image = scene((200, 300))
    matches = (
        SparseMatcher(detector=tiny.Points(XY, multiple=8), head=head, resize=64)
        .match(image, image)
        .matches()
    )
    described = head.given[0][0].descriptor.flip(0)[:, :2]  # red and green say where in the scene
    where = (matches.xy0 + 0.5) / torch.tensor([300.0, 200.0])
    # The detector reads the nearest of 64 x 40 pixels: half a pixel of tolerance.
    assert ((where - described).abs() <= torch.tensor([0.5 / 64, 0.5 / 40]) + 1e-3).all()


def test_results_are_clamped_to_the_outermost_pixel_centres(tiny, scene):
    matcher = SparseMatcher(
        detector=tiny.Points([(0.0, 0.0), (63.0, 63.0)], multiple=64), head=tiny.InOrder()
    )
    found = matcher.match(scene((40, 50)), scene((40, 50))).matches()
    # 40 x 50 is enlarged to 64 x 64, whose corner centre would be (-0.11, -0.19) of the original.
    assert found.xy0.tolist() == [[49.0, 39.0], [0.0, 0.0]]


def test_matches_of_a_crop_are_in_pixels_of_the_original(tiny, scene):
    whole = scene((100, 100))
    part = crop(whole, x=30, y=20, size=(40, 40))
    matcher = tiny.matcher([(5.0, 6.0)])
    matches = matcher.match(part, whole).matches()
    assert matches.xy0.tolist() == [[35.0, 26.0]]
    assert matches.xy1.tolist() == [[5.0, 6.0]]


def test_images_are_resized_to_multiples_of_both_parts(tiny, scene):
    backbone = tiny.Colours(multiple=4)
    detector = tiny.Points(XY, multiple=6)
    matcher = SparseMatcher(
        detector=detector, head=tiny.InOrder(), backbone=backbone, descriptor_map="colour", resize=50
    )
    assert matcher.multiple == 12
    matcher.match(scene((100, 60)), scene((20, 33)))
    assert backbone.seen == [(1, 1, 3, 48, 36), (1, 1, 3, 24, 36)]


def test_a_descriptor_map_is_read_at_the_keypoints_and_is_the_only_map_kept(tiny, scene):
    head = tiny.InOrder()
    matcher = tiny.matcher(XY, head=head, backbone=tiny.Colours(multiple=4), descriptor_map="colour")
    matcher.match(scene((40, 48)), scene((40, 48))).matches()
    keypoints, _, features, _ = head.given[0]
    assert list(features.maps) == ["colour"]
    # Mean colours of cells are linear in the place, and so is bilinear reading between their centres.
    expected = (torch.tensor(XY) + 0.5) / torch.tensor([48.0, 40.0])
    torch.testing.assert_close(keypoints.descriptor[:, :2], expected)


def test_without_a_backbone_the_detectors_descriptors_and_the_image_size_reach_the_head(tiny, scene):
    head = tiny.InOrder()
    tiny.matcher(XY, head=head).match(scene((40, 48)), scene((32, 36))).matches()
    keypoints, _, features0, features1 = head.given[0]
    assert keypoints.descriptor.shape == (3, 3)
    assert list(features0.maps) == [PIXELS]
    assert (features0.image_size, features1.image_size) == ((40, 48), (32, 36))


def test_a_joint_backbone_gets_both_images_at_one_size_and_pairs_are_cached(tiny, scene):
    backbone, head = tiny.Colours(multiple=4, joint=True), tiny.InOrder()
    matcher = tiny.matcher([(5.0, 6.0)], head=head, backbone=backbone, descriptor_map="colour", resize=48)
    tall, wide = scene((96, 48), shade=0.1), scene((48, 96), shade=0.9)
    matches = matcher.match(tall, wide).matches()
    assert backbone.seen == [(1, 2, 3, 36, 36)]
    assert head.given[0][2].maps["colour"].shape == (1, 1, 3, 9, 9)
    wanted = (torch.tensor([[5.5, 6.5]]) * torch.tensor([48 / 36, 96 / 36])) - 0.5
    torch.testing.assert_close(matches.xy0, wanted)
    matcher.match(tall, wide)
    assert len(backbone.seen) == 1
    matcher.match(wide, tall)  # another pair: a joint backbone may answer otherwise
    assert len(backbone.seen) == 2


def test_nothing_found_in_an_image_gives_no_matches(tiny, scene):
    found = tiny.matcher([]).match(scene((40, 48)), scene((40, 48)))
    assert found.matches().xy0.shape == (0, 2)


def test_networks_run_in_inference_mode_and_results_can_be_used_in_autograd(tiny, scene):
    backbone, modes = tiny.Colours(), []
    backbone.register_forward_pre_hook(lambda *_: modes.append(torch.is_inference_mode_enabled()))
    matcher = tiny.matcher(XY, head=tiny.SamePlace(), backbone=backbone, descriptor_map="colour")
    found = matcher.match(scene((40, 48)), scene((40, 48)))
    matches, (xy1, confidence) = found.matches(), found.transfer([[3.0, 4.0]])
    assert modes == [True]
    for tensor in (matches.xy0, matches.xy1, matches.score, xy1, confidence):
        assert not tensor.is_inference()
        assert (tensor.device.type, tensor.dtype) == ("cpu", torch.float32)
        tensor.requires_grad_().sum().backward()


def test_it_starts_in_evaluation_mode(tiny):
    parts = {"detector": tiny.Points(XY), "head": tiny.InOrder(), "backbone": tiny.Colours()}
    matcher = SparseMatcher(**parts)
    assert not any(module.training for module in matcher.modules())
    assert len(list(matcher.modules())) == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"descriptor_map": "colour"}, "expected a backbone that has the map colour"),
        ({"descriptor_map": "color", "backbone": "tiny"}, "no map color; did you mean colour"),
        ({"resize": 0}, "resize of at least 1"),
        ({"memory": -1}, "0 bytes or more"),
    ],
)
def test_settings_that_do_not_fit_together_are_errors(tiny, settings, message):
    if "backbone" in settings:
        settings = settings | {"backbone": tiny.Colours()}
    with pytest.raises(ConfigError, match=message):
        tiny.matcher(XY, **settings)


# --- the correspondence ---------------------------------------------------------------------------


@pytest.fixture
def found(tiny, scene):
    """Image 0 is 96 wide and 64 high, image 1 half as large; networks see both at 48 x 32."""
    matcher = tiny.matcher(
        [(1.0, 2.0), (3.0, 4.0)],
        head=tiny.SamePlace(),
        backbone=tiny.Colours(),
        descriptor_map="colour",
        resize=48,
    )
    return matcher.match(scene((64, 96)), scene((32, 48)))


@pytest.mark.parametrize(
    "points",
    [
        [[10.5, 20.5], [94.5, 60.5]],
        [(10.5, 20.5), (94.5, 60.5)],
        np.array([[10.5, 20.5], [94.5, 60.5]]),
        np.array([[10.5, 20.5], [94.5, 60.5]], dtype=np.float32),
        torch.tensor([[10.5, 20.5], [94.5, 60.5]]),
        torch.tensor([[10.5, 20.5], [94.5, 60.5]], dtype=torch.float64),
    ],
)
def test_points_of_every_type_are_transferred_in_original_pixels(found, points):
    xy1, confidence = found.transfer(points)
    # Half as large: (x + 0.5) / 2 - 0.5.
    torch.testing.assert_close(xy1, torch.tensor([[5.0, 10.0], [47.0, 30.0]]))
    assert confidence.tolist() == [0.75, 0.75]


@pytest.mark.parametrize("points", [[], np.zeros((0, 2)), torch.zeros(0, 2)])
def test_no_points_give_no_positions(found, points):
    xy1, confidence = found.transfer(points)
    assert (xy1.shape, confidence.shape) == ((0, 2), (0,))


def test_points_outside_the_image_are_moved_to_its_border_with_confidence_zero(found):
    xy1, confidence = found.transfer([[-0.5, 63.5], [-9.0, 70.0], [95.6, 0.0]])
    assert confidence.tolist() == [0.75, 0.0, 0.0]
    # The border of image 0 is that of image 1, brought to the outermost pixel centres.
    torch.testing.assert_close(xy1, torch.tensor([[0.0, 31.0], [0.0, 31.0], [47.0, 0.0]]), atol=0.26, rtol=0)


def test_points_of_a_crop_are_in_pixels_of_the_original(tiny, scene):
    matcher = tiny.matcher([], head=tiny.SamePlace(), backbone=tiny.Colours(), descriptor_map="colour")
    whole = scene((100, 100))
    part0, part1 = crop(whole, x=10, y=20, size=(40, 40)), crop(whole, x=50, y=60, size=(40, 40))
    xy1, confidence = matcher.match(part0, part1).transfer([[15.0, 26.0], [5.0, 26.0]])
    assert xy1[0].tolist() == [55.0, 66.0]
    assert confidence.tolist() == [0.75, 0.0]  # x = 5 is on the whole, but beside the crop


@pytest.mark.parametrize(
    "points", [np.array([1.0, 2.0]), np.zeros((2, 3)), [[1.0, 2.0], [3.0]], np.zeros((1, 2, 2))]
)
def test_anything_but_a_list_of_points_is_an_error(found, points):
    with pytest.raises(ShapeError, match="expected points"):
        found.transfer(points)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_coordinates_that_are_not_finite_are_errors(found, value):
    with pytest.raises(DataError, match="finite"):
        found.transfer([[value, 1.0]])


def test_the_error_for_a_head_that_cannot_transfer_names_one_that_can(tiny, scene):
    matcher = tiny.matcher([], backbone=tiny.Colours())
    found = matcher.match(scene((40, 48)), scene((40, 48)))
    assert not found.can_transfer
    with pytest.raises(CapabilityError, match="matcher=mini"):
        found.transfer([[1.0, 1.0]])


def test_without_a_map_there_is_no_transfer_even_if_the_head_could(tiny, scene):
    found = tiny.matcher([], head=tiny.SamePlace()).match(scene((40, 48)), scene((40, 48)))
    assert not found.can_transfer


def test_described_points_are_found_where_transfer_finds_them(tiny, scene):
    matcher = tiny.matcher(
        [(2.0, 3.0)], head=tiny.SamePlace(), backbone=tiny.Colours(), descriptor_map="colour"
    )
    image0, image1 = scene((64, 96)), scene((32, 80))
    features0, features1 = matcher.extract([image0, image1])
    points = [[3.0, 4.0], [-0.5, 63.5], [-9.0, 70.0]]
    found = matcher.find(matcher.describe(features0, points), features1)
    expected = matcher.match(image0, image1).transfer(points)
    assert torch.equal(found.xy, expected.xy)
    assert found.confidence.tolist() == expected.confidence.tolist() == [0.75, 0.75, 0]
    assert found.xy.dtype == found.confidence.dtype == torch.float32


def test_points_cannot_be_described_without_a_map_or_a_head_that_finds_them(tiny, scene):
    for settings in ({"head": tiny.SamePlace()}, {"backbone": tiny.Colours(), "descriptor_map": "colour"}):
        matcher = tiny.matcher([(2.0, 3.0)], **settings)
        with pytest.raises(CapabilityError, match="finds sparse matches only"):
            matcher.describe(matcher.extract(scene((64, 96))), [[1.0, 1.0]])


def test_matches_are_computed_once_and_transfer_does_not_need_them(tiny, scene):
    head = tiny.SamePlace()
    matcher = tiny.matcher([(1.0, 1.0)] * 3, head=head, backbone=tiny.Colours())
    found = matcher.match(scene((40, 48)), scene((40, 48)))
    found.transfer([[1.0, 1.0]])
    assert (len(head.given), len(head.asked)) == (0, 1)
    assert [len(found.matches(limit)) for limit in (None, 2, 0, 9)] == [3, 2, 0, 3]
    assert (len(head.given), len(head.asked)) == (1, 1)


def test_a_negative_limit_is_an_error(found):
    with pytest.raises(ShapeError, match="limit of 0 or more"):
        found.matches(-1)


def test_keypoints_are_in_original_pixels(found):
    # Processed at half size: (x + 0.5) * 2 - 0.5 in image 0; image 1 is not resized.
    torch.testing.assert_close(found.keypoints0, torch.tensor([[2.5, 4.5], [6.5, 8.5]]))
    torch.testing.assert_close(found.keypoints1, torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert found.keypoints1.dtype == torch.float32
    assert not found.keypoints1.requires_grad
    assert not found.keypoints1.is_inference()


@pytest.mark.parametrize("limit", [None, 2, 0])
def test_indices_lead_from_matches_to_keypoints_exactly(tiny, scene, tmp_path, limit):
    matcher = tiny.matcher(XY, resize=45)
    for cache in (None, FeatureCache(tmp_path), FeatureCache(tmp_path)):
        if cache is not None:
            matcher.use_cache(cache, "recipe")
        found: Any = matcher.match(crop(scene((90, 99)), x=5, y=7, size=(80, 90)), scene((70, 51)))
        matches = found.matches(limit)
        assert matches.index0.tolist() == [2, 1, 0][:limit]
        assert torch.equal(found.keypoints0[matches.index0], matches.xy0)
        assert torch.equal(found.keypoints1[matches.index1], matches.xy1)


def test_a_head_that_does_not_match_keypoints_leaves_the_indices_empty(tiny, scene):
    class Middle(torch.nn.Module):
        def forward(self, keypoints0, keypoints1, features0, features1) -> Matches:
            return Matches(xy0=torch.ones(1, 2), xy1=torch.ones(1, 2), score=torch.ones(1))

    found = tiny.matcher(XY, head=Middle()).match(scene((40, 48)), scene((40, 48)))
    assert found.matches().index0 is None
    assert found.matches().index1 is None
    assert found.keypoints0 is not None
    assert len(found.keypoints0) == 3


# --- many pairs -------------------------------------------------------------------------------------


class _Batched:
    """What makes a head of `tiny` one that compares batches; it records how many pairs it got."""

    forward: Any

    def match_pairs(self, pairs: Any, *, batch_size: int) -> list[Matches]:
        self.calls = [*getattr(self, "calls", []), (len(pairs), batch_size)]
        self.first = [pair[0] for pair in pairs]
        return [self.forward(*pair) for pair in pairs]


@pytest.fixture(params=["one by one", "in batches"])
def head(request: pytest.FixtureRequest, tiny) -> Any:
    kind = tiny.SamePlace if request.param == "one by one" else type("Both", (_Batched, tiny.SamePlace), {})
    return kind()


def test_many_pairs_give_what_single_pairs_give_in_their_order(tiny, scene, head):
    matcher = tiny.matcher(XY, head=head, backbone=tiny.Colours(), descriptor_map="colour")
    features = matcher.extract([scene((40 + 8 * n, 48), shade=n / 4) for n in range(4)])
    pairs = [(features[i], features[j]) for i, j in ((2, 0), (0, 1), (1, 0), (3, 3), (0, 3))]
    found = list(matcher.match_pairs(iter(pairs), batch_size=2))
    assert len(found) == len(pairs)
    for ours, pair in zip(found, pairs, strict=True):
        expected = matcher.match_features(*pair)
        for part in ("xy0", "xy1", "score", "index0", "index1"):
            assert torch.equal(getattr(ours.matches(), part), getattr(expected.matches(), part))
        assert torch.equal(ours.transfer([[3.0, 4.0]]).xy, expected.transfer([[3.0, 4.0]]).xy)
        ours.matches().score.requires_grad_().sum().backward()


def test_a_batched_head_gets_windows_of_pairs_and_images_as_the_same_tensors(tiny, scene):
    head = type("Both", (_Batched, tiny.InOrder), {})()
    matcher = tiny.matcher(XY, head=head, batch_size=3)
    one, other = matcher.extract([scene((40, 48)), scene((40, 48), shade=0.1)])
    assert len(list(matcher.match_pairs([(one, other)] * 30))) == 30
    assert head.calls == [(24, 3), (6, 3)]
    assert len({id(keypoints.xy) for keypoints in head.first}) == 1


def test_pairs_are_only_compared_when_they_are_asked_for(tiny, scene, head):
    matcher = tiny.matcher(XY, head=head)
    features = matcher.extract(scene((40, 48)))
    found = matcher.match_pairs((features, features) for _ in range(1_000_000))
    assert len(next(found).matches()) == len(XY)
    assert len(head.given) <= 8 * matcher.batch_size


def test_no_pairs_and_batches_of_nothing(tiny, head):
    matcher = tiny.matcher(XY, head=head)
    assert list(matcher.match_pairs([])) == []
    with pytest.raises(ConfigError, match="batch_size of at least 1 pair"):
        next(matcher.match_pairs([], batch_size=0))
