"""Thresholds, precision of matches, and calibration of confidence."""

import numpy as np
import pytest

from homolog.core.errors import ConfigError
from homolog.evaluators.precision import calibration, match_precision, mean_match_precision, within


def test_a_pair_without_matches_counts_as_none_right() -> None:
    errors = [np.array([0.5, 2.0]), np.zeros(0), np.array([1.0, np.nan])]
    assert match_precision(errors[1], [1, 3], comparison="<").tolist() == [0, 0]
    assert mean_match_precision(errors, [1, 3], comparison="<=") == pytest.approx([1 / 3, 0.5])
    assert mean_match_precision(errors, [1], comparison="<") == pytest.approx([1 / 6])
    assert np.isnan(mean_match_precision([], [1], comparison="<")).all()


def test_only_the_two_comparisons_exist():
    with pytest.raises((ConfigError, TypeError, Exception), match="<="):
        within(np.zeros(1), 1.0, "==")  # pyright: ignore[reportArgumentType]


def test_calibration_compares_confidence_with_how_often_it_was_right():
    sure = np.array([0.05, 0.15, 0.95, 1.0, 0.97])
    right = np.array([False, True, True, True, False])
    curve = calibration(sure, right, bins=10)
    np.testing.assert_allclose(curve.x, [0.05, 0.15, (0.95 + 1 + 0.97) / 3])
    np.testing.assert_allclose(curve.y, [0, 1, 2 / 3])


def test_an_honest_confidence_lies_on_the_diagonal():
    random = np.random.default_rng(0)
    sure = random.random(200_000)
    curve = calibration(sure, random.random(200_000) < sure)
    assert len(curve.x) == 10
    # The share of 20,000 answers strays by 0.0035 (one standard deviation) at most.
    np.testing.assert_allclose(curve.y, curve.x, atol=0.0175)


def test_confidence_beyond_one_and_no_bins_are_refused():
    with pytest.raises(ValueError, match="confidence in"):
        calibration(np.array([1.5]), np.array([True]))
    with pytest.raises(ConfigError, match="at least 1 bin"):
        calibration(np.array([0.5]), np.array([True]), bins=0)


def test_nothing_at_all_is_an_empty_curve():
    curve = calibration(np.zeros(0), np.zeros(0, dtype=bool))
    assert curve.x.shape == curve.y.shape == (0,)
