"""What predictors query, and what they record."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor, nn

from homolog.core.camera import Camera, RelativePose
from homolog.core.coords import identity_grid, resize_affine
from homolog.core.dense import DenseField, Transfer
from homolog.core.errors import CapabilityError, ConfigError, ShapeError
from homolog.core.image import Image, crop, resize
from homolog.core.io import as_image
from homolog.core.keypoints import Matches
from homolog.core.protocols import ImageLike, Points
from homolog.core.samples import PairSample, VideoSample
from homolog.core.tracks import Queries, Tracks
from homolog.evaluators.benchmark import Benchmark
from homolog.evaluators.image_sizes import Original
from homolog.evaluators.keypoint_pck import PckProtocol
from homolog.evaluators.predictors import DensePredictor, MatchPredictor, PointPredictor, TrackPredictor
from homolog.evaluators.records import load_records, save_records
from homolog.matchers.sparse import SparseMatcher
from homolog.zoo import load_matcher


@dataclass
class Shifting:
    """Answers every point with one shifted by `off`, and remembers what it was asked."""

    off: tuple[float, float] = (3.0, -1.0)
    asked: list[Tensor] = field(default_factory=list[Tensor])
    can_transfer: bool = True

    def match(self, image0: ImageLike, image1: ImageLike) -> "Shifting":
        return self

    def matches(self, limit: int | None = None) -> Matches:
        raise AssertionError("nobody should ask")

    def transfer(self, xy0: Points) -> Transfer:
        assert isinstance(xy0, Tensor)
        self.asked.append(xy0)
        return Transfer(xy0 + torch.tensor(self.off), torch.linspace(0, 1, len(xy0)))


class Sloppy(Shifting):
    def transfer(self, xy0: Points) -> Transfer:
        return Transfer(torch.as_tensor(xy0)[1:], torch.zeros(len(xy0)))


def blank(height: int, width: int) -> Image:
    return Image(pixels=torch.zeros(3, height, width))


def sample(**more) -> PairSample:
    given: dict[str, Any] = {
        "image0": blank(10, 20),
        "image1": blank(30, 25),
        "xy0": torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
        "xy1": torch.tensor([[4.0, 1.0], [0.0, 0.0], [8.0, 6.0]]),
        "name": "a-b",
        **more,
    }
    return PairSample(**given)


def pck_protocol(average: Any, alpha: float) -> PckProtocol:
    return PckProtocol(
        name="t",
        alphas=[alpha],
        comparison="<=",
        side="image",
        average=average,
        frame=Original(),
        precision="float64",
    )


def test_all_points_are_asked_and_everything_known_is_recorded():
    record = PointPredictor()(
        Shifting(),
        sample(
            category="cat",
            box1=torch.tensor([0.0, 1.0, 20.0, 10.0]),
            groups={"geometry_aware": torch.tensor([True, False, True])},
            facts={"truncation": "1"},
        ),
    )
    assert (record.name, record.category, dict(record.facts)) == ("a-b", "cat", {"truncation": "1"})
    assert record["size0"].tolist() == [10, 20]
    assert record["size1"].tolist() == [30, 25]
    assert record["predicted"].tolist() == [[4, 1], [6, 3], [8, 5]]
    assert record["confidence"].tolist() == [0, 0.5, 1]
    assert record["visible"].tolist() == [True] * 3
    assert record["geometry_aware"].tolist() == [True, False, True]
    assert record["box1"].tolist() == [0, 1, 20, 10]
    assert "box0" not in record
    assert record["xy1"].dtype == np.float32


def test_only_points_seen_in_both_images_are_asked_for_and_recorded():
    matcher = Shifting()
    hidden = sample(
        visible=torch.tensor([True, False, True]),
        groups={"geometry_aware": torch.tensor([False, True, True])},
    )
    record = PointPredictor()(matcher, hidden)
    assert [asked.tolist() for asked in matcher.asked] == [[[1, 2], [5, 6]]]
    assert record["xy1"].tolist() == [[4, 1], [8, 6]]
    assert record["predicted"].tolist() == [[4, 1], [8, 5]]
    assert record["geometry_aware"].tolist() == [False, True]
    assert pck_protocol("per point", 0.01).score([record]).scores[0].value == 0.5


def test_double_precision_stays_and_a_pair_without_category_has_an_empty_one():
    exact = torch.tensor([[1 / 3, 2.0]], dtype=torch.float64)
    record = PointPredictor()(Shifting(), sample(xy0=exact, xy1=exact))
    assert record.category == ""
    assert record["xy0"].dtype == np.float64
    assert record["xy0"][0, 0] == 1 / 3


def test_sizes_are_those_of_the_files():
    small = resize(blank(100, 200), (50, 60))
    record = PointPredictor()(
        Shifting(),
        sample(
            image1=small,
            image0=Image(pixels=torch.zeros(3, 4, 6), to_original=resize_affine((40, 30), (4, 6))),
        ),
    )
    assert record["size1"].tolist() == [100, 200]
    assert record["size0"].tolist() == [40, 30]


def test_a_matcher_that_cannot_transfer_says_so():
    image = resize(as_image(data.astronaut()), (128, 128))
    pair = sample(image0=image, image1=image)
    with pytest.raises(CapabilityError, match="sparse matches only"):
        PointPredictor()(load_matcher("xfeat_lighterglue", device="cpu"), pair)


def test_an_answer_to_another_question_is_refused():
    with pytest.raises(ShapeError, match="expected 3 points"):
        PointPredictor()(Sloppy(), sample())


def test_samples_without_points_are_refused(video: VideoSample):
    with pytest.raises(ConfigError, match="choose a semantic task"):
        PointPredictor()(Shifting(), sample(xy0=None, xy1=None, camera0=Camera(K=torch.eye(3))))
    with pytest.raises(ConfigError, match="choose a semantic task"):
        PointPredictor()(Shifting(), video)


def test_every_image_is_extracted_once_however_many_pairs_share_it():
    """Twelve pairs of four images, read anew for every pair as data sets do."""
    photo = resize(as_image(data.astronaut()), (160, 160))
    xy = torch.tensor([[30.0, 40.0], [60.0, 70.0]])

    def image(index: int) -> Image:
        cut = crop(photo, x=8 * index, y=0, size=(128, 128))
        return Image(pixels=cut.pixels.clone(), name=f"{index}.jpg")

    names = [(first, second) for first in range(4) for second in range(4) if first != second]

    class Pairs:
        def __len__(self) -> int:
            return len(names)

        def __getitem__(self, index: int, /) -> PairSample:
            first, second = names[index]
            shift = torch.tensor([8.0 * (first - second), 0.0])
            return PairSample(
                image0=image(first), image1=image(second), xy0=xy, xy1=xy + shift, name=str(index)
            )

    matcher = load_matcher("mini", device="cpu")
    seen: list[int] = []
    assert isinstance(matcher, SparseMatcher)
    assert isinstance(matcher.backbone, nn.Module)
    matcher.backbone.register_forward_hook(
        lambda module, given, made: seen.append(len(given[0].flatten(0, 1)))
    )
    protocols = {"t": pck_protocol("per image", 0.1)}
    task = Benchmark(
        kind="semantic", data=Pairs(), predict=PointPredictor(), protocols=protocols, headline="t"
    )
    scored = task.score(task.run(matcher))["t"]
    assert sum(seen) == 4
    assert scored.scores[0].value > 0.9
    assert scored.scores[0].count == 12


K = np.array([[500.0, 0, 319.5], [0, 500, 239.5], [0, 0, 1]])


H = np.array([[1.1, 0.05, 12], [-0.03, 0.95, -8], [1e-4, -5e-5, 1]])


# --- matches ---------------------------------------------------------------------------------------


class Found(SimpleNamespace):
    """A correspondence with three matches, best first."""

    can_transfer = False

    def matches(self, limit: int | None = None) -> Matches:
        xy0 = torch.tensor([[10.0, 10.0], [20.0, 20.0], [30.2, 5.4]])
        return Matches(xy0=xy0, xy1=xy0 + 1, score=torch.tensor([0.9, 0.5, 0.1])).best(limit)


class Matching:
    """A matcher that finds the same whatever it sees."""

    def __init__(self, **told: Any) -> None:
        self.told = told

    def match(self, image0: Any, image1: Any) -> Any:
        return Found(**self.told)


def scene(**more: Any) -> PairSample:
    given: dict[str, Any] = {f"image{side}": Image(pixels=torch.zeros(3, 32, 48)) for side in (0, 1)}
    given |= {"name": "pair", "category": "scene", "facts": {"overlap": "0.4"}}
    return PairSample(**dict(given, **more))


def test_a_record_has_the_matches_and_all_truth_there_is(tmp_path: Path) -> None:
    truth: dict[str, Any] = {
        "camera0": Camera(K=torch.from_numpy(K)),
        "camera1": Camera(K=torch.from_numpy(K)),
        "pose": RelativePose(R=torch.eye(3), t=torch.tensor([1.0, 0, 0])),
        "homography": torch.from_numpy(H),
        "xy0": torch.zeros(2, 2),
        "xy1": torch.ones(2, 2),
    }
    keypoints = torch.rand(7, 2)
    record = MatchPredictor(max_matches=None)(
        Matching(keypoints0=keypoints, keypoints1=keypoints[:5]), scene(**truth)
    )
    assert (record.name, record.category, record.facts["overlap"]) == ("pair", "scene", "0.4")
    assert record["match1"].tolist() == (record["match0"] + 1).tolist()
    assert record["score"] == pytest.approx([0.9, 0.5, 0.1])
    assert record["size0"].tolist() == [32, 48]
    assert (len(record["keypoints0"]), len(record["keypoints1"])) == (7, 5)
    for key in ("K0", "K1", "R", "t", "H", "xy0", "xy1"):
        assert key in record
    save_records(tmp_path / "records.npz", [record])
    (again,) = load_records(tmp_path / "records.npz")
    np.testing.assert_array_equal(again["H"], H)


def test_what_is_not_known_is_not_in_the_record() -> None:
    record = MatchPredictor(max_matches=2)(Matching(), scene())
    assert set(record.arrays) == {"size0", "size1", "match0", "match1", "score"}
    assert len(record["match0"]) == 2
    assert record.facts["matches"] == "best 2"


def test_matches_beside_the_foreground_are_dropped_where_the_protocol_says_so() -> None:
    mask0, mask1 = torch.ones(32, 48, dtype=torch.bool), torch.ones(32, 48, dtype=torch.bool)
    mask0[5, 30] = False  # nearest to (30.2, 5.4)
    mask1[21, 21] = False  # where the second match ends
    masked = scene(mask0=mask0, mask1=mask1)
    kept = MatchPredictor(max_matches=None, foreground=True)(Matching(), masked)
    assert kept["match0"].tolist() == [[10, 10]]
    assert len(MatchPredictor(max_matches=None)(Matching(), masked)["match0"]) == 3
    assert len(MatchPredictor(max_matches=None, foreground=True)(Matching(), scene())["match0"]) == 3
    one_sided = scene(mask1=mask1)
    assert len(MatchPredictor(max_matches=None, foreground=True)(Matching(), one_sided)["match0"]) == 2
    with pytest.raises(ShapeError, match="expected a mask of the size of its image"):
        MatchPredictor(max_matches=None, foreground=True)(Matching(), scene(mask0=mask0[:5]))


def test_a_resized_image_keeps_the_size_and_pixels_of_its_file() -> None:
    file = Image(pixels=torch.zeros(3, 64, 96))
    small = resize(file, (20, 48))
    mask = torch.zeros(20, 48, dtype=torch.bool)
    mask[:, :8] = True  # columns 0 to 15 of the file
    record = MatchPredictor(max_matches=None, foreground=True)(Matching(), scene(image0=small, mask0=mask))
    assert record["size0"].tolist() == [64, 96]
    assert record["match0"].tolist() == [[10, 10]]


def test_only_pairs_have_matches(video: VideoSample) -> None:
    with pytest.raises(ConfigError, match="clip: expected a pair, got a video"):
        MatchPredictor(max_matches=None)(Matching(), video)
    with pytest.raises(ConfigError, match="max_matches of 0 or more"):
        MatchPredictor(max_matches=-1)


# --- tracks ----------------------------------------------------------------------------------------

T = 7


SIZE = (30, 60)


class Oracle:
    """Follows points that move right by 1/60 of the width per frame, whatever the raster is."""

    def __init__(self) -> None:
        self.seen: list[tuple[list[Image], Queries]] = []

    def track(self, frames: list[Image], queries: Queries) -> Tracks:
        self.seen.append((frames, queries))
        width = frames[0].size[1]
        frame = torch.arange(len(frames))
        moved = (frame[None] - queries.frame[:, None]) * width / SIZE[1]
        xy = queries.xy[:, None] + torch.stack((moved, torch.zeros_like(moved)), dim=-1)
        return Tracks(xy=xy, visible=frame[None] >= queries.frame[:, None], query_frame=queries.frame)


@pytest.fixture
def video() -> VideoSample:
    """Three tracks that move right by a pixel per frame; the last is never seen."""
    start = torch.tensor([[10.0, 5.0], [20.5, 7.25], [1.0, 1.0]])
    frame = torch.arange(T)
    xy = start[:, None] + torch.stack((frame, torch.zeros(T)), dim=-1)[None]
    visible = torch.tensor([[1, 1, 1, 0, 1, 1, 1], [0, 0, 1, 1, 1, 1, 0], [0] * 7], dtype=torch.bool)
    frames = [Image(pixels=torch.full((3, *SIZE), t / 10), name=f"frame {t}") for t in range(T)]
    return VideoSample(
        frames=frames,
        tracks=Tracks(xy=xy, visible=visible, query_frame=torch.tensor([0, 2, 0])),
        name="clip",
    )


@pytest.fixture
def asked() -> tuple[Oracle, Callable[..., TrackPredictor]]:
    oracle = Oracle()

    def make(query_mode, raster=None) -> TrackPredictor:
        return TrackPredictor(tracker=lambda _: oracle, query_mode=query_mode, raster=raster)

    return oracle, make


@pytest.mark.parametrize("raster", [None, [256, 256], [90, 60]])
def test_tracks_come_back_in_pixels_of_the_original_video(asked, video, raster):
    oracle, make = asked
    record = make("first", raster)(Shifting(), video)
    assert record.name == "clip"
    assert record["size"].tolist() == [30, 60]
    assert record["track"].tolist() == [0, 1]
    assert record["query_frame"].tolist() == [0, 2]
    np.testing.assert_allclose(record["predicted"], record["xy"], atol=1e-4)
    np.testing.assert_array_equal(record["xy"], video.tracks.xy[:2].numpy())
    np.testing.assert_array_equal(record["visible"], video.tracks.visible[:2].numpy())
    assert record["predicted_visible"][1].tolist() == [False, False, True, True, True, True, True]
    ((frames, _),) = oracle.seen
    assert {image.size for image in frames} == {SIZE if raster is None else tuple(raster)}


def test_queries_are_asked_for_in_pixels_of_the_frames_that_the_tracker_sees(asked, video):
    oracle, make = asked
    make("first", [60, 120])(Shifting(), video)
    ((frames, queries),) = oracle.seen
    # Twice as large: (x + 0.5) * 2 - 0.5.
    assert queries.xy.tolist() == [[20.5, 10.5], [45.5, 15.0]]
    assert all(torch.equal(image.to_original, Image(pixels=image.pixels).to_original) for image in frames)


def test_strided_queries_ask_for_a_track_several_times(asked, video):
    record = asked[1]("strided")(Shifting(), video)
    assert record["track"].tolist() == [0, 0, 1]
    assert record["query_frame"].tolist() == [0, 5, 5]
    assert record["xy"].shape == record["predicted"].shape == (3, T, 2)
    assert record.facts == {"queries": "strided", "raster": "as they are"}


def test_initial_queries_are_those_seen_on_the_first_frame(asked, video):
    record = asked[1]("initial", [256, 256])(Shifting(), video)
    assert record["track"].tolist() == [0]
    assert record.facts == {"queries": "initial", "raster": "256 x 256"}


def test_a_video_in_which_nothing_is_seen_gives_an_empty_record(asked, video):
    hidden = Tracks(
        xy=video.tracks.xy,
        visible=torch.zeros_like(video.tracks.visible),
        query_frame=video.tracks.query_frame,
    )
    record = asked[1]("first")(Shifting(), VideoSample(frames=video.frames, tracks=hidden, name="hidden"))
    assert record["predicted"].shape == (0, T, 2)


def test_a_tracker_that_answers_something_else_is_refused(video):
    class Short:
        def track(self, frames: list[Image], queries: Queries) -> Tracks:
            xy: Tensor = torch.zeros(1, len(frames), 2)
            return Tracks(
                xy=xy, visible=torch.ones(1, len(frames), dtype=torch.bool), query_frame=queries.frame[:1]
            )

    ask = TrackPredictor(tracker=lambda _: Short(), query_mode="first", raster=None)
    with pytest.raises(
        ShapeError, match=r"clip: expected tracks \[2 7 2\] from the tracker, got \[1, 7, 2\]"
    ):
        ask(Shifting(), video)


def test_pairs_and_rasters_that_are_none_are_refused(asked, video):
    image = video.frames[0]
    with pytest.raises(ConfigError, match="expected a video with tracks, got a pair"):
        asked[1]("first")(Shifting(), PairSample(image0=image, image1=image, name="pair"))
    with pytest.raises(ConfigError, match=r"expected a raster \[height, width\] or null, got \[256\]"):
        asked[1]("first", [256])


# --- dense correspondence --------------------------------------------------------------------------

SIZE0, SIZE1 = (12, 16), (20, 30)


SHIFT = (2.0, 1.0)


def shifted_field(confidence: Tensor | None = None) -> DenseField:
    """The truth: image 0 lies (2, 1) pixels into image 1."""
    x, y = torch.meshgrid(torch.arange(SIZE0[1]), torch.arange(SIZE0[0]), indexing="xy")
    grid = torch.stack(((2 * (x + 2) + 1) / SIZE1[1] - 1, (2 * (y + 1) + 1) / SIZE1[0] - 1))
    return DenseField(grid=grid[None], confidence=torch.ones(1, *SIZE0) if confidence is None else confidence)


def ramp(size: tuple[int, int]) -> Image:
    """Red grows by 1 / width per pixel, so that a wrong place has the wrong colour."""
    x, y = (identity_grid(size) + 1) / 2
    return Image(pixels=torch.stack((x, y, torch.full(size, 0.5))))


def pair(**truth: Any) -> PairSample:
    given: dict[str, Any] = {"dense0": shifted_field(), **truth}
    return PairSample(image0=ramp(SIZE0), image1=ramp(SIZE1), name="pair", category="cat", **given)


def test_a_perfect_answer_has_no_errors():
    record = DensePredictor(stride=1)(Shifting(SHIFT), pair())
    assert record.category == "cat"
    assert (record["size0"].tolist(), record["size1"].tolist()) == ([12, 16], [20, 30])
    assert len(record["xy0"]) == 12 * 16
    assert record["xy0"][:17].tolist() == [*([x, 0] for x in range(16)), [0, 1]]
    np.testing.assert_allclose(record["xy1"], record["xy0"] + [2, 1], atol=1e-5)
    np.testing.assert_allclose(record["predicted"], record["xy1"], atol=1e-5)
    np.testing.assert_allclose(record["warp_error"], 0, atol=1e-10)
    assert record["visible"].all()


def test_the_warp_error_is_the_squared_difference_of_the_colours_of_image_1():
    # Half a pixel too far to the right: red is 0.5 / 30 more there, away from the border.
    record = DensePredictor(stride=1)(Shifting(off=(2.5, 1.0)), pair())
    np.testing.assert_allclose(record["warp_error"], (0.5 / 30) ** 2, rtol=1e-3)


def test_places_beyond_image_1_are_black():
    record = DensePredictor(stride=1)(Shifting(off=(100.0, 1.0)), pair())
    x, y = record["xy1"].T
    colour = ((x + 0.5) / 30) ** 2 + ((y + 0.5) / 20) ** 2 + 0.25
    np.testing.assert_allclose(record["warp_error"], colour, rtol=1e-4)


def test_the_lattice_takes_every_stride_th_pixel_and_asks_in_chunks():
    matcher = Shifting(SHIFT)
    record = DensePredictor(stride=4, chunk=5)(matcher, pair())
    assert record["xy0"].tolist() == [[x, y] for y in (1, 5, 9) for x in (1, 5, 9, 13)]
    assert [len(xy) for xy in matcher.asked] == [5, 5, 2]
    assert record.facts["lattice"] == "every 4 px"


def test_only_the_known_foreground_is_asked_for():
    known = torch.ones(1, *SIZE0)
    known[0, :, :8] = 0
    mask = torch.zeros(SIZE0, dtype=torch.bool)
    mask[3] = True
    matcher = Shifting(SHIFT)
    record = DensePredictor(stride=1)(matcher, pair(dense0=shifted_field(known), mask0=mask))
    assert record["xy0"].tolist() == [[x, 3] for x in range(8, 16)]
    assert [len(xy) for xy in matcher.asked] == [8]


def test_what_is_unknown_does_not_reach_its_neighbours():
    """Official flow files hold huge numbers or NaN where nothing is known."""
    truth = shifted_field()
    grid, known = truth.grid.clone(), torch.ones(1, *SIZE0)
    grid[:, :, 5, 5], known[:, 5, 5] = torch.nan, 0
    grid[:, :, 7, 7], known[:, 7, 7] = 1e9, 0
    record = DensePredictor(stride=1)(Shifting(SHIFT), pair(dense0=DenseField(grid=grid, confidence=known)))
    assert len(record["xy0"]) == 12 * 16 - 2
    np.testing.assert_allclose(record["xy1"], record["xy0"] + [2, 1], atol=1e-5)


def test_a_field_of_lower_resolution_is_read_between_its_cells():
    whole = shifted_field()
    halved = DenseField(
        grid=torch.nn.functional.avg_pool2d(whole.grid, 2),
        confidence=torch.nn.functional.avg_pool2d(whole.confidence[:, None], 2)[:, 0],
    )
    record = DensePredictor(stride=1)(Shifting(SHIFT), pair(dense0=halved))
    assert len(record["xy0"]) == 12 * 16
    np.testing.assert_allclose(record["xy1"], record["xy0"] + [2, 1], atol=1e-4)


def test_a_pair_without_any_known_pixel_gives_an_empty_record():
    matcher = Shifting(SHIFT)
    record = DensePredictor(stride=1)(matcher, pair(mask0=torch.zeros(SIZE0, dtype=torch.bool)))
    assert record["predicted"].shape == (0, 2)
    assert record["warp_error"].shape == (0,)


def test_an_image_that_is_a_crop_answers_in_pixels_of_its_original():
    whole = Image(pixels=torch.nn.functional.pad(ramp(SIZE1).pixels, (7, 0, 3, 0)))
    part = crop(whole, x=7, y=3, size=SIZE1)
    sample = PairSample(image0=ramp(SIZE0), image1=part, dense0=shifted_field(), name="crop")
    record = DensePredictor(stride=1)(Shifting(off=(9.0, 4.0)), sample)
    np.testing.assert_allclose(record["xy1"], record["xy0"] + [9, 4], atol=1e-5)
    np.testing.assert_allclose(record["warp_error"], 0, atol=1e-10)


def test_what_has_no_dense_truth_is_refused():
    with pytest.raises(ConfigError, match="expected a pair with a dense ground truth"):
        DensePredictor(stride=1)(Shifting(SHIFT), pair(dense0=None))
    with pytest.raises(ShapeError, match="a mask of the size of image 0"):
        DensePredictor(stride=1)(Shifting(SHIFT), pair(mask0=torch.ones(3, 3, dtype=torch.bool)))
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        DensePredictor(stride=0)
