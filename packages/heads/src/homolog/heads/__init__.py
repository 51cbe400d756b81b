"""Networks and algorithms that turn features into matches.

Names are imported on first use, so that importing this package is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from homolog.heads.coarse_to_fine import CoarseToFine
    from homolog.heads.dense_grid import DenseGrid
    from homolog.heads.fusion import AttentionFusion, Concatenation, FeaturePyramid
    from homolog.heads.guided_matcher import GuidedMatcher
    from homolog.heads.lightglue import LightGlue
    from homolog.heads.nearest import DualSoftmax, Nearest, mutual_nearest
    from homolog.heads.optimal_transport import log_optimal_transport, mutual_matches
    from homolog.heads.read_out import locate

__all__ = [
    "AttentionFusion",
    "CoarseToFine",
    "Concatenation",
    "DenseGrid",
    "DualSoftmax",
    "FeaturePyramid",
    "GuidedMatcher",
    "LightGlue",
    "Nearest",
    "locate",
    "log_optimal_transport",
    "mutual_matches",
    "mutual_nearest",
]

_HOMES = {
    "AttentionFusion": "homolog.heads.fusion",
    "CoarseToFine": "homolog.heads.coarse_to_fine",
    "Concatenation": "homolog.heads.fusion",
    "DenseGrid": "homolog.heads.dense_grid",
    "DualSoftmax": "homolog.heads.nearest",
    "FeaturePyramid": "homolog.heads.fusion",
    "GuidedMatcher": "homolog.heads.guided_matcher",
    "LightGlue": "homolog.heads.lightglue",
    "Nearest": "homolog.heads.nearest",
    "locate": "homolog.heads.read_out",
    "log_optimal_transport": "homolog.heads.optimal_transport",
    "mutual_matches": "homolog.heads.optimal_transport",
    "mutual_nearest": "homolog.heads.nearest",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
