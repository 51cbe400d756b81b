"""Files of Gaussians: what is written is read, byte by byte, and nothing else is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from homolog.core.errors import DataError
from homolog.synthetic.splats.gaussians import Gaussians
from homolog.synthetic.splats.ply import read_gaussians, write_gaussians

Made = Callable[..., Gaussians]


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
