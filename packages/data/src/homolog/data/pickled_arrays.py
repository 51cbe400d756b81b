"""What a pickle says of a numpy array, and the array made from it once everything agrees.

numpy restores arrays by `ndarray.__setstate__`, which trusts the shape it is told. These records keep
what was said, and `Resolver` compares it with the bytes that are there before numpy sees any of it.
"""

import math
import pickle
import re
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from homolog.core.errors import DataError

MAXIMUM_DEPTH = 100
"""Containers in containers beyond this are no data set."""

# Booleans, integers, floats, complex numbers, bytes, text and objects, as numpy names them in pickles.
_CODE = re.compile(r"(b1|[iu][1248]|f(2|4|8|12|16)|c(8|16|24|32)|[SU]\d{1,9}|O[48]?)")
_LEAVES = (str, bytes, int, float, complex, bool, type(None))


class PickledDtype:
    """`numpy.dtype(code, align, copy)` and its byte order."""

    __slots__ = ("_code", "_order")

    def __init__(self, code: object, align: object = False, copy: object = True) -> None:
        if not isinstance(code, str) or not _CODE.fullmatch(code) or align:
            raise pickle.UnpicklingError(f"an array is of the type {str(code)[:40]!r}")
        self._code = code
        self._order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order, fields = state[1], state[2:5]
        if order not in {"<", ">", "|", "="} or any(part is not None for part in fields):
            raise pickle.UnpicklingError("an array has fields")
        self._order = str(order)

    def dtype(self) -> "np.dtype[Any]":
        """Return the type."""
        if self._code.startswith("O"):
            return np.dtype(object)
        return np.dtype(self._code).newbyteorder(cast(Any, self._order))


class PickledArray:
    """An array as a pickle describes it: by a state (old protocols) or a buffer (protocol 5)."""

    __slots__ = ("_dtype", "_fortran", "_raw", "_shape")

    def __init__(self, shape: object, dtype: object, fortran: object, raw: object) -> None:
        self._shape = shape
        self._dtype = dtype
        self._fortran = bool(fortran)
        self._raw = raw

    @classmethod
    def empty(cls, plain: bool, shape: object) -> "PickledArray":
        """Return the array that is filled in later."""
        if not plain or shape != (0,):
            raise pickle.UnpicklingError("an array is made in an unusual way")
        return cls((0,), PickledDtype("u1"), fortran=False, raw=b"")

    @classmethod
    def of_buffer(cls, raw: object, dtype: object, shape: object, order: object) -> "PickledArray":
        """Return an array whose bytes came first."""
        return cls(shape, dtype, fortran=order == "F", raw=raw)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self._shape, self._dtype, fortran, self._raw = state
        self._fortran = bool(fortran)

    def array(self, resolve: Callable[[Any], Any]) -> np.ndarray:
        """Make the array.

        Args:
            resolve: turns the items of an array of objects into values.
        """
        shape = _checked_shape(self._shape)
        if not isinstance(self._dtype, PickledDtype):
            raise pickle.UnpicklingError("an array has no type")
        dtype = self._dtype.dtype()
        if dtype.hasobject:
            return _object_array(shape, self._raw, resolve)
        raw = _checked_bytes(self._raw, math.prod(shape) * dtype.itemsize)
        flat = np.frombuffer(raw, dtype=dtype) if raw else np.empty(0, dtype=dtype)
        return flat.reshape(shape, order="F" if self._fortran else "C")


class PickledScalar:
    """`numpy.core.multiarray.scalar(dtype, bytes)`."""

    __slots__ = ("_dtype", "_raw")

    def __init__(self, dtype: object, raw: object) -> None:
        self._dtype = dtype
        self._raw = raw

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a number is changed after it was made")

    def scalar(self) -> Any:
        """Make the number."""
        if not isinstance(self._dtype, PickledDtype) or self._dtype.dtype().hasobject:
            raise pickle.UnpicklingError("a number has no type")
        dtype = self._dtype.dtype()
        return np.frombuffer(_checked_bytes(self._raw, dtype.itemsize), dtype=dtype)[0]


class Resolver:
    """Replaces the records in nested containers by arrays; what was shared stays shared."""

    def __init__(self, name: str) -> None:
        """Begin a file.

        Args:
            name: what error messages call it.
        """
        self._name = name
        self._done: dict[int, Any] = {}
        self._open: set[int] = set()

    def resolve(self, value: Any) -> Any:
        """Return the value with all arrays made.

        Raises:
            DataError: a container that holds itself, or too many in one another.
        """
        if isinstance(value, _LEAVES):
            return value
        if id(value) in self._done:
            return self._done[id(value)]
        if id(value) in self._open or len(self._open) > MAXIMUM_DEPTH:
            raise DataError(f"{self._name}: expected plain containers, got some that nest without end")
        self._open.add(id(value))
        made = self._make(value)
        self._open.remove(id(value))
        self._done[id(value)] = made
        return made

    def _make(self, value: Any) -> Any:
        match value:
            case PickledArray():
                return value.array(self.resolve)
            case PickledScalar():
                return value.scalar()
            case dict():
                return {self.resolve(key): self.resolve(item) for key, item in value.items()}
            case list():
                return [self.resolve(item) for item in value]
            case tuple():
                return tuple(self.resolve(item) for item in value)
            case set():
                return {self.resolve(item) for item in value}
            case frozenset():
                return frozenset(self.resolve(item) for item in value)
            case bytearray():
                return bytes(value)
            case PickledDtype():
                return value.dtype()
            case _:
                raise DataError(
                    f"{self._name}: expected arrays and plain containers, got a loose {type(value).__name__}"
                )


def _checked_shape(shape: object) -> tuple[int, ...]:
    sides = cast("tuple[object, ...]", shape) if isinstance(shape, tuple) else None
    if sides is None or len(sides) > 32 or not all(type(side) is int and side >= 0 for side in sides):
        raise pickle.UnpicklingError(f"an array has the shape {str(shape)[:60]}")
    return cast("tuple[int, ...]", sides)


def _checked_bytes(raw: object, expected: int) -> bytes:
    # Python 2 wrote bytes as text, which arrives decoded character by character.
    content = raw.encode("latin-1") if isinstance(raw, str) else raw
    if isinstance(content, bytearray):
        content = bytes(content)
    if not isinstance(content, bytes) or len(content) != expected:
        got = len(content) if isinstance(content, bytes) else f"a {type(content).__name__}"
        raise pickle.UnpicklingError(f"an array of {expected} bytes has {got}")
    return content


def _object_array(shape: tuple[int, ...], items: object, resolve: Callable[[Any], Any]) -> np.ndarray:
    if not isinstance(items, list) or math.prod(shape) != len(cast("list[Any]", items)):
        raise pickle.UnpicklingError("an array of objects has another number of them than its shape says")
    made = np.empty(len(cast("list[Any]", items)), dtype=object)
    for index, item in enumerate(cast("list[Any]", items)):
        made[index] = resolve(item)
    return made.reshape(shape)
