"""Matchers: a backbone, a detector and a head together as one method.

Importing this package is cheap: its modules are imported when one of their names is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from homolog.matchers.base import FeatureMatcher, ImageFeatures, ImageGeometry
    from homolog.matchers.dense import DenseCorrespondence, DenseMatcher
    from homolog.matchers.external import ExternalCorrespondence, ExternalMatcher, VismatchMatcher
    from homolog.matchers.loftr import Loftr
    from homolog.matchers.published import PublishedCorrespondence, PublishedReadOut
    from homolog.matchers.sparse import SparseCorrespondence, SparseMatcher
    from homolog.matchers.tracking import FrameByFrame

__all__ = [
    "DenseCorrespondence",
    "DenseMatcher",
    "ExternalCorrespondence",
    "ExternalMatcher",
    "FeatureMatcher",
    "FrameByFrame",
    "ImageFeatures",
    "ImageGeometry",
    "Loftr",
    "PublishedCorrespondence",
    "PublishedReadOut",
    "SparseCorrespondence",
    "SparseMatcher",
    "VismatchMatcher",
]

_HOMES = {
    "DenseCorrespondence": "homolog.matchers.dense",
    "DenseMatcher": "homolog.matchers.dense",
    "ExternalCorrespondence": "homolog.matchers.external",
    "ExternalMatcher": "homolog.matchers.external",
    "FeatureMatcher": "homolog.matchers.base",
    "FrameByFrame": "homolog.matchers.tracking",
    "ImageFeatures": "homolog.matchers.base",
    "ImageGeometry": "homolog.matchers.base",
    "Loftr": "homolog.matchers.loftr",
    "PublishedCorrespondence": "homolog.matchers.published",
    "PublishedReadOut": "homolog.matchers.published",
    "SparseCorrespondence": "homolog.matchers.sparse",
    "SparseMatcher": "homolog.matchers.sparse",
    "VismatchMatcher": "homolog.matchers.external",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
