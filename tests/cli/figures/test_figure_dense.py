"""`dense.png`: what a known field looks like, and where."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from homolog.cli.figures.dense import PLACE_COLOURS, own_places, paint_places, place_colours, striped
from homolog.cli.figures.matches import draw_pair
from homolog.cli.figures.prepare import DENSE_HEIGHT, present, present_fields
from homolog.cli.figures.views import DenseView
from homolog.cli.matching import Comparison
from homolog.core.dense import DenseField, Transfer
from homolog.core.image import Image
from homolog.core.keypoints import Matches
from homolog.core.protocols import HasFields
from homolog.evaluators.verification import verify

SIDE = 160  # square photos are shown three times as large
QUARTER = DENSE_HEIGHT // 4


def shifted(x: float, y: float, cells: tuple[int, int]) -> DenseField:
    """A field that points (x, y) of the other image's size to the right and down, more confident to the right."""
    grid = DenseField.identity(cells).grid + 2 * torch.tensor([x, y])[:, None, None]
    sure = (torch.arange(cells[1]) + 0.5) / cells[1]
    return DenseField(grid=grid, confidence=sure.expand(1, *cells).clone())


class Found:
    """A dense correspondence with known fields, and nothing matched."""

    can_transfer = False

    def __init__(self, fields: tuple[DenseField, DenseField]) -> None:
        self.fields = fields

    def matches(self, limit: int | None = None) -> Matches:
        return Matches(xy0=torch.zeros(0, 2), xy1=torch.zeros(0, 2), score=torch.zeros(0))

    def transfer(self, xy0: object) -> Transfer:
        raise AssertionError


@pytest.fixture
def images(photo: np.ndarray) -> tuple[Image, Image]:
    pixels = torch.from_numpy(photo.copy()).permute(2, 0, 1) / 255
    return (
        Image(pixels=pixels[:, :SIDE, :SIDE].contiguous(), name="here/a.png"),
        Image(pixels=pixels[:, -SIDE:, -SIDE:].contiguous(), name="here/b.png"),
    )


@pytest.fixture
def views(images: tuple[Image, Image]) -> tuple[DenseView, DenseView]:
    # Fields of few cells, as networks give them; the second one points the other way.
    return present_fields(images, (shifted(0.25, 0, (12, 16)), shifted(0, -0.25, (7, 9))))


def test_a_shifted_field_shows_the_shifted_photo(views):
    first, second = views
    assert first.photo.shape == second.photo.shape == (DENSE_HEIGHT, DENSE_HEIGHT, 3)
    # The pixel x of the first photo is the pixel x + a quarter of the second one.
    here, there = first.warped[:, :-QUARTER].astype(int), second.photo[:, QUARTER:].astype(int)
    assert np.abs(here - there).max() <= 1
    # And the pixel y of the second photo is the pixel y - a quarter of the first one.
    here, there = second.warped[QUARTER:].astype(int), first.photo[:-QUARTER].astype(int)
    assert np.abs(here - there).max() <= 1


def test_places_are_fractions_of_the_other_photo_and_unknown_outside_of_it(views):
    places = views[0].places
    np.testing.assert_allclose(places[7, 30], (30.5 / DENSE_HEIGHT + 0.25, 7.5 / DENSE_HEIGHT), atol=1e-5)
    assert np.isnan(places[:, -QUARTER:]).all()
    assert not np.isnan(places[:, :-QUARTER]).any()
    assert np.isnan(views[1].places[:QUARTER]).all()
    assert [view.name for view in views] == ["a.png", "b.png"]
    np.testing.assert_allclose(views[0].confidence[5, DENSE_HEIGHT // 2], 0.5, atol=0.005)


def test_the_picture_has_five_panels_for_each_photo(images, figures: list[Figure]):
    found = Found((shifted(0.25, 0, (12, 16)), shifted(0, -0.25, (7, 9))))
    assert isinstance(found, HasFields)
    nothing = found.matches()
    verdict = verify(nothing.xy0.numpy(), nothing.xy1.numpy(), check="none", threshold=1.0)
    comparison = Comparison(
        image0=images[0], image1=images[1], found=found, matches=nothing, verdict=verdict, seconds=0.0
    )
    view = present(comparison, title="a + b")
    assert set(draw_pair(view)) == {"matches.png", "dense.png"}
    panels = [axes for axes in figures[-1].axes if axes.images]
    assert len(panels) == 10
    assert view.dense is not None
    for row, (of_photo, other) in enumerate((view.dense, view.dense[::-1])):
        photo, warped, confidence, places, key = panels[5 * row : 5 * row + 5]
        np.testing.assert_array_equal(photo.images[0].get_array(), of_photo.photo)
        known = ~np.isnan(of_photo.places).any(axis=2)
        shown = np.asarray(warped.images[0].get_array())
        np.testing.assert_array_equal(shown[known], of_photo.warped[known])
        assert len(np.unique(shown[~known])) == 2  # stripes
        np.testing.assert_array_equal(confidence.images[-1].get_array(), of_photo.confidence)
        np.testing.assert_array_equal(
            places.images[0].get_array(), paint_places(of_photo.photo, of_photo.places)
        )
        own = own_places(DENSE_HEIGHT, DENSE_HEIGHT)
        np.testing.assert_array_equal(key.images[0].get_array(), paint_places(other.photo, own))


def test_a_place_has_one_colour_and_corners_have_theirs():
    places = np.array([[[0, 0], [1, 0]], [[0, 1], [1, 1]]], dtype=np.float32)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        np.testing.assert_allclose(
            place_colours(places)[row, column] * 255, PLACE_COLOURS[2 * row][2 * column], atol=1e-3
        )
    middle = np.array([[[0.5, 0.5], [0.75, 0.5]]], dtype=np.float32)
    between = (np.array(PLACE_COLOURS[1][1]) + PLACE_COLOURS[1][2]) / 2
    np.testing.assert_allclose(
        place_colours(middle)[0] * 255, np.stack((PLACE_COLOURS[1][1], between)), atol=1e-3
    )
    # No two of 900 places share a colour, so that a colour can be looked up.
    every = place_colours(own_places(30, 30)).reshape(-1, 3)
    apart = np.linalg.norm(every[:, None] - every, axis=2) + np.eye(len(every))
    assert apart.min() > 0.01


def test_thin_lines_lie_at_every_tenth():
    white = np.full((100, 200, 3), 255, dtype=np.uint8)
    painted = paint_places(white, own_places(100, 200)).sum(axis=2)
    dark = painted < 0.6 * 255 * place_colours(own_places(100, 200)).sum(axis=2)
    assert np.flatnonzero(dark.all(axis=0)).tolist() == list(range(20, 200, 20))
    assert np.flatnonzero(dark.all(axis=1)).tolist() == list(range(10, 100, 10))
    assert dark.sum() == 9 * 100 + 9 * 200 - 81


def test_missing_pixels_are_striped_and_others_stay():
    black = np.zeros((20, 20, 3), dtype=np.uint8)
    where = np.zeros((20, 20), dtype=bool)
    where[:, 10:] = True
    picture = striped(black, where)
    assert (picture[:, :10] == 0).all()
    assert len(np.unique(picture[:, 10:])) == 2


def test_a_dense_matcher_writes_it_and_another_one_removes_it(homolog, photos: Path):
    pair = (photos / "a.png", photos / "b.png", "--device", "cpu")
    assert homolog("match", *pair, "matcher=mini_dense", "resize=96").code == 0
    folder = Path("homolog-results/a__b")
    assert {"matches.npz", "matches.png", "transfer.png", "dense.png"} == {
        file.name for file in folder.iterdir()
    }
    assert homolog("match", *pair, "matcher=xfeat", "resize=96").code == 0
    assert not (folder / "dense.png").exists()
    assert (folder / "transfer.png").exists()
