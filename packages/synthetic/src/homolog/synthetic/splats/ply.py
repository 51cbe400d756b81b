"""Read and write Gaussians as 3D Gaussian Splatting stores them: a binary PLY of one element.

Each number is stored as it is learnt: scales as logarithms, opacity as a logit, quaternions of any length.
The usual package for PLY is under the GPL, and this layout needs a page of it only.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from homolog.core.atomic import write_bytes
from homolog.core.errors import DataError
from homolog.synthetic.splats.gaussians import Gaussians
from homolog.synthetic.splats.harmonics import DEGREES

_LONGEST_HEADER = 1 << 16
_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "<i2", "int16": "<i2", "ushort": "<u2",
    "uint16": "<u2", "int": "<i4", "int32": "<i4", "uint": "<u4", "uint32": "<u4", "float": "<f4",
    "float32": "<f4", "double": "<f8", "float64": "<f8",
}  # fmt: skip
_PLACE, _SCALE, _TURN = (
    ("x", "y", "z"),
    ("scale_0", "scale_1", "scale_2"),
    ("rot_0", "rot_1", "rot_2", "rot_3"),
)
_BASE = ("f_dc_0", "f_dc_1", "f_dc_2")
_NEEDED = (*_PLACE, *_BASE, "opacity", *_SCALE, *_TURN)


def read_gaussians(path: str | Path) -> Gaussians:
    """Read a scene that 3D Gaussian Splatting or a program like it has written.

    Properties may come in any order, and others among them are skipped; normals are not used.

    Raises:
        DataError: no such file, another PLY or another format, or a file that ends too early.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: expected a PLY of Gaussians, but cannot read it ({error.strerror}); check the path"
        ) from error
    table = _table(content, path)
    return _activated(table, path)


def write_gaussians(path: str | Path, gaussians: Gaussians) -> None:
    """Write a scene in the layout of 3D Gaussian Splatting, whole or not at all.

    An opacity of 0 or 1 is stored as the nearest that a float32 logit can hold.

    Raises:
        DataError: the file cannot be written.
    """
    rest = gaussians.harmonics.shape[1] - 1
    names = [
        *_PLACE, "nx", "ny", "nz", *_BASE, *(f"f_rest_{k}" for k in range(3 * rest)), "opacity", *_SCALE, *_TURN
    ]  # fmt: skip
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(gaussians)}",
        *(f"property float {name}" for name in names),
        "end_header\n",
    ]
    opacity = gaussians.opacity.astype(np.float64).clip(1e-7, 1 - 1e-7)
    columns = np.concatenate(
        (
            gaussians.means,
            np.zeros_like(gaussians.means),
            gaussians.harmonics[:, 0],
            # All coefficients of red come first, then those of green, then those of blue.
            gaussians.harmonics[:, 1:].transpose(0, 2, 1).reshape(len(gaussians), 3 * rest),
            np.log(opacity / (1 - opacity))[:, None],
            np.log(gaussians.scales.astype(np.float64).clip(1e-30)),
            gaussians.rotations,
        ),
        axis=1,
        dtype="<f4",
        casting="same_kind",
    )
    write_bytes(Path(path), "\n".join(header).encode("ascii") + columns.tobytes())


def _table(content: bytes, path: Path) -> np.ndarray:
    """Return the rows of the element `vertex`, one field per property."""
    end = content.find(b"end_header", 0, _LONGEST_HEADER)
    start = content.find(b"\n", end) + 1
    if not content.startswith(b"ply") or end < 0 or start == 0:
        raise DataError(f"{path}: expected a PLY file, got one without its header; is it another format?")
    lines = [line.split() for line in content[:end].decode("ascii", "replace").splitlines()]
    if ["format", "binary_little_endian", "1.0"] not in lines:
        written = " ".join(next((line[1:] for line in lines if line[:1] == ["format"]), ["none"]))
        raise DataError(f"{path}: expected the format binary_little_endian 1.0, got {written}; convert it")
    count, layout = _layout(lines, path)
    if len(content) - start < count * layout.itemsize:
        raise DataError(
            f"{path}: expected {count} Gaussians of {layout.itemsize} bytes, but it ends after "
            f"{(len(content) - start) // layout.itemsize}; fetch it again"
        )
    return np.frombuffer(content, layout, count, start)


def _layout(lines: list[list[str]], path: Path) -> tuple[int, np.dtype]:
    """Return how many rows the first element has, and the layout of one."""
    elements = [at for at, line in enumerate(lines) if line[:1] == ["element"]]
    if (
        not elements
        or lines[elements[0]][1:2] != ["vertex"]
        or not "".join(lines[elements[0]][2:3]).isdigit()
    ):
        raise DataError(f"{path}: expected the element vertex first, as 3D Gaussian Splatting writes it")
    last = elements[1] if len(elements) > 1 else len(lines)
    properties = [line[1:] for line in lines[elements[0] : last] if line[:1] == ["property"]]
    odd = [" ".join(words) for words in properties if len(words) != 2 or words[0] not in _TYPES]
    if odd:
        raise DataError(f"{path}: expected one number per property, got {odd[0]}; is it a mesh?")
    names = [name for _, name in properties]
    missing = [name for name in _NEEDED if name not in names]
    if missing or len(set(names)) != len(names):
        problem = f"{', '.join(missing)} missing" if missing else "one twice"
        raise DataError(
            f"{path}: expected the properties of 3D Gaussian Splatting, got {problem}; is it a mesh?"
        )
    return int(lines[elements[0]][2]), np.dtype([(name, _TYPES[kind]) for kind, name in properties])


def _activated(table: np.ndarray, path: Path) -> Gaussians:
    names = table.dtype.names or ()
    rest = sum(name.startswith("f_rest_") for name in names)
    if rest % 3 or rest // 3 + 1 not in DEGREES or any(f"f_rest_{k}" not in names for k in range(rest)):
        raise DataError(f"{path}: expected 0, 9, 24 or 45 properties f_rest_*, got {rest}; is it damaged?")
    base, turn = _columns(table, _BASE), _columns(table, _TURN)
    further = _columns(table, tuple(f"f_rest_{k}" for k in range(rest))).reshape(len(table), 3, rest // 3)
    length = np.sqrt((turn.astype(np.float64) ** 2).sum(1, keepdims=True))
    with np.errstate(over="ignore"):
        gaussians = Gaussians(
            means=_columns(table, _PLACE),
            scales=np.exp(_columns(table, _SCALE)),
            # A quaternion of no length is no rotation; 3DGS would divide by zero.
            rotations=np.where(length > 0, turn / np.maximum(length, 1e-12), (1, 0, 0, 0)).astype(np.float32),
            opacity=1 / (1 + np.exp(-_columns(table, ("opacity",))[:, 0])),
            harmonics=np.concatenate((base[:, None], further.transpose(0, 2, 1)), axis=1),
        )
    parts = (gaussians.means, gaussians.scales, gaussians.rotations, gaussians.opacity, gaussians.harmonics)
    if not all(np.isfinite(part).all() for part in parts):
        raise DataError(f"{path}: expected finite numbers, got infinite or undefined ones; is it damaged?")
    return gaussians


def _columns(table: np.ndarray, names: tuple[str, ...]) -> Float32[np.ndarray, "N C"]:
    if not names:
        return np.empty((len(table), 0), np.float32)
    return np.stack([table[name].astype(np.float32) for name in names], axis=1)
