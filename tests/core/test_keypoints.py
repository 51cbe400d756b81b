"""Keypoints, matches and tracks: selection, order, and what they refuse."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from homolog.core.errors import ShapeError
from homolog.core.keypoints import Keypoints, Matches
from homolog.core.tracks import Queries, Tracks

SCORES = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), max_size=12)  # few values, many ties


def _keypoints(scores: list[float]) -> Keypoints:
    order = torch.arange(len(scores)).float()
    return Keypoints(
        xy=torch.stack((order, -order), dim=1),
        score=torch.tensor(scores).float(),
        descriptor=order[:, None],
        scale=order + 1,
        angle=order - 1,
    )


def _matches(scores: list[float]) -> Matches:
    order = torch.arange(len(scores)).float()
    return Matches(
        xy0=torch.stack((order, -order), dim=1),
        xy1=torch.stack((-order, order), dim=1),
        score=torch.tensor(scores).float(),
    )


@given(scores=SCORES, limit=st.none() | st.integers(0, 15))
def test_best_sorts_by_score_and_equal_scores_keep_their_order(
    scores: list[float], limit: int | None
) -> None:
    expected = sorted(range(len(scores)), key=lambda index: -scores[index])[:limit]  # Python's sort is stable
    assert _keypoints(scores).best(limit).xy[:, 0].tolist() == expected
    assert _matches(scores).best(limit).xy0[:, 0].tolist() == expected
    assert _matches(scores).best(limit).xy1[:, 1].tolist() == expected


@pytest.mark.parametrize("best", [lambda: _keypoints([1.0]).best(-1), lambda: _matches([1.0]).best(-1)])
def test_a_negative_limit_is_an_error(best: Callable[[], object]) -> None:
    with pytest.raises(ShapeError, match="expected a limit of 0 or more, got -1; None keeps everything"):
        best()


@given(scores=SCORES, data=st.data())
def test_selecting_keeps_all_parts_together(scores: list[float], data: st.DataObject) -> None:
    keep = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    mask, index = torch.tensor(keep, dtype=torch.bool), torch.tensor(keep, dtype=torch.bool).nonzero()[:, 0]
    for chosen in (_keypoints(scores).select(mask), _keypoints(scores).select(index)):
        assert chosen.descriptor is not None
        assert chosen.scale is not None
        assert chosen.angle is not None
        assert chosen.xy[:, 0].tolist() == chosen.descriptor[:, 0].tolist() == index.tolist()
        assert (chosen.scale - 1).tolist() == (chosen.angle + 1).tolist() == index.tolist()
        assert chosen.score.tolist() == [scores[i] for i in index.tolist()]
        assert len(chosen) == sum(keep)
    assert _matches(scores).select(mask).xy0[:, 0].tolist() == index.tolist()


def test_an_index_may_repeat_and_reorder() -> None:
    assert _matches([0.0, 1.0, 2.0]).select(torch.tensor([2, 0, 2])).score.tolist() == [2.0, 0.0, 2.0]


def test_swapping_twice_is_the_same_pairs() -> None:
    matches = _matches([1.0, 2.0])
    assert torch.equal(matches.swapped().xy0, matches.xy1)
    assert torch.equal(matches.swapped().swapped().xy1, matches.xy1)


def test_each_side_is_moved_by_its_own_map() -> None:
    moved = _matches([1.0, 2.0]).moved(lambda xy: xy + 1, lambda xy: xy * 10)
    assert moved.xy0.tolist() == [[1, 1], [2, 0]]
    assert moved.xy1.tolist() == [[0, 0], [-10, 10]]


def test_on_the_cpu_matches_are_float32_and_detached() -> None:
    xy = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    matches = Matches(xy0=xy, xy1=xy * 2, score=torch.ones(1, dtype=torch.float16)).cpu()
    assert {matches.xy0.dtype, matches.xy1.dtype, matches.score.dtype} == {torch.float32}
    assert not matches.xy1.requires_grad


def test_described_by_replaces_the_descriptor_only() -> None:
    keypoints = _keypoints([1.0, 2.0])
    described = keypoints.described_by(torch.zeros(2, 64))
    assert described.xy is keypoints.xy
    assert described.descriptor is not None
    assert described.descriptor.shape == (2, 64)


@pytest.mark.usefixtures("unchecked")
def test_parts_of_different_lengths_are_errors() -> None:
    with pytest.raises(
        ShapeError, match=r"Keypoints: expected parts of one length, got {'xy': 2, 'score': 3}"
    ):
        Keypoints(xy=torch.zeros(2, 2), score=torch.zeros(3))
    with pytest.raises(ShapeError, match="'descriptor': 1"):
        Keypoints(xy=torch.zeros(2, 2), score=torch.zeros(2), descriptor=torch.zeros(1, 4))
    with pytest.raises(ShapeError, match="Matches: expected parts of one length"):
        Matches(xy0=torch.zeros(2, 2), xy1=torch.zeros(1, 2), score=torch.zeros(2))
    with pytest.raises(ShapeError, match="Queries: expected one frame per point, got 2 xy, 3 frames"):
        Queries(xy=torch.zeros(2, 2), frame=torch.zeros(3, dtype=torch.long))
    with pytest.raises(
        ShapeError, match=r"Tracks: expected xy \[N T 2\], visible \[N T\], query_frame \[N\], got"
    ):
        Tracks(
            xy=torch.zeros(2, 4, 2),
            visible=torch.ones(2, 5, dtype=torch.bool),
            query_frame=torch.zeros(2, dtype=torch.long),
        )


def test_queries_are_the_points_on_their_query_frames() -> None:
    xy = torch.arange(2 * 3 * 2).float().reshape(2, 3, 2)
    tracks = Tracks(xy=xy, visible=torch.ones(2, 3, dtype=torch.bool), query_frame=torch.tensor([2, 0]))
    queries = tracks.queries()
    assert queries.xy.tolist() == [[4, 5], [6, 7]]
    assert queries.frame.tolist() == [2, 0]
    assert len(tracks) == 2


def test_no_tracks_have_no_queries() -> None:
    tracks = Tracks(
        xy=torch.zeros(0, 3, 2),
        visible=torch.ones(0, 3, dtype=torch.bool),
        query_frame=torch.zeros(0, dtype=torch.long),
    )
    assert tracks.queries().xy.shape == (0, 2)
