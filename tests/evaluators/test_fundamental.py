"""Epipolar distances by hand, and the fundamental protocol over records."""

from typing import Any

import numpy as np
import pytest

from homolog.core.errors import ConfigError
from homolog.evaluators.fundamental import (
    EpipolarDistance,
    FundamentalProtocol,
    essential_matrix,
    on_normalised_plane,
    symmetric_epipolar_distance,
)
from homolog.evaluators.solvers import (
    PoselibFundamental,
)

X, Y, Z = np.eye(3)


def about_z(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


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
    with pytest.raises(ConfigError, match="expected definition to be one of squared sum, mean"):
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


RANSAC = PoselibFundamental(threshold=1.0, min_iterations=50, max_iterations=500, success_prob=0.999)


def test_fundamental_matrices_are_scored_by_marked_points(value: Any, posed: Any) -> None:
    marked = posed(count=30)
    xy1 = marked["match1"].copy()
    xy1[:15, 1] += 6  # half of the marked points are wrong, by 6 px at most in each image
    record, lost = posed(xy0=marked["match0"], xy1=xy1), posed(count=6, xy0=marked["match0"], xy1=xy1)
    protocol = FundamentalProtocol(
        name="test/wxbs",
        estimator=RANSAC,
        headline=2,
        thresholds=[0, 1, 2, 20],
        workers=1,
    )
    scored = protocol.score([record, lost])
    assert scored.scores[0].name == "mAA@2px"
    assert scored.per_sample["recall@1px"].tolist() == [0.5, 0]
    assert scored.per_sample["recall@20px"].tolist() == [1, 0]
    assert scored.scores[0].value == pytest.approx(0.25)
    assert value(scored, "failures") == 0.5
    with pytest.raises(ConfigError, match="among the thresholds"):
        FundamentalProtocol(name="x", estimator=RANSAC, headline=3, thresholds=[1, 2])
