"""Triangles whose picture can be worked out by hand, and an oracle that casts a ray per pixel."""

import numpy as np
import pytest

from homolog.core.errors import ShapeError
from homolog.synthetic.rendering.rasteriser import interpolate, rasterise, visible_faces
from homolog.synthetic.rendering.viewpoint import Viewpoint

TRIANGLE = np.array(((0, 1, 2),), np.int32)


def _camera(size: tuple[int, int], focal: float = 8.0) -> Viewpoint:
    """At the origin, looking along z, with pixel (0, 0) on the axis."""
    K = np.array(((focal, 0, 0), (0, focal, 0), (0, 0, 1.0)))
    return Viewpoint(K=K, R=np.eye(3), t=np.zeros(3), size=size)


def test_a_slanted_triangle_has_the_depth_and_the_barycentrics_of_its_plane() -> None:
    # At depth z = 2 + x: pixel (u, v) is at x = u z / 8, so z = 2 / (1 - u / 8); with u = 4, z = 4, x = 2.
    vertices = np.array(((0.0, 0.0, 2.0), (4.0, 0.0, 6.0), (0.0, 4.0, 2.0)))
    raster = rasterise(vertices, TRIANGLE, _camera((8, 8)))
    assert raster.face[0, 4] == 0
    assert raster.depth[0, 4] == pytest.approx(4.0, rel=1e-6)
    assert raster.bary[0, 4] == pytest.approx((0.5, 0.5, 0.0), abs=1e-6)
    # In the picture, the middle between the first two corners is at u = 8 * 4 / 6 / 2 = 2.67: there z = 3, not 4.
    assert raster.depth[2, 2] == pytest.approx(2 / (1 - 2 / 8), rel=1e-6)
    x, y = 2 * raster.depth[2, 2] / 8, 2 * raster.depth[2, 2] / 8
    assert raster.bary[2, 2] == pytest.approx((1 - x / 4 - y / 4, x / 4, y / 4), abs=1e-6)


def test_pixels_are_sampled_at_their_centres_which_are_integers() -> None:
    # The square from pixel 1 to pixel 3 covers exactly the centres 1, 2, 3; one from 1.01 to 2.99 only 2.
    corners = np.array(((0, 0), (1, 0), (1, 1), (0, 1)), np.float64)
    faces = np.array(((0, 1, 2), (0, 2, 3)), np.int32)
    for low, high, covered in ((1.0, 3.0, [1, 2, 3]), (1.01, 2.99, [2])):
        vertices = np.column_stack((low + (high - low) * corners, np.full(4, 8.0)))
        face = rasterise(vertices, faces, _camera((6, 6))).face
        assert np.flatnonzero((face >= 0).any(axis=0)).tolist() == covered
        assert np.flatnonzero((face >= 0).any(axis=1)).tolist() == covered
        assert (face >= 0).sum() == len(covered) ** 2


def test_the_nearer_triangle_wins_whatever_the_order() -> None:
    near = np.array(((-9.0, -9.0, 3.0), (9.0, -9.0, 3.0), (0.0, 9.0, 3.0)))
    vertices = np.concatenate((near, near + np.array((0, 0, 1.0))))
    for first, second in ((0, 3), (3, 0)):
        faces = np.array((range(first, first + 3), range(second, second + 3)), np.int32)
        raster = rasterise(vertices, faces, _camera((4, 4)))
        assert (raster.depth == 3.0).all()
        assert (raster.face == (0 if first == 0 else 1)).all()


def test_one_sided_leaves_out_triangles_seen_from_behind_only() -> None:
    vertices = np.array(((-9.0, -9.0, 3.0), (9.0, -9.0, 3.0), (0.0, 9.0, 3.0)))
    # y is down: this order is clockwise on the screen's axes, hence seen from behind here.
    for order in ((0, 1, 2), (0, 2, 1)):
        faces = np.array((order,), np.int32)
        normal = np.cross(vertices[order[1]] - vertices[order[0]], vertices[order[2]] - vertices[order[0]])
        drawn = (rasterise(vertices, faces, _camera((4, 4)), one_sided=True).face >= 0).all()
        assert drawn == (normal[2] < 0)
        assert (rasterise(vertices, faces, _camera((4, 4))).face >= 0).all()


def test_a_floor_that_passes_below_the_camera_is_drawn_to_the_horizon_and_not_above() -> None:
    # y = 1 from behind the camera to far ahead: pixel row v shows z = 8 / v.
    vertices = np.array(((-99.0, 1.0, -50.0), (99.0, 1.0, -50.0), (99.0, 1.0, 500.0), (-99.0, 1.0, 500.0)))
    faces = np.array(((0, 1, 2), (0, 2, 3)), np.int32)
    camera = Viewpoint(
        K=np.array(((8.0, 0, 4), (0, 8, 4), (0, 0, 1))), R=np.eye(3), t=np.zeros(3), size=(9, 9)
    )
    depth = rasterise(vertices, faces, camera).depth
    assert np.isnan(depth[:5]).all()
    assert depth[5:] == pytest.approx(np.repeat(8 / np.arange(1, 5)[:, None], 9, axis=1), rel=1e-6)


def test_no_pixel_falls_between_the_triangles_of_a_closed_fan() -> None:
    # Corners on pixel centres put centres exactly on shared edges.
    random = np.random.default_rng(5)
    for _ in range(20):
        rim = np.array(
            [(x, y) for x, y in ((0, 0), (16, 0), (32, 0), (32, 16), (32, 32), (16, 32), (0, 32), (0, 16))]
        )
        hub = random.integers(4, 29, 2)
        z = random.uniform(2, 5, 9)
        vertices = np.column_stack((np.concatenate((rim, hub[None])) * z[:, None] / 8, z))
        faces = np.array([(k, (k + 1) % 8, 8) for k in range(8)], np.int32)
        assert (rasterise(vertices, faces, _camera((33, 33))).face >= 0).all()


def test_agrees_with_a_ray_for_every_pixel() -> None:
    random = np.random.default_rng(2)
    vertices = random.uniform((-3, -3, 0.5), (3, 3, 6), (60, 3))
    faces = random.integers(0, 60, (40, 3)).astype(np.int32)
    camera = Viewpoint.towards(
        np.array((0.0, 0.0, 3.0)),
        azimuth=0.7,
        elevation=0.3,
        distance=9.0,
        focal=1.2,
        size=(21, 34),
        roll=0.2,
    )
    raster = rasterise(vertices, faces, camera)
    eye = (vertices @ camera.R.T + camera.t)[faces]
    for v, u in np.ndindex(camera.size):
        ray = np.linalg.solve(camera.K, (u, v, 1.0))
        hits = {}
        for f, (a, b, c) in enumerate(eye):
            matrix = np.column_stack((a, b, c))
            if abs(np.linalg.det(matrix)) > 1e-9:
                weights = np.linalg.solve(matrix, ray)
                if weights.min() >= 0:
                    hits[f] = (1 / weights.sum(), weights / weights.sum())
        if not hits:
            assert raster.face[v, u] == -1
            assert np.isnan(raster.depth[v, u])
            continue
        nearest = min(hits, key=lambda f: hits[f][0])
        assert raster.face[v, u] == nearest
        assert raster.depth[v, u] == pytest.approx(hits[nearest][0], rel=1e-5)
        assert raster.bary[v, u] == pytest.approx(hits[nearest][1], abs=1e-5)


def test_a_vertex_that_is_no_number_takes_its_triangles_away_and_nothing_else() -> None:
    near = np.array(((-9.0, -9.0, 3.0), (9.0, -9.0, 3.0), (0.0, 9.0, 3.0)))
    for value in (np.nan, np.inf):
        seen = _camera((4, 4)).homogeneous(np.concatenate((near, near - np.array((0, 0, 1.0)))))
        seen[4, 1] = value
        face, _ = visible_faces(seen, np.array(((0, 1, 2), (3, 4, 5)), np.int32), _camera((4, 4)))
        assert (face == 0).all()


def test_attributes_are_interpolated_in_space_not_in_the_picture() -> None:
    vertices = np.array(((0.0, 0.0, 2.0), (4.0, 0.0, 6.0), (0.0, 4.0, 2.0)))
    raster = rasterise(vertices, TRIANGLE, _camera((8, 8)))
    spread = interpolate(raster, TRIANGLE, vertices)
    assert spread[0, 4] == pytest.approx((2.0, 0.0, 4.0), abs=1e-5)
    assert np.isnan(spread[raster.face < 0]).all()
    assert np.isfinite(spread[raster.face >= 0]).all()


def test_the_same_input_gives_the_same_bits() -> None:
    random = np.random.default_rng(3)
    vertices, faces = random.normal(size=(90, 3)), random.integers(0, 90, (70, 3)).astype(np.int32)
    camera = Viewpoint.towards(
        np.zeros(3), azimuth=0.4, elevation=0.2, distance=4.0, focal=1.0, size=(40, 50)
    )
    first, second = rasterise(vertices, faces, camera), rasterise(vertices.copy(), faces.copy(), camera)
    assert first.face.tobytes() == second.face.tobytes()
    assert first.bary.tobytes() == second.bary.tobytes()
    assert first.depth.tobytes() == second.depth.tobytes()


def test_a_camera_keeps_its_field_of_view_when_resized() -> None:
    camera = Viewpoint.towards(
        np.zeros(3), azimuth=0.4, elevation=0.2, distance=4.0, focal=1.0, size=(40, 50)
    )
    assert camera.K[:2, 2].tolist() == [24.5, 19.5]
    larger = camera.resized((80, 150))
    assert larger.K[:2, 2].tolist() == [74.5, 39.5]
    points = np.random.default_rng(0).normal(size=(9, 3))
    small, large = camera.project(points)[0], larger.project(points)[0]
    assert large == pytest.approx((small + 0.5) * (3, 2) - 0.5, abs=1e-9)


def test_a_camera_that_looks_at_a_point_sees_it_in_the_middle_and_the_world_upright() -> None:
    target = np.array((1.0, 2.0, 3.0))
    camera = Viewpoint.towards(target, azimuth=0.0, elevation=0.0, distance=4.0, focal=1.0, size=(41, 51))
    assert camera.centre == pytest.approx((5.0, 2.0, 3.0))
    assert camera.project(target[None])[0][0] == pytest.approx((25.0, 20.0))
    above, right = camera.project(target + np.array(((0, 1, 0), (0, 0, -1))))[0]
    assert above[1] < 20
    assert right[0] > 25
    assert np.linalg.det(camera.R) == pytest.approx(1.0)


def test_a_camera_without_pixels_is_refused() -> None:
    with pytest.raises(ShapeError, match="at least 1 x 1"):
        _camera((0, 4))
