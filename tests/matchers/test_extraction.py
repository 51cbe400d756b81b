"""What is extracted and kept of one image or one pair."""

import torch

from homolog.matchers.extraction import extract


def test_the_views_of_a_scene_go_through_the_backbone_together_and_the_detector_sees_each(tiny):
    backbone, detector = tiny.Colours(joint=True), tiny.Points([(1.0, 1.0)])
    views = torch.rand(3, 3, 8, 12)
    seen = extract(views, backbone=backbone, detector=detector, descriptor_map=None)
    assert backbone.seen == [(1, 3, 3, 8, 12)]
    assert detector.calls == len(seen) == 3
    whole = tiny.Colours(joint=True)(views[None])
    for index, each in enumerate(seen):
        assert torch.equal(each.features["gray"], whole.view(index)["gray"])


def test_the_weight_is_what_the_tensors_take_in_memory(tiny):
    seen = extract(
        torch.rand(1, 3, 8, 12),
        backbone=tiny.Colours(),
        detector=tiny.Points([(1.0, 1.0)] * 5),
        descriptor_map=None,
    )
    cells = 2 * 3
    assert seen[0].weight() == 4 * (cells * (3 + 1) + 5 * (2 + 1 + 3))


def test_each_view_can_be_forgotten_on_its_own(tiny):
    seen = extract(
        torch.rand(4, 3, 8, 12), backbone=tiny.Colours(), detector=tiny.Points([]), descriptor_map="colour"
    )
    assert [each.features["colour"].untyped_storage().nbytes() for each in seen] == [4 * 3 * 6] * 4
