"""A scene of 3D Gaussians: its values, its colours as spherical harmonics, and its files."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from homolog.core.atomic import write_bytes
from homolog.core.errors import DataError, ShapeError

Numbers = TypeVar("Numbers", np.ndarray, Tensor)

CONSTANT = 0.28209479177387814
"""The harmonic of degree 0: 1 / (2 sqrt(pi))."""

DEGREES = {1: 0, 4: 1, 9: 2, 16: 3}
"""Degree of the harmonics by their number of coefficients."""


def basis(x: Numbers, y: Numbers, z: Numbers, degree: int) -> list[Any]:
    """Return the (degree + 1)^2 harmonics of unit directions (x, y, z) from the camera, as in files of 3DGS.

    Orthonormal on the sphere, with the Condon-Shortley phase; those of degree l (0 to 3) begin at place l^2
    and go from order -l to l. They are arrays or tensors like `x`; the first is a number.
    """
    values: list[Any] = [CONSTANT]
    if degree >= 1:
        c = 0.4886025119029199  # sqrt(3 / (4 pi))
        values += [-c * y, c * z, -c * x]
    if degree >= 2:
        c = 1.0925484305920792  # sqrt(15 / (4 pi))
        values += [
            c * x * y,
            -c * y * z,
            0.31539156525252005 * (3 * z * z - 1),
            -c * x * z,
            0.5 * c * (x * x - y * y),
        ]
    if degree >= 3:
        a, b, c = 0.5900435899266435, 2.890611442640554, 0.4570457994644658
        values += [
            -a * y * (3 * x * x - y * y),
            b * x * y * z,
            -c * y * (5 * z * z - 1),
            0.3731763325901154 * z * (5 * z * z - 3),
            -c * x * (5 * z * z - 1),
            0.5 * b * z * (x * x - y * y),
            -a * x * (x * x - 3 * y * y),
        ]
    return values


def shade(coefficients: Numbers, directions: Numbers) -> Numbers:
    """Return the RGB of Gaussians seen along unit directions; at least 0, but it may exceed 1.

    Coefficients are [N K 3], directions [N 3], from the camera.
    """
    values = basis(directions[:, :1], directions[:, 1:2], directions[:, 2:], DEGREES[coefficients.shape[1]])
    colour: Any = 0.5 + values[0] * coefficients[:, 0]
    for k in range(1, len(values)):
        colour = colour + values[k] * coefficients[:, k]
    return colour.clip(0)


def constant(colours: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 1 3"]:
    """Return the coefficients of degree 0 of colours that look the same from every side."""
    return ((colours - 0.5) / CONSTANT)[:, None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gaussians:
    """N Gaussians in the world, every number as it acts (after exp, sigmoid and normalisation).

    Attributes:
        means: [N 3] centres.
        scales: [N 3] standard deviations along their own axes.
        rotations: [N 4] unit quaternions (w, x, y, z) from their own axes to the world's.
        opacity: [N] in [0, 1], at the centre.
        harmonics: [N K 3] colour as spherical harmonics, K = (degree + 1)^2 of degree 0 to 3; see `basis`.
    """

    means: Float32[np.ndarray, "N 3"]
    scales: Float32[np.ndarray, "N 3"]
    rotations: Float32[np.ndarray, "N 4"]
    opacity: Float32[np.ndarray, " N"]
    harmonics: Float32[np.ndarray, "N K 3"]

    def __post_init__(self) -> None:
        """Raise ShapeError for parts of different lengths, or a number of harmonics that has no degree."""
        lengths = [len(part) for part in self.parts().values()]
        if len(set(lengths)) != 1:
            raise ShapeError(f"Gaussians: expected equal lengths, got {lengths}")
        if self.harmonics.shape[1] not in DEGREES:
            raise ShapeError(
                f"Gaussians: expected 1, 4, 9 or 16 harmonics (degree 0 to 3), got {self.harmonics.shape[1]}"
            )

    def __len__(self) -> int:
        return len(self.means)

    def parts(self) -> dict[str, np.ndarray]:
        """Return the arrays by the names of the attributes."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def degree(self) -> int:
        """Of the spherical harmonics, 0 to 3."""
        return DEGREES[self.harmonics.shape[1]]

    def take(self, index: np.ndarray) -> "Gaussians":
        """Return some of the Gaussians, by index or by mask."""
        return Gaussians(**{name: part[index] for name, part in self.parts().items()})

    def joined(self, other: "Gaussians") -> "Gaussians":
        """Return these Gaussians followed by others of the same degree.

        Raises:
            ShapeError: another degree.
        """
        if other.degree != self.degree:
            raise ShapeError(f"expected Gaussians of degree {self.degree} to join, got {other.degree}")
        others = other.parts()
        return Gaussians(
            **{name: np.concatenate((part, others[name])) for name, part in self.parts().items()}
        )

    def axes(self) -> Float64[np.ndarray, "N 3 3"]:
        """Return the rotation matrices; column k is the direction of the k-th scale."""
        w, x, y, z = self.rotations.astype(np.float64).T
        rows = (
            (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
            (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
            (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
        )
        return np.stack([np.stack(row, -1) for row in rows], 1)

    def normals(self) -> Float64[np.ndarray, "N 3"]:
        """Return the axis of the smallest scale in the world; its sign is arbitrary."""
        return self.axes()[np.arange(len(self)), :, self.scales.argmin(axis=1)]

    def colours(self, centre: Float64[np.ndarray, "3"]) -> Float32[np.ndarray, "N 3"]:
        """Return the RGB of each Gaussian seen from a point; at least 0, but it may exceed 1."""
        directions = self.means.astype(np.float64) - centre
        directions /= np.sqrt((directions**2).sum(1, keepdims=True)) + 1e-12
        return shade(self.harmonics, directions.astype(np.float32))


THIN = 0.02
"""Thickness of a disc as a multiple of its radius."""


def discs(
    points: Float64[np.ndarray, "N 3"],
    normals: Float64[np.ndarray, "N 3"],
    radius: Float64[np.ndarray, " N"],
    colours: Float64[np.ndarray, "N 3"],
    *,
    opacity: float | int = 0.95,
) -> Gaussians:
    """Return one flat, round Gaussian per point of a surface.

    The discs lie across unit `normals`. `radius` is the standard deviation within the surface, `colours` are
    RGB, the same from every side, and `opacity` is that at the centres.
    """
    flat = np.stack((radius, radius, THIN * radius), axis=1)
    return Gaussians(
        means=points.astype(np.float32),
        scales=flat.astype(np.float32),
        rotations=_turned_to(normals).astype(np.float32),
        opacity=np.full(len(points), opacity, np.float32),
        harmonics=constant(colours).astype(np.float32),
    )


def _turned_to(normals: Float64[np.ndarray, "N 3"]) -> Float64[np.ndarray, "N 4"]:
    """Return the shortest rotations that take the z axis to unit vectors."""
    x, y, z = normals.T
    down = z < -0.999999  # the shortest way to the opposite is not unique: take the one about x
    w = np.where(down, 0.0, 1 + z)
    quaternions = np.stack((w, np.where(down, 1.0, -y), np.where(down, 0.0, x), np.zeros_like(w)), axis=1)
    return quaternions / np.sqrt((quaternions**2).sum(1, keepdims=True))


_MAX_HEADER = 1 << 16
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


def even_points(count: int, random: np.random.Generator) -> Float64[np.ndarray, "N 2"]:
    """Return points in the unit square that lie more evenly than independent ones (a shifted R2 sequence)."""
    steps = np.array((0.7548776662466927, 0.5698402909980532))
    return (random.random(2) + np.arange(1, count + 1)[:, None] * steps) % 1


def read_gaussians(path: str | Path) -> Gaussians:
    """Read Gaussians as 3D Gaussian Splatting stores them: a binary PLY of one element.

    Each number is stored as it is learnt: scales as logarithms, opacity as a logit, quaternions of any length.
    Properties may come in any order, and unknown ones are skipped; normals are not used. The usual package for
    PLY is under the GPL, and this layout needs a page of it only.

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
    return _activated(_table(content, path), path)


def write_gaussians(path: str | Path, gaussians: Gaussians) -> None:
    """Write Gaussians in the layout of 3D Gaussian Splatting, whole or not at all.

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
    end = content.find(b"end_header", 0, _MAX_HEADER)
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
    """Return the number of rows of the first element, and the layout of a row."""
    elements = [at for at, line in enumerate(lines) if line[:1] == ["element"]]
    if (
        not elements
        or lines[elements[0]][1:2] != ["vertex"]
        or not "".join(lines[elements[0]][2:3]).isdigit()
    ):
        raise DataError(f"{path}: expected the element vertex first, as 3D Gaussian Splatting writes it")
    last = elements[1] if len(elements) > 1 else len(lines)
    properties = [line[1:] for line in lines[elements[0] : last] if line[:1] == ["property"]]
    odd = [" ".join(property) for property in properties if len(property) != 2 or property[0] not in _TYPES]
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
            # A quaternion of length 0 is not a rotation; 3DGS would divide by zero.
            rotations=np.where(length > 0, turn / np.maximum(length, 1e-12), (1, 0, 0, 0)).astype(np.float32),
            opacity=1 / (1 + np.exp(-_columns(table, ("opacity",))[:, 0])),
            harmonics=np.concatenate((base[:, None], further.transpose(0, 2, 1)), axis=1),
        )
    if not all(np.isfinite(part).all() for part in gaussians.parts().values()):
        raise DataError(f"{path}: expected finite numbers, got infinite or undefined ones; is it damaged?")
    return gaussians


def _columns(table: np.ndarray, names: tuple[str, ...]) -> Float32[np.ndarray, "N C"]:
    if not names:
        return np.empty((len(table), 0), np.float32)
    return np.stack([table[name].astype(np.float32) for name in names], axis=1)
