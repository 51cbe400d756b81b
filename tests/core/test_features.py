"""Named feature maps: selection, views, and reading them at image coordinates."""

import pytest
import torch

from homolog.core.coords import pixel_grid, resize_pixel
from homolog.core.errors import ShapeError
from homolog.core.features import Features


def _features(batch: int = 1, views: int = 1) -> Features:
    generator = torch.Generator().manual_seed(0)
    return Features(
        maps={
            "fine": torch.rand(batch, views, 4, 16, 20, generator=generator),
            "coarse": torch.rand(batch, views, 7, 4, 5, generator=generator),
        },
        image_size=(32, 40),
    )


def test_maps_of_different_channels_and_sizes_live_together() -> None:
    features = _features()
    assert features["fine"].shape == (1, 1, 4, 16, 20)
    assert features["coarse"].shape == (1, 1, 7, 4, 5)


def test_the_error_for_a_mistyped_map_suggests_the_right_one() -> None:
    with pytest.raises(ShapeError, match=r"no feature map named fime; did you mean fine\?"):
        _features()["fime"]


def test_select_keeps_the_named_maps_in_the_given_order() -> None:
    assert list(_features().select(["coarse", "fine"]).maps) == ["coarse", "fine"]
    assert list(_features().select(["fine"]).maps) == ["fine"]


def test_a_view_is_features_of_one_view() -> None:
    features = _features(batch=2, views=3)
    view = features.view(2)
    assert view["fine"].shape == (2, 1, 4, 16, 20)
    assert torch.equal(view["fine"][:, 0], features["fine"][:, 2])


def test_reading_at_the_centre_of_a_cell_gives_the_cell_at_any_resolution() -> None:
    features = _features()
    for name, size in (("fine", (16, 20)), ("coarse", (4, 5))):
        centres = resize_pixel(pixel_grid(size), size, features.image_size)  # in image pixels
        expected = features[name][0, 0].flatten(1).T
        assert torch.allclose(features.at(name, centres), expected, atol=1e-5)
        assert torch.allclose(features.at(name, centres, mode="nearest"), expected)


def test_reading_several_images_at_once_is_an_error() -> None:
    with pytest.raises(
        ShapeError, match=r"expected features of one image, got B, V = \[1, 2\]; use view\(\) first"
    ):
        _features(views=2).at("fine", torch.zeros(1, 2))


def test_to_changes_the_dtype_of_every_map() -> None:
    moved = _features().to("cpu", torch.bfloat16)
    assert {map_.dtype for map_ in moved.maps.values()} == {torch.bfloat16}
    assert moved.image_size == (32, 40)


def test_no_maps_are_an_error() -> None:
    with pytest.raises(ShapeError, match="expected at least one feature map, got none"):
        Features(maps={}, image_size=(4, 4))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(1, 4, 16, 20), (2, 1, 4, 16, 20), (1, 2, 4, 16, 20)])
def test_maps_that_do_not_fit_together_are_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"feature map b: expected \[B V C h w\] with B, V = \[1, 1\]"):
        Features(maps={"a": torch.zeros(1, 1, 4, 4, 4), "b": torch.zeros(shape)}, image_size=(4, 4))
