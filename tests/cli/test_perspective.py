"""The view with known truth."""

import torch

from homolog.cli.perspective import perspective_view
from homolog.core.coords import pixel_grid
from homolog.core.image import Image


def test_a_dot_of_the_photo_appears_where_the_truth_says():
    dark = torch.zeros(3, 120, 180)
    for x, y in ((90, 60), (60, 70), (120, 50)):
        pixels = dark.clone()
        pixels[:, y - 1 : y + 2, x - 1 : x + 2] = 1
        view = perspective_view(Image(pixels=pixels), name="view")
        weight = view.image.pixels[0].flatten()
        seen = (pixel_grid((120, 180)) * weight[:, None]).sum(dim=0) / weight.sum()
        torch.testing.assert_close(
            seen, view.truth(torch.tensor([[float(x), float(y)]]))[0], atol=0.1, rtol=0
        )


def test_the_view_of_a_photo_of_3_to_2_has_no_border():
    view = perspective_view(Image(pixels=torch.ones(3, 300, 451)), name="view")
    assert view.image.size == (300, 451)
    assert float(view.image.pixels.min()) > 0.99


def test_what_is_visible_lies_in_the_view():
    view = perspective_view(Image(pixels=torch.ones(3, 100, 150)), name="view")
    places = pixel_grid((100, 150))
    visible = view.visible(places)
    assert 0.3 < visible.float().mean() < 0.9
    truth = view.truth(places[visible])
    assert bool(((truth > -0.6) & (truth < torch.tensor([149.6, 99.6]))).all())
