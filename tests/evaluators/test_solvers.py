"""Estimators: what they find, when they fail, and that any number of threads gives the same bits."""

import sys
import time
from dataclasses import dataclass, field, fields
from threading import Barrier
from typing import Any

import numpy as np
import poselib
import pytest

from homolog.core.errors import ConfigError, DataError, HomologError, MissingDependencyError, ShapeError
from homolog.evaluators.affine import affine_error
from homolog.evaluators.fundamental import symmetric_epipolar_distance
from homolog.evaluators.homography import DltHomography, apply_homography, corner_error
from homolog.evaluators.opencv_solvers import OpencvAffine, OpencvFundamental, OpencvHomography, OpencvPose
from homolog.evaluators.pose import pose_error
from homolog.evaluators.solvers import (
    Estimator,
    MatchedPair,
    MatrixEstimate,
    PoseEstimate,
    PoselibFundamental,
    PoselibHomography,
    PoselibPose,
    estimate_all,
)

RANSAC: dict[str, Any] = {
    "threshold": 1.0,
    "min_iterations": 50,
    "max_iterations": 500,
    "success_prob": 0.999,
}
OPENCV: dict[str, Any] = {"method": "RANSAC", "threshold": 1.0, "confidence": 0.999}
POSE_SOLVERS = [
    PoselibPose(**RANSAC),
    OpencvPose(**OPENCV, focal_mean="fx0 and fy1"),
    OpencvPose(**OPENCV, focal_mean="all four"),
]
FUNDAMENTAL_SOLVERS = [
    PoselibFundamental(**RANSAC),
    OpencvFundamental(**OPENCV),
    OpencvFundamental(method="USAC_MAGSAC", threshold=0.25, confidence=0.999, max_iterations=10000),
]
HOMOGRAPHY_SOLVERS = [PoselibHomography(**RANSAC), OpencvHomography(**OPENCV)]
K = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])
H = np.array([[1.1, 0.05, 12], [-0.03, 0.95, -8], [1e-4, -5e-5, 1]])
A = np.array([[0.9, -0.3, 40], [0.3, 0.9, -15]])


def scene(seed: int = 0, count: int = 60, wrong: int = 15) -> tuple[MatchedPair, np.ndarray, np.ndarray]:
    """Exact matches of points in space, and some that are not."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 1, (count, 3)) + np.array([0, 0, 4])
    angle = rng.uniform(0.1, 0.3)
    R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    t = rng.normal(size=3)
    t /= np.linalg.norm(t)
    xy0, xy1 = ((seen @ K.T)[:, :2] / seen[:, 2:] for seen in (points, points @ R.T + t))
    xy1[:wrong] += rng.uniform(40, 90, (wrong, 2))
    return MatchedPair(name=f"scene {seed}", xy0=xy0, xy1=xy1, score=np.ones(count), K0=K, K1=K), R, t


def plane(seed: int = 0, count: int = 40, wrong: int = 10, *, by: np.ndarray = H) -> MatchedPair:
    rng = np.random.default_rng(seed)
    xy0 = rng.uniform(0, 480, (count, 2))
    xy1 = apply_homography(xy0, by if len(by) == 3 else np.vstack((by, [0, 0, 1])))
    xy1[:wrong] += rng.uniform(40, 90, (wrong, 2))
    return MatchedPair(name=f"plane {seed}", xy0=xy0, xy1=xy1, score=np.ones(count))


def without(pair: MatchedPair, count: int) -> MatchedPair:
    """The last few matches only: the right ones."""
    kept = slice(len(pair.xy0) - count, None)
    return MatchedPair(
        name=pair.name, xy0=pair.xy0[kept], xy1=pair.xy1[kept], score=pair.score[kept], K0=pair.K0, K1=pair.K1
    )


def estimated(solver: Estimator[Any], pair: MatchedPair) -> Any:
    found = solver.estimate(pair)
    assert found is not None
    return found


# --- what they find -----------------------------------------------------------------------------


@pytest.mark.parametrize("solver", POSE_SOLVERS)
def test_a_pose_is_found_among_wrong_matches(solver: Estimator[PoseEstimate]) -> None:
    pair, R, t = scene()
    found = estimated(solver, pair)
    assert max(pose_error(found.R, found.t, R, t, zero_translation="failure")) < 0.1
    assert found.inlier[15:].all()
    assert found.inlier[:15].sum() < 5


@pytest.mark.parametrize("solver", FUNDAMENTAL_SOLVERS)
def test_a_fundamental_matrix_is_found_among_wrong_matches(solver: Estimator[MatrixEstimate]) -> None:
    pair, _, _ = scene()
    found = estimated(solver, pair)
    distance = symmetric_epipolar_distance(
        pair.xy0[15:], pair.xy1[15:], found.matrix, definition="root of squared sum"
    )
    assert distance.max() < 0.1


@pytest.mark.parametrize("solver", HOMOGRAPHY_SOLVERS)
def test_a_homography_is_found_among_wrong_matches(solver: Estimator[MatrixEstimate]) -> None:
    found = estimated(solver, plane())
    assert corner_error(found.matrix, H, (480, 640), corners="last pixels") < 0.1
    assert found.inlier.tolist() == [False] * 10 + [True] * 30


def test_an_affine_map_is_found_among_wrong_matches() -> None:
    pair = plane(by=A)
    found = estimated(OpencvAffine(**OPENCV), pair)
    assert affine_error(found.matrix, pair.xy0[10:], pair.xy1[10:]).max() < 0.1


@pytest.mark.parametrize("solver", ["homolog", "kornia"])
def test_the_direct_transform_weighs_matches_by_their_score(solver: Any) -> None:
    spoiled = plane()
    score = np.where(np.arange(40) < 10, 0.0, 1.0)
    pair = MatchedPair(name="", xy0=spoiled.xy0, xy1=spoiled.xy1, score=score)
    found, without_scores = (estimated(DltHomography(solver=solver), each) for each in (pair, spoiled))
    assert corner_error(found.matrix, H, (480, 640), corners="last pixels") < 0.1
    assert corner_error(without_scores.matrix, H, (480, 640), corners="last pixels") > 10


# --- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(5))
@pytest.mark.parametrize("solver", POSE_SOLVERS)
def test_fewer_than_five_matches_are_a_failure(solver: Estimator[PoseEstimate], count: int) -> None:
    assert solver.estimate(without(scene()[0], count)) is None


@pytest.mark.parametrize(
    ("solver", "needed"),
    [(solver, 4) for solver in (*HOMOGRAPHY_SOLVERS, DltHomography(solver="homolog"))]
    + [(OpencvAffine(**OPENCV), 3), (FUNDAMENTAL_SOLVERS[0], 7), (FUNDAMENTAL_SOLVERS[1], 8)],
)
def test_less_than_a_minimal_set_is_a_failure(solver: Estimator[MatrixEstimate], needed: int) -> None:
    pair = scene()[0] if needed > 4 else plane(by=A)
    assert solver.estimate(without(pair, needed - 1)) is None
    assert solver.estimate(without(pair, 20)) is not None


def test_where_poselib_finds_no_inlier_there_is_no_pose() -> None:
    rng = np.random.default_rng(0)
    pair = MatchedPair(
        name="noise",
        xy0=rng.uniform(0, 500, (5, 2)),
        xy1=rng.uniform(0, 500, (5, 2)),
        score=np.ones(5),
        K0=K,
        K1=K,
    )
    strict = PoselibPose(threshold=1e-9, min_iterations=20, max_iterations=50, success_prob=0.99)
    assert strict.estimate(pair) is None


@pytest.mark.parametrize("solver", [*POSE_SOLVERS, *FUNDAMENTAL_SOLVERS])
def test_matches_that_are_no_numbers_are_left_out(solver: Estimator[Any]) -> None:
    pair, _, _ = scene()
    pair.xy1[20], pair.xy0[30] = np.nan, np.inf
    found = estimated(solver, pair)
    assert found.inlier.shape == (60,)
    assert not found.inlier[[20, 30]].any()
    assert found.inlier[40:].all()


def test_a_pose_needs_intrinsics() -> None:
    for solver in POSE_SOLVERS:
        with pytest.raises(ShapeError, match="plane 0: expected a pair with intrinsics"):
            solver.estimate(plane())


@pytest.mark.usefixtures("unchecked")
def test_parts_of_a_pair_have_one_length() -> None:
    with pytest.raises(ShapeError, match=r"pair: expected as many xy1 and scores as xy0, got 3, 2 and 3"):
        MatchedPair(name="pair", xy0=np.zeros((3, 2)), xy1=np.zeros((2, 2)), score=np.zeros(3))


# --- options ------------------------------------------------------------------------------------


def test_every_option_of_poselib_is_said_and_means_what_it_says() -> None:
    options = PoselibPose(**RANSAC)
    ransac = options.ransac("max_epipolar_error") | options.ransac("max_reproj_error")
    # Every name is one that PoseLib knows: others would be ignored without a word.
    assert ransac.keys() == dict(poselib.RansacOptions()).keys()
    assert options.bundle().keys() <= dict(poselib.BundleOptions()).keys()
    settings = options.settings()
    assert settings["estimator"] == "PoseLib 2.0.5"
    assert settings["success_prob"] == "0.999"
    assert settings["loss_scale"] == "0.5"


def test_without_a_scale_the_loss_is_that_of_poselib_left_to_itself() -> None:
    pair, _, _ = scene()
    rng = np.random.default_rng(1)
    noisy = MatchedPair(
        name="", xy0=pair.xy0 + rng.normal(0, 0.5, pair.xy0.shape), xy1=pair.xy1, score=pair.score, K0=K, K1=K
    )
    camera = {"model": "PINHOLE", "width": 640, "height": 480, "params": [500, 510, 320, 240]}
    alone, _ = poselib.estimate_relative_pose(
        noisy.xy0, noisy.xy1, camera, camera, {"max_epipolar_error": 3.0}, {}
    )
    options: dict[str, Any] = {"threshold": 3.0, "min_iterations": 1000, "max_iterations": 100000}
    found = estimated(PoselibPose(**options, success_prob=0.9999), noisy)
    other = estimated(PoselibPose(**options, success_prob=0.9999, loss_scale=1.0), noisy)
    np.testing.assert_array_equal(found.R, alone.R)
    assert not np.array_equal(other.R, alone.R)


def test_another_poselib_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poselib, "__version__", "3.0.0")
    with pytest.raises(
        ConfigError, match=r"PoseLib 2\.0\.5, got 3\.0\.0, which would silently ignore max_epipolar_error"
    ):
        PoselibPose(**RANSAC).estimate(scene()[0])


@pytest.mark.parametrize(
    ("module", "solver", "line"),
    [
        ("poselib", POSE_SOLVERS[0], "pip install poselib==2.0.5"),
        ("cv2", POSE_SOLVERS[1], "pip install opencv-python-headless"),
    ],
)
def test_a_library_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str, solver: Any, line: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=line):
        solver.estimate(scene()[0])


@pytest.mark.usefixtures("unchecked")
def test_options_without_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="threshold above 0"):
        PoselibPose(**dict(RANSAC, threshold=0.0))
    with pytest.raises(ConfigError, match="success_prob between 0 and 1"):
        PoselibPose(**dict(RANSAC, success_prob=1.0))
    with pytest.raises(ConfigError, match="got 'RANSAK'; did you mean RANSAC"):
        OpencvHomography(**dict(OPENCV, method="RANSAK"))
    with pytest.raises(ConfigError, match="focal_mean"):
        OpencvPose(**OPENCV, focal_mean="first")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="method to be one of RANSAC, LMEDS, got 'USAC_MAGSAC'"):
        OpencvAffine(**dict(OPENCV, method="USAC_MAGSAC"))
    with pytest.raises(ConfigError, match="solver to be one of homolog, kornia"):
        DltHomography(solver="svd")  # pyright: ignore[reportArgumentType]


# --- workers ------------------------------------------------------------------------------------


ALL = [
    *(
        (solver, [scene(seed, count=12, wrong=3)[0] for seed in range(40)])
        for solver in (*POSE_SOLVERS, *FUNDAMENTAL_SOLVERS)
    ),
    *(
        (solver, [plane(seed, count=12, wrong=3) for seed in range(40)])
        for solver in (*HOMOGRAPHY_SOLVERS, OpencvHomography(**dict(OPENCV, method="LMEDS")))
    ),
    (OpencvAffine(**OPENCV), [plane(seed, count=12, wrong=3, by=A) for seed in range(40)]),
]


def same_bits(
    first: PoseEstimate | MatrixEstimate | None, second: PoseEstimate | MatrixEstimate | None
) -> bool:
    if first is None or second is None:
        return first is second
    return all(
        np.array_equal(getattr(first, field.name), getattr(second, field.name)) for field in fields(first)
    )


@pytest.mark.parametrize(("solver", "pairs"), ALL, ids=lambda part: type(part).__name__)
def test_any_number_of_threads_gives_the_same_bits_in_order(
    solver: Estimator[Any], pairs: list[MatchedPair]
) -> None:
    pairs = [*pairs[:7], without(pairs[7], 2), *pairs[8:]]
    alone = estimate_all(solver, pairs, workers=1)
    assert alone[7] is None
    assert sum(found is not None for found in alone) > 30
    for workers in (2, 5):
        threaded = estimate_all(solver, pairs, workers=workers)
        assert all(same_bits(*both) for both in zip(alone, threaded, strict=True))
    # An estimate depends on nothing that was estimated before it.
    assert all(
        same_bits(solver.estimate(pair), found) for pair, found in zip(pairs[::-1], alone[::-1], strict=True)
    )


def test_no_pairs_need_no_threads() -> None:
    assert estimate_all(POSE_SOLVERS[0], [], workers=4) == []
    with pytest.raises(ConfigError, match="workers of at least 1"):
        estimate_all(POSE_SOLVERS[0], [], workers=0)


@dataclass
class Slow:
    """An estimator that waits for the first two pairs to meet, and fails at the pair of a name."""

    failing: str = ""
    both: Barrier = field(default_factory=lambda: Barrier(2, timeout=30))
    seen: list[str] = field(default_factory=list[str])

    def estimate(self, pair: MatchedPair, /) -> MatrixEstimate | None:
        self.seen.append(pair.name)
        if pair.name in ("plane 0", "plane 1"):
            self.both.wait()
        else:
            time.sleep(0.02)
        if pair.name == self.failing:
            raise DataError(f"{pair.name}: cannot")
        return MatrixEstimate(matrix=np.eye(3), inlier=pair.usable()[-1])

    def settings(self) -> dict[str, str]:
        return {}


def test_pairs_are_estimated_at_the_same_time() -> None:
    slow = Slow()
    found = estimate_all(slow, [plane(seed) for seed in range(6)], workers=2)
    assert None not in found


def test_an_error_of_the_estimator_is_raised_and_skips_the_pairs_after_it() -> None:
    slow = Slow(failing="plane 0")
    with pytest.raises(HomologError, match="plane 0: cannot"):
        estimate_all(slow, [plane(seed) for seed in range(40)], workers=2)
    assert len(slow.seen) < 40


def test_a_missing_library_is_reported_from_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "poselib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install poselib==2\.0\.5"):
        estimate_all(POSE_SOLVERS[0], [scene(seed)[0] for seed in range(8)], workers=2)
