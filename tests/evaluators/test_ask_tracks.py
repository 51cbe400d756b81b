"""Asking for tracks: what the tracker is handed, and what the record keeps."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from homolog.core.errors import ConfigError, ShapeError
from homolog.core.image import Image
from homolog.core.protocols import ImageLike
from homolog.core.samples import PairSample, VideoSample
from homolog.core.tracks import Queries, Tracks
from homolog.evaluators.benchmark import Predictor
from homolog.evaluators.predictors import TrackPredictor

T = 7
SIZE = (30, 60)


class NoMatcher:
    """The tracker of these tests needs none."""

    def match(self, image0: ImageLike, image1: ImageLike):
        raise AssertionError("nobody should ask")


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
def sample() -> VideoSample:
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

    def make(mode, raster=None) -> TrackPredictor:
        return TrackPredictor(tracker=lambda _: oracle, mode=mode, raster=raster)

    return oracle, make


def test_it_is_a_predictor(asked):
    assert isinstance(asked[1]("first"), Predictor)


@pytest.mark.parametrize("raster", [None, [256, 256], [90, 60]])
def test_tracks_come_back_in_pixels_of_the_original_video(asked, sample, raster):
    oracle, make = asked
    record = make("first", raster)(NoMatcher(), sample)
    assert record.name == "clip"
    assert record["size"].tolist() == [30, 60]
    assert record["track"].tolist() == [0, 1]
    assert record["query_frame"].tolist() == [0, 2]
    np.testing.assert_allclose(record["predicted"], record["xy"], atol=1e-4)
    np.testing.assert_array_equal(record["xy"], sample.tracks.xy[:2].numpy())
    np.testing.assert_array_equal(record["visible"], sample.tracks.visible[:2].numpy())
    assert record["predicted_visible"][1].tolist() == [False, False, True, True, True, True, True]
    ((frames, _),) = oracle.seen
    assert {image.size for image in frames} == {SIZE if raster is None else tuple(raster)}


def test_queries_are_asked_for_in_pixels_of_the_frames_that_the_tracker_sees(asked, sample):
    oracle, make = asked
    make("first", [60, 120])(NoMatcher(), sample)
    ((frames, queries),) = oracle.seen
    # Twice as large: (x + 0.5) * 2 - 0.5.
    assert queries.xy.tolist() == [[20.5, 10.5], [45.5, 15.0]]
    assert all(torch.equal(image.to_original, Image(pixels=image.pixels).to_original) for image in frames)


def test_strided_queries_ask_for_a_track_several_times(asked, sample):
    record = asked[1]("strided")(NoMatcher(), sample)
    assert record["track"].tolist() == [0, 0, 1]
    assert record["query_frame"].tolist() == [0, 5, 5]
    assert record["xy"].shape == record["predicted"].shape == (3, T, 2)
    assert record.facts == {"queries": "strided", "raster": "as they are"}


def test_initial_queries_are_those_seen_on_the_first_frame(asked, sample):
    record = asked[1]("initial", [256, 256])(NoMatcher(), sample)
    assert record["track"].tolist() == [0]
    assert record.facts == {"queries": "initial", "raster": "256 x 256"}


def test_a_video_in_which_nothing_is_seen_gives_an_empty_record(asked, sample):
    hidden = Tracks(
        xy=sample.tracks.xy,
        visible=torch.zeros_like(sample.tracks.visible),
        query_frame=sample.tracks.query_frame,
    )
    record = asked[1]("first")(NoMatcher(), VideoSample(frames=sample.frames, tracks=hidden, name="hidden"))
    assert record["predicted"].shape == (0, T, 2)


def test_a_tracker_that_answers_something_else_is_refused(sample):
    class Short:
        def track(self, frames: list[Image], queries: Queries) -> Tracks:
            xy: Tensor = torch.zeros(1, len(frames), 2)
            return Tracks(
                xy=xy, visible=torch.ones(1, len(frames), dtype=torch.bool), query_frame=queries.frame[:1]
            )

    ask = TrackPredictor(tracker=lambda _: Short(), mode="first", raster=None)
    with pytest.raises(ShapeError, match=r"clip: expected tracks \[2 7 2\] of the tracker, got \[1, 7, 2\]"):
        ask(NoMatcher(), sample)


def test_pairs_and_rasters_that_are_none_are_refused(asked, sample):
    image = sample.frames[0]
    with pytest.raises(ConfigError, match="expected a video with tracks, got a pair"):
        asked[1]("first")(NoMatcher(), PairSample(image0=image, image1=image, name="pair"))
    with pytest.raises(ConfigError, match=r"expected a raster \[height, width\] or null, got \[256\]"):
        asked[1]("first", [256])
