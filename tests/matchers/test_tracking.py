"""Tracks by a matcher of pairs: which pairs are matched, where points arrive, which are visible."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import torch
from skimage import data
from torch import Tensor

from homolog.core.dense import Described, Transfer
from homolog.core.errors import CapabilityError, ConfigError, ShapeError
from homolog.core.image import Image, resize
from homolog.core.io import as_image
from homolog.core.keypoints import Matches
from homolog.core.protocols import Correspondence, ImageLike, Matcher, Points, Tracker
from homolog.core.tracks import Queries
from homolog.matchers.base import ImageFeatures
from homolog.matchers.sparse import SparseMatcher
from homolog.matchers.tracking import FrameByFrame
from homolog.zoo import load_matcher

FRAMES = 5
STEP = torch.tensor([3.0, 1.0])
"""How far everything moves from one frame to the next."""


@dataclass
class Moved:
    """Frame t shows everything moved by t steps; a frame's colour says which one it is."""

    confidence: Callable[[int, int], float] = lambda source, target: 1.0
    drift: Callable[[int, int], float] = lambda source, target: 0.0
    asked: list[tuple[int, int, int]] = field(default_factory=list)

    def match(self, image0: ImageLike, image1: ImageLike) -> "MovedPair":
        numbers = [round(float(as_image(image).pixels[0, 0, 0]) * 100) for image in (image0, image1)]
        return MovedPair(self, numbers[0], numbers[1])


@dataclass
class MovedPair:
    matcher: Moved
    source: int
    target: int
    can_transfer: bool = True

    def transfer(self, xy0: Points) -> Transfer:
        assert isinstance(xy0, Tensor)
        self.matcher.asked.append((self.source, self.target, len(xy0)))
        off = torch.tensor([0.0, self.matcher.drift(self.source, self.target)])
        moved = xy0 + (self.target - self.source) * STEP + off
        return Transfer(moved, torch.full((len(xy0),), self.matcher.confidence(self.source, self.target)))

    def matches(self, limit: int | None = None) -> Matches:
        raise AssertionError("tracking needs no matches")


def video(frames: int = FRAMES, size: tuple[int, int] = (40, 60)) -> list[Image]:
    return [Image(pixels=torch.full((3, *size), t / 100), name=f"frame {t}") for t in range(frames)]


QUERIES = Queries(xy=torch.tensor([[5.0, 6.0], [9.5, 7.25], [30.0, 20.0]]), frame=torch.tensor([0, 2, 2]))
TRUTH = QUERIES.xy[:, None] + (torch.arange(FRAMES)[None, :, None] - QUERIES.frame[:, None, None]) * STEP


def tracker(matcher: Matcher, **settings: Any) -> FrameByFrame:
    given: dict[str, Any] = {"visible_above": None, "cycle": None, **settings}
    return FrameByFrame(matcher, **given)


def test_it_is_a_tracker():
    assert isinstance(tracker(Moved()), Tracker)


@pytest.mark.parametrize("chained", [False, True])
def test_points_arrive_where_they_moved_to(chained: bool):
    found = tracker(Moved(), chained=chained).track(video(), QUERIES)
    torch.testing.assert_close(found.xy, TRUTH)
    assert found.visible.all()
    assert found.query_frame.tolist() == [0, 2, 2]


@pytest.mark.parametrize("chained", [False, True])
def test_on_its_own_frame_a_query_is_unchanged(chained: bool):
    wrong = Moved(drift=lambda source, target: 7.0, confidence=lambda source, target: 0.0)
    found = tracker(wrong, chained=chained, visible_above=0.5, cycle=1.0).track(video(), QUERIES)
    rows = torch.arange(3)
    assert torch.equal(found.xy[rows, QUERIES.frame], QUERIES.xy)
    assert found.visible.sum(dim=1).tolist() == [1, 1, 1]
    assert found.visible[rows, QUERIES.frame].all()


def test_each_query_frame_is_matched_with_each_other_frame_once_with_all_its_points():
    matcher = Moved()
    tracker(matcher).track(video(), QUERIES)
    assert sorted(matcher.asked) == [
        *((0, target, 1) for target in (1, 2, 3, 4)),
        *((2, target, 2) for target in (0, 1, 3, 4)),
    ]


def test_a_chain_matches_neighbours_only_and_moves_every_point_that_has_started():
    matcher = Moved()
    tracker(matcher, chained=True).track(video(), QUERIES)
    # Forwards the two later queries join at frame 2; backwards they go to frame 0, the first stays there.
    assert matcher.asked == [
        (0, 1, 1),
        (1, 2, 1),
        (2, 3, 3),
        (3, 4, 3),
        (2, 1, 2),
        (1, 0, 2),
    ]


def test_points_are_visible_above_a_confidence():
    unsure = Moved(confidence=lambda source, target: 0.9 if target < 3 else 0.4)
    found = tracker(unsure, visible_above=0.4).track(video(), QUERIES)
    assert found.visible[0].tolist() == [True, True, True, False, False]


def test_the_confidence_of_a_chain_is_that_of_its_weakest_step():
    unsure = Moved(confidence=lambda source, target: 0.2 if (source, target) == (1, 2) else 0.9)
    found = tracker(unsure, visible_above=0.5, chained=True).track(video(), QUERIES)
    assert found.visible[0].tolist() == [True, True, False, False, False]
    assert found.visible[1].tolist() == [True] * 5


def test_points_with_a_small_cycle_error_are_visible():
    # To frame 3 and back strays by 2 + 2 pixels, elsewhere by none.
    stray = Moved(drift=lambda source, target: 2.0 if 3 in (source, target) else 0.0)
    strict = tracker(stray, cycle=3.9).track(video(), QUERIES)
    lenient = tracker(stray, cycle=4.0).track(video(), QUERIES)
    assert strict.visible[0].tolist() == [True, True, True, False, True]
    assert lenient.visible.all()


def test_the_way_back_is_not_computed_without_a_cycle_check():
    matcher = Moved()
    tracker(matcher, visible_above=0.1).track(video(), QUERIES)
    assert all(source in (0, 2) for source, _, _ in matcher.asked)


def test_frames_that_are_resized_are_tracked_in_their_own_pixels():
    """A resized image leads back to its original; queries and tracks are of the frames, not of that."""
    frames = [resize(image, (80, 120)) for image in video()]
    found = tracker(Moved()).track(frames, QUERIES)
    torch.testing.assert_close(found.xy, TRUTH)


@pytest.mark.parametrize("chained", [False, True])
def test_no_queries_and_a_single_frame_work(chained: bool):
    matcher = Moved()
    none = Queries(xy=torch.zeros(0, 2), frame=torch.zeros(0, dtype=torch.int64))
    assert tracker(matcher, chained=chained).track(video(), none).xy.shape == (0, FRAMES, 2)
    one = Queries(xy=torch.ones(1, 2), frame=torch.zeros(1, dtype=torch.int64))
    assert tracker(matcher, chained=chained).track(video(1), one).xy.tolist() == [[[1, 1]]]
    assert matcher.asked == []


def test_a_query_frame_outside_the_video_is_an_error():
    late = Queries(xy=torch.ones(1, 2), frame=torch.tensor([FRAMES]))
    with pytest.raises(ShapeError, match="from 0 to 4, got 5 to 5"):
        tracker(Moved()).track(video(), late)


@pytest.mark.parametrize(
    "wrong", [{"visible_above": 1.0}, {"visible_above": -0.1}, {"cycle": 0.0}, {"memory": -1}]
)
def test_settings_out_of_range_are_errors(wrong):
    with pytest.raises(ConfigError, match=r"or null|0 bytes or more"):
        tracker(Moved(), **wrong)


# --- with a real matcher --------------------------------------------------------------------------


@dataclass
class PairsOnly:
    """A matcher without the methods that read points, so that frames are matched pair by pair."""

    matcher: Matcher

    def match(self, image0: ImageLike, image1: ImageLike) -> Correspondence:
        return self.matcher.match(image0, image1)


def frames_seen(backbone: Any) -> int:
    return sum(shape[0] for shape in backbone.seen)


@pytest.mark.parametrize("settings", [{}, {"cycle": 1.0}, {"chained": True}])
@pytest.mark.parametrize("read", [True, False])
def test_features_are_extracted_once_per_frame(tiny, scene, settings, read):
    backbone, head = tiny.Colours(), tiny.SamePlace()
    matcher = tiny.matcher([(2.0, 3.0)], head=head, backbone=backbone, descriptor_map="colour")
    frames = [scene((40, 48), shade=t / 10) for t in range(6)]
    queries = Queries(xy=torch.tensor([[4.0, 5.0], [20.0, 30.0], [8.0, 8.0]]), frame=torch.tensor([0, 3, 5]))
    tracker(matcher if read else PairsOnly(matcher), **settings).track(frames, queries)
    assert frames_seen(backbone) == 6
    assert (head.asked == []) == read


def test_pair_by_pair_a_memory_for_the_query_frames_and_one_more_is_enough(tiny, scene):
    frames = [scene((40, 48), shade=t / 10) for t in range(8)]
    queries = Queries(xy=torch.tensor([[4.0, 5.0], [20.0, 30.0]]), frame=torch.tensor([0, 3]))
    backbone = tiny.Colours()
    size = features_size(tiny, frames[0])
    matcher = tiny.matcher(
        [(2.0, 3.0)], head=tiny.SamePlace(), backbone=backbone, descriptor_map="colour", memory=3 * size
    )
    tracker(PairsOnly(matcher), cycle=1.0).track(frames, queries)
    assert frames_seen(backbone) == 8


def features_size(tiny, image: Image) -> int:
    matcher = tiny.matcher(
        [(2.0, 3.0)], head=tiny.SamePlace(), backbone=tiny.Colours(), descriptor_map="colour", memory=10**9
    )
    matcher.match(image, image)
    return matcher._memory.size


def test_a_long_video_is_read_in_blocks_of_query_frames_with_the_same_result(tiny, scene):
    frames = [scene((40, 48), shade=t / 40) for t in range(40)]
    generator = torch.Generator().manual_seed(0)
    queries = Queries(xy=torch.rand(40, 2, generator=generator) * 38, frame=torch.arange(40))
    size = features_size(tiny, frames[0])

    class Recorded(SparseMatcher):
        """Extracts anew whenever it is asked, and counts the feature maps that are alive."""

        maps: ClassVar[list[weakref.ref[Tensor]]] = []
        most_alive = 0

        def extract(self, images: Any) -> Any:
            found = super().extract(images)
            self.maps.extend(weakref.ref(each.features["colour"]) for each in found)
            self.most_alive = max(self.most_alive, sum(each() is not None for each in self.maps))
            return found

    def recorded(memory: int) -> tuple[Any, Recorded]:
        matcher = Recorded(
            detector=tiny.Points([(2.0, 3.0)]),
            head=tiny.SamePlace(),
            backbone=tiny.Colours(),
            descriptor_map="colour",
            memory=0,
        )
        return tracker(matcher, cycle=1.0, memory=memory).track(frames, queries), matcher

    (whole, ample), (blocks, tight) = recorded(10**9), recorded(20 * size)
    assert torch.equal(whole.xy, blocks.xy)
    assert torch.equal(whole.visible, blocks.visible)
    assert frames_seen(ample.backbone) == 40
    # Half of the memory holds 10 query frames, so there are 4 blocks; other frames are held in the other half.
    assert 40 < frames_seen(tight.backbone) <= 4 * 40
    # Besides those 20 frames, one batch of 8 is at work for the blocks, and one for the frames of a block.
    assert tight.most_alive <= 20 + 8 + 8


def test_all_points_are_searched_at_once_on_each_frame_and_back_on_each_query_frame(tiny, scene):
    searched: list[int] = []

    class Counted(SparseMatcher):
        def find(self, described: Described, features: ImageFeatures) -> Transfer:
            searched.append(len(described))
            return super().find(described, features)

    matcher = Counted(
        detector=tiny.Points([(2.0, 3.0)]),
        head=tiny.SamePlace(),
        backbone=tiny.Colours(),
        descriptor_map="colour",
    )
    frames = [scene((40, 48), shade=t / 10) for t in range(FRAMES)]
    tracker(matcher, cycle=1.0).track(frames, QUERIES)
    # Of three points, one is given on frame 0 and two on frame 2; each goes to the four other frames, and back.
    assert sorted(searched) == sorted([2, 3, 1, 3, 3, 1 * 4, 2 * 4])


def test_a_joint_backbone_sees_the_frames_pair_by_pair(tiny, scene):
    backbone, head = tiny.Colours(joint=True), tiny.SamePlace()
    matcher = tiny.matcher([(2.0, 3.0)], head=head, backbone=backbone, descriptor_map="colour")
    frames = [scene((40, 48), shade=t / 10) for t in range(3)]
    queries = Queries(xy=torch.tensor([[4.0, 5.0]]), frame=torch.tensor([1]))
    found = tracker(matcher).track(frames, queries)
    torch.testing.assert_close(found.xy, queries.xy[:, None].expand(1, 3, 2))
    assert len(head.asked) == 2


@pytest.fixture(scope="module")
def drive() -> tuple[list[Image], Tensor]:
    """A window of 160 x 128 that moves over a photo by (7, 4) pixels a frame, and how far [T 2]."""
    photo = as_image(data.astronaut()).pixels
    offset = torch.arange(6)[:, None] * torch.tensor([7, 4])
    frames = [
        Image(pixels=photo[:, 60 + y : 188 + y, 150 + x : 310 + x], name=f"frame {t}")
        for t, (x, y) in enumerate(offset.tolist())
    ]
    return frames, offset.float()


@pytest.fixture(scope="module", params=["mini", "xfeat"])
def product(request: pytest.FixtureRequest) -> Matcher:
    return load_matcher(request.param, device="cpu")


@pytest.mark.parametrize("chained", [False, True])
def test_points_read_on_all_frames_are_those_of_pairs_of_frames(product, drive, chained):
    """The oracle is the plain way: every pair of frames is matched, and its points are transferred."""
    frames, offset = drive
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(24, 2, generator=generator) * torch.tensor([110.0, 90.0]) + torch.tensor([40.0, 28.0])
    frame = torch.arange(24) % 6
    queries = Queries(xy=first - offset[frame], frame=frame)
    # So strict that every product has points that come back elsewhere.
    settings = {"cycle": 1.0, "chained": chained}
    read = tracker(product, **settings).track(frames, queries)
    pairs = tracker(PairsOnly(product), **settings).track(frames, queries)
    torch.testing.assert_close(read.xy, pairs.xy, rtol=0, atol=1e-2)
    assert torch.equal(read.visible, pairs.visible)
    assert 0 < read.visible.float().mean() < 1
    # The truth: points stay in place on the photo.
    error = (read.xy - (first[:, None] - offset)).norm(dim=-1)
    assert error[read.visible].median() < 2


def test_without_a_cycle_check_visibility_is_the_confidence_of_the_way_there(product, drive):
    frames, _ = drive
    queries = Queries(xy=torch.tensor([[80.0, 60.0], [90.0, 20.0]]), frame=torch.tensor([1, 1]))
    features = [product.extract(frame) for frame in frames]
    described = product.describe(features[1], queries.xy)
    confidence = torch.stack([product.find(described, each).confidence for each in features], dim=1)
    confidence[:, 1] = 1
    threshold = float(confidence.median())
    found = tracker(product, visible_above=threshold).track(frames, queries)
    assert torch.equal(found.visible, confidence > threshold)


def test_a_matcher_that_cannot_transfer_is_an_error(tiny, scene):
    matcher = tiny.matcher([(2.0, 3.0)])
    with pytest.raises(CapabilityError, match="finds sparse matches only"):
        tracker(matcher).track(
            [scene((40, 48)), scene((40, 48), shade=0.1)],
            Queries(xy=torch.tensor([[4.0, 5.0]]), frame=torch.tensor([0])),
        )
