"""The language of homolog: images, features, keypoints, matches, fields, tracks, cameras and errors.

Importing this package is cheap: its modules, and torch, are imported when one of their names is first used.
The coordinate convention is in `homolog.core.coords`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from homolog.core.cache import CacheInfo, FeatureCache, LRUCache, content_key
    from homolog.core.camera import Camera, RelativePose, epipolar_distance, fundamental
    from homolog.core.dense import DenseField, Transfer
    from homolog.core.device import autocast, choose_device
    from homolog.core.errors import (
        CapabilityError,
        ConfigError,
        DataError,
        HomologError,
        MissingDependencyError,
        ShapeError,
        WeightsError,
    )
    from homolog.core.features import Features
    from homolog.core.image import Image, crop, fit, pad, resize
    from homolog.core.io import as_image, as_points, read_image, read_matches, write_image, write_matches
    from homolog.core.keypoints import Keypoints, Matches
    from homolog.core.protocols import (
        Backbone,
        Correspondence,
        Decoder,
        DenseHead,
        Detector,
        Fusion,
        ImageLike,
        Matcher,
        Points,
        SimilarityHead,
        SparseHead,
        Task,
        Tracker,
        TransferHead,
    )
    from homolog.core.samples import PairSample, ShownGaussians, VideoSample
    from homolog.core.sampling import sample_points, warp_maps
    from homolog.core.tracks import Queries, Tracks

__all__ = [
    "Backbone",
    "CacheInfo",
    "Camera",
    "CapabilityError",
    "ConfigError",
    "Correspondence",
    "DataError",
    "Decoder",
    "DenseField",
    "DenseHead",
    "Detector",
    "FeatureCache",
    "Features",
    "Fusion",
    "HomologError",
    "Image",
    "ImageLike",
    "Keypoints",
    "LRUCache",
    "Matcher",
    "Matches",
    "MissingDependencyError",
    "PairSample",
    "Points",
    "Queries",
    "RelativePose",
    "ShapeError",
    "ShownGaussians",
    "SimilarityHead",
    "SparseHead",
    "Task",
    "Tracker",
    "Tracks",
    "Transfer",
    "TransferHead",
    "VideoSample",
    "WeightsError",
    "as_image",
    "as_points",
    "autocast",
    "choose_device",
    "content_key",
    "crop",
    "epipolar_distance",
    "fit",
    "fundamental",
    "pad",
    "read_image",
    "read_matches",
    "resize",
    "sample_points",
    "warp_maps",
    "write_image",
    "write_matches",
]

_HOMES = {
    "Backbone": "homolog.core.protocols",
    "CacheInfo": "homolog.core.cache",
    "Camera": "homolog.core.camera",
    "CapabilityError": "homolog.core.errors",
    "ConfigError": "homolog.core.errors",
    "Correspondence": "homolog.core.protocols",
    "DataError": "homolog.core.errors",
    "Decoder": "homolog.core.protocols",
    "DenseField": "homolog.core.dense",
    "DenseHead": "homolog.core.protocols",
    "Detector": "homolog.core.protocols",
    "FeatureCache": "homolog.core.cache",
    "Features": "homolog.core.features",
    "Fusion": "homolog.core.protocols",
    "HomologError": "homolog.core.errors",
    "Image": "homolog.core.image",
    "ImageLike": "homolog.core.protocols",
    "Keypoints": "homolog.core.keypoints",
    "LRUCache": "homolog.core.cache",
    "Matcher": "homolog.core.protocols",
    "Matches": "homolog.core.keypoints",
    "MissingDependencyError": "homolog.core.errors",
    "PairSample": "homolog.core.samples",
    "Points": "homolog.core.protocols",
    "Queries": "homolog.core.tracks",
    "RelativePose": "homolog.core.camera",
    "ShapeError": "homolog.core.errors",
    "ShownGaussians": "homolog.core.samples",
    "SimilarityHead": "homolog.core.protocols",
    "SparseHead": "homolog.core.protocols",
    "Task": "homolog.core.protocols",
    "Tracker": "homolog.core.protocols",
    "Tracks": "homolog.core.tracks",
    "Transfer": "homolog.core.dense",
    "TransferHead": "homolog.core.protocols",
    "VideoSample": "homolog.core.samples",
    "WeightsError": "homolog.core.errors",
    "as_image": "homolog.core.io",
    "as_points": "homolog.core.io",
    "autocast": "homolog.core.device",
    "choose_device": "homolog.core.device",
    "content_key": "homolog.core.cache",
    "crop": "homolog.core.image",
    "epipolar_distance": "homolog.core.camera",
    "fit": "homolog.core.image",
    "fundamental": "homolog.core.camera",
    "pad": "homolog.core.image",
    "read_image": "homolog.core.io",
    "read_matches": "homolog.core.io",
    "resize": "homolog.core.image",
    "sample_points": "homolog.core.sampling",
    "warp_maps": "homolog.core.sampling",
    "write_image": "homolog.core.io",
    "write_matches": "homolog.core.io",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
