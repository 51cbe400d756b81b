"""Pose, epipolar, homography and affine metrics against numbers worked out by hand, and what always holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homolog.core.errors import ConfigError, ShapeError
from homolog.evaluators.affine import affine_error, affine_pck
from homolog.evaluators.auc import best_mean_auc, pose_accuracy, pose_auc
from homolog.evaluators.fundamental import (
    EpipolarDistance,
    essential_matrix,
    on_normalised_plane,
    symmetric_epipolar_distance,
)
from homolog.evaluators.ground_truth_matches import (
    IGNORED,
    UNMATCHED,
    count_matches,
    homography_matches,
    match_indices,
)
from homolog.evaluators.homography import (
    apply_homography,
    corner_error,
    fit_homography,
    symmetric_transfer_error,
    transfer_error,
)
from homolog.evaluators.pose import pose_error, rotation_error, translation_error
from homolog.evaluators.precision import match_precision, mean_match_precision

X, Y, Z = np.eye(3)
SHIFT = np.array([[1.0, 0, 10], [0, 1, 0], [0, 0, 1]])
ERRORS = st.lists(st.floats(0, 40) | st.just(np.inf) | st.just(np.nan), min_size=1, max_size=30).map(np.array)


# --- poses --------------------------------------------------------------------------------------


def about_z(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


@pytest.mark.parametrize("degrees", [0.5, 30, 90, 179])
def test_a_rotation_error_is_the_angle_between_them(degrees: float) -> None:
    assert rotation_error(about_z(degrees) @ about_z(11), about_z(11)) == pytest.approx(degrees)
    assert rotation_error(about_z(-degrees), np.eye(3)) == pytest.approx(degrees)


def test_the_opposite_translation_is_no_error() -> None:
    assert translation_error(3 * X, -5 * X, zero_translation="failure") == pytest.approx(0)
    assert translation_error(X + Y, X, zero_translation="failure") == pytest.approx(45)
    assert translation_error(Y - X, X, zero_translation="failure") == pytest.approx(45)


@pytest.mark.usefixtures("unchecked")
def test_a_translation_without_length_costs_what_the_protocol_says() -> None:
    for t, truth in ((0 * X, X), (X, 0 * X)):
        assert translation_error(t, truth, zero_translation="failure") == np.inf
        assert translation_error(t, truth, zero_translation="perpendicular") == 90
    assert translation_error(X, 1e-4 * Y, zero_translation="failure", ignore_shorter=1e-3) == 0
    with pytest.raises(ConfigError, match="failure or perpendicular, got 'nan'"):
        translation_error(X, X, zero_translation="nan")  # pyright: ignore[reportArgumentType]


def test_a_pose_that_is_no_number_is_infinitely_far() -> None:
    nothing = np.full((3, 3), np.nan)
    assert pose_error(nothing, nothing[0], np.eye(3), X, zero_translation="failure") == (np.inf, np.inf)


# --- areas and shares ---------------------------------------------------------------------------


def test_auc_is_the_area_under_the_line_through_the_recalls() -> None:
    # (0, 0), (1, 1/2), (3, 1), then level to 4: areas 1/4, 3/2 and 1, of 4.
    assert pose_auc(np.array([3.0, 1.0]), [4], rounding="exact")[0] == pytest.approx((0.25 + 1.5 + 1) / 4)
    # Up to 3 the second one, on the threshold, is out: (1, 1/2), then level.
    assert pose_auc(np.array([3.0, 1.0]), [3], rounding="exact")[0] == pytest.approx((0.25 + 1) / 3)
    assert pose_auc(np.array([3.0, 1.0]), [3], rounding="4 decimals")[0] == 0.4167


def test_edge_cases_of_auc_and_accuracy() -> None:
    failed = np.array([np.inf, np.nan])
    assert pose_auc(failed, [5], rounding="exact") == [0]
    assert pose_accuracy(failed, [5], comparison="<=") == [0]
    assert np.isnan(pose_auc(np.zeros(0), [5, 10], rounding="exact")).tolist() == [True, True]
    assert np.isnan(pose_accuracy(np.zeros(0), [5, 10], comparison="<")).all()
    assert pose_auc(np.zeros(3), [5], rounding="exact") == [1]
    assert pose_accuracy(np.array([5.0]), [5], comparison="<") == [0]
    assert pose_accuracy(np.array([5.0]), [5], comparison="<=") == [1]


@pytest.mark.usefixtures("unchecked")
def test_what_makes_no_sense_is_refused() -> None:
    some = np.ones(2)
    with pytest.raises(ConfigError, match="thresholds above 0"):
        pose_auc(some, [0, 5], rounding="exact")
    with pytest.raises(ConfigError, match="rounding exact or '4 decimals', got '2'"):
        pose_auc(some, [5], rounding="2")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ShapeError, match="errors of 0 or more, got -1"):
        pose_auc(-some, [5], rounding="exact")
    with pytest.raises(ConfigError, match="at least one setting"):
        best_mean_auc({}, [5], rounding="exact")


def test_the_first_of_equally_good_thresholds_is_the_best() -> None:
    errors = {0.5: np.array([9.0]), 1.0: np.array([1.0]), 1.5: np.array([1.0])}
    assert best_mean_auc(errors, [5, 10], rounding="exact") == 1.0


@given(ERRORS)
def test_auc_depends_on_no_order_and_lies_below_the_recall_at_its_threshold(errors: np.ndarray) -> None:
    areas = pose_auc(errors, [5, 10, 20], rounding="exact")
    np.testing.assert_array_equal(pose_auc(errors[::-1], [5, 10, 20], rounding="exact"), areas)
    recall = pose_accuracy(errors, [5, 10, 20], comparison="<")
    assert (areas >= 0).all()
    assert (areas <= recall + 1e-12).all()


@given(ERRORS)
def test_auc_is_the_integral_of_the_interpolated_recall(errors: np.ndarray) -> None:
    # A slow twin: the mean of the curve, read at many places.
    known = np.sort(np.where(np.isnan(errors), np.inf, errors))
    below = known[known < 10]
    x = np.concatenate(([0], below, [10]))
    y = np.concatenate(([0], np.arange(1, len(below) + 1), [len(below)])) / len(errors)
    reached = sum((b - a) * (f + g) / 2 for a, b, f, g in zip(x, x[1:], y, y[1:], strict=False))
    assert pose_auc(errors, [10], rounding="exact")[0] == pytest.approx(reached / 10)


def test_a_pair_without_matches_counts_as_none_right() -> None:
    errors = [np.array([0.5, 2.0]), np.zeros(0), np.array([1.0, np.nan])]
    assert match_precision(errors[1], [1, 3], comparison="<").tolist() == [0, 0]
    assert mean_match_precision(errors, [1, 3], comparison="<=") == pytest.approx([1 / 3, 0.5])
    assert mean_match_precision(errors, [1], comparison="<") == pytest.approx([1 / 6])
    assert np.isnan(mean_match_precision([], [1], comparison="<")).all()


# --- epipolar geometry --------------------------------------------------------------------------


def test_epipolar_distances_of_cameras_side_by_side_are_differences_of_height() -> None:
    E = essential_matrix(np.eye(3), X)
    xy0, xy1 = np.array([[0.1, 0.2], [0.3, 0.0]]), np.array([[0.7, 0.2], [0.9, 0.3]])
    wanted: dict[EpipolarDistance, float] = {
        "squared sum": 0.18,
        "mean": 0.3,
        "root of squared sum": np.sqrt(0.18),
    }
    for definition, distance in wanted.items():
        found = symmetric_epipolar_distance(xy0, xy1, E, definition=definition)
        assert found == pytest.approx([0, distance])


@pytest.mark.usefixtures("unchecked")
def test_a_match_without_an_epipolar_line_is_infinitely_far() -> None:
    E = essential_matrix(np.eye(3), Z)  # the epipole is (0, 0) in both images
    here = np.zeros((1, 2))
    assert symmetric_epipolar_distance(here, here, E, definition="squared sum") == [np.inf]
    nowhere = np.full((1, 2), np.nan)
    assert symmetric_epipolar_distance(nowhere, here, E, definition="mean") == [np.inf]
    with pytest.raises(ConfigError, match="expected the epipolar distance"):
        symmetric_epipolar_distance(here, here, E, definition="max")  # pyright: ignore[reportArgumentType]


def test_true_matches_have_no_epipolar_distance() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (50, 3)) + 4 * Z
    R, t, K = about_z(20), np.array([0.5, -0.2, 0.1]), np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])
    pixels0, pixels1 = ((seen @ K.T)[:, :2] / seen[:, 2:] for seen in (points, points @ R.T + t))
    rays0, rays1 = (on_normalised_plane(xy, K) for xy in (pixels0, pixels1))
    E = essential_matrix(R, t)
    assert symmetric_epipolar_distance(rays0, rays1, E, definition="squared sum").max() < 1e-25
    F = np.linalg.inv(K).T @ E @ np.linalg.inv(K)
    assert symmetric_epipolar_distance(pixels0, pixels1, F, definition="root of squared sum").max() < 1e-9


# --- homographies -------------------------------------------------------------------------------


def test_errors_under_a_shift_are_what_one_sees() -> None:
    xy0, xy1 = np.array([[0.0, 0], [5, 5]]), np.array([[10.0, 0], [15, 9]])
    assert transfer_error(xy0, xy1, SHIFT).tolist() == [0, 4]
    twice = np.diag([2.0, 2, 1])
    # There the error is 2 pixels, back it is 1.
    assert symmetric_transfer_error(np.array([[1.0, 1]]), np.array([[4.0, 2]]), twice).tolist() == [1.5]


@pytest.mark.parametrize(("corners", "wanted"), [("last pixels", 9.0), ("width and height", 10.0)])
def test_corners_are_those_of_the_protocol(corners: str, wanted: float) -> None:
    # Twice as wide: the two corners at the right are off by their own x.
    stretched = np.diag([2.0, 1, 1])
    found = corner_error(stretched, np.eye(3), (7, 10), corners=corners)  # pyright: ignore[reportArgumentType]
    assert found == pytest.approx(wanted / 2)


@pytest.mark.usefixtures("unchecked")
def test_homographies_without_sense_are_infinitely_wrong() -> None:
    xy = np.array([[1.0, 2]])
    assert symmetric_transfer_error(xy, xy, np.zeros((3, 3))).tolist() == [np.inf]
    horizon = np.array([[1.0, 0, 0], [0, 1, 0], [1, 0, 0]])  # passes through the corner (0, 0)
    assert corner_error(horizon, np.eye(3), (4, 4), corners="last pixels") == np.inf
    with pytest.raises(ConfigError, match="expected corners"):
        corner_error(np.eye(3), np.eye(3), (4, 4), corners="all")  # pyright: ignore[reportArgumentType]


@given(st.integers(0, 2**32 - 1), st.sampled_from([4, 5, 30]))
def test_the_direct_transform_finds_the_homography_of_exact_matches(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    H = np.eye(3) + rng.normal(0, [[0.1, 0.1, 20], [0.1, 0.1, 20], [1e-4, 1e-4, 0]])
    corners = np.array([[0.0, 0], [640, 0], [640, 480], [0, 480]])
    xy0 = np.concatenate((corners, rng.uniform(0, 480, (count - 4, 2))))
    found = fit_homography(xy0, apply_homography(xy0, H), rng.uniform(0.1, 1, count))
    assert found is not None
    assert corner_error(found, H / H[2, 2], (480, 640), corners="width and height") < 1e-6


def test_matches_of_no_weight_and_those_that_are_no_numbers_do_not_count() -> None:
    xy0 = np.array([[0.0, 0], [9, 0], [9, 9], [0, 9], [4, 4], [1, 1]])
    xy1 = xy0 + np.array([10, 0])
    xy1[4], xy1[5] = 900, np.nan
    weight = np.array([1.0, 1, 1, 1, 0, 1])
    found = fit_homography(xy0, xy1, weight)
    assert found is not None
    np.testing.assert_allclose(found, SHIFT, atol=1e-9)
    assert fit_homography(xy0, xy1, weight * [1, 1, 1, 0, 0, 1]) is None
    with pytest.raises(ShapeError, match="weights of 0 or more"):
        fit_homography(xy0, xy1, -weight)


def test_points_on_a_line_or_a_point_determine_no_homography() -> None:
    line = np.arange(12.0).reshape(6, 2)
    assert fit_homography(line, line, np.ones(6)) is None
    assert fit_homography(np.ones((6, 2)), line, np.ones(6)) is None


# --- true matches -------------------------------------------------------------------------------


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
    with pytest.raises(ShapeError, match="matcher that does not move its keypoints"):
        match_indices(keypoints, np.array([[5.0, 5.4]]))
    with pytest.raises(ShapeError, match="no keypoints"):
        match_indices(np.zeros((0, 2)), keypoints)


# --- affine maps --------------------------------------------------------------------------------


def test_pck_of_an_affine_map_is_a_share_of_the_longer_side() -> None:
    xy0 = np.array([[0.0, 0], [10, 0], [0, 10]])
    xy1 = xy0 + np.array([[3, 4], [0, 0], [0, 1]])
    A = np.eye(3)[:2]
    assert affine_error(A, xy0, xy1).tolist() == [5, 0, 1]
    found = affine_pck(A, xy0, xy1, (50, 100), [0.01, 0.05], comparison="<=")
    assert found == pytest.approx([2 / 3, 1])
    assert affine_pck(A, xy0, xy1, (50, 100), [0.01], comparison="<") == pytest.approx([1 / 3])
    assert affine_error(None, xy0, xy1).tolist() == [np.inf] * 3
    assert affine_pck(None, xy0, xy1, (50, 100), [0.05], comparison="<=") == [0]
