"""TAP-Vid's scores by hand, and what holds for any tracks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homolog.core.errors import ShapeError
from homolog.evaluators.tracking import THRESHOLDS, EvaluatedFrames, TapVidScores, sample_queries, tapvid


def one_track(
    visible: str,
    said: str,
    off: list[float],
    *,
    query: float = 0,
    mode: str = "first",
    per_track: bool = False,
) -> TapVidScores:
    """A track that stands still at (50, 60) and is found `off` pixels to the right; V is visible."""
    xy = np.tile(np.array([50.0, 60.0]), (1, len(visible), 1))
    predicted = xy + np.stack((np.array(off), np.zeros(len(off))), axis=-1)
    return tapvid(
        query_frame=np.array([query]),
        visible=np.array([[letter == "V" for letter in visible]]),
        xy=xy,
        predicted_visible=np.array([[letter == "V" for letter in said]]),
        predicted=predicted,
        mode=mode,  # pyright: ignore[reportArgumentType]
        per_track=per_track,
    )


def test_three_frames_by_hand():
    # Frame 1: found at 1.5 px. Frame 2: found at 3 px, but said to be hidden. Frame 3: hidden, said to be visible.
    scores = one_track("VVV-", "VV-V", [0, 1.5, 3, 0])
    assert scores.occlusion_accuracy == pytest.approx(1 / 3)
    assert scores.within.tolist() == pytest.approx([0, 1 / 2, 1, 1, 1])
    # Two truly visible; one false positive, and at 1 px a second one, which was said to be visible but is too far.
    assert scores.jaccard.tolist() == pytest.approx([0 / 4, 1 / 3, 1 / 3, 1 / 3, 1 / 3])
    assert scores.average_jaccard == pytest.approx(4 / 15)
    assert scores.average_within == pytest.approx(0.7)


def test_first_scores_later_frames_and_strided_all_but_the_query():
    later = one_track("VVVV", "-VVV", [9, 0, 0, 9], query=1, mode="first")
    others = one_track("VVVV", "-VVV", [9, 0, 0, 9], query=1, mode="strided")
    assert later.occlusion_accuracy == 1
    assert others.occlusion_accuracy == pytest.approx(2 / 3)
    assert later.within[0] == 1 / 2
    assert others.within[0] == pytest.approx(1 / 3)


def test_what_is_said_of_the_query_frame_does_not_count():
    assert one_track("VV", "-V", [100, 0]).average_jaccard == 1


def test_an_error_of_exactly_the_threshold_is_outside():
    assert one_track("VV", "VV", [0, 4]).within.tolist() == [0, 0, 0, 1, 1]


def test_a_place_that_is_not_finite_is_found_at_no_threshold():
    scores = one_track("VVVV", "VVVV", [0, np.nan, np.inf, 1e300])
    assert scores.within.tolist() == [0] * 5
    assert scores.jaccard.tolist() == [0] * 5


def test_a_video_without_frames_to_score_has_no_numbers():
    scores = one_track("VV", "VV", [0, 0], query=1)
    assert np.isnan([scores.occlusion_accuracy, scores.average_jaccard, scores.average_within]).all()


def test_tracks_on_their_own_are_the_videos_of_one_track():
    alone = one_track("VVV-", "VV-V", [0, 1.5, 3, 0], per_track=True)
    assert alone.jaccard.shape == (5, 1)
    assert alone.average_jaccard.tolist() == pytest.approx([4 / 15])


@pytest.mark.parametrize("frame", [-1, 2, 5])
def test_a_query_beside_the_video_is_refused(frame: int):
    with pytest.raises(ShapeError, match="query frames from 0 to 1"):
        one_track("VV", "VV", [0, 0], query=frame)


def test_an_unknown_mode_is_refused():
    with pytest.raises(Exception, match="first"):  # beartype's or ours, by who looks first
        one_track("VV", "VV", [0, 0], mode="last")


MODES: tuple[EvaluatedFrames, ...] = ("first", "strided")


@given(st.integers(0, 2**31 - 1), st.sampled_from(MODES))
def test_scores_agree_with_counting_one_point_after_the_other(seed: int, mode: EvaluatedFrames):
    random = np.random.default_rng(seed)
    tracks, frames = random.integers(1, 5), random.integers(2, 7)
    visible, said = random.random((2, tracks, frames)) < 0.6
    query = random.integers(0, frames, tracks)
    xy = random.random((tracks, frames, 2)) * 30
    predicted = xy + random.normal(size=xy.shape) * 5
    scores = tapvid(
        query_frame=query, visible=visible, xy=xy, predicted_visible=said, predicted=predicted, mode=mode
    )
    for row, threshold in enumerate(THRESHOLDS):
        hit = true_positive = positive = false_positive = 0
        for n in range(tracks):
            for t in range(frames):
                if t == query[n] or (mode == "first" and t < query[n]):
                    continue
                near = float(np.hypot(*(predicted[n, t] - xy[n, t]))) < threshold
                positive += int(visible[n, t])
                hit += int(visible[n, t] and near)
                true_positive += int(visible[n, t] and near and said[n, t])
                false_positive += int(said[n, t] and not (visible[n, t] and near))
        expected = hit / positive if positive else np.nan
        whole = positive + false_positive
        np.testing.assert_allclose(scores.within[row], expected)
        np.testing.assert_allclose(scores.jaccard[row], true_positive / whole if whole else np.nan)
    assert (np.diff(scores.within) >= 0).all() or np.isnan(scores.within).all()


# --- queries --------------------------------------------------------------------------------------

SEEN = np.array([[True, False, True, True, True, True], [False] * 6, [False, True, True, True, True, False]])


def test_the_first_visible_frame_of_each_track_that_is_ever_seen():
    track, frame = sample_queries(SEEN, mode="first")
    assert (track.tolist(), frame.tolist()) == ([0, 2], [0, 1])


def test_every_fifth_frame_asks_for_whatever_is_seen_there():
    track, frame = sample_queries(SEEN, mode="strided")
    assert (track.tolist(), frame.tolist()) == ([0, 0], [0, 5])


def test_only_the_first_frame():
    track, frame = sample_queries(SEEN, mode="initial")
    assert (track.tolist(), frame.tolist()) == ([0], [0])


@pytest.mark.parametrize("mode", ["first", "strided", "initial"])
def test_nothing_that_is_ever_seen_gives_no_queries(mode):
    for empty in (np.zeros((3, 4), dtype=bool), np.zeros((0, 4), dtype=bool)):
        track, frame = sample_queries(empty, mode=mode)
        assert track.shape == frame.shape == (0,)


def test_other_rules_and_shapes_are_refused():
    with pytest.raises(Exception, match="strided"):
        sample_queries(SEEN, mode="last")  # pyright: ignore[reportArgumentType]
