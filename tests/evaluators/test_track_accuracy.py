"""PCK of tracks, by hand and against counting."""

import numpy as np
import pytest

from homolog.core.errors import ShapeError
from homolog.evaluators.tracking import tracks_pck


def test_four_frames_by_hand():
    # Side 100, alpha 0.05: 5 px. The third track is not seen on the first frame and never counts.
    visible = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [0, 1, 1, 1]], dtype=bool)
    error = np.array([[9, 5, 5.1, 0], [9, 99, 0, 0], [9, 99, 99, 99]])
    xy = np.zeros((3, 4, 2))
    predicted = np.stack((error, np.zeros_like(error)), axis=-1)
    shares = tracks_pck(
        visible=visible, xy=xy, predicted=predicted, side=100.0, alphas=[0.05, 0.1], comparison="<="
    )
    np.testing.assert_array_equal(shares, [[1, 0.5, np.nan], [1, 1, np.nan]])
    strict = tracks_pck(
        visible=visible, xy=xy, predicted=predicted, side=100.0, alphas=[0.05], comparison="<"
    )
    np.testing.assert_array_equal(strict, [[0, 0.5, np.nan]])


def test_a_place_that_is_not_a_number_is_not_found():
    visible = np.ones((1, 2), dtype=bool)
    predicted = np.full((1, 2, 2), np.nan)
    shares = tracks_pck(
        visible=visible, xy=np.zeros((1, 2, 2)), predicted=predicted, side=1.0, alphas=[0.1], comparison="<="
    )
    assert shares.tolist() == [[0]]


def test_no_tracks_leave_every_frame_without_a_number():
    shares = tracks_pck(
        visible=np.zeros((0, 3), dtype=bool),
        xy=np.zeros((0, 3, 2)),
        predicted=np.zeros((0, 3, 2)),
        side=1.0,
        alphas=[0.1],
        comparison="<=",
    )
    assert shares.shape == (1, 2)
    assert np.isnan(shares).all()


def test_arrays_that_do_not_belong_together_are_refused():
    with pytest.raises((ShapeError, TypeError)):  # jaxtyping sees it first
        tracks_pck(
            visible=np.ones((1, 2), dtype=bool),
            xy=np.zeros((1, 3, 2)),
            predicted=np.zeros((1, 3, 2)),
            side=1.0,
            alphas=[0.1],
            comparison="<",
        )
