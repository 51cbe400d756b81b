"""Gaussians: their values, colours and files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from homolog.core.errors import DataError, ShapeError
from homolog.synthetic.splats.differentiable import GaussianTensors
from homolog.synthetic.splats.gaussians import (
    THIN,
    Gaussians,
    basis,
    constant,
    discs,
    read_gaussians,
    shade,
    write_gaussians,
)

Made = Callable[..., Gaussians]


def test_harmonics_are_orthonormal_on_the_sphere() -> None:
    # Gauss-Legendre heights times even turns integrate polynomials of degree 6 exactly.
    heights, weights = np.polynomial.legendre.leggauss(8)
    turns = np.arange(16) / 16 * 2 * np.pi
    z, turn = np.repeat(heights, 16), np.tile(turns, 8)
    weight = np.repeat(weights, 16) * 2 * np.pi / 16
    across = np.sqrt(1 - z**2)
    values = basis(across * np.cos(turn), across * np.sin(turn), z, 3)
    table = np.stack([np.broadcast_to(value, z.shape) for value in values])
    assert len(values) == 16
    assert np.abs(table * weight @ table.T - np.eye(16)).max() < 1e-12


@pytest.mark.parametrize(
    ("k", "direction", "sign"), [(1, (0, 1, 0), -1), (2, (0, 0, 1), 1), (3, (1, 0, 0), -1)]
)
def test_harmonics_of_degree_1_have_the_signs_of_3dgs(k: int, direction: tuple[int, ...], sign: int) -> None:
    coefficients = np.zeros((1, 4, 3))
    coefficients[0, k] = 0.1
    seen = shade(coefficients, np.array([direction], np.float64))
    assert seen == pytest.approx(np.full((1, 3), 0.5 + sign * 0.1 * np.sqrt(3 / (4 * np.pi))))


def test_a_constant_colour_is_seen_from_every_side() -> None:
    colours = np.random.default_rng(0).random((20, 3))
    directions = np.random.default_rng(1).standard_normal((20, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    assert shade(constant(colours), directions) == pytest.approx(colours)


def test_colours_depend_on_the_side_and_are_not_negative(scattered: Made) -> None:
    gaussians = scattered(300, degree=3)
    one, other = gaussians.colours(np.array((5.0, 0, 0))), gaussians.colours(np.array((-5.0, 0, 0)))
    assert one.min() == 0
    assert np.abs(one - other).max() > 0.5
    directions = gaussians.means.astype(np.float64) - (5, 0, 0)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    in_torch = shade(torch.from_numpy(gaussians.harmonics.astype(np.float64)), torch.from_numpy(directions))
    assert np.abs(one - in_torch.numpy()).max() < 1e-5


def test_axes_are_rotations_and_a_quarter_turn_is_one() -> None:
    turn = np.array(((np.sqrt(0.5), 0, 0, np.sqrt(0.5)),), np.float32)  # about z
    gaussians = Gaussians(
        means=np.zeros((1, 3), np.float32),
        scales=np.array(((0.1, 0.2, 0.3),), np.float32),
        rotations=turn,
        opacity=np.ones(1, np.float32),
        harmonics=np.zeros((1, 1, 3), np.float32),
    )
    assert gaussians.axes()[0] == pytest.approx(np.array(((0, -1, 0), (1, 0, 0), (0, 0, 1))), abs=1e-7)
    assert gaussians.normals()[0] == pytest.approx((0, 1, 0), abs=1e-7)


def test_discs_lie_across_their_normals_whatever_these_are() -> None:
    normals = np.concatenate((np.eye(3), -np.eye(3), np.random.default_rng(0).standard_normal((50, 3))))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    count = len(normals)
    made = discs(np.zeros((count, 3)), normals, np.full(count, 0.5), np.full((count, 3), 0.25))
    assert np.abs(made.normals() - normals).max() < 1e-6
    assert made.scales[0] == pytest.approx((0.5, 0.5, 0.5 * THIN))
    assert made.colours(np.array((0, 0, 3.0))) == pytest.approx(np.full((count, 3), 0.25))


def test_taking_and_joining_keep_what_belongs_together(scattered: Made) -> None:
    gaussians = scattered(10, degree=2)
    assert gaussians.degree == 2
    both = gaussians.take(np.arange(3)).joined(gaussians.take(np.arange(10) >= 3))
    for part in ("means", "scales", "rotations", "opacity", "harmonics"):
        assert np.array_equal(getattr(both, part), getattr(gaussians, part))
    with pytest.raises(ShapeError, match="expected Gaussians of degree 2 to join, got 0"):
        gaussians.joined(scattered(2))


@pytest.mark.usefixtures("unchecked")
def test_parts_that_do_not_belong_together_are_refused(scattered: Made) -> None:
    gaussians = scattered(4)
    with pytest.raises(ShapeError, match=r"equal lengths, got \[4, 3, 4, 4, 4\]"):
        replace(gaussians, scales=gaussians.scales[:3])
    with pytest.raises(ShapeError, match="1, 4, 9 or 16 harmonics"):
        replace(gaussians, harmonics=np.zeros((4, 5, 3), np.float32))


def test_tensors_give_the_same_gaussians_back(scattered: Made) -> None:
    gaussians = scattered(7, degree=1)
    back = GaussianTensors.of(gaussians, dtype=torch.float64).gaussians()
    assert np.array_equal(back.means, gaussians.means)
    assert np.abs(back.rotations - gaussians.rotations).max() < 1e-6
    assert np.array_equal(back.harmonics, gaussians.harmonics)


def _file(path: Path, header: list[str], rows: np.ndarray) -> Path:
    path.write_bytes("\n".join(["ply", *header, "end_header", ""]).encode() + rows.tobytes())
    return path


def _header(names: list[str], count: int, kind: str = "float") -> list[str]:
    listed = [f"property {kind} {name}" for name in names]
    return ["format binary_little_endian 1.0", "comment by hand", f"element vertex {count}", *listed]


NAMES = [
    *("rot_3", "rot_2", "rot_1", "rot_0", "opacity", "f_dc_2", "f_dc_1", "f_dc_0"),
    *("scale_2", "scale_1", "scale_0", "z", "y", "x"),
]


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_what_is_written_is_read(tmp_path: Path, scattered: Made, degree: int) -> None:
    gaussians = scattered(17, degree=degree)
    write_gaussians(tmp_path / "scene.ply", gaussians)
    back = read_gaussians(tmp_path / "scene.ply")
    assert np.array_equal(back.means, gaussians.means)
    assert np.array_equal(back.harmonics, gaussians.harmonics)
    assert back.scales == pytest.approx(gaussians.scales, rel=1e-6)
    assert back.opacity == pytest.approx(gaussians.opacity, abs=1e-6)
    assert np.abs(back.rotations - gaussians.rotations).max() < 1e-6


def test_the_layout_is_that_of_3d_gaussian_splatting(tmp_path: Path, scattered: Made) -> None:
    gaussians = scattered(3, degree=1)
    write_gaussians(tmp_path / "scene.ply", gaussians)
    head, body = (tmp_path / "scene.ply").read_bytes().split(b"end_header\n")
    lines = head.decode().splitlines()
    names = [line.split()[2] for line in lines if line.startswith("property float")]
    assert lines[:3] == ["ply", "format binary_little_endian 1.0", "element vertex 3"]
    assert names[:9] == ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    assert names[9:18] == [f"f_rest_{k}" for k in range(9)]
    assert names[18:] == ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    row = np.frombuffer(body, "<f4").reshape(3, len(names))[1]
    # f_rest runs through all coefficients of red, then of green, then of blue.
    assert row[9:18] == pytest.approx(gaussians.harmonics[1, 1:].T.reshape(-1))
    assert row[18] == pytest.approx(np.log(gaussians.opacity[1] / (1 - gaussians.opacity[1])), rel=1e-4)
    assert row[19] == pytest.approx(np.log(gaussians.scales[1, 0]), rel=1e-5)


def test_numbers_are_activated_and_properties_found_by_name(tmp_path: Path) -> None:
    # In reverse order, in double precision, with a stranger in front, and a second element behind.
    row = [0.0, 0, 0, 2, 0, 0.3, 0.2, 0.1, np.log(3), np.log(2), 0, 30, 20, 10]
    rows = np.array([(7, *row)], [("stranger", "u1"), *((name, "<f8") for name in NAMES)])
    header = _header(NAMES, 1, "double")
    header.insert(3, "property uchar stranger")
    path = _file(tmp_path / "scene.ply", [*header, "element camera 0", "property float view"], rows)
    scene = read_gaussians(path)
    assert scene.means.tolist() == [[10, 20, 30]]
    assert scene.scales == pytest.approx(np.array(((1, 2, 3),)))
    assert scene.rotations.tolist() == [[1, 0, 0, 0]]
    assert scene.opacity.tolist() == [0.5]
    assert scene.harmonics == pytest.approx(np.array((((0.1, 0.2, 0.3),),)))


def test_an_empty_scene_is_one(tmp_path: Path, scattered: Made) -> None:
    write_gaussians(tmp_path / "scene.ply", scattered(1).take(np.zeros(0, int)))
    assert len(read_gaussians(tmp_path / "scene.ply")) == 0


def test_a_file_that_ends_too_early_is_refused(tmp_path: Path, scattered: Made) -> None:
    path = tmp_path / "scene.ply"
    write_gaussians(path, scattered(5))
    content = path.read_bytes()
    for cut in (1, 68, 200):
        path.write_bytes(content[:-cut])
        with pytest.raises(
            DataError, match=f"expected 5 Gaussians of 68 bytes, but it ends after {4 - cut // 69}"
        ):
            read_gaussians(path)
    path.write_bytes(content[:100])
    with pytest.raises(DataError, match="without its header"):
        read_gaussians(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            ["format ascii 1.0", "element vertex 0"],
            "expected the format binary_little_endian 1.0, got ascii 1.0",
        ),
        (["element vertex 0"], "got none"),
        (["format binary_little_endian 1.0"], "expected the element vertex first"),
        (["format binary_little_endian 1.0", "element face 3"], "expected the element vertex first"),
        (["format binary_little_endian 1.0", "element vertex many"], "expected the element vertex first"),
        (_header(["x", "y", "z"], 0), "f_dc_0, f_dc_1, f_dc_2, opacity, scale_0.* missing; is it a mesh"),
        (_header([*NAMES, "x"], 0), "got one twice"),
        (_header([*NAMES, "f_rest_0"], 0), "expected 0, 9, 24 or 45 properties f_rest_\\*, got 1"),
        ([*_header(NAMES, 0), "property list uchar int vertex_indices"], "got list uchar int vertex_indices"),
        (_header(NAMES, 0, "half"), "got half rot_3"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, header: list[str], message: str) -> None:
    path = _file(tmp_path / "other.ply", header, np.zeros(0))
    with pytest.raises(DataError, match=message) as caught:
        read_gaussians(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_ply_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.ply").write_bytes(b"\x89PNG" + bytes(1000))
    with pytest.raises(DataError, match="without its header"):
        read_gaussians(tmp_path / "photo.ply")
    with pytest.raises(DataError, match="cannot read it"):
        read_gaussians(tmp_path / "nothing.ply")
    with pytest.raises(DataError, match="cannot read it"):
        read_gaussians(tmp_path)


@pytest.mark.parametrize(("place", "value"), [(13, np.nan), (8, 1000.0), (5, np.inf)])
def test_numbers_that_are_none_are_refused(tmp_path: Path, place: int, value: float) -> None:
    row = np.zeros((1, len(NAMES)), "<f4")
    row[0, place] = value
    with pytest.raises(DataError, match="expected finite numbers"):
        read_gaussians(_file(tmp_path / "scene.ply", _header(NAMES, 1), row))


def test_a_rotation_of_no_length_is_none_and_opacity_1_can_be_stored(tmp_path: Path, scattered: Made) -> None:
    row = np.zeros((1, len(NAMES)), "<f4")
    scene = read_gaussians(_file(tmp_path / "scene.ply", _header(NAMES, 1), row))
    assert scene.rotations.tolist() == [[1, 0, 0, 0]]
    full = scattered(2)
    full.opacity[:] = (0, 1)
    write_gaussians(tmp_path / "full.ply", full)
    assert read_gaussians(tmp_path / "full.ply").opacity == pytest.approx((0, 1), abs=1e-6)
