"""Geometric verification of matches whose ground truth is known."""

import numpy as np
import pytest

from homolog.core.errors import ConfigError
from homolog.evaluators.verification import default_threshold, verify

HOMOGRAPHY = np.array([[0.9, -0.1, 40.0], [0.12, 1.05, -20.0], [1e-4, -5e-5, 1.0]])


def flat_scene(count: int, wrong: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    xy0 = random.uniform(0, 500, (count, 2))
    at = np.hstack((xy0, np.ones((count, 1)))) @ HOMOGRAPHY.T
    xy1 = at[:, :2] / at[:, 2:] + random.normal(0, 0.2, (count, 2))
    right = np.arange(count) >= wrong
    xy1[~right] += random.choice([-1, 1], (wrong, 2)) * random.uniform(30, 200, (wrong, 2))
    return xy0.astype(np.float32), xy1.astype(np.float32), right


def deep_scene(count: int, wrong: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    points = random.uniform((-2, -2, 4), (2, 2, 9), (count, 3))
    K = np.array([[500.0, 0, 319.5], [0, 500, 239.5], [0, 0, 1]])
    angle = 0.2
    R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    t = np.array([1.0, 0.2, 0.1])
    seen0, seen1 = points @ K.T, (points @ R.T + t) @ K.T
    xy0, xy1 = seen0[:, :2] / seen0[:, 2:], seen1[:, :2] / seen1[:, 2:]
    right = np.arange(count) >= wrong
    xy1[~right] += random.choice([-1, 1], (wrong, 2)) * random.uniform(60, 200, (wrong, 2))
    cross = np.array([[0, -t[2], t[1]], [t[2], 0, -t[0]], [-t[1], t[0], 0]])
    F = np.linalg.inv(K).T @ cross @ R @ np.linalg.inv(K)
    return xy0.astype(np.float32), xy1.astype(np.float32), right, F


def test_a_homography_finds_exactly_the_right_matches_and_the_right_model():
    xy0, xy1, right = flat_scene(200, 60)
    found = verify(xy0, xy1, check="homography", threshold=2.0)
    np.testing.assert_array_equal(found.inlier, right)
    assert found.model is not None
    np.testing.assert_allclose(found.model / found.model[2, 2], HOMOGRAPHY, rtol=0.02, atol=0.6)
    assert found.note == ""


def test_a_fundamental_matrix_maps_points_of_image_0_to_lines_of_image_1():
    xy0, xy1, right, truth = deep_scene(200, 50)
    found = verify(xy0, xy1, check="fundamental", threshold=1.0)
    assert found.inlier[right].all()
    # A wrong match may lie on the right line by chance.
    assert found.inlier[~right].mean() < 0.1
    assert found.model is not None
    model = found.model / np.linalg.norm(found.model)
    expected = truth / np.linalg.norm(truth) * np.sign((truth * model).sum())
    np.testing.assert_allclose(model, expected, atol=1e-3)


def test_equal_matches_give_equal_results():
    xy0, xy1, _, _ = deep_scene(100, 40)
    first, second = (verify(xy0, xy1, check="fundamental", threshold=1.0) for _ in range(2))
    np.testing.assert_array_equal(first.inlier, second.inlier)
    np.testing.assert_array_equal(first.model, second.model)


@pytest.mark.parametrize(("check", "count"), [("fundamental", 7), ("homography", 4), ("fundamental", 0)])
def test_too_few_matches_give_no_model_and_only_outliers(check, count: int):
    xy0, xy1, _ = flat_scene(count, 0)
    found = verify(xy0, xy1, check=check, threshold=2.0)
    assert found.model is None
    assert not found.inlier.any()
    assert found.inlier.shape == (count,)
    assert (
        found.note == f"too few matches for a {check} check: {count} of at least {count + 1 if count else 8}"
    )


def test_matches_that_agree_on_nothing_give_no_homography():
    random = np.random.default_rng(0)
    xy0, xy1 = (random.uniform(0, 500, (12, 2)).astype(np.float32) for _ in range(2))
    found = verify(xy0, xy1, check="homography", threshold=1.0)
    assert found.model is None
    assert not found.inlier.any()
    assert "no homography model" in found.note


def test_without_a_check_every_match_is_an_inlier():
    found = verify(np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32), check="none", threshold=1.0)
    assert found.inlier.all()
    assert found.model is None


def test_the_default_threshold_grows_with_the_longer_side():
    assert default_threshold((480, 640), (100, 100)) == pytest.approx(1.92)
    assert default_threshold((480, 640), (4000, 100)) == pytest.approx(12.0)


def test_matches_that_are_not_finite_are_outliers():
    xy0, xy1, right = flat_scene(200, 60)
    xy0[100], xy1[120] = np.nan, np.inf
    found = verify(xy0, xy1, check="homography", threshold=2.0)
    right[[100, 120]] = False
    np.testing.assert_array_equal(found.inlier, right)


def test_an_unsupported_poselib_or_threshold_is_an_error(monkeypatch: pytest.MonkeyPatch):
    xy0, xy1, _ = flat_scene(20, 0)
    with pytest.raises(ConfigError, match="threshold above 0"):
        verify(xy0, xy1, check="homography", threshold=0.0)
    monkeypatch.setattr("poselib.__version__", "3.0.0")
    with pytest.raises(ConfigError, match=r"expected PoseLib 2\.0\.5, got 3\.0\.0"):
        verify(xy0, xy1, check="homography", threshold=2.0)
