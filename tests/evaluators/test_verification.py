"""The geometric check, against matches of which the truth is known."""

import numpy as np
import pytest

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
    verdict = verify(xy0, xy1, check="homography", threshold=2.0)
    np.testing.assert_array_equal(verdict.inlier, right)
    assert verdict.model is not None
    np.testing.assert_allclose(verdict.model / verdict.model[2, 2], HOMOGRAPHY, rtol=0.02, atol=0.6)
    assert verdict.note == ""


def test_a_fundamental_matrix_maps_points_of_image_0_to_lines_of_image_1():
    xy0, xy1, right, truth = deep_scene(200, 50)
    verdict = verify(xy0, xy1, check="fundamental", threshold=1.0)
    assert verdict.inlier[right].all()
    # A wrong match may lie on the right line by chance.
    assert verdict.inlier[~right].mean() < 0.1
    assert verdict.model is not None
    model = verdict.model / np.linalg.norm(verdict.model)
    expected = truth / np.linalg.norm(truth) * np.sign((truth * model).sum())
    np.testing.assert_allclose(model, expected, atol=1e-3)


def test_the_same_matches_get_the_same_verdict():
    xy0, xy1, _, _ = deep_scene(100, 40)
    first, second = (verify(xy0, xy1, check="fundamental", threshold=1.0) for _ in range(2))
    np.testing.assert_array_equal(first.inlier, second.inlier)
    np.testing.assert_array_equal(first.model, second.model)


@pytest.mark.parametrize(("check", "count"), [("fundamental", 7), ("homography", 4), ("fundamental", 0)])
def test_too_few_matches_give_no_model_and_only_outliers(check, count: int):
    xy0, xy1, _ = flat_scene(count, 0)
    verdict = verify(xy0, xy1, check=check, threshold=2.0)
    assert verdict.model is None
    assert not verdict.inlier.any()
    assert verdict.inlier.shape == (count,)
    assert (
        verdict.note
        == f"too few matches for a {check} check: {count} of at least {count + 1 if count else 8}"
    )


def test_matches_that_agree_on_nothing_give_no_homography():
    random = np.random.default_rng(0)
    xy0, xy1 = (random.uniform(0, 500, (12, 2)).astype(np.float32) for _ in range(2))
    verdict = verify(xy0, xy1, check="homography", threshold=1.0)
    assert verdict.model is None
    assert not verdict.inlier.any()
    assert "no homography model" in verdict.note


def test_without_a_check_everything_stays():
    verdict = verify(np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32), check="none", threshold=1.0)
    assert verdict.inlier.all()
    assert verdict.model is None


def test_the_default_tolerance_grows_with_the_longer_side():
    assert default_threshold((480, 640), (100, 100)) == pytest.approx(1.92)
    assert default_threshold((480, 640), (4000, 100)) == pytest.approx(12.0)
