"""Convert a benchmark's pickle once into an npz without pickle, and read either.

The npz has one member for each array and one, `tree.json`, that says how containers hold them, so
that reading gives back what was converted: the same dictionaries, lists and tuples. Lists of bytes,
such as the JPEG frames of TAP-Vid Kinetics, lie end to end in one member.

    python -m homolog.data.converted tapvid_davis.pkl tapvid_davis.npz
"""

import argparse
import io
import json
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from homolog.core.atomic import atomic
from homolog.core.errors import DataError, HomologError
from homolog.data.safe_npz import MAXIMUM_BYTES, load_npz, member_names, read_npy
from homolog.data.safe_pickle import load_pickle

_TREE = "tree.json"
_SCALARS = (str, int, float, bool, type(None))
_ZIP, _NPY = b"PK\x03\x04", b"\x93NUMPY"


def convert(source: str | Path, target: str | Path) -> None:
    """Write the content of a pickle, or of an npz that holds pickled objects, as an npz without pickle.

    Args:
        source: a pickle, npy or npz file.
        target: the npz to write.

    Raises:
        DataError: the source cannot be read safely, or holds what the npz cannot (sets, complex numbers).
    """
    value = read_any(source)
    members: list[np.ndarray] = []
    tree = _Writer(str(source), members).node(value)
    with atomic(Path(target)) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(_TREE, json.dumps(tree))
        for index, array in enumerate(members):
            with archive.open(f"{index}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def read_any(path: str | Path) -> Any:
    """Read a pickle, an npy, an npz with or without pickled objects, or what `convert` wrote.

    Which it is, the first bytes of the file say, not its name: LoFTR's scene lists are called npz and
    are bare pickles.

    Raises:
        DataError: the file is missing, damaged, or asks for anything but arrays and containers.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(len(_NPY))
            if start == _NPY:
                file.seek(0)
                return _without_case(read_npy(file, name=str(path)))
    except DataError:
        raise
    except OSError as error:
        raise DataError(
            f"{path}: expected a file of arrays, but cannot read it ({error.strerror})"
        ) from error
    if not start.startswith(_ZIP):
        return load_pickle(path)
    return _read_tree(path) if _TREE in member_names(path) else _unwrapped(load_npz(path))


def main(words: Sequence[str] | None = None) -> int:
    """Convert the file that the command line names, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m homolog.data.converted",
        description="Convert a benchmark's pickle to npz without pickle.",
    )
    parser.add_argument("source", type=Path, help="a pickle, npy or npz file")
    parser.add_argument("target", type=Path, help="the npz to write")
    arguments = parser.parse_args(words)
    try:
        convert(arguments.source, arguments.target)
    except HomologError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _unwrapped(members: dict[str, np.ndarray]) -> Any:
    # `np.savez(file, a_dictionary)` puts all of it into one array without axes.
    plain = {name: _without_case(array) for name, array in members.items()}
    return plain["arr_0"] if list(plain) == ["arr_0"] and isinstance(plain["arr_0"], dict) else plain


def _without_case(array: np.ndarray) -> Any:
    return array.item() if array.dtype.hasobject and array.ndim == 0 else array


def _read_tree(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAXIMUM_BYTES:
                raise DataError(f"{path}: expected at most {MAXIMUM_BYTES:,} bytes unfolded, got more")
            return _Reader(path, archive).value(json.loads(archive.read(_TREE)))
    except DataError:
        raise
    except (zipfile.BadZipFile, KeyError, OSError, RecursionError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: expected a converted file, got a damaged one ({error}); convert it again"
        ) from error


class _Writer:
    def __init__(self, name: str, members: list[np.ndarray]) -> None:
        self._name = name
        self._members = members

    def node(self, value: Any) -> dict[str, Any]:
        match value:
            case np.ndarray() if value.dtype == np.dtype(object):
                return {"objects": [self.node(item) for item in value.ravel()], "shape": list(value.shape)}
            case np.ndarray():
                return {"array": self._member(value)}
            case np.generic():
                return self.node(value.item())
            case bytes():
                return {"bytes": self._member(np.frombuffer(value, dtype=np.uint8))}
            case list() if value and all(isinstance(item, bytes) for item in value):
                return self._blobs(cast("list[bytes]", value))
            case list() | tuple():
                return {type(value).__name__: [self.node(item) for item in value]}
            case dict():
                return {"dict": [[self._key(key), self.node(item)] for key, item in value.items()]}
            case _ if isinstance(value, _SCALARS):
                return {"value": value}
            case _:
                raise DataError(
                    f"{self._name}: expected arrays, containers and numbers, got {type(value).__name__}"
                )

    def _blobs(self, blobs: Sequence[bytes]) -> dict[str, Any]:
        ends = np.cumsum([len(blob) for blob in blobs]).tolist()
        return {"blobs": self._member(np.frombuffer(b"".join(blobs), dtype=np.uint8)), "ends": ends}

    def _member(self, array: np.ndarray) -> int:
        self._members.append(array)
        return len(self._members) - 1

    def _key(self, key: object) -> object:
        if not isinstance(key, _SCALARS):
            raise DataError(f"{self._name}: expected names and numbers as keys, got {type(key).__name__}")
        return key


class _Reader:
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive

    def value(self, node: dict[str, Any]) -> Any:
        match node:
            case {"objects": items, "shape": shape}:
                made = np.empty(len(items), dtype=object)
                for index, item in enumerate(items):
                    made[index] = self.value(item)
                return made.reshape(shape)
            case {"array": index}:
                return self._member(index)
            case {"bytes": index}:
                return self._member(index).tobytes()
            case {"blobs": index, "ends": ends}:
                joined = self._member(index).tobytes()
                return [joined[start:end] for start, end in zip([0, *ends], ends, strict=False)]
            case {"list": items}:
                return [self.value(item) for item in items]
            case {"tuple": items}:
                return tuple(self.value(item) for item in items)
            case {"dict": items}:
                return {key: self.value(item) for key, item in items}
            case {"value": value}:
                return value
            case _:
                raise ValueError(f"a node of the kind {', '.join(node)[:60]}")

    def _member(self, index: int) -> np.ndarray:
        name = f"{int(index)}.npy"
        return read_npy(io.BytesIO(self._archive.read(name)), name=f"{self._path}, {name}")


if __name__ == "__main__":
    sys.exit(main())
