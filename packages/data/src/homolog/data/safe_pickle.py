"""Read pickles that hold arrays and plain containers, and nothing else.

A pickle is a program: whoever reads one with `pickle.load` runs what its author wrote. Benchmarks
ship their truth as pickles all the same (TAP-Vid, LoFTR's scene lists), so they are read here by an
interpreter that knows only the few names that numpy arrays, numpy scalars and containers are
pickled with. None of those names leads to numpy's own function: each stands for a harmless record,
and arrays are made from the records afterwards, once shapes, types and sizes agree with the bytes
that are really in the file.
"""

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

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
        raise pickle.UnpicklingError(
            "an array of objects has a number of objects that differs from its shape"
        )
    made = np.empty(len(cast("list[Any]", items)), dtype=object)
    for index, item in enumerate(cast("list[Any]", items)):
        made[index] = resolve(item)
    return made.reshape(shape)


Global = tuple[str, str]

# Opcodes by which a pickle leaves its own file, or reaches for what others registered.
_LEADS_OUTSIDE = frozenset({"PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"})
_MEMO = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_BROKEN = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)


def load_pickle(path: str | Path) -> Any:
    """Read a pickle file of any protocol, Python 2 included.

    Args:
        path: the file.

    Returns:
        Dictionaries, lists, tuples, sets, text, bytes, numbers and numpy arrays (those of numbers are
        read-only views of the file's bytes). Python 2 text comes as `str`, one character for each byte.

    Raises:
        DataError: the file is missing or damaged, or asks for anything but the above; the message names it.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return read_pickle(file, name=str(path))
    except FileNotFoundError as error:
        raise DataError(f"{path}: expected a pickle, but there is no such file; check the path") from error
    except OSError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: expected a pickle, but it cannot be read ({error.strerror})") from error


def read_pickle(file: io.BufferedIOBase, *, name: str) -> Any:
    """Read the pickle that begins where an open file stands; see `load_pickle`.

    Args:
        file: opened for reading, and able to seek.
        name: what error messages call it.

    Raises:
        DataError: as `load_pickle`.
    """
    start = file.tell()
    end = file.seek(0, io.SEEK_END)
    try:
        file.seek(start)
        _check_opcodes(file, end, name)
        file.seek(start)
        return Resolver(name).resolve(_Restricted(file, name, end - start).load())
    except DataError:
        raise
    except _BROKEN as error:
        raise DataError(
            f"{name}: expected a whole pickle, got a damaged or truncated one ({error}); obtain the file again"
        ) from error


def _check_opcodes(file: io.BufferedIOBase, end: int, name: str) -> None:
    """Walk over the opcodes without running them.

    A few bytes can ask the interpreter to reserve any amount of memory: a length that the file does
    not have, or a memo slot far out. Both are found here, before it runs.
    """
    for count, (opcode, argument, _) in enumerate(
        pickletools.genops(cast(IO[bytes], _Bounded(file, end))), start=1
    ):
        if opcode.name in _LEADS_OUTSIDE:
            raise DataError(
                f"{name}: expected arrays and containers only, got the pickle opcode {opcode.name}; do not trust it"
            )
        if opcode.name in _MEMO and not 0 <= int(argument or 0) <= count:
            raise pickle.UnpicklingError(f"memo slot {argument} after {count} steps")
        if opcode.name == "FRAME" and not 0 <= int(argument or 0) <= end - file.tell():
            raise EOFError("a frame is longer than the file")


class _Bounded:
    """A file that fails to read beyond its end, instead of reserving memory for it."""

    def __init__(self, file: io.BufferedIOBase, end: int) -> None:
        self._file = file
        self._end = end

    def read(self, size: int) -> bytes:
        if size > self._end - self._file.tell():
            raise EOFError(f"{size} bytes are announced where {self._end - self._file.tell()} are left")
        return self._file.read(size)

    def readline(self) -> bytes:
        return self._file.readline()

    def tell(self) -> int:
        return self._file.tell()


class _Restricted(pickle.Unpickler):
    """An interpreter of pickles that resolves the names of arrays and containers only."""

    def __init__(self, file: io.BufferedIOBase, name: str, size: int) -> None:
        super().__init__(file, encoding="latin1")
        self._name = name
        self._budget = size
        self._known = self._allowed()

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Return the stand-in for an allowed name; any other raises."""
        known = self._known.get((module_name, global_name))
        if known is None:
            asked = f"{module_name}.{global_name}"[:80]
            raise DataError(
                f"{self._name}: expected a pickle of arrays and plain containers, got one that asks for {asked}; "
                "do not trust it, and obtain the file from its authors again"
            )
        return known

    def _allowed(self) -> dict[Global, "_Name"]:
        array, dtype = _Name("numpy.ndarray", _refuse), _Name("numpy.dtype", PickledDtype)

        def empty(kind: object, shape: object, _: object) -> PickledArray:
            return PickledArray.empty(kind is array, shape)

        reconstruct = _Name("_reconstruct", empty)
        table: dict[Global, _Name] = {
            ("numpy", "ndarray"): array,
            ("numpy", "dtype"): dtype,
            ("_codecs", "encode"): _Name("encode", self._encode),
            ("collections", "OrderedDict"): _Name("OrderedDict", _empty_dict),
        }
        for core in ("numpy.core", "numpy._core"):
            table[f"{core}.multiarray", "_reconstruct"] = reconstruct
            table[f"{core}.multiarray", "scalar"] = _Name("scalar", PickledScalar)
            table[f"{core}.numeric", "_frombuffer"] = _Name("_frombuffer", PickledArray.of_buffer)
        for builtins in ("builtins", "__builtin__"):
            table[builtins, "set"] = _Name("set", _of_list(set))
            table[builtins, "frozenset"] = _Name("frozenset", _of_list(frozenset))
            table[builtins, "complex"] = _Name("complex", _complex)
            table[builtins, "bytes"] = _Name("bytes", _no_bytes)
            table[builtins, "bytearray"] = _Name("bytearray", self._bytearray)
        return table

    def _encode(self, text: object, encoding: object) -> bytes:
        # Protocols before 3 know no bytes: numpy writes them as text and has it encoded on the way in.
        if not isinstance(text, str) or encoding not in {"latin1", "latin-1"}:
            raise pickle.UnpicklingError("text is encoded in an unusual way")
        return self._spend(text.encode("latin-1"))

    def _bytearray(self, content: object = b"", encoding: object = "latin-1") -> bytes:
        if isinstance(content, str):
            return self._encode(content, encoding)
        if not isinstance(content, bytes):
            raise pickle.UnpicklingError("an array of bytes is made of something else")
        return content

    def _spend(self, made: bytes) -> bytes:
        # The same text can be encoded again and again; honest files encode each only once.
        self._budget -= len(made)
        if self._budget < 0:
            raise pickle.UnpicklingError("it unfolds to more bytes than it has")
        return made


class _Name:
    """What a name of the pickle stands for: something to call, without attributes that could be changed."""

    __slots__ = ("_call", "_label")

    def __init__(self, label: str, call: Callable[..., Any]) -> None:
        self._label = label
        self._call = call

    def __call__(self, *arguments: object) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError(f"it tries to change {self._label}")


def _refuse(*_: object) -> Any:
    raise pickle.UnpicklingError("an array is made in an unusual way")


def _empty_dict(*items: object) -> dict[Any, Any]:
    if items:
        raise pickle.UnpicklingError("a dictionary is made in an unusual way")
    return {}


def _of_list(kind: Callable[[list[Any]], Any]) -> Callable[..., Any]:
    def make(items: object = ()) -> Any:
        if not isinstance(items, list | tuple):
            raise pickle.UnpicklingError("a set is made of something else than a list")
        return kind(list(items))  # pyright: ignore[reportUnknownArgumentType]

    return make


def _complex(real: float, imaginary: float) -> complex:
    return complex(float(real), float(imaginary))


def _no_bytes(*content: object) -> bytes:
    if content:
        raise pickle.UnpicklingError("bytes are made in an unusual way")
    return b""
