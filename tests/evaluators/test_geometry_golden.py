"""Geometry against the official functions: every case of eight groups of metrics.json."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from homolog.evaluators.auc import best_mean_auc, pose_accuracy, pose_auc
from homolog.evaluators.fundamental import essential_matrix, on_normalised_plane, symmetric_epipolar_distance
from homolog.evaluators.ground_truth_matches import count_matches, homography_matches
from homolog.evaluators.homography import (
    DltHomography,
    corner_error,
    symmetric_transfer_error,
    transfer_error,
)
from homolog.evaluators.opencv_solvers import OpencvHomography
from homolog.evaluators.pose import pose_error, translation_error
from homolog.evaluators.precision import match_precision, mean_match_precision
from homolog.evaluators.solvers import MatchedPair, PoselibHomography, PoselibPose, import_poselib
from homolog.zoo.build import build
from homolog.zoo.compose import compose

Case = dict[str, Any]
GROUPS = (
    *("pose_auc", "pose_auc_informative", "pose_error", "epipolar", "poselib"),
    *("homography", "match_precision", "mma"),
)
FAMILIES = (
    *("pose_auc_", "eval_poses_best_threshold", "loftr_aggregate_metrics", "xfeat_mega_too_few_matches"),
    *("pose_error_", "epipolar_", "epidist_prec", "poselib_", "hom_corner_", "hom_auc", "hom_eval_"),
    *("dift_homography_", "match_pr_", "hpatches_mma"),
)


def configured(file: str, **changes: Any) -> PoselibPose:
    """Return the estimator of a file of `configs/protocol`."""
    group, _, name = file.partition("/")
    estimator = build(compose(f"protocol/{group}/{name}")["protocol"][group]["estimator"])
    return replace(estimator, **changes)


XFEAT_MEGADEPTH = configured("megadepth1500/xfeat")
XFEAT_SCANNET = configured("scannet1500/xfeat", threshold=1.0)
GLUE_FACTORY = configured("megadepth1500/gluefactory")


def numbers(value: Any) -> np.ndarray:
    """Nested lists in which NaN and infinities are texts."""
    return np.array(value, dtype=object).astype(np.float64)


@pytest.fixture(scope="module")
def of(golden_cases: Callable[..., Any]) -> Callable[..., list[Case]]:
    return golden_cases(GROUPS, FAMILIES)


# --- from errors to numbers ---------------------------------------------------------------------


def test_auc_and_accuracy_of_the_goldens(of: Callable[..., list[Case]]) -> None:
    for case in of("pose_auc_"):
        if case["group"] != "pose_auc":
            continue
        given, wanted, tol = case["inputs"], case["outputs"], case["tol"]
        errors = numbers(given["errors_deg" if "errors_deg" in given else "errors"])
        exact = pose_auc(errors, given["thresholds"], rounding="exact")
        rounded = pose_auc(errors, given["thresholds"], rounding="4 decimals")
        np.testing.assert_allclose(rounded, wanted["gluefactory_cal_error_auc_rounded4"], atol=tol, rtol=0)
        for name in ("loftr_error_auc", "superglue_pose_auc", "xfeat_mega_error_auc", "xfeat_scan_pose_auc"):
            if name in wanted:
                np.testing.assert_allclose(exact, wanted[name], atol=tol, rtol=0, err_msg=case["id"])
        if "loftr_error_auc_dict" in wanted:  # whatever thresholds it is given, it takes these
            areas = wanted["loftr_error_auc_dict"]
            assert list(areas) == ["auc@5", "auc@10", "auc@20"]
            found = pose_auc(errors, [5, 10, 20], rounding="exact")
            np.testing.assert_allclose(found, list(areas.values()), atol=tol, rtol=0)
        if "xfeat_scan_pose_accuracy_pct_strict_lt" in wanted:
            strict = 100 * pose_accuracy(errors, given["thresholds"], comparison="<")
            np.testing.assert_allclose(strict, wanted["xfeat_scan_pose_accuracy_pct_strict_lt"], rtol=tol)
            loose = 100 * pose_accuracy(errors, given["thresholds"], comparison="<=")
            printed = [
                *(f"auc@{t} :  {100 * a:.1f}" for t, a in zip(given["thresholds"], exact, strict=True))
            ]
            printed += [f"mAcc@{t}: {a:.1f} " for t, a in zip(given["thresholds"], loose, strict=True)]
            assert wanted["xfeat_mega_compute_maa_stdout"].splitlines()[1:] == printed


def test_a_golden_nan_is_a_failure_wherever_it_stands(of: Callable[..., list[Case]]) -> None:
    # LoFTR's and XFeat's rows of these cases are a documented defect; SuperGlue's is the rule.
    cases = of("pose_auc_nan_")
    assert {case["group"] for case in cases} == {"pose_auc_informative"}
    for case in cases:
        given, wanted = case["inputs"], case["outputs"]
        errors = numbers(given["errors_deg"])
        assert np.isnan(errors).any()
        exact = pose_auc(errors, given["thresholds"], rounding="exact")
        rounded = pose_auc(errors, given["thresholds"], rounding="4 decimals")
        np.testing.assert_allclose(exact, wanted["superglue_pose_auc"], atol=case["tol"], rtol=0)
        official = wanted["gluefactory_cal_error_auc_rounded4"]
        np.testing.assert_allclose(rounded, official, atol=case["tol"], rtol=0)


def test_too_few_golden_matches_are_a_failure_and_no_identity(of: Callable[..., list[Case]]) -> None:
    for case in of("xfeat_mega_too_few_matches"):
        # What XFeat's evaluator makes of it: a perfect rotation, and NaN for the translation.
        assert (case["outputs"]["R_err"], case["outputs"]["max_as_written"]) == (0, "nan")
        xy = np.random.default_rng(0).uniform(0, 400, (case["inputs"]["n_matches"], 2))
        assert XFEAT_MEGADEPTH.estimate(pair_of(xy, xy + 1, K0=np.eye(3), K1=np.eye(3))) is None


def test_the_golden_choice_of_a_threshold_on_the_test_set(of: Callable[..., list[Case]]) -> None:
    for case in of("eval_poses_best_threshold"):
        given, wanted = case["inputs"], case["outputs"]
        key = given["key"]
        errors = {float(name): numbers(each[key]) for name, each in given["pose_results"].items()}
        best = best_mean_auc(errors, given["auc_ths"], rounding="4 decimals")
        areas = pose_auc(errors[best], given["auc_ths"], rounding="4 decimals")
        assert best == wanted["best_threshold"]
        summary = wanted["summaries"]
        np.testing.assert_allclose(
            areas, [summary[f"{key}@{t}°"] for t in given["auc_ths"]], atol=case["tol"]
        )
        assert areas.mean() == pytest.approx(summary[f"{key}_mAA"], abs=case["tol"])
        assert round(float(np.median(errors[best])), 3) == summary[f"m{key}"]


def test_the_golden_aggregation_of_loftr(of: Callable[..., list[Case]]) -> None:
    for case in of("loftr_aggregate_metrics"):
        given, wanted, tol = case["inputs"], case["outputs"], case["tol"]
        # A pair that was scored twice counts once, as it was scored last.
        rows = list({name: row for row, name in enumerate(given["identifiers"])}.values())
        errors = np.maximum(numbers(given["R_errs"]), numbers(given["t_errs"]))[rows]
        areas = pose_auc(errors, [5, 10, 20], rounding="exact")
        np.testing.assert_allclose(areas, [wanted[f"auc@{t}"] for t in (5, 10, 20)], atol=tol)
        limit = given["epi_err_thr"]
        epipolar = [numbers(given["epi_errs"][row]) for row in rows]
        precision = mean_match_precision(epipolar, [limit], comparison="<")
        assert precision[0] == pytest.approx(wanted[f"prec@{limit:.0e}"], abs=tol)


# --- poses --------------------------------------------------------------------------------------


def assert_degrees(found: float, wanted: float, tol: float, name: str) -> None:
    """As the golden file says: arccos turns the last digit into 1e-5 degrees at 0 and at 180."""
    steep = min(abs(wanted), abs(180 - wanted)) < 1e-2
    assert found == pytest.approx(wanted, abs=1e-5 if steep else tol * max(1.0, wanted)), name


def test_pose_errors_of_the_goldens(of: Callable[..., list[Case]]) -> None:
    for case in of("pose_error_"):
        given, wanted, tol = case["inputs"], case["outputs"], case["tol"]
        T, R, t = (numbers(given[key]) for key in ("T_0to1", "R", "t"))
        rotation, failing = pose_error(R, t, T[:3, :3], T[:3, 3], zero_translation="failure")
        for name in ("loftr_t_R", "superglue_t_R", "xfeat_mega_t_R", "xfeat_scan_t_R"):
            official = numbers(wanted[name])
            # Where they divide by zero, and are not a number, we say infinite.
            assert_degrees(failing, np.inf, 0, case["id"]) if np.isnan(official[0]) else assert_degrees(
                failing, official[0], tol, case["id"]
            )
            assert_degrees(rotation, official[1], tol, case["id"])
        ignoring = translation_error(t, T[:3, 3], zero_translation="failure", ignore_shorter=1e-3)
        official = numbers(wanted["loftr_t_R_ignore_gt_t_thr_1e-3"])[0]
        assert_degrees(ignoring, np.inf if np.isnan(official) else official, tol, case["id"])
        folded = pose_error(R, t, T[:3, :3], T[:3, 3], zero_translation="perpendicular")
        for found, official in zip(folded[::-1], wanted["gluefactory_t_R_float64"], strict=True):
            assert_degrees(found, official, tol, case["id"])
        for found, official in zip(folded[::-1], wanted["gluefactory_t_R_float32"], strict=True):
            assert found == pytest.approx(official, abs=0.05), case["id"]


def test_epipolar_distances_and_precisions_of_the_goldens(of: Callable[..., list[Case]]) -> None:
    for case in of("epipolar_"):
        given, wanted, tol = case["inputs"], case["outputs"], case["tol"]
        T = numbers(given["T_0to1"])
        E = essential_matrix(T[:3, :3], T[:3, 3])
        rays0, rays1 = [
            on_normalised_plane(numbers(given[f"pts{side}"]), numbers(given[f"K{side}"])) for side in (0, 1)
        ]
        squared = symmetric_epipolar_distance(rays0, rays1, E, definition="squared sum")
        for name in ("loftr_sq_sym_dist", "superglue_sq_sym_dist"):
            np.testing.assert_allclose(squared, numbers(wanted[name]), atol=tol, rtol=tol, err_msg=case["id"])
        share = match_precision(squared, [5e-4], comparison="<")[0]
        assert share == pytest.approx(wanted["superglue_precision_lt_5e-4"], abs=tol)
        mean = symmetric_epipolar_distance(rays0, rays1, E, definition="mean")
        # 1e-5 relative, and the float32 rounding of a sum of three products of numbers around 1.
        official = numbers(wanted["gluefactory_nonsquared_mean_dist_float32"])
        np.testing.assert_allclose(mean, official, atol=4 * float(np.finfo(np.float32).eps), rtol=1e-5)
        for name, value in wanted["gluefactory_prec"].items():
            found = match_precision(mean, [float(name.split("@")[1])], comparison="<")[0]
            assert found == pytest.approx(value, abs=float(np.finfo(np.float32).eps)), case["id"]


def test_the_golden_mean_of_precisions(of: Callable[..., list[Case]]) -> None:
    for case in of("epidist_prec"):
        errors = [numbers(each) for each in case["inputs"]["errors"]]
        found = mean_match_precision(errors, case["inputs"]["thresholds"], comparison="<")
        np.testing.assert_allclose(found, case["outputs"]["precs"], atol=case["tol"])


def pair_of(xy0: Any, xy1: Any, **more: Any) -> MatchedPair:
    xy0, xy1 = (numbers(xy).reshape(-1, 2) for xy in (xy0, xy1))
    return MatchedPair(name="golden", xy0=xy0, xy1=xy1, score=more.pop("score", np.ones(len(xy0))), **more)


def test_poses_of_poselib_in_the_goldens(of: Callable[..., list[Case]]) -> None:
    minimal = 0
    for case in of("poselib_"):
        if case["id"].startswith("poselib_degenerate"):
            continue
        given, wanted, tol = case["inputs"], case["outputs"], case["tol"]
        pair = pair_of(given["pts0"], given["pts1"], K0=numbers(given["K0"]), K1=numbers(given["K1"]))
        assert set(wanted) == {"xfeat_mega_thr2.5", "xfeat_scan_thr1.0", "gluefactory_thr2.0"}
        for name, solver in (
            ("xfeat_mega_thr2.5", XFEAT_MEGADEPTH),
            ("xfeat_scan_thr1.0", XFEAT_SCANNET),
            ("gluefactory_thr2.0", GLUE_FACTORY),
        ):
            official, found = wanted[name], solver.estimate(pair)
            assert found is not None
            assert found.inlier.sum() == len(official["inliers"]), (case["id"], name)
            if len(pair.xy0) == 5:  # several exact solutions, of which any is right
                minimal += 1
                continue
            assert np.flatnonzero(found.inlier).tolist() == official["inliers"]
            np.testing.assert_allclose(found.R, numbers(official["R"]), atol=tol)
            np.testing.assert_allclose(found.t, numbers(official["t"]), atol=tol)
            T = numbers(given["T_0to1"])
            errors = pose_error(found.R, found.t, T[:3, :3], T[:3, 3], zero_translation="failure")
            assert errors == pytest.approx((official["R_err"], official["t_err"]), abs=1e-3)
    assert minimal == 3


def test_degenerate_goldens_are_failures_where_poselib_says_identity(of: Callable[..., list[Case]]) -> None:
    for case in of("poselib_degenerate"):
        given, wanted = case["inputs"], case["outputs"]
        xy0, xy1 = (numbers(given[key]).reshape(-1, 2) for key in ("pts0", "pts1"))
        camera = given["camera"]
        pose, info = import_poselib().estimate_relative_pose(xy0, xy1, camera, camera, given["ransac_opt"])
        assert np.array_equal(pose.R, wanted["R"])
        assert np.array_equal(pose.t, wanted["t"])
        assert info["num_inliers"] == 0
        focal_x, focal_y, x, y = camera["params"]
        K = numbers([[focal_x, 0, x], [0, focal_y, y], [0, 0, 1]])
        assert GLUE_FACTORY.estimate(pair_of(xy0, xy1, K0=K, K1=K)) is None


# --- homographies -------------------------------------------------------------------------------


def test_corner_errors_of_the_goldens(of: Callable[..., list[Case]]) -> None:
    for case in of("hom_corner_"):
        given, wanted = case["inputs"], case["outputs"]
        width, height = given["image_size_wh"]
        H, H_true = numbers(given["H_est"]), numbers(given["H_gt"])
        found = corner_error(H, H_true, (height, width), corners="width and height")
        assert found == pytest.approx(wanted["mean_corner_error_float64"], abs=case["tol"])
        assert found == pytest.approx(wanted["mean_corner_error_float32"], abs=case["tol"])


def test_the_golden_auc_of_corner_errors(of: Callable[..., list[Case]]) -> None:
    for case in of("hom_auc"):
        given = case["inputs"]
        found = pose_auc(numbers(given["errors"]), given["thresholds"], rounding="4 decimals")
        np.testing.assert_allclose(found, case["outputs"]["auc_rounded4"], atol=case["tol"])


def test_estimated_homographies_of_the_goldens(of: Callable[..., list[Case]]) -> None:
    spoiled = 0
    for case in of("hom_eval_"):
        given, wanted, tol = case["inputs"], case["outputs"], case["tol"]
        # The official code works on float32 points.
        xy0, xy1 = (numbers(given[key]).astype(np.float32).astype(np.float64) for key in ("pts0", "pts1"))
        H_true, (width, height) = numbers(given["H_0to1"]), given["image_size_wh"]
        errors = symmetric_transfer_error(xy0, xy1, H_true)
        np.testing.assert_allclose(errors, numbers(wanted["sym_error"]), atol=tol, rtol=tol)
        for name in ("prec@1px", "prec@3px"):
            found = match_precision(errors, [float(name[5])], comparison="<")[0]
            assert found == pytest.approx(wanted["matches"][name], abs=float(np.finfo(np.float32).eps))
        assert len(errors) == wanted["matches"]["num_matches"]

        pair = pair_of(xy0, xy1, score=numbers(given["scores"]))
        robust = PoselibHomography(
            threshold=1.0, min_iterations=1000, max_iterations=100000, success_prob=0.9999
        ).estimate(pair)
        assert robust is not None
        error = corner_error(robust.matrix, H_true, (height, width), corners="width and height")
        assert error == pytest.approx(wanted["H_error_ransac"], rel=tol)
        assert robust.inlier.sum() == wanted["ransac_inl"]
        assert robust.inlier.mean() == pytest.approx(wanted["ransac_inl%"])

        if "do not compare H_error_dlt" in case["note"]:
            spoiled += 1  # an ill-conditioned system, which no two solvers solve alike
            continue
        for solver in ("kornia", "homolog"):
            direct = DltHomography(solver=solver).estimate(pair)
            assert direct is not None
            error = corner_error(direct.matrix, H_true, (height, width), corners="width and height")
            assert error == pytest.approx(wanted["H_error_dlt"], rel=tol)
    assert spoiled < len(of("hom_eval_"))


def nearest_both_ways(descriptors0: np.ndarray, descriptors1: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    similarity = descriptors0 @ descriptors1.T
    forward, backward = similarity.argmax(axis=1), similarity.argmax(axis=0)
    rows = np.flatnonzero(backward[forward] == np.arange(len(forward)))
    return rows, forward[rows]


def test_the_golden_mean_matching_accuracy(of: Callable[..., list[Case]]) -> None:
    for case in of("hpatches_mma"):
        wanted, counted = case["outputs"], []
        errors: dict[str, list[np.ndarray]] = {"i": [], "v": []}
        for name, sequence in case["inputs"]["sequences"].items():
            xy = [numbers(each) for each in sequence["keypoints"]]
            descriptors = [numbers(each) for each in sequence["descriptors"]]
            for other, H in enumerate(sequence["H_1_k"], start=1):
                rows, partners = nearest_both_ways(descriptors[0], descriptors[other])
                counted.append(len(rows))
                errors[name[0]].append(transfer_error(xy[0][rows], xy[other][partners], numbers(H)))
        assert counted == wanted["n_matches"]
        for kind, official in (("i", "i_err_sum_over_pairs"), ("v", "v_err_sum_over_pairs")):
            sums = {float(threshold): value for threshold, value in wanted[official].items()}
            accuracy = mean_match_precision(errors[kind], list(sums), comparison="<=")
            np.testing.assert_allclose(len(errors[kind]) * accuracy, list(sums.values()), atol=case["tol"])


def test_the_golden_homography_accuracy_of_dift(of: Callable[..., list[Case]], goldens: Path) -> None:
    document = json.loads((goldens / "metrics.json").read_text(encoding="utf-8"))
    sequences = next(
        each["inputs"]["sequences"] for each in of("dift_homography_lmeds")
    )  # the other mode has the same
    for case in of("dift_homography_"):
        errors: dict[str, list[float]] = {"i": [], "v": []}
        estimator = OpencvHomography(method=case["inputs"]["mode"].upper(), threshold=3.0, confidence=0.995)
        for name, sequence in sequences.items():
            width, height = sequence["w_h"]
            first, *others = [features_of_dift(image) for image in sequence["images"]]
            for image, (xy, descriptors) in zip(sequence["images"][1:], others, strict=True):
                rows, partners = nearest_both_ways(first[1], descriptors)
                found = estimator.estimate(pair_of(first[0][rows], xy[partners]))
                assert found is not None
                H = numbers(image["H_1_k"])
                errors[name[0]].append(corner_error(found.matrix, H, (height, width), corners="last pixels"))
        official = [
            [float(value) for value in part.split()]
            for part in re.findall(r"\[([^\]]*)\]", case["outputs"]["stdout"])
        ]
        accuracy = [
            100 * pose_accuracy(np.array(part), [1, 3, 5], comparison="<=")
            for part in (errors["i"] + errors["v"], errors["i"], errors["v"])
        ]
        # Another build of OpenCV finds other homographies; what is ours then is what follows from them.
        same_build = document["environment"]["opencv"].split(".")[0] == cv2.__version__.split(".")[0]
        pairs = 100 / len(errors["i"])
        for found, wanted in zip(accuracy, official, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-6 if same_build else 2 * pairs)


def features_of_dift(image: Case) -> tuple[np.ndarray, np.ndarray]:
    """Distinct keypoints in float32 and their unit descriptors, as the script prepares them."""
    xy, rows = np.unique(numbers(image["keypoints"]), axis=0, return_index=True)
    descriptors = numbers(image["descriptors"])[rows]
    return xy.astype(np.float32), descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)


def test_golden_labels_precision_and_recall(of: Callable[..., list[Case]]) -> None:
    for case in of("match_pr_"):
        given, wanted, tol = case["inputs"], case["outputs"], case["tol"]
        keypoints0, keypoints1 = (numbers(given[key]) for key in ("kpts0", "kpts1"))
        true0, true1 = homography_matches(
            keypoints0, keypoints1, numbers(given["H_0to1"]), positive=3, negative=5
        )
        assert true0.tolist() == wanted["gt_matches0"]
        assert true1.tolist() == wanted["gt_matches1"]
        predicted = np.array(given["pred_matches0"])
        counts = count_matches(predicted, true0)
        assert counts.precision == pytest.approx(wanted["match_precision"], abs=tol)
        assert counts.recall == pytest.approx(wanted["match_recall"], abs=tol)
        labelled = true0 >= -1
        accuracy = (predicted == true0)[labelled].mean()
        assert accuracy == pytest.approx(wanted["accuracy"], abs=tol)
        # Their average precision is no such thing: the last precision times the recall gained after the
        # best-scored keypoint. We have none; this is what theirs comes from.
        best = int(np.argmax(numbers(given["pred_scores0"])))
        gained = counts.recall - float(predicted[best] == true0[best] >= 0) / max(counts.true, 1)
        assert counts.precision * gained == pytest.approx(wanted["average_precision"], abs=tol)
