"""The picture of a dense result: for each pixel of both photos, its place in the other photo.

Every place of a photo has a colour of its own, so that a field of places can be read at a glance.
Needs no torch.
"""

import numpy as np
from numpy.typing import NDArray

from homolog.cli.figures.layout import CAPTION, Heat, Panel, draw_panels, shorten
from homolog.cli.figures.views import DenseView

CONFIDENCE_COLOURS = "viridis"
"""The colour map of confidence, from 0 to 1."""

PLACE_COLOURS = (
    ((51, 89, 242), (20, 190, 230), (20, 185, 90)),
    ((150, 65, 220), (250, 245, 235), (190, 215, 50)),
    ((220, 40, 115), (242, 100, 60), (250, 190, 50)),
)
"""RGB at the corners, the middles of the sides and the centre of a photo: a circle of hues around white."""

STRIPES = (205, 232)
"""Grey levels of the stripes where there is nothing to show."""

TENTHS = 10
"""Parts of the width and height that thin lines divide."""


def draw_dense(views: tuple[DenseView, DenseView], *, title: str) -> bytes:
    """Draw a row for each photo, as a PNG: the photo, the other one warped onto it, confidence, places, and their key."""
    return draw_panels(
        [_row(views[0], views[1]), _row(views[1], views[0])],
        title=title,
        subtitle="where each pixel of one photo is in the other: first row from the first photo to the second, "
        "second row from the second to the first",
        footer="The same colour is the same place; dark lines divide width and height into tenths; stripes: the pixel "
        "points outside the other photo.",
    )


def _row(view: DenseView, other: DenseView) -> list[Panel]:
    name, other_name = (shorten(each.name, width=200, size=CAPTION) for each in (view, other))
    key = paint_places(other.photo, own_places(*other.photo.shape[:2]))
    confidence = Heat(
        values=view.confidence, colours=CONFIDENCE_COLOURS, low=0.0, high=1.0, label="confidence"
    )
    return [
        Panel(picture=view.photo, caption=name),
        Panel(picture=striped(view.warped, nowhere(view.places)), caption=f"{other_name}, warped onto it"),
        Panel(picture=view.photo, caption="confidence of each pixel", heat=confidence),
        Panel(picture=paint_places(view.photo, view.places), caption=f"where each pixel is in {other_name}"),
        Panel(picture=key, caption=f"key: the places in {other_name}"),
    ]


def place_colours(places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the colour [H W 3], in [0, 1], of places [H W 2] given as fractions of width and height.

    The colour is NaN where the place is.
    """
    knots = np.array(PLACE_COLOURS, dtype=np.float32) / 255
    at = np.clip(places, 0, 1) * 2
    low = np.nan_to_num(np.minimum(np.floor(at), 1)).astype(int)
    x, y = np.moveaxis(at - low.astype(np.float32), -1, 0)[..., None]
    column, row = np.moveaxis(low, -1, 0)
    upper = knots[row, column] * (1 - x) + knots[row, column + 1] * x
    lower = knots[row + 1, column] * (1 - x) + knots[row + 1, column + 1] * x
    return upper * (1 - y) + lower * y


def paint_places(photo: NDArray[np.uint8], places: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Tint a photo with the colours of places, with thin lines at every tenth and stripes where there is no place.

    Args:
        photo: [H W 3]; its brightness stays visible, so that objects can be recognised.
        places: [H W 2], fractions of width and height of the photo that is pointed to; NaN for none.
    """
    light = photo.mean(axis=2, keepdims=True) / 255
    tinted = place_colours(places) * (0.6 + 0.4 * light)
    tinted[_borders(places)] *= 0.4
    return striped(tinted * 255 + 0.5, nowhere(places))


def nowhere(places: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which pixels [H W] have no place."""
    return np.asarray(np.isnan(places).any(axis=2))


def own_places(height: int, width: int) -> NDArray[np.float32]:
    """Return the places of a photo's own pixels: the field of the identity."""
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    return np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32)


def striped(picture: NDArray[np.floating] | NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return a picture [H W 3], values up to 255, with pale stripes where there is nothing to show."""
    rows, columns = np.indices(where.shape)
    stripes = np.where((rows + columns) // 6 % 2, *STRIPES)[..., None]
    return np.where(where[..., None], stripes, np.nan_to_num(picture)).astype(np.uint8)


def _borders(places: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which pixels lie in another tenth than the one to their left or above them."""
    tenth = np.floor(np.clip(places, 0, 1 - 1e-6) * TENTHS)
    found = np.zeros(places.shape[:2], dtype=bool)
    for axis, behind in ((0, np.s_[1:, :]), (1, np.s_[:, 1:])):
        step = np.diff(tenth, axis=axis)
        found[behind] |= (np.nan_to_num(step) != 0).any(axis=2)
    return found
