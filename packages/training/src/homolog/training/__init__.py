"""Training for homolog: recipes, objectives, losses and ground truth.

`fit(recipe, matcher, out)` runs a training. Losses are pure functions and need no trainer. Importing this package is
cheap: names are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from homolog.training.batch import PairBatch, collate
    from homolog.training.cached_pairs import CachedPairs
    from homolog.training.data import Mixture, Source
    from homolog.training.ground_truth import (
        CoarseTruth,
        GroundTruthMatches,
        MatchLabeller,
        coarse_truth,
        matches_from_depth,
        matches_from_homography,
    )
    from homolog.training.losses.dense import (
        dense_l2,
        keypoint_l2,
        matching_loss,
        reconstruction_loss,
        smoothness_loss,
        uncertainty_loss,
    )
    from homolog.training.losses.matcha import contrastive_loss, dense_flow_loss
    from homolog.training.losses.semidense import alignment_loss, coarse_focal_loss, expectation, fine_loss
    from homolog.training.losses.sparse import assignment_loss, dual_softmax_loss
    from homolog.training.losses.vggt import camera_loss, trusted_error
    from homolog.training.map_cache import MapCache
    from homolog.training.measures import fold_over_rate, left_right_confusion
    from homolog.training.module import MatcherModule, TrainingError
    from homolog.training.objectives.base import Objective, Step
    from homolog.training.objectives.dense import DenseObjective
    from homolog.training.objectives.fusion import FusionObjective
    from homolog.training.objectives.geometry import GeometryObjective, SceneTruth, scene_truth
    from homolog.training.objectives.graph_matcher import GraphMatcherObjective
    from homolog.training.objectives.semidense import SemidenseObjective
    from homolog.training.recipe import Recipe
    from homolog.training.stage import Stage
    from homolog.training.trainer import fit
    from homolog.training.validation import Validation

__all__ = [
    "CachedPairs",
    "CoarseTruth",
    "DenseObjective",
    "FusionObjective",
    "GeometryObjective",
    "GraphMatcherObjective",
    "GroundTruthMatches",
    "MapCache",
    "MatchLabeller",
    "MatcherModule",
    "Mixture",
    "Objective",
    "PairBatch",
    "Recipe",
    "SceneTruth",
    "SemidenseObjective",
    "Source",
    "Stage",
    "Step",
    "TrainingError",
    "Validation",
    "alignment_loss",
    "assignment_loss",
    "camera_loss",
    "coarse_focal_loss",
    "coarse_truth",
    "collate",
    "contrastive_loss",
    "dense_flow_loss",
    "dense_l2",
    "dual_softmax_loss",
    "expectation",
    "fine_loss",
    "fit",
    "fold_over_rate",
    "keypoint_l2",
    "left_right_confusion",
    "matches_from_depth",
    "matches_from_homography",
    "matching_loss",
    "reconstruction_loss",
    "scene_truth",
    "smoothness_loss",
    "trusted_error",
    "uncertainty_loss",
]

_HOMES = {
    "CachedPairs": "homolog.training.cached_pairs",
    "CoarseTruth": "homolog.training.ground_truth",
    "DenseObjective": "homolog.training.objectives.dense",
    "FusionObjective": "homolog.training.objectives.fusion",
    "GeometryObjective": "homolog.training.objectives.geometry",
    "GraphMatcherObjective": "homolog.training.objectives.graph_matcher",
    "GroundTruthMatches": "homolog.training.ground_truth",
    "MapCache": "homolog.training.map_cache",
    "MatchLabeller": "homolog.training.ground_truth",
    "MatcherModule": "homolog.training.module",
    "Mixture": "homolog.training.data",
    "Objective": "homolog.training.objectives.base",
    "PairBatch": "homolog.training.batch",
    "Recipe": "homolog.training.recipe",
    "SceneTruth": "homolog.training.objectives.geometry",
    "SemidenseObjective": "homolog.training.objectives.semidense",
    "Source": "homolog.training.data",
    "Stage": "homolog.training.stage",
    "Step": "homolog.training.objectives.base",
    "TrainingError": "homolog.training.module",
    "Validation": "homolog.training.validation",
    "alignment_loss": "homolog.training.losses.semidense",
    "assignment_loss": "homolog.training.losses.sparse",
    "camera_loss": "homolog.training.losses.vggt",
    "coarse_focal_loss": "homolog.training.losses.semidense",
    "coarse_truth": "homolog.training.ground_truth",
    "collate": "homolog.training.batch",
    "contrastive_loss": "homolog.training.losses.matcha",
    "dense_flow_loss": "homolog.training.losses.matcha",
    "dense_l2": "homolog.training.losses.dense",
    "dual_softmax_loss": "homolog.training.losses.sparse",
    "expectation": "homolog.training.losses.semidense",
    "fine_loss": "homolog.training.losses.semidense",
    "fit": "homolog.training.trainer",
    "fold_over_rate": "homolog.training.measures",
    "keypoint_l2": "homolog.training.losses.dense",
    "left_right_confusion": "homolog.training.measures",
    "matches_from_depth": "homolog.training.ground_truth",
    "matches_from_homography": "homolog.training.ground_truth",
    "matching_loss": "homolog.training.losses.dense",
    "reconstruction_loss": "homolog.training.losses.dense",
    "scene_truth": "homolog.training.objectives.geometry",
    "smoothness_loss": "homolog.training.losses.dense",
    "trusted_error": "homolog.training.losses.vggt",
    "uncertainty_loss": "homolog.training.losses.dense",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
