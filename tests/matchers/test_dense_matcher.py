"""The dense matcher: what the parts see, both orders of a pair, and what is extracted how often."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from homolog.core.coords import identity_grid
from homolog.core.dense import DenseField
from homolog.core.errors import ConfigError
from homolog.core.feature_cache import FeatureCache
from homolog.core.features import Features
from homolog.core.image import crop
from homolog.core.protocols import Correspondence, KeepsFeatures, Matcher
from homolog.matchers.dense import DenseMatcher
from homolog.matchers.sparse import SparseMatcher


class ByColour(nn.Module):
    """A dense head that finds every cell of a view by its colour in the other view.

    Red and green of the tiny scenes say where in the scene a cell is, and do so linearly: where a
    colour is in a view follows from that view's colours by least squares. `lean` is added to the x of
    view 0's field and taken from that of view 1's, so that the first view is told apart from the second.
    """

    def __init__(self, *, lean: float = 0.0) -> None:
        super().__init__()
        self.lean = lean
        self.given: list[Features] = []

    def check(self, backbone) -> None:
        if "colour" not in backbone.channels:
            raise ConfigError("by colour: expected the map colour")

    def forward(self, features: Features) -> tuple[DenseField, DenseField]:
        self.given.append(features)
        view0, view1 = features["colour"][0, :, :2].double()
        return _found(view0, view1, self.lean, 0.25), _found(view1, view0, -self.lean, 0.75)


def _found(query: Tensor, reference: Tensor, lean: float, confidence: float) -> DenseField:
    size = (query.shape[1], query.shape[2])
    places = identity_grid(size, dtype=torch.float64).flatten(1).T
    colours = torch.cat((reference.flatten(1).T, torch.ones(len(places), 1)), dim=1)
    to_place = torch.linalg.lstsq(colours, places).solution
    asked = torch.cat((query.flatten(1).T, torch.ones(len(places), 1)), dim=1)
    grid = (asked @ to_place).T.reshape(1, 2, *size).float()
    grid[:, 0] += lean
    return DenseField(grid=grid, confidence=torch.full((1, *size), confidence))


@pytest.fixture
def matcher(tiny):
    def make(*, joint: bool = False, multiple: int = 4, lean: float = 0.0, **settings) -> DenseMatcher:
        backbone = tiny.Colours(joint=joint, multiple=multiple)
        return DenseMatcher(backbone=backbone, head=ByColour(lean=lean), **settings)

    return make


def test_it_is_a_matcher_that_keeps_features_and_its_answer_a_correspondence(matcher, scene):
    dense = matcher()
    assert isinstance(dense, Matcher)
    assert isinstance(dense, KeepsFeatures)
    assert isinstance(dense.match(scene((40, 48)), scene((40, 48))), Correspondence)


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("joint", [False, True])
def test_both_images_are_seen_at_one_size_halfway_between_theirs(matcher, scene, joint):
    dense = matcher(joint=joint, resize=64)
    dense.match(scene((100, 200)), scene((160, 128), shade=0.2))
    # 32 x 64 and 64 x 52 (51.2 rounded to fours); halfway between is 48 x 58, and 58 rounds up.
    assert dense.backbone.seen == ([(1, 2, 3, 48, 60)] if joint else [(1, 1, 3, 48, 60)] * 2)


@pytest.mark.parametrize("joint", [False, True])
def test_places_come_in_pixels_of_originals_of_different_sizes(matcher, scene, joint):
    found = matcher(joint=joint, resize=64).match(scene((100, 200)), scene((90, 60)))
    xy1, _ = found.transfer([[0.0, 0.0], [49.5, 24.5], [150.0, 80.0], [199.0, 99.0]])
    # (x + 0.5) * 0.3 - 0.5 and (y + 0.5) * 0.9 - 0.5, those beyond the outermost centres brought back.
    wanted = torch.tensor([[0.0, 0.0], [14.5, 22.0], [44.65, 71.95], [59.0, 89.0]])
    # Resizing bends the colours at the borders: a fiftieth of a pixel.
    torch.testing.assert_close(xy1, wanted, atol=0.05, rtol=0)


def test_the_networks_see_multiples_of_what_the_backbone_asks_for(matcher, scene):
    dense = matcher(multiple=14, resize=70, enlarge=True)
    dense.match(scene((33, 21)), scene((33, 21), shade=0.1))
    assert dense.multiple == 14
    assert dense.backbone.seen == [(1, 1, 3, 70, 42)] * 2


# --- passes ---------------------------------------------------------------------------------------


def x_shift(found, index: int) -> float:
    """How far a field leans from the truth, in normalised x."""
    field = found.fields[index]
    return float((field.grid - identity_grid(field.size)[None])[:, 0].mean())


@pytest.mark.parametrize(
    ("passes", "leans", "confidences"),
    [
        ("one", (0.1, -0.1), (0.25, 0.75)),
        # As the second view of the other pass, image 0 leans the other way.
        ("mean", (0.0, 0.0), (0.5, 0.5)),
        ("first", (0.1, 0.1), (0.25, 0.25)),
    ],
)
def test_passes_combine_the_fields_of_both_orders(matcher, scene, passes, leans, confidences):
    found = matcher(lean=0.1, passes=passes).match(scene((40, 48)), scene((40, 48), shade=0.1))
    assert [x_shift(found, index) for index in (0, 1)] == pytest.approx(leans, abs=1e-4)
    for field, confidence in zip(found.fields, confidences, strict=True):
        torch.testing.assert_close(field.confidence, torch.full_like(field.confidence, confidence))


@pytest.mark.parametrize(("passes", "swaps"), [("one", False), ("mean", True), ("first", True)])
@pytest.mark.parametrize("joint", [False, True])
def test_swapped_images_have_swapped_answers_after_two_passes(matcher, scene, joint, passes, swaps):
    dense = matcher(joint=joint, lean=0.1, passes=passes)
    image0, image1 = scene((40, 48)), scene((48, 40), shade=0.1)
    there, back = dense.match(image0, image1), dense.match(image1, image0)
    same = [
        torch.allclose(one.grid, other.grid, atol=1e-5)
        and torch.allclose(one.confidence, other.confidence, atol=1e-5)
        for one, other in zip(there.fields, reversed(back.fields), strict=True)
    ]
    assert same == [swaps, swaps]


@pytest.mark.parametrize(("passes", "calls"), [("one", [2]), ("mean", [2, 2]), ("first", [2, 2])])
def test_a_joint_backbone_sees_the_pair_once_per_order(matcher, scene, passes, calls):
    dense = matcher(joint=True, passes=passes)
    dense.match(scene((40, 48)), scene((40, 48), shade=0.1))
    assert [shape[1] for shape in dense.backbone.seen] == calls


# --- remembering ----------------------------------------------------------------------------------


def test_images_of_one_size_cost_one_extraction_each_in_all_their_pairs(matcher, scene):
    dense = matcher()
    images = [scene((40, 48), shade=shade) for shade in (0.1, 0.2, 0.3)]
    for first in images:
        for second in images:
            _ = dense.match(first, second).fields
    assert len(dense.backbone.seen) == 3
    dense.forget()
    dense.match(images[0], images[1])
    assert len(dense.backbone.seen) == 5


def test_a_joint_backbone_is_remembered_by_ordered_pair(matcher, scene):
    dense = matcher(joint=True)
    image0, image1 = scene((40, 48)), scene((40, 48), shade=0.1)
    for first, second in ((image0, image1), (image0, image1), (image1, image0), (image0, image1)):
        dense.match(first, second)
    assert len(dense.backbone.seen) == 2


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("passes", ["one", "mean"])
def test_the_cache_on_disk_saves_the_next_run_all_extractions_and_changes_no_answer(
    matcher, scene, tmp_path, joint, passes
):
    image0, image1 = scene((40, 48)), scene((64, 32), shade=0.1)
    plain = matcher(joint=joint, passes=passes).match(image0, image1).fields
    answers = [plain]
    for extracted in ((2 if passes == "mean" else 1) if joint else 2, 0):
        dense = matcher(joint=joint, passes=passes)
        dense.use_cache(FeatureCache(tmp_path), "recipe")
        answers.append(dense.match(image0, image1).fields)
        assert len(dense.backbone.seen) == extracted
    for before, after in pairwise(answers):
        for one, other in zip(before, after, strict=True):
            assert torch.equal(one.grid, other.grid)
            assert torch.equal(one.confidence, other.confidence)


def test_the_head_runs_when_it_is_asked_for_and_once(matcher, scene):
    dense = matcher()
    found = dense.match(scene((40, 48)), scene((40, 48)))
    assert dense.head.given == []
    found.transfer([[1.0, 1.0]])
    found.matches()
    found.cycle_error([[1.0, 1.0]])
    assert len(dense.head.given) == 1
    assert dense.head.given[0]["colour"].shape[:2] == (1, 2)


def test_a_crop_is_read_and_answered_in_pixels_of_the_whole(matcher, scene):
    whole = scene((96, 96))
    part0, part1 = crop(whole, x=8, y=16, size=(64, 48)), crop(whole, x=21, y=5, size=(64, 48))
    found = matcher().match(part0, part1)
    # Both show the same scene, so a point of one is that very point of the whole in the other.
    xy0 = torch.tensor([[30.0, 40.0], [50.25, 60.5]])
    torch.testing.assert_close(found.transfer(xy0).xy, xy0, atol=0.01, rtol=0)
    matches = found.matches()
    assert len(matches) > 10
    torch.testing.assert_close(matches.xy1, matches.xy0, atol=0.01, rtol=0)


# --- refusals -------------------------------------------------------------------------------------


def test_parts_and_settings_that_do_not_fit_are_refused_in_one_sentence(tiny, matcher):
    with pytest.raises(ConfigError, match="expects a dense head such as dense_grid, got InOrder"):
        DenseMatcher(backbone=tiny.Colours(), head=tiny.InOrder())
    dense: Any = ByColour()
    with pytest.raises(
        ConfigError, match="expects a head that pairs keypoints, such as nearest, got ByColour"
    ):
        SparseMatcher(detector=tiny.Points([]), head=dense)
    backbone = tiny.Colours()
    backbone.channels = {"gray": 1}
    with pytest.raises(ConfigError, match="expected the map colour"):
        DenseMatcher(backbone=backbone, head=ByColour())
    with pytest.raises(ConfigError, match="resize of at least 1"):
        matcher(resize=0)
    for wrong in ({"spacing": 0}, {"cycle": -1.0}):
        with pytest.raises(ConfigError, match="spacing of at least 1 pixel, and cycle of 0 pixels or more"):
            matcher(**wrong)
