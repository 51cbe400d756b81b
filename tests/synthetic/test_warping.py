"""Maps of the image plane in both directions, folds, and views through a map."""

import numpy as np
import pytest

from homolog.core.errors import CapabilityError, ConfigError
from homolog.synthetic.category import category, topology
from homolog.synthetic.meshes.subdivision import subdivided
from homolog.synthetic.rendering.scene import Body, Scene
from homolog.synthetic.rendering.view import View
from homolog.synthetic.rendering.viewpoint import drawn_camera
from homolog.synthetic.warping import MapRanges, PlaneMap, WarpedView

_SIZE = (48, 80)
_STILL = PlaneMap.affine(np.eye(2), np.zeros(2))


def _lattice(height: int, width: int) -> np.ndarray:
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    return np.stack((x, y), axis=-1).reshape(-1, 2)


def _drawn(seed: int, **ranges: float) -> PlaneMap:
    return MapRanges(**ranges).drawn(np.random.default_rng(seed))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("seed", range(6))
def test_the_inverse_leads_back_to_a_millionth_of_a_pixel(seed: int) -> None:
    lens, xy = _drawn(seed, bend=0.08, rotation=180), _lattice(*_SIZE)
    assert np.abs(lens.undone(lens.moved(xy, _SIZE), _SIZE) - xy).max() < 1e-6
    back = lens.undone(xy, _SIZE)
    assert np.abs(lens.moved(back, _SIZE) - xy).max() < 1e-6


def test_the_identity_moves_nothing() -> None:
    xy = _lattice(*_SIZE)
    assert np.abs(_STILL.moved(xy, _SIZE) - xy).max() < 1e-12
    assert np.abs(_STILL.undone(xy, _SIZE) - xy).max() < 1e-12


def test_a_quarter_turn_is_one_in_pixels_although_the_picture_is_wide() -> None:
    lens = PlaneMap.affine(np.array(((0.0, -1), (1, 0))), np.zeros(2))
    middle = (np.array((80, 48)) - 1) / 2
    assert lens.moved(middle + np.array([[10.0, 0]]), _SIZE)[0] == pytest.approx((middle[0], middle[1] + 10))


def test_a_shift_is_a_share_of_the_longer_side() -> None:
    lens = PlaneMap.affine(np.eye(2), 2 * np.array((0.1, 0.0)))
    assert lens.moved(np.array([[5.0, 7.0]]), _SIZE)[0] == pytest.approx((13, 7))


def test_a_map_is_the_same_for_any_number_of_pixels() -> None:
    lens, xy = _drawn(1), _lattice(*_SIZE)
    large = lens.moved(2 * xy + 0.5, (96, 160))
    assert np.abs((large - 0.5) / 2 - lens.moved(xy, _SIZE)).max() < 1e-9


def test_a_bend_has_the_shifts_that_were_drawn_and_the_slopes_that_differences_show() -> None:
    lens = _drawn(4, bend=0.06)
    points = np.random.default_rng(0).uniform(-1.0, 1.0, (50, 2))
    size, step = (2, 2), 1e-6

    # A picture of 2 x 2 pixels has its pixels half a picture unit from the middle.
    def at(places: np.ndarray) -> np.ndarray:
        return lens.moved(places + 0.5, size) - 0.5

    slopes = np.stack(
        [(at(points + step * axis) - at(points - step * axis)) / (2 * step) for axis in np.eye(2)], -1
    )
    area = np.linalg.det(slopes) / np.linalg.det(lens.linear)
    assert area.min() > 0.2
    assert area.min() >= lens.area_factor(81).min() - 0.02


def test_no_drawn_map_folds_although_strong_bends_would() -> None:
    folded = 0
    for seed in range(30):
        random = np.random.default_rng(seed)
        assert MapRanges(bend=0.15).drawn(random).area_factor().min() > 0
        # Whatever was refused was drawn from the same stream: more numbers are gone.
        untroubled = np.random.default_rng(seed)
        MapRanges(bend=0.001).drawn(untroubled)
        folded += random.random() != untroubled.random()
    assert folded > 0


@pytest.mark.parametrize("ranges", [{"bend": 0.5}, {"scale": (2.0, 1.0)}, {"rotation": 200}, {"shift": -1}])
def test_ranges_that_no_map_can_have_are_refused(ranges: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected rotation"):
        MapRanges(**ranges)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["quadruped", "chair"])
def test_a_warped_view_shows_each_surface_point_where_the_map_puts_it(name: str) -> None:
    kind, size = category(name), (72, 96)
    body = Body(topology=topology(name), vertices=kind.vertices(kind.mean_shape(), kind.rest()), key="it")
    camera = drawn_camera(
        body.vertices, np.random.default_rng(0), azimuth=0.7, elevations=(5.0, 30.0), roll=5.0, size=size
    )
    view, lens = View.of(Scene.of([body]), camera), _drawn(2, bend=0.06)
    warped = WarpedView.of(view, lens).view
    shown = warped.shows(0)
    assert shown.sum() > 300
    places = warped.scene.positions(warped.points().take(shown.reshape(-1)))
    plain, depth = camera.project(places)
    assert np.linalg.norm(lens.moved(plain, size) - _lattice(*size)[shown.reshape(-1)], axis=1).max() < 0.06
    assert np.abs(depth / warped.depth[shown] - 1).max() < 1e-5
    rows, columns = np.nonzero(shown)
    kept = (warped.part[rows, columns] < len(body.topology.part_names)).all()
    assert kept
    assert warped.viewpoint.resized((144, 192)).project(places)[0] == pytest.approx(
        2 * warped.viewpoint.project(places)[0] + 0.5, abs=1e-6
    )


def test_a_view_behind_the_identity_is_the_view() -> None:
    kind = category("bottle")
    body = Body(topology=topology("bottle"), vertices=kind.vertices(kind.mean_shape(), kind.rest()), key="it")
    camera = drawn_camera(
        body.vertices, np.random.default_rng(0), azimuth=0.7, elevations=(5.0, 30.0), roll=5.0, size=(64, 64)
    )
    view = View.of(Scene.of([body]), camera)
    warped = WarpedView.of(view, _STILL)
    assert warped.cuts == (None,)
    assert (warped.view.raster.face == view.raster.face).mean() > 0.999
    with pytest.raises(CapabilityError, match="no pinhole intrinsics"):
        warped.view.viewpoint.camera()


def test_cut_triangles_cover_the_old_ones_without_a_gap() -> None:
    faces = np.array(((0, 1, 2), (0, 2, 3)), np.int32)
    values = np.array(((0.0, 0, 0), (1, 0, 0), (1, 2, 0), (0, 2, 0)))
    parts = subdivided(faces, values, too_long=lambda a, b: np.linalg.norm(a - b, axis=1) > 0.3)
    corners = parts.values[parts.faces]
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] / 2
    assert (areas > 0).all()
    assert np.bincount(parts.parent, areas) == pytest.approx([1, 1])
    edges = np.sort(np.stack((parts.faces, np.roll(parts.faces, -1, axis=1)), -1).reshape(-1, 2), axis=1)
    assert np.linalg.norm(parts.values[edges[:, 0]] - parts.values[edges[:, 1]], axis=1).max() <= 0.3
    # An edge of one triangle only lies on the outline, or else there is a gap.
    once, count = np.unique(edges, axis=0, return_counts=True)
    middle = parts.values[once[count == 1]].mean(axis=1)
    assert (np.isclose(middle[:, 0] % 1, 0) | np.isclose(middle[:, 1] % 2, 0)).all()
    read = np.einsum("fij,fjc->fic", parts.corners, values[faces[parts.parent]])
    assert read == pytest.approx(corners)
