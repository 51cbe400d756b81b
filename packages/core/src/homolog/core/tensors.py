"""Map, move and stack values that contain tensors."""

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from homolog.core.errors import ShapeError

T = TypeVar("T")


def map_tensors(function: Callable[[Tensor], Tensor], value: T) -> T:
    """Return a value with a function applied to every tensor in it; the value itself is not changed.

    Args:
        function: maps one tensor to its replacement.
        value: a tensor, or a dataclass, dict, list or tuple that contains tensors at any depth;
            all other contents are kept.
    """
    return cast(T, _map(function, value))


def move(value: T, device: torch.device | str) -> T:
    """Return a value with all its tensors on a device."""
    return map_tensors(lambda tensor: tensor.to(device), value)


def stack(values: Sequence[T]) -> T:
    """Stack values of one structure tensor by tensor, along a new first axis.

    Args:
        values: at least one; dataclasses, dicts, lists and tuples are stacked part by part.
            Parts without tensors are taken from the first value.

    Raises:
        ShapeError: no values, tensors of different shapes, or a tensor in some of the values only.
    """
    if not values:
        raise ShapeError("expected at least one value to stack, got none")
    return cast(T, _stack(list(values)))


def _stack(values: list[Any]) -> Any:
    first = values[0]
    if any(isinstance(value, Tensor) != isinstance(first, Tensor) for value in values):
        raise ShapeError("expected a tensor in every value or in none, got both; fill in the missing ones")
    if isinstance(first, Tensor):
        shapes = {tuple(value.shape) for value in values}
        if len(shapes) > 1:
            raise ShapeError(
                f"expected tensors of one shape to stack, got {sorted(shapes)}; resize or pad first"
            )
        return torch.stack(values)
    if is_dataclass(first) and not isinstance(first, type):
        names = [f.name for f in fields(first)]
        return replace(first, **{name: _stack([getattr(value, name) for value in values]) for name in names})
    if isinstance(first, dict):
        return {key: _stack([value[key] for value in values]) for key in cast(dict[Any, Any], first)}
    if isinstance(first, list | tuple):
        items = [_stack(list(parts)) for parts in zip(*values, strict=True)]
        return _rebuilt(cast(Any, first), items)
    return first


def _map(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _map(function, getattr(value, f.name)) for f in fields(value)})
    if isinstance(value, dict):
        return {key: _map(function, item) for key, item in cast(dict[Any, Any], value).items()}
    if isinstance(value, list | tuple):
        return _rebuilt(cast(Any, value), [_map(function, item) for item in cast(Any, value)])
    return value


def _rebuilt(like: Any, items: list[Any]) -> Any:
    make: Any = getattr(like, "_make", type(like))  # a named tuple takes its items one by one
    return make(items)
