"""Losses are computed in float32 at least, whatever autocast does around them.

The step of bfloat16 just below 1 is a pixel of a 518 px image, and sums over an image's pixels lose most of
their terms in half precision.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from homolog.core.tensors import map_tensors

P = ParamSpec("P")
T = TypeVar("T")


def in_full_precision(loss: Callable[P, T]) -> Callable[P, T]:
    """Make a loss widen its floating-point tensors to float32 and switch autocast off; float64 stays."""

    @wraps(loss)
    def wide(*args: P.args, **kwargs: P.kwargs) -> T:
        devices: list[str] = []

        def widen(tensor: Tensor) -> Tensor:
            devices.append(tensor.device.type)
            if not tensor.is_floating_point():
                return tensor
            return tensor.to(torch.promote_types(tensor.dtype, torch.float32))

        args, kwargs = map_tensors(widen, args), map_tensors(widen, kwargs)
        with torch.autocast(devices[0] if devices else "cpu", enabled=False):
            return loss(*args, **kwargs)

    return wide
