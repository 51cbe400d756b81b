"""The sparse matcher: which size the parts see, where results land, and what is extracted how often."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from homolog.core.errors import ConfigError, DataError
from homolog.core.features import PIXELS
from homolog.core.image import crop
from homolog.core.protocols import Correspondence, Matcher
from homolog.matchers.sparse import SparseMatcher

XY = [(2.0, 3.0), (30.0, 20.0), (14.5, 9.25)]


def test_it_is_a_matcher_and_its_answer_a_correspondence(tiny, scene):
    matcher = SparseMatcher(detector=tiny.Points(XY), head=tiny.InOrder())
    assert isinstance(matcher, Matcher)
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


def test_an_image_that_is_a_crop_answers_in_pixels_of_the_whole(tiny, scene):
    whole = scene((100, 100))
    part = crop(whole, x=30, y=20, size=(40, 40))
    matcher = SparseMatcher(detector=tiny.Points([(5.0, 6.0)]), head=tiny.InOrder())
    matches = matcher.match(part, whole).matches()
    assert matches.xy0.tolist() == [[35.0, 26.0]]
    assert matches.xy1.tolist() == [[5.0, 6.0]]


def test_the_parts_see_sizes_that_are_multiples_of_both(tiny, scene):
    backbone = tiny.Colours(multiple=4)
    detector = tiny.Points(XY, multiple=6)
    matcher = SparseMatcher(
        detector=detector, head=tiny.InOrder(), backbone=backbone, descriptor_map="colour", resize=50
    )
    assert matcher.multiple == 12
    matcher.match(scene((100, 60)), scene((20, 33)))
    assert backbone.seen == [(1, 1, 3, 48, 36), (1, 1, 3, 24, 36)]


@pytest.mark.parametrize(("enlarge", "seen"), [(False, (1, 1, 3, 20, 32)), (True, (1, 1, 3, 60, 96))])
def test_small_images_are_enlarged_only_when_asked(tiny, scene, enlarge, seen):
    backbone = tiny.Colours()
    matcher = SparseMatcher(
        detector=tiny.Points(XY[:1]), head=tiny.InOrder(), backbone=backbone, resize=96, enlarge=enlarge
    )
    matcher.match(scene((20, 32)), scene((20, 32)))
    assert backbone.seen == [seen]


def test_all_pairs_of_n_images_cost_n_extractions(tiny, scene):
    backbone, detector = tiny.Colours(), tiny.Points(XY)
    matcher = SparseMatcher(
        detector=detector, head=tiny.InOrder(), backbone=backbone, descriptor_map="colour"
    )
    images = [scene((40, 48), shade=shade) for shade in (0.1, 0.2, 0.3, 0.4)]
    for first in images:
        for second in images:
            matcher.match(first, second).matches()
    assert len(backbone.seen) == detector.calls == 4


def test_content_decides_what_is_the_same_image_and_each_keeps_its_own_frame(tiny, scene):
    backbone = tiny.Colours()
    matcher = SparseMatcher(detector=tiny.Points([(5.0, 6.0)]), head=tiny.InOrder(), backbone=backbone)
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
    matcher = SparseMatcher(
        detector=tiny.Points(XY[:1]), head=tiny.InOrder(), backbone=backbone, memory=memory
    )
    first, second, third = (scene((40, 48), shade=shade) for shade in (0.1, 0.2, 0.3))
    matcher.match(first, second)
    matcher.match(third, second)
    matcher.match(first, first)
    assert len(backbone.seen) == extracted


def test_after_forgetting_everything_is_extracted_anew(tiny, scene):
    backbone = tiny.Colours()
    matcher = SparseMatcher(detector=tiny.Points(XY), head=tiny.InOrder(), backbone=backbone)
    matcher.match(scene((40, 48)), scene((40, 48)))
    matcher.forget()
    matcher.match(scene((40, 48)), scene((40, 48)))
    assert len(backbone.seen) == 2


def test_describing_by_a_map_reads_it_at_the_keypoints_and_keeps_no_other_map(tiny, scene):
    head = tiny.InOrder()
    matcher = SparseMatcher(
        detector=tiny.Points(XY), head=head, backbone=tiny.Colours(multiple=4), descriptor_map="colour"
    )
    matcher.match(scene((40, 48)), scene((40, 48))).matches()
    keypoints, _, features, _ = head.given[0]
    assert list(features.maps) == ["colour"]
    # Mean colours of cells are linear in the place, and so is bilinear reading between their centres.
    expected = (torch.tensor(XY) + 0.5) / torch.tensor([48.0, 40.0])
    torch.testing.assert_close(keypoints.descriptor[:, :2], expected)


def test_without_a_backbone_the_detectors_descriptors_and_the_image_size_reach_the_head(tiny, scene):
    head = tiny.InOrder()
    SparseMatcher(detector=tiny.Points(XY), head=head).match(scene((40, 48)), scene((32, 36))).matches()
    keypoints, _, features0, features1 = head.given[0]
    assert keypoints.descriptor.shape == (3, 3)
    assert list(features0.maps) == [PIXELS]
    assert (features0.image_size, features1.image_size) == ((40, 48), (32, 36))


def test_a_joint_backbone_sees_both_images_at_once_at_one_size_and_pairs_are_remembered(tiny, scene):
    backbone, head = tiny.Colours(multiple=4, joint=True), tiny.InOrder()
    matcher = SparseMatcher(
        detector=tiny.Points([(5.0, 6.0)]), head=head, backbone=backbone, descriptor_map="colour", resize=48
    )
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


def test_the_common_size_of_a_pair_is_halfway_between_its_sizes(tiny, scene):
    backbone = tiny.Colours(multiple=4, joint=True)
    matcher = SparseMatcher(detector=tiny.Points(XY[:1]), head=tiny.InOrder(), backbone=backbone)
    matcher.match(scene((48, 96)), scene((40, 64)))
    assert backbone.seen == [(1, 2, 3, 44, 80)]


def test_nothing_found_in_an_image_gives_no_matches(tiny, scene):
    found = SparseMatcher(detector=tiny.Points([]), head=tiny.InOrder()).match(
        scene((40, 48)), scene((40, 48))
    )
    assert found.matches().xy0.shape == (0, 2)


def test_everything_runs_without_gradients_and_what_comes_out_is_free_to_use(tiny, scene):
    backbone, modes = tiny.Colours(), []
    backbone.register_forward_pre_hook(lambda *_: modes.append(torch.is_inference_mode_enabled()))
    matcher = SparseMatcher(
        detector=tiny.Points(XY), head=tiny.SamePlace(), backbone=backbone, descriptor_map="colour"
    )
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


def test_paths_pil_images_and_arrays_are_the_same_image(tiny, tmp_path: Path):
    array = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    picture = PIL.Image.fromarray(array)
    picture.save(tmp_path / "a.png")
    backbone = tiny.Colours()
    matcher = SparseMatcher(detector=tiny.Points(XY), head=tiny.InOrder(), backbone=backbone)
    matcher.match(tmp_path / "a.png", str(tmp_path / "a.png"))
    matcher.match(picture, array)
    assert len(backbone.seen) == 1


def test_a_file_that_cannot_be_read_is_named(tiny, scene, tmp_path: Path):
    with pytest.raises(DataError, match=r"gone\.jpg"):
        SparseMatcher(detector=tiny.Points(XY), head=tiny.InOrder()).match(
            scene((40, 48)), tmp_path / "gone.jpg"
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"descriptor_map": "colour"}, "expected a backbone that has the map colour"),
        ({"descriptor_map": "color", "backbone": "tiny"}, "no map color; did you mean colour"),
        ({"resize": 0}, "resize of at least 1"),
        ({"memory": -1}, "0 bytes or more"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(tiny, settings, message):
    if "backbone" in settings:
        settings = settings | {"backbone": tiny.Colours()}
    with pytest.raises(ConfigError, match=message):
        SparseMatcher(detector=tiny.Points(XY), head=tiny.InOrder(), **settings)
