"""Evaluators: scores of matches, points, poses and tracks, each under the name of its protocol.

The metrics are functions of numpy arrays, so they work with any matcher:
`from homolog.evaluators import pck, pose_auc, tapvid`. Importing this package is cheap: a name imports its module
on first access, and only `Benchmark` and the predictors, which run matchers, need torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
