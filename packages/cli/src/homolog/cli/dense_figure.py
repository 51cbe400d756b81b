"""The picture of a dense result: what both fields say of every pixel.

Needs no torch, so that a process that only draws is light.
"""

import matplotlib as mpl
import numpy as np

from homolog.cli.board import Bar, Panel, draw_board
from homolog.cli.page import DenseView
from homolog.cli.place_colours import nowhere, own_places, paint_places, striped
from homolog.cli.sheet import printable

CONFIDENCE = Bar(colours="viridis", low=0.0, high=1.0, label="confidence")


def draw_dense(views: tuple[DenseView, DenseView], *, title: str) -> bytes:
    """Draw a row for each photo: itself, the other one warped onto it, confidence, places, and their key."""
    return draw_board(
        [_row(views[0], views[1]), _row(views[1], views[0])],
        title=title,
        subtitle="for every pixel of one photo, its place in the other: first row from the first photo to the second, "
        "second row back",
        footer="the same colour is the same place, dark lines lie at every tenth of width and height; striped: points "
        "outside the other photo",
    )


def _row(view: DenseView, other: DenseView) -> list[Panel]:
    here, there = printable(view.name, 20), printable(other.name, 20)
    sure = mpl.colormaps[CONFIDENCE.colours](view.confidence)[..., :3]
    key = paint_places(other.photo, own_places(*other.photo.shape[:2]))
    return [
        Panel(picture=view.photo, caption=here),
        Panel(picture=striped(view.warped, nowhere(view.places)), caption=f"{there}, warped onto it"),
        Panel(picture=(sure * 255 + 0.5).astype(np.uint8), caption="how sure each pixel is", bar=CONFIDENCE),
        Panel(
            picture=paint_places(view.photo, view.places),
            caption=f"where each pixel is in {there}",
        ),
        Panel(picture=key, caption=f"key: the places in {there}"),
    ]
