"""The model zoo: from a name to a product that is ready to use, through configuration.

`load_matcher("mini", "head.window=7")` returns a matcher, `load_task("spair", "data.root=...")` a task
to evaluate it on. `list_products()`, `list_tasks()`, `list_recipes()` and `list_weights()` show what
there is. Importing this package is cheap: neither torch nor Hydra is imported before it is needed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from homolog.zoo.catalogue import list_products, list_recipes, list_tasks
    from homolog.zoo.model import load_matcher
    from homolog.zoo.task import load_task
    from homolog.zoo.weight_files import find_weights, list_weights

__all__ = [
    "find_weights",
    "list_products",
    "list_recipes",
    "list_tasks",
    "list_weights",
    "load_matcher",
    "load_task",
]

_HOMES = {
    "find_weights": "homolog.zoo.weight_files",
    "list_products": "homolog.zoo.catalogue",
    "list_recipes": "homolog.zoo.catalogue",
    "list_tasks": "homolog.zoo.catalogue",
    "list_weights": "homolog.zoo.weight_files",
    "load_matcher": "homolog.zoo.model",
    "load_task": "homolog.zoo.task",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
