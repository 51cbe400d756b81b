"""Build the objects that a configuration describes.

A configuration is code: each `_target_` names something to call. All of them are checked before the
first is called: a target has to be defined in homolog, among torch's optimisers or in Lightning. It is
not enough that it can be reached from there.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from homolog.core.errors import ConfigError, HomologError, MissingDependencyError, did_you_mean
from homolog.zoo.compose import one_line
from homolog.zoo.renamed import SETTINGS, new_target, setting_renamed

ROOTS = ("homolog", "torch.optim", "lightning.pytorch")
"""A `_target_` has to be defined below one of these, or be `pathlib.Path`."""

DISTRIBUTIONS = (
    "backbones",
    "cli",
    "core",
    "data",
    "evaluators",
    "heads",
    "matchers",
    "synthetic",
    "training",
    "zoo",
)
"""The packages `homolog.NAME`, each the distribution `homolog-NAME`."""


def build(config: Mapping[str, Any]) -> Any:
    """Instantiate a composed configuration, leaves first.

    A string under a key that ends in `checkpoint` becomes a path: `head.checkpoint=my.safetensors`.

    Args:
        config: a node with a `_target_`, as `compose` returns it.

    Raises:
        ConfigError: a `_target_` that is not allowed or does not exist, a missing value, arguments
            that the target does not take, or a name that was changed.
        MissingDependencyError: a package that has to be installed first.
        HomologError: errors of the parts themselves, unchanged.
    """
    plain = _with_paths(resolved(config))
    for where, node in _nodes(plain):
        _check_settings(node, check_target(node["_target_"], where or "the configuration"), where)
    try:
        return instantiate(plain, _convert_="all")
    except InstantiationException as error:
        failure = error
    cause = failure.__cause__
    if isinstance(cause, HomologError):
        raise cause
    if isinstance(cause, ModuleNotFoundError) and cause.name:
        raise MissingDependencyError(cause.name.split(".")[0], one_line(failure)) from failure
    reason = one_line(cause) if cause else one_line(failure)
    _, found, node = str(failure).rpartition("full_key: ")
    raise ConfigError(
        f"cannot build {node.strip() if found else 'this configuration'}: {reason}"
    ) from failure


def resolved(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a composed configuration with its interpolations replaced by their values.

    Raises:
        ConfigError: a value is missing, or refers to a setting that does not exist.
    """
    try:
        plain: Any = OmegaConf.to_container(
            OmegaConf.create(dict(config)), resolve=True, throw_on_missing=True
        )
    except MissingMandatoryValue as error:
        raise ConfigError(
            f"the setting {error.full_key} has no value yet; give it as {error.full_key}=VALUE"
        ) from error
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]  # below it OmegaConf repeats the setting
        raise ConfigError(f"the setting {error.full_key} cannot be resolved: {reason}") from error
    for where, value in _leaves(plain):
        # Hydra would resolve it again, after the targets were checked.
        if isinstance(value, str) and "${" in value:
            raise ConfigError(
                f"{where}: expected a finished value, got {value!r}; remove the escaped interpolation"
            )
    return plain


def check_target(target: object, where: str = "the configuration") -> Any:
    """Check that a configuration may call a `_target_`.

    Args:
        target: the value of `_target_`.
        where: the node that has it, for the message.

    Returns:
        The class or function that it names.

    Raises:
        ConfigError: it is defined elsewhere, private, not a class or function, renamed or mistyped.
        MissingDependencyError: its distribution is not installed.
    """
    if target == "pathlib.Path":
        return Path
    parts = target.split(".") if isinstance(target, str) else []
    public = all(part.isidentifier() and not part.startswith("_") for part in parts)
    if not isinstance(target, str) or not public or not _below_a_root(target):
        raise ConfigError(
            f"{where}: _target_ {target!r} is not allowed; a configuration may only name public things "
            f"of {', '.join(ROOTS)}, and pathlib.Path"
        )
    if new := new_target(target):
        raise ConfigError(f"{where}: _target_ {target} is now called {new}")
    found = _locate(target, where)
    home = str(getattr(found, "__module__", None))
    if not (inspect.isclass(found) or inspect.isroutine(found)) or not _below_a_root(f"{home}."):
        raise ConfigError(
            f"{where}: _target_ {target} is not allowed; expected a class or function defined in "
            f"{', '.join(ROOTS)}, got {type(found).__name__} of {home}"
        )
    return found


def _check_settings(node: Mapping[str, Any], target: Any, where: str) -> None:
    if not SETTINGS.keys() & node.keys():
        return
    try:
        taken = inspect.signature(target).parameters
    except ValueError:  # some of torch's optimisers
        return
    for name in node:
        message = setting_renamed(f"{where}.{name}".lstrip("."), taken)
        if message is not None:
            raise ConfigError(message)


def _below_a_root(name: str) -> bool:
    return name.startswith(tuple(f"{root}." for root in ROOTS))


def _locate(target: str, where: str) -> object:
    parts = target.split(".")
    found: object = _import(parts[0], target, where)
    for number, part in enumerate(parts[1:], start=2):
        name = ".".join(parts[:number])
        if isinstance(found, ModuleType) and not hasattr(found, part):
            found = _import(name, target, where)
        elif not hasattr(found, part):
            raise ConfigError(f"{where}: no {name}{did_you_mean(part, _public_names(found))}")
        else:
            found = getattr(found, part)
        if isinstance(found, ModuleType) and found.__name__ != name:
            raise ConfigError(
                f"{where}: _target_ {target} is not allowed; {name} is the module {found.__name__}"
            )
    return found


def _import(name: str, target: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except HomologError:
        raise
    except ModuleNotFoundError as error:
        raise _absent(error, name, target, where) from error


def _absent(error: ModuleNotFoundError, name: str, target: str, where: str) -> HomologError:
    if error.name != name:
        return MissingDependencyError((error.name or name).split(".")[0], target)
    parent, _, last = name.rpartition(".")
    if not parent or parent == "lightning":
        return MissingDependencyError(name.split(".")[0], target)
    if parent == "homolog":
        if last in DISTRIBUTIONS:
            return MissingDependencyError(f"homolog-{last}", target)
        return ConfigError(f"{where}: no {name}{did_you_mean(last, DISTRIBUTIONS)}")
    return ConfigError(
        f"{where}: no {name}{did_you_mean(last, _public_names(importlib.import_module(parent)))}"
    )


def _public_names(found: object) -> list[str]:
    inside: dict[str, object] = getattr(found, "__dict__", {})
    names = {
        name for name, value in inside.items() if _below_a_root(f"{getattr(value, '__module__', None)}.")
    }
    if isinstance(found, ModuleType):
        names |= {module.name for module in pkgutil.iter_modules(getattr(found, "__path__", []))}
    return [name for name in names if not name.startswith("_")]


def _with_paths(node: Any) -> Any:
    if isinstance(node, list):
        return [_with_paths(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: {"_target_": "pathlib.Path", "_args_": [value]}
        if str(key).endswith("checkpoint") and isinstance(value, str)
        else _with_paths(value)
        for key, value in node.items()
    }


def _nodes(node: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict) and "_target_" in node:
        yield where, cast(dict[str, Any], node)
    for name, below in _children(node):
        yield from _nodes(below, f"{where}.{name}".lstrip("."))


def _leaves(node: Any, where: str = "") -> Iterator[tuple[str, object]]:
    if not isinstance(node, dict | list):
        yield where, node
    for name, below in _children(node):
        yield from _leaves(below, f"{where}.{name}".lstrip("."))


def _children(node: Any) -> Iterator[tuple[object, Any]]:
    if isinstance(node, dict):
        yield from node.items()
    elif isinstance(node, list):
        yield from enumerate(node)
