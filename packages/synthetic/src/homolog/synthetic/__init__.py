"""Synthetic image pairs and videos with exact correspondences.

`SemanticPairs`, `ScenePairs` and `Videos` need no files; `AlignedPairs`, `AssetPairs`, `MeshPairs` and
`HomographySource` take meshes, photos or a texturer. Each is a sequence of samples that are made on demand.
Importing this package is cheap: nothing is loaded or compiled before it is used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
