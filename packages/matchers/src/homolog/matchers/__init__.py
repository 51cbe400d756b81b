"""Matchers: a backbone, a detector and a head together as one method.

Importing this package is cheap: its modules are imported when one of their names is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
