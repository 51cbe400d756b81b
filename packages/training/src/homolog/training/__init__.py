"""Training for homolog: recipes, objectives, losses and ground truth.

`fit(recipe, matcher, out)` runs a training. Losses are pure functions and need no trainer. Importing this package is
cheap: names are imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
