"""Features as colours, and heat maps of similarity."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from homolog.cli.figures.features import draw_features, draw_heatmaps, principal_colours
from homolog.cli.figures.prepare import present_places
from homolog.core.dense import Transfer
from homolog.core.image import Image


def stretched(values: np.ndarray) -> np.ndarray:
    low, high = np.quantile(values, (0.01, 0.99), axis=1, method="nearest")[..., None]
    return np.clip((values - low) / (high - low), 0, 1)


def test_colours_are_the_principal_components_of_all_maps_together():
    random = np.random.default_rng(0)
    mixing = random.normal(size=(6, 6)) * np.array([5.0, 3, 2, 0.5, 0.3, 0.1])
    maps = [np.einsum("cd,dhw->chw", mixing, random.normal(size=(6, *size))) for size in ((8, 9), (12, 5))]
    found = principal_colours(maps)
    cells = np.concatenate([map_.reshape(6, -1) for map_ in maps], axis=1)
    centred = cells - cells.mean(axis=1, keepdims=True)
    directions, lengths, _ = np.linalg.svd(centred, full_matrices=False)
    for component in range(3):
        direction = directions[:, component]
        direction = direction * np.sign(direction[np.abs(direction).argmax()])
        expected = stretched((direction @ centred)[None])[0]
        colour = np.concatenate([map_[..., component].ravel() for map_ in found.maps])
        np.testing.assert_allclose(colour, expected, atol=1e-5)
    assert found.explained == pytest.approx((lengths[:3] ** 2).sum() / (lengths**2).sum())
    assert [map_.shape for map_ in found.maps] == [(8, 9, 3), (12, 5, 3)]


def test_the_sign_follows_the_largest_entry_whatever_the_solver_returns():
    # The first channel varies most, and alone: red rises with it; negated, it falls.
    ramp = np.linspace(-1, 1, 100).reshape(1, 10, 10)
    rest = np.zeros((3, 10, 10))
    red = principal_colours([np.concatenate((ramp, rest))]).maps[0][..., 0].ravel()
    assert (np.diff(red) >= 0).all()
    opposite = principal_colours([np.concatenate((-ramp, 0.5 * ramp, rest))]).maps[0][..., 0].ravel()
    assert (np.diff(opposite) <= 0).all()


def test_a_constant_component_stays_in_the_middle_and_one_channel_is_grey():
    random = np.random.default_rng(1)
    assert (principal_colours([np.full((5, 4, 4), 2.5)]).maps[0] == 0.5).all()
    (grey,) = principal_colours([random.normal(size=(1, 6, 6))]).maps
    assert (grey == grey[..., :1]).all()
    (two,) = principal_colours([random.normal(size=(2, 6, 6))]).maps
    assert (two[..., 2] == 0.5).all()
    assert two[..., 1].std() > 0.1


@pytest.mark.parametrize(("count", "columns"), [(1, 2), (2, 2), (3, 4)])
def test_every_photo_stands_beside_its_features(figures: list[Figure], count: int, columns: int):
    photos = [np.full((30, 40, 3), 50 * number, dtype=np.uint8) for number in range(count)]
    colours = [np.full((3, 4, 3), number / 10) for number in range(count)]
    draw_features(
        photos, colours, names=[f"{number}.jpg" for number in range(count)], title="t", subtitle="s"
    )
    axes = figures[0].axes
    assert len(axes) == 2 * count
    for number in range(count):
        photo, cells = axes[2 * number : 2 * number + 2]
        np.testing.assert_array_equal(photo.images[0].get_array(), photos[number])
        assert np.asarray(cells.images[0].get_array()).shape == (3, 4, 3)
        assert (photo.bbox.y0, *photo.bbox.size) == (cells.bbox.y0, *cells.bbox.size)
    assert len({round(each.bbox.x0) for each in axes}) == columns


def test_heat_and_rings_lie_where_the_places_are(figures: list[Figure]):
    black = Image(pixels=torch.zeros(3, 200, 200), name="here/a_$b$.png")
    similarity = torch.zeros(2, 10, 10)
    similarity[0, 7, 2] = 0.8
    found = Transfer(torch.tensor([[180.0, 20.0], [5.0, 5.0]]), torch.tensor([0.5, 0.25]))
    view = present_places((black, black), [(30.0, 40.0), (0.0, 0.0)], found, similarity)
    draw_heatmaps(view)
    first, *maps = [axes for axes in figures[0].axes if axes.images]
    scale = view.photos[0].shape[0] / 200
    expected = (np.array([[30.0, 40.0], [0.0, 0.0]]) + 0.5) * scale - 0.5
    for rings in first.collections:
        np.testing.assert_allclose(np.asarray(rings.get_offsets()), expected, atol=1e-3)
    for number, (axes, xy) in enumerate(zip(maps, found.xy.numpy(), strict=True)):
        np.testing.assert_array_equal(axes.images[1].get_array(), similarity[number].numpy())
        ring = np.asarray(axes.collections[0].get_offsets())[0]
        np.testing.assert_allclose(ring, (xy + 0.5) * scale - 0.5, atol=1e-3)
        assert [text.get_text() for text in axes.texts] == [str(number + 1)]
    texts = [text.get_text() for text in figures[0].texts]
    assert "a_$b$.png → a_$b$.png" in texts
    assert "1: found with confidence 0.50" in texts
