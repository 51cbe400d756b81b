"""Feature extractors and keypoint detectors.

Names are imported on first use, so that importing this package loads no network library.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
