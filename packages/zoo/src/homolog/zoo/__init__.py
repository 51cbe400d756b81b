"""The model zoo: from a name to a product that is ready to use, through configuration.

`load_matcher("xfeat", "head.window=7")` returns a matcher, `load_task("spair", "data.root=...")` a task
to evaluate it on. `list_products()`, `list_tasks()`, `list_recipes()` and `list_weights()` show what
there is. Importing this package is cheap: neither torch nor Hydra is imported before it is needed.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
