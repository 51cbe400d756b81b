"""A colour for every place of a photo, so that a field of places can be seen at a glance."""

import numpy as np
from numpy.typing import NDArray

CORNERS = (
    ((51, 89, 242), (20, 190, 230), (20, 185, 90)),
    ((150, 65, 220), (250, 245, 235), (190, 215, 50)),
    ((220, 40, 115), (242, 100, 60), (250, 190, 50)),
)
"""RGB at the corners, the middles of the sides and the centre; around the centre goes a circle of hues."""

TENTHS = 10
"""Parts of the width and height that thin lines divide."""


def place_colours(places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the colour [H W 3], in [0, 1], of places [H W 2] given as shares of width and height.

    Where a place is NaN, the colour is too.
    """
    knots = np.array(CORNERS, dtype=np.float32) / 255
    at = np.clip(places, 0, 1) * 2
    low = np.nan_to_num(np.minimum(np.floor(at), 1)).astype(int)
    x, y = np.moveaxis(at - low.astype(np.float32), -1, 0)[..., None]
    column, row = np.moveaxis(low, -1, 0)
    upper = knots[row, column] * (1 - x) + knots[row, column + 1] * x
    lower = knots[row + 1, column] * (1 - x) + knots[row + 1, column + 1] * x
    return upper * (1 - y) + lower * y


def paint_places(photo: NDArray[np.uint8], places: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Tint a photo with the colours of places, thin lines at every tenth; stripes where there is none.

    Args:
        photo: [H W 3]; its brightness stays visible, so that things can be recognised.
        places: [H W 2], shares of width and height of the photo that is pointed to; NaN for none.
    """
    light = photo.mean(axis=2, keepdims=True) / 255
    tinted = place_colours(places) * (0.6 + 0.4 * light)
    tinted[_borders(places)] *= 0.4
    return striped(tinted * 255 + 0.5, nowhere(places))


def nowhere(places: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which pixels [H W] have no place."""
    return np.asarray(np.isnan(places).any(axis=2))


def own_places(height: int, width: int) -> NDArray[np.float32]:
    """Return the places of a photo's own pixels: what the identity field says."""
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    return np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32)


def striped(picture: NDArray[np.floating] | NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return a picture [H W 3], values up to 255, with pale stripes where there is nothing to show."""
    rows, columns = np.indices(where.shape)
    stripes = np.where((rows + columns) // 6 % 2, 205, 232)[..., None]
    return np.where(where[..., None], stripes, np.nan_to_num(picture)).astype(np.uint8)


def _borders(places: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which pixels lie in another tenth than the one to their left or above them."""
    tenth = np.floor(np.clip(places, 0, 1 - 1e-6) * TENTHS)
    found = np.zeros(places.shape[:2], dtype=bool)
    for axis, behind in ((0, np.s_[1:, :]), (1, np.s_[:, 1:])):
        step = np.diff(tenth, axis=axis)
        found[behind] |= (np.nan_to_num(step) != 0).any(axis=2)
    return found
