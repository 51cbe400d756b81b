"""The modelling kit: sheets, lofts, covers and wires are where they say, closed and right side out."""

import numpy as np
import pytest

from homolog.core.errors import ShapeError
from homolog.synthetic.categories.bicycle import wire
from homolog.synthetic.modelling.panels import cover, loft, mirrored, sheet
from homolog.synthetic.modelling.solids import Solid, box, tube


def _volume(solid: Solid) -> float:
    a, b, c = np.moveaxis(solid.vertices[solid.faces()], 1, 0)
    return float(np.einsum("nc,nc->", a, np.cross(b, c))) / 6


def test_a_sheet_is_closed_and_its_places_are_where_it_says() -> None:
    y, z = np.meshgrid(np.linspace(0, 2, 5), np.linspace(-1, 1, 4), indexing="ij")
    front = np.stack((np.full_like(y, 0.1), y, z), axis=-1)
    made = sheet("pane", "glass", front, front * (0, 1, 1))
    for row in range(5):
        for column in range(4):
            assert made.vertices[
                made.vertex(row / 4 if 0 < row < 4 else abs(row / 4 - 1e-3), column / 8)
            ] == (pytest.approx(front[row, column]))
    assert made.vertices[made.vertex(0, 0)] == pytest.approx((0.05, 0, 0))
    # 0.1 thick, 2 high, 2 wide.
    assert _volume(made) == pytest.approx(0.4)


def test_a_loft_of_squares_is_a_box() -> None:
    square = np.array(((0, 1, 1), (0, 1, -1), (0, -1, -1), (0, -1, 1)), np.float64)
    made = loft("crate", "wood", np.stack((square, square + np.array((3.0, 0, 0)))))
    a, b, c = np.moveaxis(made.vertices[made.faces()], 1, 0)
    assert _volume(made) == pytest.approx(12.0)
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2 == pytest.approx(2 * 4 + 4 * 6)
    other = mirrored(made.replaced(made.vertices + np.array((0, 0, 5.0))), "other crate")
    assert (other.name, other.finish) == ("other crate", "wood")
    assert other.vertices[:, 2].max() == -4
    assert _volume(other) == pytest.approx(12.0)


def _pipe() -> Solid:
    return tube(
        "pipe", "metal", [(0, 0, 0), (2, 0, 0), (4, 0, 0)], [1.0] * 3, rings=21, segments=64, bulge=(0.0, 0.0)
    )


def test_a_cover_follows_a_tube_at_its_height() -> None:
    pipe = _pipe()
    along, around = np.meshgrid(np.linspace(0.3, 0.7, 5), np.linspace(-0.1, 0.1, 7), indexing="ij")
    for part in (pipe, pipe.replaced(pipe.vertices * (1, 1, -1)), pipe.replaced(pipe.vertices * (-1, 1, 1))):
        pane = cover("pane", "glass", part, along, around, proud=0.05, sunk=0.1)
        rings = pane.vertices[:-2].reshape(5, 14, 3)
        radius = np.hypot(rings[..., 1], rings[..., 2])
        # A polygon of 64 sides is up to 0.0012 inside of its circle.
        assert radius[:, :7] == pytest.approx(np.full((5, 7), 1.05), abs=2e-3)
        assert radius[:, 7:] == pytest.approx(np.full((5, 7), 0.90), abs=2e-3)
        assert rings[:, 3, 1] == pytest.approx(np.full(5, 1.05), abs=2e-3)
        assert np.abs(rings[:, 3, 2]).max() < 1e-12
    hill = cover("hill", "glass", pipe, along, around, proud=np.abs(around))
    assert np.hypot(*hill.vertices[:7, 1:].T) == pytest.approx(1 + np.abs(around[0]), abs=2e-3)
    with pytest.raises(ShapeError, match="expected a tube to lie on, got a slab: crate"):
        cover("pane", "glass", box("crate", "wood", (0, 0, 0), (1, 1, 1)), along, around, proud=0.1)


def test_a_wire_keeps_its_thickness_and_does_not_twist() -> None:
    # Right, forwards, down, back: no direction is one that this path never comes near.
    path = [(0, 0, 0), (0, 0, 1), (1, 0, 1.4), (1.1, -1, 1.4), (0, -1.5, 1.4)]
    made = wire("bar", "metal", path, 0.1, start=(1.0, 0.0, 0.0), rings=41, segments=8)
    rings = made.vertices[:-2].reshape(41, 8, 3)
    centres = rings.mean(axis=1)
    spokes = rings - centres[:, None]
    assert np.linalg.norm(spokes, axis=2) == pytest.approx(0.1)
    assert centres[::10] == pytest.approx(np.array(path, float))
    assert spokes[0, 0] == pytest.approx((0.1, 0, 0))
    # A circle turns with the path and no farther: each spoke as far as the tangent does, at most.
    ahead = np.cross(spokes[:, 0], spokes[:, 2])
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    bend = np.linalg.norm(np.diff(ahead, axis=0), axis=1)
    assert (np.linalg.norm(np.diff(spokes, axis=0), axis=2).max(axis=1) / 0.1 <= 1.02 * bend + 1e-9).all()


def test_a_wire_on_a_straight_path_is_a_prism() -> None:
    made = wire("bar", "metal", [(0, 0, 0), (0, 0, 3.0)], 0.5, start=(0.0, 1.0, 0.0), rings=4, segments=4)
    assert made.vertices[made.vertex(1 / 3, 0.0)] == pytest.approx((0, 0.5, 1))
    assert _volume(made) == pytest.approx(0.5 * 3)
