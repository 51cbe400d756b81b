"""Matches of one part, points of another; points beside confident matches follow them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from homolog.core.cache import FeatureCache
from homolog.core.dense import Transfer
from homolog.core.errors import CapabilityError, ConfigError
from homolog.core.keypoints import Matches
from homolog.core.protocols import Correspondence, KeepsFeatures, Matcher, MatchesPairs, ReadsPoints
from homolog.matchers.combined import LEAST, CombinedMatcher, follow_matches
from homolog.matchers.sparse import SparseMatcher

SIZE = (800.0, 640.0)


def affine(degrees: float, scale: float) -> Tensor:
    c, s = (scale * f(math.radians(degrees)) for f in (math.cos, math.sin))
    return torch.tensor([[c, s], [-s, c]])


def matches_of(xy0: Tensor, xy1: Tensor) -> Matches:
    return Matches(xy0=xy0, xy1=xy1, score=torch.ones(len(xy0)))


def spread(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) * torch.tensor([800.0, 600.0])


def nowhere(count: int) -> Transfer:
    return Transfer(torch.full((count, 2), 5.0), torch.full((count,), 0.1))


@settings(deadline=None)
@given(degrees=st.floats(-180, 180), scale=st.floats(0.5, 1.5), seed=st.integers(0, 99))
def test_points_go_where_the_matches_around_them_go(degrees: float, scale: float, seed: int) -> None:
    slope = affine(degrees, scale)
    xy0 = spread(900, seed)
    points = torch.tensor([[200.0, 300.0], [400.0, 150.0], [613.0, 411.0]])
    found = follow_matches(points, nowhere(3), matches_of(xy0, xy0 @ slope + 300), SIZE)
    torch.testing.assert_close(found.xy, points @ slope + 300, atol=0.5, rtol=0)
    assert float(found.confidence.min()) > 0.95


def test_a_third_of_wrong_matches_changes_little() -> None:
    slope, xy0 = affine(20, 0.8), spread(600)
    xy1 = xy0 @ slope + 100
    xy1[::3] = spread(200, seed=1)
    points = spread(50, seed=2) * 0.8 + 50
    found = follow_matches(points, nowhere(50), matches_of(xy0, xy1), SIZE)
    follows = found.confidence > 0.1
    away = (found.xy - (points @ slope + 100)).norm(dim=1)
    assert float(away[follows].max()) < 1
    assert float(follows.float().mean()) > 0.8  # others have too few matches around them


def test_matches_that_disagree_or_are_few_or_far_change_nothing() -> None:
    points, own = torch.tensor([[700.0, 500.0]]), nowhere(1)
    random = matches_of(spread(300), spread(300, seed=1))
    few = spread(LEAST - 1)
    corner = spread(300) * 0.3  # far from the point
    for matches in (random, matches_of(few, few), matches_of(corner, corner), matches_of(few[:0], few[:0])):
        found = follow_matches(points, own, matches, SIZE)
        torch.testing.assert_close(found.xy, own.xy)
        torch.testing.assert_close(found.confidence, own.confidence)


def test_a_point_outside_the_image_stays_without_confidence() -> None:
    xy0 = spread(300)
    own = Transfer(torch.tensor([[0.0, 0.0]]), torch.zeros(1))
    assert float(follow_matches(torch.tensor([[1.0, 1.0]]), own, matches_of(xy0, xy0), SIZE).confidence) == 0


def test_no_points_are_nowhere() -> None:
    xy0 = spread(300)
    none = Transfer(torch.zeros(0, 2), torch.zeros(0))
    assert follow_matches(torch.zeros(0, 2), none, matches_of(xy0, xy0), SIZE).xy.shape == (0, 2)


# --- the matcher ----------------------------------------------------------------------------------


@pytest.fixture
def combined(tiny):
    def make(**settings) -> CombinedMatcher:
        return CombinedMatcher(
            matches=SparseMatcher(detector=tiny.Points([(3.0, 4.0), (20.0, 9.0)]), head=tiny.InOrder()),
            points=SparseMatcher(backbone=tiny.Colours(), head=tiny.SamePlace(), resize=64, enlarge=True),
            **settings,
        )

    return make


def test_it_satisfies_the_protocols(combined, scene) -> None:
    matcher = combined()
    assert all(isinstance(matcher, each) for each in (Matcher, MatchesPairs, ReadsPoints, KeepsFeatures))
    assert isinstance(matcher.match(scene((32, 48)), scene((32, 48))), Correspondence)


def test_each_part_runs_when_it_is_asked_and_sees_its_own_size(combined, scene) -> None:
    matcher = combined(follow=False)
    found = matcher.match(scene((32, 48)), scene((32, 48)))
    assert (matcher.matches.detector.calls, matcher.points.backbone.seen) == (0, [])
    assert len(found.matches()) == 2
    assert (matcher.matches.detector.calls, matcher.points.backbone.seen) == (1, [])  # equal images: once
    found.transfer([[10.0, 10.0]])
    assert {shape[-1] for shape in matcher.points.backbone.seen} == {64}
    assert found.keypoints0 is not None
    assert matcher.matches.detector.calls == 1


def test_answers_are_those_of_the_parts(combined, scene) -> None:
    matcher = combined()
    image0, image1 = scene((32, 48)), scene((40, 40))
    found = matcher.match(image0, image1)
    alone = matcher.matches.match(image0, image1), matcher.points.match(image0, image1)
    torch.testing.assert_close(found.matches().xy1, alone[0].matches().xy1)
    torch.testing.assert_close(
        found.transfer([[10.0, 10.0]]).xy, alone[1].transfer([[10.0, 10.0]]).xy
    )  # two matches are too few to follow


def test_transfers_follow_matches_unless_told_not_to(combined, scene, tiny) -> None:
    grid = [(float(x), float(y)) for x in range(2, 62, 2) for y in range(2, 62, 2)]
    image = scene((64, 64))

    class Shift(torch.nn.Module):
        def forward(self, keypoints0, keypoints1, features0, features1) -> Matches:
            xy = keypoints0.xy
            return Matches(xy0=xy, xy1=xy + torch.tensor([2.0, 1.0]), score=torch.ones(len(xy)))

    for follow, moved in ((True, [2.0, 1.0]), (False, [0.0, 0.0])):
        matcher = combined(follow=follow)
        matcher.matches = SparseMatcher(detector=tiny.Points(grid), head=Shift())
        found = matcher.match(image, image).transfer([[30.0, 30.0]])
        torch.testing.assert_close(found.xy - 30, torch.tensor([moved]), atol=0.05, rtol=0)


def test_many_pairs_are_matched_as_one_by_one(combined, scene) -> None:
    matcher = combined()
    images = [scene((32, 48), shade=shade) for shade in (0.1, 0.5, 0.9)]
    features = matcher.extract(images)
    pairs = [(features[0], features[1]), (features[1], features[2])]
    for found, (first, second) in zip(matcher.match_pairs(pairs), pairs, strict=True):
        expected = matcher.match_features(first, second)
        torch.testing.assert_close(found.matches().xy1, expected.matches().xy1)
        torch.testing.assert_close(found.transfer([[9.0, 9.0]]).xy, expected.transfer([[9.0, 9.0]]).xy)
    assert matcher.matches.detector.calls == 3


def test_features_of_the_parts_do_not_mix_in_a_cache(combined, scene, tmp_path) -> None:
    for calls in (2, 0):
        matcher = combined(follow=False)
        matcher.use_cache(FeatureCache(tmp_path), "recipe")
        found = matcher.match(scene((64, 64)), scene((64, 64), shade=0.3))  # one size for both parts
        assert len(found.matches()) == 2
        assert found.transfer([[9.0, 9.0]]).xy.shape == (1, 2)
        assert (matcher.matches.detector.calls, len(matcher.points.backbone.seen)) == (calls, calls)


def test_parts_that_cannot_do_their_work_are_refused(tiny) -> None:
    sparse = SparseMatcher(detector=tiny.Points([(3.0, 4.0)]), head=tiny.InOrder())
    points = SparseMatcher(backbone=tiny.Colours(), head=tiny.SamePlace())
    with pytest.raises(ConfigError, match="matches with a detector and points with a backbone"):
        CombinedMatcher(matches=points, points=points)
    with pytest.raises(ConfigError, match="matches with a detector and points with a backbone"):
        CombinedMatcher(matches=sparse, points=sparse)
    joint = SparseMatcher(backbone=tiny.Colours(joint=True), head=tiny.SamePlace())
    with pytest.raises(ConfigError, match="joint backbone"):
        CombinedMatcher(matches=sparse, points=joint)


def test_a_matcher_of_points_alone_says_so_when_asked_for_matches(tiny, scene) -> None:
    points = SparseMatcher(backbone=tiny.Colours(), head=tiny.SamePlace())
    with pytest.raises(CapabilityError, match="transfers points only"):
        points.match(scene((32, 32)), scene((32, 32))).matches()
    with pytest.raises(ConfigError, match="expects a detector, or a backbone"):
        SparseMatcher(head=tiny.InOrder())
