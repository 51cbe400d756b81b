"""Ground-truth matches by hand, and precision and recall over records."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homolog.core.errors import ConfigError, ShapeError
from homolog.evaluators.ground_truth_matches import (
    IGNORED,
    UNMATCHED,
    MatchPrecisionProtocol,
    count_matches,
    homography_matches,
    match_indices,
)
from homolog.evaluators.records import Record

SHIFT = np.array([[1.0, 0, 10], [0, 1, 0], [0, 0, 1]])


def test_labels_by_hand() -> None:
    # Shifted by 10: the first two truly match, the third is 4 px off (ignored), the fourth far from all.
    keypoints0 = np.array([[0.0, 0], [50, 0], [100, 0], [200, 0]])
    keypoints1 = np.array([[60.0, 1], [10, 0], [110, 4], [400, 0]])
    labels0, labels1 = homography_matches(keypoints0, keypoints1, SHIFT, positive=3, negative=5)
    assert labels0.tolist() == [1, 0, IGNORED, UNMATCHED]
    assert labels1.tolist() == [1, 0, IGNORED, UNMATCHED]
    # One right, one wrong; what is said of the ignored one does not count, the unmatched one is wrong.
    counts = count_matches(np.array([1, 3, 2, 3]), labels0)
    assert (counts.correct, counts.predicted, counts.true) == (1, 3, 2)
    assert (counts.precision, counts.recall) == (1 / 3, 1 / 2)
    silent = count_matches(np.full(4, -1), labels0)
    assert (silent.precision, silent.recall) == (0, 0)


def test_a_partner_has_to_be_the_nearest_both_ways() -> None:
    labels0, labels1 = homography_matches(
        np.array([[0.0, 0], [1, 0]]), np.array([[11.0, 0]]), SHIFT, positive=3, negative=5
    )
    assert labels0.tolist() == [IGNORED, 0]
    assert labels1.tolist() == [1]


def test_no_keypoints_have_no_partner() -> None:
    labels0, labels1 = homography_matches(np.zeros((0, 2)), np.zeros((2, 2)), SHIFT, positive=3, negative=5)
    assert labels0.tolist() == []
    assert labels1.tolist() == [UNMATCHED, UNMATCHED]
    with pytest.raises(ConfigError, match="0 < positive <= negative, got 6 and 5"):
        homography_matches(np.zeros((1, 2)), np.zeros((2, 2)), SHIFT, positive=6, negative=5)


@given(st.integers(0, 2**32 - 1))
def test_partners_are_partners_of_each_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    keypoints0, keypoints1 = (rng.uniform(0, 60, (count, 2)) for count in rng.integers(1, 40, 2))
    labels0, labels1 = homography_matches(keypoints0, keypoints1, SHIFT, positive=3, negative=5)
    for row, partner in enumerate(labels0):
        assert partner < 0 or labels1[partner] == row
    assert (labels0 >= 0).sum() == (labels1 >= 0).sum()


def test_matched_points_are_found_among_the_keypoints() -> None:
    keypoints = np.array([[0.0, 0], [5, 5], [9, 9]])
    assert match_indices(keypoints, keypoints[[2, 0]] + 1e-4).tolist() == [2, 0]
    assert match_indices(keypoints, np.zeros((0, 2))).tolist() == []
    with pytest.raises(ShapeError, match="matcher that does not refine its keypoints"):
        match_indices(keypoints, np.array([[5.0, 5.4]]))
    with pytest.raises(ShapeError, match="no keypoints"):
        match_indices(np.zeros((0, 2)), keypoints)


def precision_record(**more: Any) -> Record:
    keypoints0 = np.array([[10.0, 10], [50, 10], [100, 10], [200, 10]])
    shift = np.array([[1.0, 0, 10], [0, 1, 0], [0, 0, 1]])
    # Two true pairs, one 4 px off, one far away.
    keypoints1 = keypoints0 + np.array([[10, 0], [10, 0], [10, 4], [300, 0]])
    arrays: dict[str, Any] = {"keypoints0": keypoints0, "keypoints1": keypoints1, "H": shift}
    arrays |= {"size0": (480, 640), "size1": (480, 640)}
    arrays |= {"match0": keypoints0, "match1": keypoints1, "score": [0.9, 0.2, 0.8, 0.7], **more}
    return Record(name="pair", arrays={key: np.array(part) for key, part in arrays.items()})


def test_precision_and_recall_ignore_the_band_in_between(value: Any) -> None:
    protocol = MatchPrecisionProtocol(name="test/sh", positive=3, negative=5, working_size=None)
    scored = protocol.score([precision_record()])
    # Right: two. The one 4 px off does not count, the far one is wrong.
    assert value(scored, "precision") == pytest.approx(2 / 3)
    assert value(scored, "recall") == 1
    assert scored.per_sample["right matches"].tolist() == [2]
    curve = scored.curves["precision over recall"]
    assert curve.y == pytest.approx([1, 1 / 2, 2 / 3])  # right, wrong, right, by score
    assert curve.x == pytest.approx([0.5, 0.5, 1])


def test_the_best_match_of_a_keypoint_counts_and_none_is_nothing_right(value: Any) -> None:
    protocol = MatchPrecisionProtocol(name="test/sh", positive=3, negative=5, working_size=None)
    record = precision_record()
    twice = precision_record(
        match0=record["match0"][[0, 0]], match1=record["match1"][[0, 1]], score=[0.9, 0.1]
    )
    none = precision_record(match0=np.zeros((0, 2)), match1=np.zeros((0, 2)), score=[])
    scored = protocol.score([twice, none])
    assert scored.per_sample["precision"].tolist() == [1, 0]
    assert scored.per_sample["recall"].tolist() == [0.5, 0]
    assert value(scored, "precision of all matches") == 1
    assert value(scored, "recall of all matches") == 0.25
    assert value(protocol.score([record]), "matches per pair") == 4


def test_precision_needs_keypoints(flat: Any) -> None:
    protocol = MatchPrecisionProtocol(name="test/sh", positive=3, negative=5, working_size=None)
    with pytest.raises(ShapeError, match="expected a record with keypoints0"):
        protocol.score([flat()])
    with pytest.raises(ShapeError, match="does not refine its keypoints"):
        protocol.score([precision_record(match0=precision_record()["match0"] + 0.5)])
    with pytest.raises(ConfigError, match="0 < positive <= negative"):
        MatchPrecisionProtocol(name="x", positive=5, negative=3, working_size=None)
