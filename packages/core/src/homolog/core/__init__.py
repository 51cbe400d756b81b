"""The language of homolog: images, features, keypoints, matches, fields, tracks, cameras and errors.

Importing this package is cheap: its modules, and torch, are imported when one of their names is first used.
The coordinate convention is in `homolog.core.coords`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
