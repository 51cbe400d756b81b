"""Homography errors and DLT by hand, and the homography protocols over records."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homolog.core.errors import ConfigError, ShapeError
from homolog.evaluators.homography import (
    HomographyProtocol,
    MatchingAccuracyProtocol,
    apply_homography,
    corner_error,
    fit_homography,
    symmetric_transfer_error,
    transfer_error,
)
from homolog.evaluators.image_sizes import WorkingSize
from homolog.evaluators.solvers import (
    MatchedPair,
    MatrixEstimate,
    PoselibHomography,
)

SHIFT = np.array([[1.0, 0, 10], [0, 1, 0], [0, 0, 1]])


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


H = np.array([[1.1, 0.05, 12], [-0.03, 0.95, -8], [1e-4, -5e-5, 1]])


RANSAC = PoselibHomography(threshold=1.0, min_iterations=50, max_iterations=500, success_prob=0.999)


def homography_protocol(**options: Any) -> HomographyProtocol:
    chosen: dict[str, Any] = {
        "name": "test/homography",
        "estimator": RANSAC,
        "working_size": None,
        "corners": "width and height",
        "headline": "AUC",
        "thresholds": [1, 3, 5],
        "rounding": "exact",
        "comparison": "<=",
        "precision_thresholds": [1, 3],
        "workers": 1,
    }
    return HomographyProtocol(**{**chosen, **options})


@dataclass(frozen=True)
class TrueShifted:
    """An estimator that knows H, and is 2 pixels to the right of it."""

    def estimate(self, pair: MatchedPair, /) -> MatrixEstimate | None:
        shift = np.array([[1.0, 0, 2], [0, 1, 0], [0, 0, 1]])
        return MatrixEstimate(matrix=shift @ H, inlier=pair.usable()[-1]) if len(pair.xy0) else None

    def settings(self) -> dict[str, str]:
        return {"estimator": "shifted"}


def test_homographies_are_scored_by_hand(value: Any, flat: Any) -> None:
    scored = homography_protocol(estimator=TrueShifted()).score([flat(wrong=5), flat(count=0)])
    # Errors 2 and infinite; up to 3: (2, 1/2), then level.
    assert scored.scores[0].name == "AUC@1px"
    assert value(scored, "AUC@3px") == pytest.approx((2 / 4 + 1 / 2) / 3)
    assert value(scored, "accuracy@3px") == 0.5
    assert scored.per_sample["corner error"] == pytest.approx([2, np.inf])
    assert scored.per_sample["precision@1px"].tolist() == [0.75, 0]
    assert scored.per_sample["inliers"].tolist() == [20, 0]
    assert scored.settings["corners"] == "width and height"


def test_true_homographies_are_found_and_errors_shrink_with_the_working_size(value: Any, flat: Any) -> None:
    exact = [flat(f"{row}", wrong=4) for row in range(3)]
    assert value(homography_protocol(headline="accuracy").score(exact), "accuracy@1px") == 1
    halved = homography_protocol(estimator=TrueShifted(), working_size=WorkingSize(shorter_side=240))
    whole = homography_protocol(estimator=TrueShifted())
    # `TrueShifted` does not know of sizes: only the matches show what became of the pixels.
    errors = [protocol.score([flat(wrong=20)]).per_sample["precision@3px"][0] for protocol in (halved, whole)]
    assert errors == [1, 0]


def test_matching_accuracy_counts_forward_errors_up_to_the_threshold(value: Any, flat: Any) -> None:
    protocol = MatchingAccuracyProtocol(
        name="test/mma", headline=3, thresholds=[1, 3, 5], comparison="<=", working_size=None
    )
    records = [flat(wrong=5, category="i"), flat(wrong=20, category="v"), flat(count=0, category="v")]
    scored = protocol.score(records)
    assert [each.name for each in scored.scores][:3] == ["MMA@3px", "MMA@1px", "MMA@5px"]
    assert value(scored, "MMA@3px") == pytest.approx(0.25)
    assert value(scored, "MMA@5px") == pytest.approx(2 / 3)
    assert value(scored, "MMA@3px", "i") == pytest.approx(0.75)
    assert value(scored, "MMA@3px", "v") == 0
    assert scored.curves["MMA over error"].y == pytest.approx([0.25, 0.25, 2 / 3])
    halved = MatchingAccuracyProtocol(
        name="test/mma",
        headline=3,
        thresholds=[3],
        comparison="<=",
        working_size=WorkingSize(longer_side=320),
    )
    assert value(halved.score(records), "MMA@3px") == pytest.approx(2 / 3)
    with pytest.raises(ConfigError, match="headline among the thresholds"):
        MatchingAccuracyProtocol(name="x", headline=2, thresholds=[1], comparison="<", working_size=None)
