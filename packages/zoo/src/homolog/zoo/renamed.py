"""What had another name before: an error names the new one, on the command line and in YAML.

To record a rename, add a line to one of the tables.
"""

from collections.abc import Container

SETTINGS: dict[str, tuple[str, ...]] = {
    "by": ("group_by",),
    "counted": ("error",),
    "describe": ("descriptor_map",),
    "epipolar": ("epipolar_distance",),
    "kept": ("anchor", "dtype"),
    "likeness": ("similarity",),
    "limit": ("max_keypoints", "max_matches", "disk_limit"),
    "longest": ("resize", "longer_side"),
    "minimum": ("match_threshold",),
    "mode": ("query_mode",),
    "radius": ("nms_radius",),
    "share": ("fraction",),
    "shortest": ("shorter_side",),
    "window": ("nms_radius",),
}
"""Old setting to new ones. The one that the part in question has is meant: `longest` became `resize` in
matchers and `longer_side` in protocols, and a head that still has a `window` keeps it."""

NOTES = {"window": "; a window of 5 is an nms_radius of 2"}
"""What to say about an old setting whose values have changed too."""

TARGETS = {
    "homolog.backbones.cells.Cells": "homolog.backbones.simple_detectors.Cells",
    "homolog.backbones.fused.Fused": "homolog.backbones.combined.Fused",
    "homolog.backbones.lattice.Lattice": "homolog.backbones.simple_detectors.Lattice",
    "homolog.backbones.peaks.Peaks": "homolog.backbones.simple_detectors.Peaks",
    "homolog.backbones.resized.Resized": "homolog.backbones.combined.Resized",
    "homolog.backbones.stack.Stack": "homolog.backbones.combined.Stack",
    "homolog.backbones.vggt.architecture.Architecture": "homolog.backbones.vggt.layers.Architecture",
    "homolog.backbones.vggt.decoder.Decoder": "homolog.backbones.vggt.dpt.Decoder",
    "homolog.core.hub.fetch_folder": "homolog.zoo.sources.fetch_folder",
    "homolog.core.weights.fetch": "homolog.zoo.sources.fetch",
    "homolog.core.weights.packaged": "homolog.zoo.sources.packaged",
    "homolog.data.megadepth1500_gluefactory.MegaDepth1500GlueFactory": "homolog.data.megadepth1500.MegaDepth1500GlueFactory",
    "homolog.data.megadepth1500_loftr.MegaDepth1500LoFTR": "homolog.data.megadepth1500.MegaDepth1500LoFTR",
    "homolog.data.megadepth1500_xfeat.MegaDepth1500XFeat": "homolog.data.megadepth1500.MegaDepth1500XFeat",
    "homolog.data.pfpascal.PfPascalPairs": "homolog.data.proposal_flow.PfPascalPairs",
    "homolog.data.scannet1500_loftr.ScanNet1500LoFTR": "homolog.data.scannet1500.ScanNet1500LoFTR",
    "homolog.data.scannet1500_superglue.ScanNet1500SuperGlue": "homolog.data.scannet1500.ScanNet1500SuperGlue",
    "homolog.data.shards": "homolog.synthetic.shards",
    "homolog.data.spair_u.SpairUPairs": "homolog.data.spair.SpairUPairs",
    "homolog.data.synthetic": "homolog.synthetic",
    "homolog.data.synthetic.splats.splat_pairs.SplatPairs": "homolog.synthetic.splats.pairs.SplatPairs",
    "homolog.data.willow.WillowPairs": "homolog.data.proposal_flow.WillowPairs",
    "homolog.evaluators.affine_protocol.AffineProtocol": "homolog.evaluators.affine.AffineProtocol",
    "homolog.evaluators.ask_dense.AskDense": "homolog.evaluators.predictors.DensePredictor",
    "homolog.evaluators.ask_matches.AskMatches": "homolog.evaluators.predictors.MatchPredictor",
    "homolog.evaluators.ask_points.AskPoints": "homolog.evaluators.predictors.PointPredictor",
    "homolog.evaluators.ask_tracks.AskTracks": "homolog.evaluators.predictors.TrackPredictor",
    "homolog.evaluators.dense_protocol.DenseProtocol": "homolog.evaluators.dense.DenseProtocol",
    "homolog.evaluators.direct_solver.DirectHomography": "homolog.evaluators.homography.DltHomography",
    "homolog.evaluators.error_frame": "homolog.evaluators.image_sizes",
    "homolog.evaluators.error_frame.Limited": "homolog.evaluators.image_sizes.Downscaled",
    "homolog.evaluators.flow_pck_protocol.FlowPckProtocol": "homolog.evaluators.dense.FlowPckProtocol",
    "homolog.evaluators.fundamental_protocol.FundamentalProtocol": "homolog.evaluators.fundamental.FundamentalProtocol",
    "homolog.evaluators.homography_protocol.HomographyProtocol": "homolog.evaluators.homography.HomographyProtocol",
    "homolog.evaluators.match_precision_protocol.MatchPrecisionProtocol": "homolog.evaluators.ground_truth_matches.MatchPrecisionProtocol",
    "homolog.evaluators.matching_accuracy_protocol.MatchingAccuracyProtocol": "homolog.evaluators.homography.MatchingAccuracyProtocol",
    "homolog.evaluators.opencv_solver": "homolog.evaluators.opencv_solvers",
    "homolog.evaluators.pck_protocol.PckProtocol": "homolog.evaluators.keypoint_pck.PckProtocol",
    "homolog.evaluators.pose_protocol.PoseProtocol": "homolog.evaluators.pose.PoseProtocol",
    "homolog.evaluators.pose_solver": "homolog.evaluators.solvers",
    "homolog.evaluators.pose_sweep_protocol.PoseSweepProtocol": "homolog.evaluators.pose.PoseSweepProtocol",
    "homolog.evaluators.read_out.dift.transfer_points": "homolog.evaluators.read_out.dift",
    "homolog.evaluators.read_out.distilldift.transfer_points": "homolog.evaluators.read_out.distilldift",
    "homolog.evaluators.read_out.geoaware.transfer_maps": "homolog.evaluators.read_out.geoaware",
    "homolog.evaluators.read_out.visual_ai.transfer_points": "homolog.evaluators.read_out.visual_ai",
    "homolog.evaluators.tapvid_protocol.TapVidProtocol": "homolog.evaluators.tracking.TapVidProtocol",
    "homolog.evaluators.tracks_pck_protocol.TracksPckProtocol": "homolog.evaluators.tracking.TracksPckProtocol",
    "homolog.evaluators.working_size.WorkingSize": "homolog.evaluators.image_sizes.WorkingSize",
    "homolog.heads.concatenation.Concatenation": "homolog.heads.fusion.Concatenation",
    "homolog.heads.dual_softmax.DualSoftmax": "homolog.heads.nearest.DualSoftmax",
    "homolog.heads.guided_glue.GuidedGlue": "homolog.heads.guided_matcher.GuidedMatcher",
    "homolog.heads.pyramid.FeaturePyramid": "homolog.heads.fusion.FeaturePyramid",
    "homolog.matchers.track.FrameByFrame": "homolog.matchers.tracking.FrameByFrame",
    "homolog.matchers.vismatch_adapter.VismatchMatcher": "homolog.matchers.external.VismatchMatcher",
    "homolog.training.objectives.glue.GlueObjective": "homolog.training.objectives.graph_matcher.GraphMatcherObjective",
    "homolog.training.seen_pairs.SeenPairs": "homolog.training.cached_pairs.CachedPairs",
}
"""Old `_target_` to new one: a class, a function, or a module with all that is below it."""

CHOICES = {
    "head/guided_glue": "head/guided_matcher",
    "head/mini_glue": "head/mini_guided_matcher",
    "matcher/mini_glue": "matcher/mini_omniglue",
    "protocol/tapvid/matcha_pck": "protocol/tapvid/matcha_paper",
    "recipe/guided_glue": "recipe/omniglue",
    "recipe/mini_glue": "recipe/mini_omniglue",
    "recipe/mini_glue_homography": "recipe/mini_omniglue_homography",
    "source/seen": "source/cached_pairs",
}
"""Old `group/name` of a YAML to the new one, such as `"head/old": "head/new"`."""


def setting_renamed(name: str, settings: Container[str]) -> str | None:
    """Return the message that a setting was renamed; None if it was not.

    Args:
        name: of the setting, with the part it belongs to: `detector.limit`.
        settings: those that the part has now.

    >>> setting_renamed("detector.limit", {"max_keypoints", "threshold"})
    'the setting detector.limit is now called detector.max_keypoints'
    >>> setting_renamed("head.window", {"window", "nms_radius"}) is None
    True
    """
    part, dot, old = name.rpartition(".")
    if old in settings:
        return None
    new = next((new for new in SETTINGS.get(old, ()) if new in settings), None)
    return f"the setting {name} is now called {part}{dot}{new}{NOTES.get(old, '')}" if new else None


def new_target(old: str) -> str | None:
    """Return what a `_target_` is called now; None if it was not renamed.

    >>> new_target("homolog.data.synthetic.scenes.Room")
    'homolog.synthetic.scenes.Room'
    """
    known = [name for name in TARGETS if f"{old}.".startswith(f"{name}.")]
    longest = max(known, key=len, default=None)
    return None if longest is None else TARGETS[longest] + old.removeprefix(longest)
