"""Meshes from files: round trips, deformations that keep the topology, and files that are rejected."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from homolog.core.errors import ConfigError, DataError, MissingDependencyError
from homolog.synthetic.asset_pairs import AssetPairs, MeshPairs
from homolog.synthetic.assets import AssetSource, ProceduralAssets
from homolog.synthetic.meshes.files import LONGEST, count_odd_edges, read_mesh, split_at_creases
from homolog.synthetic.meshes.folder import FreeForm, FreeFormRanges, MeshFolder

_NEEDS = "reading meshes needs it: pip install homolog-synthetic[meshes]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ring (OBJ), a painted cube of two parts (GLB) and a ball with coloured vertices (PLY)."""
    trimesh: Any = pytest.importorskip("trimesh", reason=_NEEDS)
    root = tmp_path_factory.mktemp("meshes")
    (root / "cube").mkdir()
    trimesh.creation.torus(1.0, 0.35).export(root / "ring.obj")
    ball = trimesh.creation.icosphere(2)
    ball.visual.vertex_colors = np.concatenate((ball.vertices * 127 + 128, np.full((162, 1), 255)), 1).astype(
        np.uint8
    )
    ball.export(root / "ball.ply")
    colours = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]], np.uint8)
    picture = colours.repeat(16, axis=0).repeat(16, axis=1)
    big, small = trimesh.creation.box((1, 1, 1)), trimesh.creation.box((0.4, 0.4, 0.4))
    small.apply_translation((0.7, 0, 0))
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=PILImage.fromarray(picture))
    big.visual = trimesh.visual.TextureVisuals(uv=big.vertices[:, :2] + 0.5, material=material)
    material = trimesh.visual.material.PBRMaterial(baseColorFactor=[51, 102, 204, 255])
    small.visual = trimesh.visual.TextureVisuals(uv=np.zeros((8, 2)), material=material)
    scene = trimesh.Scene({"big": big, "small": small})
    scene.metadata["asset"] = {"version": "2.0", "copyright": "CC0, nobody"}
    scene.export(root / "cube" / "one.glb")
    return root


def test_an_obj_comes_back_with_its_shape(folder: Path) -> None:
    mesh = read_mesh(folder / "ring.obj")
    assert mesh.closed
    assert mesh.colours is None
    radius = np.hypot(mesh.vertices[:, 0], mesh.vertices[:, 1])
    # A torus of radii 1 and 0.35, whose longest side (2.7) is 1 now; trimesh lays it into x and y.
    # It has 32 sides, whose middles are nearer to the axis than their ends.
    sides = 0.65 * (1 - np.cos(np.pi / 32))
    assert np.hypot(radius - 1 / 2.7, mesh.vertices[:, 2]).max() < (0.35 + sides) / 2.7 + 1e-6
    corners = mesh.vertices[mesh.faces]
    assert np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max() <= LONGEST
    volume = np.einsum("fc,fc->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert volume == pytest.approx(2 * np.pi**2 * 0.35**2 / 2.7**3, rel=0.03)


def test_an_upright_axis_is_turned_up(folder: Path) -> None:
    flat = read_mesh(folder / "ring.obj", up="z").vertices
    assert np.ptp(flat[:, 1]) == pytest.approx(0.7 / 2.7, rel=1e-3)
    assert np.ptp(flat[:, 2]) == pytest.approx(1, rel=1e-3)


def test_a_glb_keeps_parts_creases_pictures_and_what_it_says_about_itself(folder: Path) -> None:
    mesh: Any = read_mesh(folder / "cube" / "one.glb")
    assert set(mesh.part_names) == {"big", "small"}
    centre = np.full((len(mesh.faces), 3), 1 / 3, np.float32)
    colour = mesh.colours.at(np.arange(len(mesh.faces), dtype=np.int32), centre)
    small = mesh.part == mesh.part_names.index("small")
    assert colour[small] == pytest.approx(np.broadcast_to((0.2, 0.4, 0.8), (small.sum(), 3)), abs=0.01)
    # Of the large cube, x - and y - 0.5 was the place in the picture: its lower left quarter is blue.
    middle = mesh.vertices[mesh.faces].mean(axis=1) * 1.4 + (0.2, 0, 0)
    blue = ~small & (np.abs(middle[:, :2] + 0.25) < 0.2).all(axis=1) & (np.abs(middle[:, 2]) > 0.49)
    assert blue.sum() > 5
    assert colour[blue] == pytest.approx(np.broadcast_to((0, 0, 1), (blue.sum(), 3)))
    # Sharp edges have two normals: a corner of a cube belongs to three vertices.
    corner = np.isclose(np.abs(mesh.vertices[:, 1:]), 0.5 / 1.4).all(axis=1) & (mesh.vertices[:, 0] < -0.49)
    assert corner.sum() == 4 * 3
    asset = MeshFolder(root=folder, licence="mine").sample("cube", 0)
    assert asset.licence == "mine; the file says: CC0, nobody"


def test_colours_of_vertices_follow_the_corners(folder: Path) -> None:
    mesh: Any = read_mesh(folder / "ball.ply")
    corners = mesh.vertices[mesh.faces]
    # Longest side 1: a ball of radius 1/2. Cutting puts vertices a little below the sphere.
    assert mesh.colours.rgb == pytest.approx((2 * corners * 127 + 128) / 255, abs=0.02)


def test_a_mesh_that_is_inside_out_is_turned_with_its_colours_and_a_cavity_is_drawn_from_both_sides(
    folder: Path, tmp_path: Path
) -> None:
    trimesh: Any = pytest.importorskip("trimesh", reason=_NEEDS)
    ball = trimesh.load_mesh(folder / "ball.ply")
    outside = read_mesh(folder / "ball.ply")
    colours = ball.visual.vertex_colors
    turned = trimesh.Trimesh(ball.vertices, ball.faces[:, ::-1], vertex_colors=colours, process=False)
    turned.export(tmp_path / "turned.ply")
    mesh: Any = read_mesh(tmp_path / "turned.ply")
    assert mesh.closed
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("fc,fc->f", normals, corners[:, 0]) > 0).all()
    assert mesh.colours.rgb == pytest.approx((2 * corners * 127 + 128) / 255, abs=0.02)
    assert outside.closed
    hollow = trimesh.util.concatenate([ball, trimesh.Trimesh(ball.vertices / 2, ball.faces[:, ::-1])])
    hollow.export(tmp_path / "hollow.ply")
    assert not read_mesh(tmp_path / "hollow.ply").closed


def test_instances_of_a_mesh_differ_in_shape_and_in_nothing_else(folder: Path) -> None:
    source: AssetSource = MeshFolder(root=folder)
    assert source.categories() == ("ball", "cube", "ring")
    one, same, other = (source.sample("ring", seed) for seed in (1, 1, 2))
    assert np.array_equal(one.vertices(), same.vertices())
    assert np.abs(one.vertices() - other.vertices()).max() > 0.02
    assert one.topology is other.topology
    assert one.topology.name == "ring.obj"
    assert np.array_equal(one.topology.canonical, read_mesh(folder / "ring.obj").vertices)
    assert one.vertices().shape == one.topology.canonical.shape
    # Vertices at one place before are at one place after, or else the surface would open along a crease.
    cube = source.sample("cube", 3)
    _, first, which = np.unique(
        np.round(cube.topology.canonical, 6), axis=0, return_index=True, return_inverse=True
    )
    assert np.abs(cube.vertices() - cube.vertices()[first][which.reshape(-1)]).max() < 1e-6
    assert len(first) < len(which)


def test_no_drawn_deformation_turns_a_place_inside_out() -> None:
    low, high = -np.ones(3), np.array((1.0, 0.2, 2.0))
    for seed in range(20):
        form = FreeFormRanges(bend=0.3).drawn(low, high, np.random.default_rng(seed))
        assert form.volume_factor(15) > 0.1
    still = FreeForm(low=low, high=high, stretch=np.array((2.0, 1, 1)), shifts=np.zeros((4, 4, 4, 3)))
    assert still(np.array([[0.0, 0.1, 1.0]]))[0] == pytest.approx((1.0, 0.1, 1.0))


def test_a_control_point_in_a_corner_takes_the_corner_along_and_not_the_opposite_one() -> None:
    shifts = np.zeros((4, 4, 4, 3))
    shifts[3, 0, 3] = (0.1, 0, 0)
    form = FreeForm(low=np.zeros(3), high=np.ones(3), stretch=np.ones(3), shifts=shifts)
    places = form(np.array([[1.0, 0, 1], [0, 1, 0], [0.5, 0.5, 0.5]]))
    assert places[0] == pytest.approx((1.1, 0, 1))
    assert places[1] == pytest.approx((0, 1, 0))
    assert places[2] == pytest.approx((0.5 + 0.1 / 8**3, 0.5, 0.5))


def test_edges_are_counted_and_creases_split() -> None:
    # Two triangles at a right angle along the edge 0-1, and a third one that makes it crowded.
    vertices = np.array(((0.0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, -1, 0)))
    hinge = np.array(((0, 1, 2), (1, 0, 3)), np.int32)
    assert count_odd_edges(hinge) == (5, 4, 0, 0)
    assert count_odd_edges(np.concatenate((hinge, [[0, 1, 4]])).astype(np.int32)) == (7, 6, 1, 0)
    assert count_odd_edges(np.array(((0, 1, 2), (0, 1, 3)), np.int32)) == (5, 4, 0, 1)
    origin, faces = split_at_creases(vertices, hinge)
    assert len(origin) == 6
    assert np.array_equal(origin[faces], hinge)
    flat = np.array(((0.0, 0, 0), (1, 0, 0), (0, 1, 0), (0, -1, 0)))
    assert len(split_at_creases(flat, hinge)[0]) == 4


def test_mesh_pairs_are_like_semantic_pairs(folder: Path) -> None:
    pairs = MeshPairs(root=folder, count=4, size=64, seed=2, photometry=False)
    for index in range(4):
        pair = pairs.pair(index)
        assert pair.assets[0].topology is pair.assets[1].topology
        assert not np.array_equal(pair.assets[0].vertices(), pair.assets[1].vertices())
        assert pair.truths[0].valid.sum() > 50
        canonical0, canonical1 = (view.canonical for view in pair.views)
        interior = pair.truths[0].interior
        x, y = np.rint(pair.truths[0].xy[interior]).astype(int).T
        assert np.median(np.linalg.norm(canonical0[interior] - canonical1[y, x], axis=1)) < 0.02
        again = MeshPairs(root=folder, count=4, size=64, seed=2, photometry=False).pair(index)
        assert np.array_equal(again.pictures[1], pair.pictures[1])


def test_any_source_gives_pairs_and_procedural_ones_have_named_keypoints() -> None:
    pair = AssetPairs(source=ProceduralAssets(names=["bottle"]), count=2, size=64).pair(1)
    assert pair.category == "bottle"
    assert len(pair.landmarks[0].xy) == len(pair.assets[0].topology.landmark_names)
    assert pair.sample().facts["licence"] == "made by homolog"
    asset = ProceduralAssets().sample("bottle", 5)
    assert np.array_equal(asset.vertices(), ProceduralAssets().sample("bottle", 5).vertices({}))
    with pytest.raises(ConfigError, match="expected the topology bottle"):
        ProceduralAssets().sample("bottle", 5, topology="ring.obj")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.obj", "", "expected"),
        ("points.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\n", "expected"),
        ("flat.obj", "v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "expected triangles with an area"),
        ("dot.obj", "v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n", "expected a mesh with an extent"),
        ("nan.obj", "v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "expected finite vertices"),
        ("broken.glb", "no glTF at all", "expected a mesh"),
        (
            "fan.obj",
            "v 0 0 0\nv 0 0 1\n" + "".join(f"v {np.cos(k)} {np.sin(k)} 0\n" for k in range(6))
            + "".join(f"f 1 2 {k}\n" for k in range(3, 9)),
            "1 of 13 edges in more than two triangles",
        ),
    ],
)  # fmt: skip
def test_garbage_is_refused_in_one_line(tmp_path: Path, name: str, content: str, reason: str) -> None:
    pytest.importorskip("trimesh", reason=_NEEDS)
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=reason) as caught:
        read_mesh(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_a_folder_without_meshes_and_unknown_names_are_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match="expected meshes"):
        MeshFolder(root=tmp_path)
    source = MeshFolder(root=folder)
    with pytest.raises(ConfigError, match="did you mean ring"):
        source.sample("rng", 0)
    with pytest.raises(ConfigError, match="no mesh named"):
        source.sample("ring", 0, topology="ball.ply")
    with pytest.raises(ConfigError, match="bend"):
        MeshFolder(root=folder, bend=3.0)


def test_without_trimesh_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.obj").write_text("")
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(MissingDependencyError, match=r"homolog-synthetic\[meshes\]"):
        MeshFolder(root=tmp_path).sample("a", 0)
