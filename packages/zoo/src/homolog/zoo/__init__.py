"""From a name to a ready product, through configuration.

The public face: `load_matcher("mini", "head.window=7")` returns a matcher that is ready to use,
`load_task("spair", "data.root=...")` what it is measured on, and `list_products()` says what there is. Importing this package is cheap: neither torch nor Hydra is
touched before the first call needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from homolog.zoo.catalogue import list_products
    from homolog.zoo.model import load_matcher
    from homolog.zoo.task import load_task

__all__ = ["list_products", "load_matcher", "load_task"]

_HOMES = {
    "list_products": "homolog.zoo.catalogue",
    "load_matcher": "homolog.zoo.model",
    "load_task": "homolog.zoo.task",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
