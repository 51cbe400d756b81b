"""Small pictures of single samples for reports: what was asked, what was right, what came out.

Drawn at twice the size with Pillow and scaled down, which smooths lines and keeps files small.
Green is right, red is wrong, white is asked.
"""

from collections.abc import Sequence

import numpy as np
import PIL.Image
import PIL.ImageDraw
from numpy.typing import NDArray

HEIGHT, WIDTH, GAP, FINE = 320, 1000, 6, 2
"""Pixels: of both photos, of the page at most, between photos; and how much larger it is drawn."""

RIGHT, WRONG, ASKED, DARK = (46, 224, 113), (255, 70, 50), (255, 255, 255), (20, 20, 20)

Photo = NDArray[np.uint8]
Points = NDArray[np.float64]


class Canvas:
    """Photos in a row, and drawing in the pixel coordinates of each."""

    def __init__(self, photos: Sequence[Photo]) -> None:
        """Put photos [H W 3] side by side, at one height."""
        aspects = [photo.shape[1] / photo.shape[0] for photo in photos]
        height = int(min(HEIGHT, (WIDTH - GAP * (len(photos) - 1)) / sum(aspects)))
        self._sizes = [(max(1, round(height * aspect)), height) for aspect in aspects]
        self._left = [
            sum(width + GAP for width, _ in self._sizes[:index]) for index in range(len(self._sizes))
        ]
        self._scale = [
            (width / photo.shape[1], height / photo.shape[0])
            for (width, _), photo in zip(self._sizes, photos, strict=True)
        ]
        total = self._left[-1] + self._sizes[-1][0]
        self._page = PIL.Image.new("RGB", (total * FINE, height * FINE), "white")
        for photo, left, (width, _) in zip(photos, self._left, self._sizes, strict=True):
            shown = PIL.Image.fromarray(photo).resize(
                (width * FINE, height * FINE), PIL.Image.Resampling.BILINEAR
            )
            self._page.paste(shown, (left * FINE, 0))
        self._draw = PIL.ImageDraw.Draw(self._page)

    def place(self, xy: Points, side: int) -> Points:
        """Move points from pixels of a photo to those of the page."""
        across, down = self._scale[side]
        centre = (xy + 0.5) * np.array([across, down])
        return (centre + np.array([self._left[side], 0.0])) * FINE

    def lines(
        self, begin: Points, end: Points, colours: Sequence[tuple[int, int, int]], width: int = 4
    ) -> None:
        """Draw lines between places on the page."""
        for first, last, colour in zip(begin, end, colours, strict=True):
            if np.isfinite((first, last)).all():
                self._draw.line([*first, *last], fill=DARK, width=width + 2)
                self._draw.line([*first, *last], fill=colour, width=width)

    def rings(self, at: Points, colours: Sequence[tuple[int, int, int]], radius: int = 9) -> None:
        """Draw rings around places on the page."""
        for (x, y), colour in zip(at, colours, strict=True):
            if np.isfinite((x, y)).all():
                for grown, tint, width in ((2, DARK, 7), (0, colour, 4)):
                    size = radius + grown
                    self._draw.ellipse([x - size, y - size, x + size, y + size], outline=tint, width=width)

    def dots(self, at: Points, colours: Sequence[tuple[int, int, int]], radius: int = 7) -> None:
        """Draw filled dots at places on the page."""
        for (x, y), colour in zip(at, colours, strict=True):
            if np.isfinite((x, y)).all():
                box = [x - radius, y - radius, x + radius, y + radius]
                self._draw.ellipse(box, fill=colour, outline=DARK, width=2)

    def done(self) -> PIL.Image.Image:
        """Return the page at its size."""
        width, height = self._page.size
        return self._page.resize((width // FINE, height // FINE), PIL.Image.Resampling.LANCZOS)


def draw_points(
    photos: tuple[Photo, Photo], xy0: Points, truth: Points, predicted: Points, right: NDArray[np.bool_]
) -> PIL.Image.Image:
    """Draw asked points, and in the second photo a line from the truth (ring) to the prediction (dot)."""
    canvas = Canvas(photos)
    colours = [RIGHT if each else WRONG for each in right]
    canvas.rings(canvas.place(xy0, 0), [ASKED] * len(xy0))
    here, there = canvas.place(truth, 1), canvas.place(predicted, 1)
    canvas.lines(here, there, colours)
    canvas.rings(here, [ASKED] * len(here))
    canvas.dots(there, colours)
    return canvas.done()


def draw_lines(
    photos: tuple[Photo, Photo], xy0: Points, xy1: Points, right: NDArray[np.bool_] | None
) -> PIL.Image.Image:
    """Draw matches as lines across; wrong ones on top, because they are what one looks for."""
    canvas = Canvas(photos)
    begin, end = canvas.place(xy0, 0), canvas.place(xy1, 1)
    order = np.arange(len(xy0)) if right is None else np.argsort(~right, kind="stable")
    colours = [ASKED if right is None else RIGHT if right[index] else WRONG for index in order]
    canvas.lines(begin[order], end[order], colours, width=2)
    return canvas.done()


def draw_tracks(
    frames: Sequence[Photo],
    truth: Points,
    predicted: Points,
    visible: NDArray[np.bool_],
    right: NDArray[np.bool_],
) -> PIL.Image.Image:
    """Draw tracks on chosen frames: truth as rings, predictions as dots, where the point is visible.

    Args:
        frames: F of them.
        truth: [N F 2].
        predicted: [N F 2].
        visible: [N F].
        right: [N F].
    """
    canvas = Canvas(frames)
    for index in range(len(frames)):
        seen = visible[:, index]
        colours = [RIGHT if each else WRONG for each in right[seen, index]]
        here = canvas.place(truth[seen, index], index)
        there = canvas.place(predicted[seen, index], index)
        canvas.lines(here, there, colours)
        canvas.rings(here, [ASKED] * len(here), radius=6)
        canvas.dots(there, colours, radius=4)
    return canvas.done()
