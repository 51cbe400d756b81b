"""Evaluators: scores of matches, points, poses and tracks, each under the name of its protocol.

The metrics are functions of numpy arrays, so they work with any matcher:
`from homolog.evaluators import pck, pose_auc, tapvid`. Importing this package is cheap: a name imports its module
on first access, and only `Benchmark` and the predictors, which run matchers, need torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from homolog.evaluators.affine import AffineProtocol, affine_error, affine_pck
    from homolog.evaluators.auc import pose_accuracy, pose_auc
    from homolog.evaluators.benchmark import Benchmark, Predictor
    from homolog.evaluators.dense import DenseProtocol, FlowPckProtocol, endpoint_error, flow_pck, warp_error
    from homolog.evaluators.fundamental import (
        FundamentalProtocol,
        essential_matrix,
        symmetric_epipolar_distance,
    )
    from homolog.evaluators.ground_truth_matches import (
        MatchPrecisionProtocol,
        count_matches,
        homography_matches,
    )
    from homolog.evaluators.homography import (
        DltHomography,
        HomographyProtocol,
        MatchingAccuracyProtocol,
        corner_error,
        fit_homography,
        symmetric_transfer_error,
        transfer_error,
    )
    from homolog.evaluators.image_sizes import (
        Downscaled,
        Original,
        PaddedSquare,
        StretchedSquare,
        WorkingSize,
    )
    from homolog.evaluators.keypoint_pck import (
        PckProtocol,
        average_pck,
        box_side,
        image_side,
        keypoint_side,
        pck,
    )
    from homolog.evaluators.opencv_solvers import (
        OpencvAffine,
        OpencvFundamental,
        OpencvHomography,
        OpencvPose,
    )
    from homolog.evaluators.pose import (
        PoseProtocol,
        PoseSweepProtocol,
        pose_error,
        rotation_error,
        translation_error,
    )
    from homolog.evaluators.precision import calibration, match_precision, mean_match_precision
    from homolog.evaluators.predictors import DensePredictor, MatchPredictor, PointPredictor, TrackPredictor
    from homolog.evaluators.records import (
        Curve,
        Record,
        Score,
        Scored,
        ScoringProtocol,
        load_records,
        save_records,
    )
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
    from homolog.evaluators.tracking import (
        TapVidProtocol,
        TracksPckProtocol,
        sample_queries,
        tapvid,
        tracks_pck,
    )
    from homolog.evaluators.verification import Verification, default_threshold, verify

__all__ = [
    "AffineProtocol",
    "Benchmark",
    "Curve",
    "DensePredictor",
    "DenseProtocol",
    "DltHomography",
    "Downscaled",
    "Estimator",
    "FlowPckProtocol",
    "FundamentalProtocol",
    "HomographyProtocol",
    "MatchPrecisionProtocol",
    "MatchPredictor",
    "MatchedPair",
    "MatchingAccuracyProtocol",
    "MatrixEstimate",
    "OpencvAffine",
    "OpencvFundamental",
    "OpencvHomography",
    "OpencvPose",
    "Original",
    "PaddedSquare",
    "PckProtocol",
    "PointPredictor",
    "PoseEstimate",
    "PoseProtocol",
    "PoseSweepProtocol",
    "PoselibFundamental",
    "PoselibHomography",
    "PoselibPose",
    "Predictor",
    "Record",
    "Score",
    "Scored",
    "ScoringProtocol",
    "StretchedSquare",
    "TapVidProtocol",
    "TrackPredictor",
    "TracksPckProtocol",
    "Verification",
    "WorkingSize",
    "affine_error",
    "affine_pck",
    "average_pck",
    "box_side",
    "calibration",
    "corner_error",
    "count_matches",
    "default_threshold",
    "endpoint_error",
    "essential_matrix",
    "estimate_all",
    "fit_homography",
    "flow_pck",
    "homography_matches",
    "image_side",
    "keypoint_side",
    "load_records",
    "match_precision",
    "mean_match_precision",
    "pck",
    "pose_accuracy",
    "pose_auc",
    "pose_error",
    "rotation_error",
    "sample_queries",
    "save_records",
    "symmetric_epipolar_distance",
    "symmetric_transfer_error",
    "tapvid",
    "tracks_pck",
    "transfer_error",
    "translation_error",
    "verify",
    "warp_error",
]

_HOMES = {
    "AffineProtocol": "homolog.evaluators.affine",
    "Benchmark": "homolog.evaluators.benchmark",
    "Curve": "homolog.evaluators.records",
    "DensePredictor": "homolog.evaluators.predictors",
    "DenseProtocol": "homolog.evaluators.dense",
    "DltHomography": "homolog.evaluators.homography",
    "Downscaled": "homolog.evaluators.image_sizes",
    "Estimator": "homolog.evaluators.solvers",
    "FlowPckProtocol": "homolog.evaluators.dense",
    "FundamentalProtocol": "homolog.evaluators.fundamental",
    "HomographyProtocol": "homolog.evaluators.homography",
    "MatchPrecisionProtocol": "homolog.evaluators.ground_truth_matches",
    "MatchPredictor": "homolog.evaluators.predictors",
    "MatchedPair": "homolog.evaluators.solvers",
    "MatchingAccuracyProtocol": "homolog.evaluators.homography",
    "MatrixEstimate": "homolog.evaluators.solvers",
    "OpencvAffine": "homolog.evaluators.opencv_solvers",
    "OpencvFundamental": "homolog.evaluators.opencv_solvers",
    "OpencvHomography": "homolog.evaluators.opencv_solvers",
    "OpencvPose": "homolog.evaluators.opencv_solvers",
    "Original": "homolog.evaluators.image_sizes",
    "PaddedSquare": "homolog.evaluators.image_sizes",
    "PckProtocol": "homolog.evaluators.keypoint_pck",
    "PointPredictor": "homolog.evaluators.predictors",
    "PoseEstimate": "homolog.evaluators.solvers",
    "PoseProtocol": "homolog.evaluators.pose",
    "PoseSweepProtocol": "homolog.evaluators.pose",
    "PoselibFundamental": "homolog.evaluators.solvers",
    "PoselibHomography": "homolog.evaluators.solvers",
    "PoselibPose": "homolog.evaluators.solvers",
    "Predictor": "homolog.evaluators.benchmark",
    "Record": "homolog.evaluators.records",
    "Score": "homolog.evaluators.records",
    "Scored": "homolog.evaluators.records",
    "ScoringProtocol": "homolog.evaluators.records",
    "StretchedSquare": "homolog.evaluators.image_sizes",
    "TapVidProtocol": "homolog.evaluators.tracking",
    "TrackPredictor": "homolog.evaluators.predictors",
    "TracksPckProtocol": "homolog.evaluators.tracking",
    "Verification": "homolog.evaluators.verification",
    "WorkingSize": "homolog.evaluators.image_sizes",
    "affine_error": "homolog.evaluators.affine",
    "affine_pck": "homolog.evaluators.affine",
    "average_pck": "homolog.evaluators.keypoint_pck",
    "box_side": "homolog.evaluators.keypoint_pck",
    "calibration": "homolog.evaluators.precision",
    "corner_error": "homolog.evaluators.homography",
    "count_matches": "homolog.evaluators.ground_truth_matches",
    "default_threshold": "homolog.evaluators.verification",
    "endpoint_error": "homolog.evaluators.dense",
    "essential_matrix": "homolog.evaluators.fundamental",
    "estimate_all": "homolog.evaluators.solvers",
    "fit_homography": "homolog.evaluators.homography",
    "flow_pck": "homolog.evaluators.dense",
    "homography_matches": "homolog.evaluators.ground_truth_matches",
    "image_side": "homolog.evaluators.keypoint_pck",
    "keypoint_side": "homolog.evaluators.keypoint_pck",
    "load_records": "homolog.evaluators.records",
    "match_precision": "homolog.evaluators.precision",
    "mean_match_precision": "homolog.evaluators.precision",
    "pck": "homolog.evaluators.keypoint_pck",
    "pose_accuracy": "homolog.evaluators.auc",
    "pose_auc": "homolog.evaluators.auc",
    "pose_error": "homolog.evaluators.pose",
    "rotation_error": "homolog.evaluators.pose",
    "sample_queries": "homolog.evaluators.tracking",
    "save_records": "homolog.evaluators.records",
    "symmetric_epipolar_distance": "homolog.evaluators.fundamental",
    "symmetric_transfer_error": "homolog.evaluators.homography",
    "tapvid": "homolog.evaluators.tracking",
    "tracks_pck": "homolog.evaluators.tracking",
    "transfer_error": "homolog.evaluators.homography",
    "translation_error": "homolog.evaluators.pose",
    "verify": "homolog.evaluators.verification",
    "warp_error": "homolog.evaluators.dense",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
