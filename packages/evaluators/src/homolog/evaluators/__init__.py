"""Evaluators: scores of matches, points, poses and tracks, each under the name of its protocol.

The metrics are functions of plain numpy arrays, so they work with anybody's matcher:
`from homolog.evaluators import pck, pose_auc, tapvid`. Importing them imports numpy only. What scores
whole runs (`Benchmark`, the protocols) is imported from its own module.
"""

from homolog.evaluators.affine_accuracy import affine_error, affine_pck
from homolog.evaluators.dense_accuracy import endpoint_error, flow_pck, warp_error
from homolog.evaluators.epipolar_geometry import essential_matrix, symmetric_epipolar_distance
from homolog.evaluators.error_recall import pose_accuracy, pose_auc
from homolog.evaluators.homography_accuracy import corner_error, symmetric_transfer_error, transfer_error
from homolog.evaluators.homography_matches import count_matches, homography_matches
from homolog.evaluators.keypoint_accuracy import average_pck, box_side, image_side, keypoint_side, pck
from homolog.evaluators.match_quality import match_precision, mean_match_precision
from homolog.evaluators.point_tracking import tapvid
from homolog.evaluators.pose_difference import pose_error, rotation_error, translation_error
from homolog.evaluators.query_sampling import sample_queries
from homolog.evaluators.reliability import calibration
from homolog.evaluators.track_accuracy import tracks_pck

__all__ = [
    "affine_error",
    "affine_pck",
    "average_pck",
    "box_side",
    "calibration",
    "corner_error",
    "count_matches",
    "endpoint_error",
    "essential_matrix",
    "flow_pck",
    "homography_matches",
    "image_side",
    "keypoint_side",
    "match_precision",
    "mean_match_precision",
    "pck",
    "pose_accuracy",
    "pose_auc",
    "pose_error",
    "rotation_error",
    "sample_queries",
    "symmetric_epipolar_distance",
    "symmetric_transfer_error",
    "tapvid",
    "tracks_pck",
    "transfer_error",
    "translation_error",
    "warp_error",
]
