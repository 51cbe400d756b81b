"""Benchmarks in their official layouts, as samples of `homolog.core`.

Names are imported on first use, so that importing this package is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from homolog.data.ap10k import Ap10kPairs
    from homolog.data.deepaerial import DeepAerial
    from homolog.data.gso import GoogleScannedObjects
    from homolog.data.homography_pairs import HomographyPairs
    from homolog.data.hpatches import HPatches
    from homolog.data.inventory import Inventory, Layout, inspect, layouts
    from homolog.data.megadepth1500 import MegaDepth1500GlueFactory, MegaDepth1500LoFTR, MegaDepth1500XFeat
    from homolog.data.megadepth_train import MegaDepthTrain
    from homolog.data.navi import Navi
    from homolog.data.pair_list import PairList
    from homolog.data.pairs_json import NamedKeypointPairs
    from homolog.data.pose_pairs import PosePairs
    from homolog.data.proposal_flow import PfPascalPairs, WillowPairs
    from homolog.data.safe_pickle import load_pickle
    from homolog.data.scannet1500 import ScanNet1500LoFTR, ScanNet1500SuperGlue
    from homolog.data.spair import SpairPairs, SpairUPairs
    from homolog.data.tapvid import TapVid, tapvid_file
    from homolog.data.tss import TssPairs
    from homolog.data.wxbs import WxBS

__all__ = [
    "Ap10kPairs",
    "DeepAerial",
    "GoogleScannedObjects",
    "HPatches",
    "HomographyPairs",
    "Inventory",
    "Layout",
    "MegaDepth1500GlueFactory",
    "MegaDepth1500LoFTR",
    "MegaDepth1500XFeat",
    "MegaDepthTrain",
    "NamedKeypointPairs",
    "Navi",
    "PairList",
    "PfPascalPairs",
    "PosePairs",
    "ScanNet1500LoFTR",
    "ScanNet1500SuperGlue",
    "SpairPairs",
    "SpairUPairs",
    "TapVid",
    "TssPairs",
    "WillowPairs",
    "WxBS",
    "inspect",
    "layouts",
    "load_pickle",
    "tapvid_file",
]

_HOMES = {
    "Ap10kPairs": "homolog.data.ap10k",
    "DeepAerial": "homolog.data.deepaerial",
    "GoogleScannedObjects": "homolog.data.gso",
    "HPatches": "homolog.data.hpatches",
    "HomographyPairs": "homolog.data.homography_pairs",
    "Inventory": "homolog.data.inventory",
    "Layout": "homolog.data.inventory",
    "MegaDepth1500GlueFactory": "homolog.data.megadepth1500",
    "MegaDepth1500LoFTR": "homolog.data.megadepth1500",
    "MegaDepth1500XFeat": "homolog.data.megadepth1500",
    "MegaDepthTrain": "homolog.data.megadepth_train",
    "NamedKeypointPairs": "homolog.data.pairs_json",
    "Navi": "homolog.data.navi",
    "PairList": "homolog.data.pair_list",
    "PfPascalPairs": "homolog.data.proposal_flow",
    "PosePairs": "homolog.data.pose_pairs",
    "ScanNet1500LoFTR": "homolog.data.scannet1500",
    "ScanNet1500SuperGlue": "homolog.data.scannet1500",
    "SpairPairs": "homolog.data.spair",
    "SpairUPairs": "homolog.data.spair",
    "TapVid": "homolog.data.tapvid",
    "TssPairs": "homolog.data.tss",
    "WillowPairs": "homolog.data.proposal_flow",
    "WxBS": "homolog.data.wxbs",
    "inspect": "homolog.data.inventory",
    "layouts": "homolog.data.inventory",
    "load_pickle": "homolog.data.safe_pickle",
    "tapvid_file": "homolog.data.tapvid",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
