"""Feature extractors and keypoint detectors.

Names are imported on first use, so that importing this package loads no network library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from homolog.backbones.aliked import Aliked
    from homolog.backbones.combined import Fused, Resized, Stack
    from homolog.backbones.convnet import ConvNet
    from homolog.backbones.dedode import Dedode
    from homolog.backbones.dift import Dift
    from homolog.backbones.dinov2 import Dino
    from homolog.backbones.disk import Disk
    from homolog.backbones.efficientnet_lite0 import EfficientNetLite0
    from homolog.backbones.sd_dino import SdDino
    from homolog.backbones.sift import Sift
    from homolog.backbones.simple_detectors import Cells, Lattice, Peaks
    from homolog.backbones.superpoint import SuperPoint
    from homolog.backbones.vggt.backbone import VGGT
    from homolog.backbones.xfeat import XFeat, XFeatDetector

__all__ = [
    "VGGT",
    "Aliked",
    "Cells",
    "ConvNet",
    "Dedode",
    "Dift",
    "Dino",
    "Disk",
    "EfficientNetLite0",
    "Fused",
    "Lattice",
    "Peaks",
    "Resized",
    "SdDino",
    "Sift",
    "Stack",
    "SuperPoint",
    "XFeat",
    "XFeatDetector",
]

_HOMES = {
    "Aliked": "homolog.backbones.aliked",
    "Cells": "homolog.backbones.simple_detectors",
    "ConvNet": "homolog.backbones.convnet",
    "Dedode": "homolog.backbones.dedode",
    "Dift": "homolog.backbones.dift",
    "Dino": "homolog.backbones.dinov2",
    "Disk": "homolog.backbones.disk",
    "EfficientNetLite0": "homolog.backbones.efficientnet_lite0",
    "Fused": "homolog.backbones.combined",
    "Lattice": "homolog.backbones.simple_detectors",
    "Peaks": "homolog.backbones.simple_detectors",
    "Resized": "homolog.backbones.combined",
    "SdDino": "homolog.backbones.sd_dino",
    "Sift": "homolog.backbones.sift",
    "Stack": "homolog.backbones.combined",
    "SuperPoint": "homolog.backbones.superpoint",
    "VGGT": "homolog.backbones.vggt.backbone",
    "XFeat": "homolog.backbones.xfeat",
    "XFeatDetector": "homolog.backbones.xfeat",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
