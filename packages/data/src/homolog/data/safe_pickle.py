"""Read pickles that hold arrays and plain containers, and nothing else.

A pickle is a program: whoever reads one with `pickle.load` runs what its author wrote. Benchmarks
ship their truth as pickles all the same (TAP-Vid, LoFTR's scene lists), so they are read here by an
interpreter that knows only the few names that numpy arrays, numpy scalars and containers are
pickled with. None of those names leads to numpy's own function: each stands for a harmless record,
and arrays are made from the records afterwards, once shapes, types and sizes agree with the bytes
that are really in the file.
"""

import io
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

from homolog.core.errors import DataError
from homolog.data.pickled_arrays import PickledArray, PickledDtype, PickledScalar, Resolver

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
    """A file that refuses to read beyond its end, instead of reserving memory for what is not there."""

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
        """Return what stands for a name, or refuse."""
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
