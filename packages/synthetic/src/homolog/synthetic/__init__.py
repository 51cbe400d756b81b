"""Synthetic image pairs and videos with exact correspondences.

`SemanticPairs`, `ScenePairs` and `Videos` need no files; `AlignedPairs`, `AssetPairs`, `MeshPairs` and
`HomographySource` take meshes, photos or a texturer. Each is a sequence of samples that are made on demand.
Importing this package is cheap: nothing is loaded or compiled before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from homolog.synthetic.aligned_pairs import AlignedPair, AlignedPairs
    from homolog.synthetic.asset_pairs import AssetPairs, MeshPairs, SurfacePair
    from homolog.synthetic.assets import Asset, AssetSource, ProceduralAssets
    from homolog.synthetic.category import Category, topology
    from homolog.synthetic.correspondence import DenseTruth, dense_truth, truth_from_depth
    from homolog.synthetic.homography_source import HomographyPair, HomographySource
    from homolog.synthetic.meshes.folder import MeshFolder
    from homolog.synthetic.rendering.scene import Body, Scene, SurfacePoints, Topology
    from homolog.synthetic.rendering.view import View
    from homolog.synthetic.rendering.viewpoint import Viewpoint
    from homolog.synthetic.scene_pairs import ScenePair, ScenePairs
    from homolog.synthetic.semantic_pairs import SemanticPair, SemanticPairs
    from homolog.synthetic.texturing.flux import Control, FluxTexturer
    from homolog.synthetic.texturing.gates import DepthGate, EdgeGate, Gate, GatedTexturer, MaskGate
    from homolog.synthetic.texturing.texturers import (
        Conditioning,
        IdentityTexturer,
        ProceduralTexturer,
        Texturer,
    )
    from homolog.synthetic.videos import Video, Videos

__all__ = [
    "AlignedPair",
    "AlignedPairs",
    "Asset",
    "AssetPairs",
    "AssetSource",
    "Body",
    "Category",
    "Conditioning",
    "Control",
    "DenseTruth",
    "DepthGate",
    "EdgeGate",
    "FluxTexturer",
    "Gate",
    "GatedTexturer",
    "HomographyPair",
    "HomographySource",
    "IdentityTexturer",
    "MaskGate",
    "MeshFolder",
    "MeshPairs",
    "ProceduralAssets",
    "ProceduralTexturer",
    "Scene",
    "ScenePair",
    "ScenePairs",
    "SemanticPair",
    "SemanticPairs",
    "SurfacePair",
    "SurfacePoints",
    "Texturer",
    "Topology",
    "Video",
    "Videos",
    "View",
    "Viewpoint",
    "dense_truth",
    "topology",
    "truth_from_depth",
]

_HOMES = {
    "AlignedPair": "homolog.synthetic.aligned_pairs",
    "AlignedPairs": "homolog.synthetic.aligned_pairs",
    "Asset": "homolog.synthetic.assets",
    "AssetPairs": "homolog.synthetic.asset_pairs",
    "AssetSource": "homolog.synthetic.assets",
    "Body": "homolog.synthetic.rendering.scene",
    "Category": "homolog.synthetic.category",
    "Conditioning": "homolog.synthetic.texturing.texturers",
    "Control": "homolog.synthetic.texturing.flux",
    "DenseTruth": "homolog.synthetic.correspondence",
    "DepthGate": "homolog.synthetic.texturing.gates",
    "EdgeGate": "homolog.synthetic.texturing.gates",
    "FluxTexturer": "homolog.synthetic.texturing.flux",
    "Gate": "homolog.synthetic.texturing.gates",
    "GatedTexturer": "homolog.synthetic.texturing.gates",
    "HomographyPair": "homolog.synthetic.homography_source",
    "HomographySource": "homolog.synthetic.homography_source",
    "IdentityTexturer": "homolog.synthetic.texturing.texturers",
    "MaskGate": "homolog.synthetic.texturing.gates",
    "MeshFolder": "homolog.synthetic.meshes.folder",
    "MeshPairs": "homolog.synthetic.asset_pairs",
    "ProceduralAssets": "homolog.synthetic.assets",
    "ProceduralTexturer": "homolog.synthetic.texturing.texturers",
    "Scene": "homolog.synthetic.rendering.scene",
    "ScenePair": "homolog.synthetic.scene_pairs",
    "ScenePairs": "homolog.synthetic.scene_pairs",
    "SemanticPair": "homolog.synthetic.semantic_pairs",
    "SemanticPairs": "homolog.synthetic.semantic_pairs",
    "SurfacePair": "homolog.synthetic.asset_pairs",
    "SurfacePoints": "homolog.synthetic.rendering.scene",
    "Texturer": "homolog.synthetic.texturing.texturers",
    "Topology": "homolog.synthetic.rendering.scene",
    "Video": "homolog.synthetic.videos",
    "Videos": "homolog.synthetic.videos",
    "View": "homolog.synthetic.rendering.view",
    "Viewpoint": "homolog.synthetic.rendering.viewpoint",
    "dense_truth": "homolog.synthetic.correspondence",
    "topology": "homolog.synthetic.category",
    "truth_from_depth": "homolog.synthetic.correspondence",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
