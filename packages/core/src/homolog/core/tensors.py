"""Map, move and stack values that hold tensors."""

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

T = TypeVar("T")


def map_tensors(function: Callable[[Tensor], Tensor], value: T) -> T:
    """Apply a function to every tensor inside a value, which itself stays as it was.

    Args:
        function: maps one tensor to its replacement.
        value: a tensor, or a dataclass, dict, list or tuple that holds tensors at any depth;
            whatever else it holds is kept.
    """
    return cast(T, _map(function, value))


def move(value: T, device: torch.device | str) -> T:
    """Return a value with all its tensors on a device."""
    return map_tensors(lambda tensor: tensor.to(device), value)


def stack(values: Sequence[T]) -> T:
    """Stack equally built dataclasses tensor by tensor, along a new first axis.

    Whatever is no tensor is taken from the first.
    """
    first = values[0]
    if isinstance(first, Tensor):
        return cast(T, torch.stack(list(cast(Sequence[Tensor], values))))
    if is_dataclass(first) and not isinstance(first, type):
        parts = {f.name: [getattr(value, f.name) for value in values] for f in fields(first)}
        return cast(T, replace(first, **{name: stack(part) for name, part in parts.items()}))
    return first


def _map(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _map(function, getattr(value, f.name)) for f in fields(value)})
    if isinstance(value, dict):
        return {key: _map(function, item) for key, item in cast(dict[Any, Any], value).items()}
    if isinstance(value, list):
        return [_map(function, item) for item in cast(list[Any], value)]
    if isinstance(value, tuple):
        items = [_map(function, item) for item in cast(tuple[Any, ...], value)]
        make: Any = getattr(cast(Any, value), "_make", tuple)  # a named tuple keeps its type
        return make(items)
    return value
