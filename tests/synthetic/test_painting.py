"""Colours whose values can be worked out by hand, and patterns and images that follow the surface."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from homolog.core.errors import DataError, ShapeError
from homolog.synthetic.category import categories, category, topology
from homolog.synthetic.correspondence import dense_truth
from homolog.synthetic.rendering.lighting import Light, drawn_backdrop
from homolog.synthetic.rendering.look import Look, draw_look, row
from homolog.synthetic.rendering.paint import paint
from homolog.synthetic.rendering.photometry import Photometry
from homolog.synthetic.rendering.photos import PhotoFolder, printed, pyramid
from homolog.synthetic.rendering.rasteriser import visible_faces
from homolog.synthetic.rendering.scene import Body, Scene
from homolog.synthetic.rendering.shading import SIDE
from homolog.synthetic.rendering.view import View
from homolog.synthetic.rendering.viewpoint import Viewpoint, framed
from homolog.synthetic.semantic_pairs import SemanticPairs

Quad = Callable[..., Body]

EVEN = Light(towards=np.array((0.0, 1.0, 0.0)), sun=np.zeros(3), sky=np.full(3, 0.8), ground=np.full(3, 0.8))
"""The same from everywhere: surfaces show 0.8 times their own colour."""

BLACK = np.zeros((12, 16, 3), np.float32)


def _camera(size: tuple[int, int] = (12, 16)) -> Viewpoint:
    """At the origin, along z, pixel (0, 0) on the axis: at depth 8, x and y are pixels."""
    return Viewpoint(K=np.diag((8.0, 8.0, 1.0)), R=np.eye(3), t=np.zeros(3), size=size)


def _rectangle(quad: Quad, left: float, right: float, name: str = "a") -> Body:
    return quad(name, [(left, 2, 8), (right, 2, 8), (right, 9, 8), (left, 9, 8)])


def _plain(red: float, green: float, blue: float) -> Look:
    return Look(rows=row(np.array((red, green, blue)), grain=0.0)[None])


def test_a_pixel_shows_a_surface_as_much_as_it_is_covered(quad: Quad) -> None:
    # From 3.0 to 10.9: samples of column 3 are at 2.75 and 3.25, of column 11 at 10.75 and 11.25.
    view = View.of(Scene.of([_rectangle(quad, 3.0, 10.9)]), _camera())
    picture = paint(view, [_plain(1.0, 0.5, 0.25)], EVEN, BLACK)
    share = np.array((0, 0, 0, 0.5, 1, 1, 1, 1, 1, 1, 1, 0.5, 0, 0, 0, 0))
    assert picture[5] == pytest.approx(share[:, None] * (0.8, 0.4, 0.2), abs=1e-6)


def test_what_no_centre_of_a_pixel_sees_is_painted_nevertheless(quad: Quad) -> None:
    view = View.of(Scene.of([_rectangle(quad, 6.6, 6.9)]), _camera())
    assert (view.raster.face == -1).all()
    picture = paint(view, [_plain(1.0, 1.0, 1.0)], EVEN, BLACK)
    assert picture[5, :, 0] == pytest.approx(0.4 * (np.arange(16) == 7), abs=1e-6)


def test_a_background_is_kept_where_nothing_is_and_mixed_at_edges(quad: Quad) -> None:
    behind = np.random.default_rng(0).random((12, 16, 3), np.float32)
    before = behind.copy()
    view = View.of(Scene.of([_rectangle(quad, 3.0, 10.9)]), _camera())
    picture = paint(view, [_plain(1.0, 1.0, 1.0)], EVEN, behind)
    assert np.array_equal(behind, before)
    assert np.array_equal(picture[view.raster.face < 0][:5], behind[view.raster.face < 0][:5])
    assert picture[5, 11] == pytest.approx(0.5 * behind[5, 11] + 0.4, abs=1e-6)


def test_two_surfaces_share_the_pixel_between_them(quad: Quad) -> None:
    bodies = [_rectangle(quad, 3.0, 7.0, "a"), _rectangle(quad, 7.0, 12.0, "b")]
    view = View.of(Scene.of([bodies[0], replace(bodies[1], key="other")]), _camera())
    picture = paint(view, [_plain(1.0, 0.0, 0.0), _plain(0.0, 1.0, 0.0)], EVEN, BLACK)
    assert picture[5, 6:9] == pytest.approx(np.array(((0.8, 0, 0), (0.4, 0.4, 0), (0, 0.8, 0))), abs=1e-6)


def test_looks_or_backgrounds_that_do_not_fit_are_refused(quad: Quad) -> None:
    view = View.of(Scene.of([_rectangle(quad, 3.0, 7.0)]), _camera())
    with pytest.raises(ShapeError, match="1 looks"):
        paint(view, [], EVEN, BLACK)
    with pytest.raises(ShapeError, match="a background"):
        paint(view, [_plain(1, 1, 1)], EVEN, BLACK[1:])


def test_an_image_lies_where_the_canonical_position_says(quad: Quad) -> None:
    # The rectangle is 8 wide, which is 1 canonical unit, of which the image takes 4.
    ramp = np.zeros((SIDE, SIDE, 3), np.float32)
    ramp[..., 0] = (np.arange(SIDE) + 0.5) / SIDE
    ramp[..., 1] = (np.arange(SIDE)[:, None] + 0.5) / SIDE
    body = _rectangle(quad, 3.0, 11.0)
    line = row(np.ones(3), frequency=0.25, grain=0.0)[None]
    view = View.of(Scene.of([body]), _camera())
    picture = paint(view, [Look(rows=line, images=(pyramid(ramp),), image=(0,))], EVEN, BLACK)
    x, y = np.arange(4, 11), np.arange(3, 9)
    # Up in the world is up in the image: the second coordinate of an image grows downwards, mirrored below 0.
    across, down = 0.25 * x / 8, 0.25 * y / 8
    assert picture[5, 4:11, 0] == pytest.approx(0.8 * across, abs=1e-5)
    assert picture[3:9, 6, 1] == pytest.approx(0.8 * down, abs=1e-5)


def test_small_copies_of_an_image_are_averages() -> None:
    image = np.random.default_rng(1).random((SIDE, SIDE, 3), np.float32)
    flat = pyramid(image)
    assert np.array_equal(flat[: SIDE * SIDE].reshape(SIDE, SIDE, 3), image)
    half = flat[SIDE * SIDE : SIDE * SIDE * 5 // 4].reshape(SIDE // 2, SIDE // 2, 3)
    assert half[3, 5] == pytest.approx(image[6:8, 10:12].mean(axis=(0, 1)), abs=1e-6)
    with pytest.raises(ShapeError, match="expected a texture"):
        pyramid(image[1:])


def _instances(name: str) -> list[View]:
    kind, random, views = category(name), np.random.default_rng(3), list[View]()
    for azimuth in (0.5, 1.0):
        vertices = kind.vertices(kind.draw_shape(random), kind.draw_pose(random))
        camera = framed(
            vertices, azimuth=azimuth, elevation=0.3, roll=0.0, focal=1.6, fill=0.9, shift=(0.0, 0.0), size=(128, 128)
        )  # fmt: skip
        views.append(View.of(Scene.of([Body(topology=topology(name), vertices=vertices, key="x")]), camera))
    return views


@pytest.mark.parametrize("with_images", [False, True])
def test_one_look_on_two_instances_has_one_colour_at_one_place(with_images: bool, tmp_path: Path) -> None:
    views, random = _instances("quadruped"), np.random.default_rng(8)
    shape = topology("quadruped")
    look, other = draw_look(shape, random), draw_look(shape, random)
    if with_images:
        noise = np.random.default_rng(0).integers(0, 255, (6, 6, 3), np.uint8)
        PILImage.fromarray(noise).resize((200, 200)).save(tmp_path / "blobs.png")
        look = printed(look, shape, PhotoFolder(tmp_path), random)
        assert set(look.image) != {-1}
    behind = np.zeros((128, 128, 3), np.float32)
    first, second, odd = (
        paint(view, [one], EVEN, behind)
        for view, one in ((views[0], look), (views[1], look), (views[1], other))
    )
    truth = dense_truth(*views)[0]
    column, line = np.rint(truth.xy[truth.interior]).astype(int).T
    same, different = (
        float(np.abs(first[truth.interior] - picture[line, column]).mean()) for picture in (second, odd)
    )
    assert truth.interior.sum() > 1000
    assert same < 0.05
    assert different > 3 * same


@pytest.mark.parametrize("name", categories())
def test_the_instances_of_a_pair_have_looks_of_their_own_unless_asked(name: str) -> None:
    for index in range(3):
        apart, alike = (
            SemanticPairs(count=3, size=32, seed=6, names=[name], occluders=0.0, shared_look=shared).pair(
                index
            )
            for shared in (0.0, 1.0)
        )
        first, second = (look.rows for look in apart.looks)
        # No finish that is drawn at all is the same twice.
        assert (first[:, :3] != second[:, :3]).any(axis=1).all()
        assert np.array_equal(alike.looks[0].rows, alike.looks[1].rows)


def test_textures_come_from_a_folder_and_leave_the_labels_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected photos"):
        SemanticPairs(count=1, textures=tmp_path)
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    PILImage.fromarray(noise).save(tmp_path / "noise.png")
    plain, painted, again = (
        SemanticPairs(count=2, size=64, seed=6, names=["chair"], textures=folder).pair(1)
        for folder in (None, tmp_path, tmp_path)
    )
    assert plain.looks[0].images == ()
    assert len(painted.looks[0].images) > 0
    assert np.array_equal(plain.truths[0].xy, painted.truths[0].xy, equal_nan=True)
    assert not np.array_equal(plain.pictures[0], painted.pictures[0])
    assert np.array_equal(painted.pictures[1], again.pictures[1])


def test_triangles_in_settled_cells_may_be_missing_and_nothing_else() -> None:
    view = _instances("bird")[0]
    finer = view.viewpoint.resized((256, 256))
    seen = finer.homogeneous(view.scene.vertices)
    settled = np.random.default_rng(4).random((128, 128)) < 0.8
    settled[:, 40:70] = True
    whole, depth = visible_faces(seen, view.scene.faces, finer)
    face, inverse = visible_faces(seen, view.scene.faces, finer, settled=settled)
    needed = ~settled.repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(face[needed], whole[needed])
    assert np.array_equal(inverse[needed], depth[needed])
    assert (face != whole).any()


def _camera_settings(**changes: object) -> Photometry:
    plain = Photometry(gain=np.ones(3), gamma=1.0, vignette=0.0, blur=0.0, noise=0.0, seed=5, quality=None)
    return replace(plain, **changes)


def test_a_perfect_camera_only_rounds() -> None:
    levels = (np.arange(256, dtype=np.float32) / 255).reshape(16, 16, 1).repeat(3, axis=2)
    taken = _camera_settings().develop(levels)
    assert np.abs(taken[..., 0].reshape(-1).astype(int) - np.arange(256)).max() <= 1
    darker = _camera_settings(gain=np.array((0.5, 1.0, 1.0)), gamma=2.0).develop(levels)
    assert np.abs(darker[..., 0].reshape(-1) - 255 * (np.arange(256) / 510) ** 2).max() <= 1
    corner = _camera_settings(vignette=0.4).develop(np.full((65, 65, 3), 0.8, np.float32))
    assert corner[32, 32, 0] == 204
    assert corner[0, 0, 0] == pytest.approx(204 * (1 - 0.2 * 2 * (64 / 65) ** 2), abs=1)


def test_noise_has_the_strength_asked_for_and_no_memory_of_rows_or_colours() -> None:
    grey = np.full((200, 300, 3), 0.5, np.float32)
    taken = _camera_settings(noise=0.03).develop(grey).astype(np.float64)
    assert taken.mean() == pytest.approx(127.5, abs=0.3)
    assert taken.std() == pytest.approx(0.03 * 255, rel=0.03)
    rest = taken - taken.mean()
    for neighbours in (rest[1:] * rest[:-1], rest[:, 1:] * rest[:, :-1], rest[..., 1:] * rest[..., :-1]):
        assert abs(neighbours.mean()) < 0.05 * rest.var()
    assert not np.array_equal(taken, _camera_settings(noise=0.03, seed=6).develop(grey))


def test_blur_spreads_a_point_as_a_gaussian_and_keeps_borders() -> None:
    point = np.zeros((15, 21, 3), np.float32)
    point[7, 10] = 1.0
    taken = _camera_settings(blur=0.9).develop(point)[..., 1].astype(float) / 255
    weights = np.exp(-0.5 * (np.arange(-3, 4) / 0.9) ** 2)
    weights /= weights.sum()
    assert taken[4:11, 7:14] == pytest.approx(np.outer(weights, weights), abs=1.5 / 255)
    flat = _camera_settings(blur=0.9).develop(np.full((15, 21, 3), 0.4, np.float32))
    assert (flat == 102).all()


def test_scenery_keeps_its_place_whatever_the_number_of_pixels() -> None:
    for seed in range(6):
        small, large = (drawn_backdrop(np.random.default_rng(seed), (size, size)) for size in (64, 192))
        assert 0 <= large.min() < large.max() <= 1
        means = large.reshape(64, 3, 64, 3, 3).mean(axis=(1, 3))
        assert np.abs(means - small).mean() < 0.06
