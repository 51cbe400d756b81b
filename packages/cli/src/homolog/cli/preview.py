"""A contact sheet of samples: what they show, and what the truth says of them."""

import colorsys
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from homolog.cli.board import Panel, draw_board
from homolog.cli.dense_presentation import to_bytes
from homolog.cli.overlay import Canvas
from homolog.core.coords import normalised_to_pixel
from homolog.core.image import Image, fit
from homolog.core.samples import PairSample, VideoSample
from homolog.core.sampling import warp_maps

SIDE = 320
"""Pixels: the longer side of an image as it is shown, at most and, enlarged, at least."""

POINTS, TRACKS, FRAMES = 14, 28, 4
"""Points of a pair without keypoints, tracks of a video, and its frames that are shown."""

TRAIL = 6
"""Frames over which a track shows where it came from."""

PALE = 0.75
"""How much of a pixel is washed out where the truth is unknown."""

Colour = tuple[int, int, int]


def draw_preview(samples: Sequence[PairSample | VideoSample], *, title: str, subtitle: str) -> bytes:
    """Draw samples below one another, as a PNG.

    Of a pair: both images with the same points, and image 1 brought onto image 0 by the truth; where
    nothing is known image 0 shows, washed out. Of a video: some frames with tracks, as rings where a point
    is in sight, and a trail of where it was.

    Args:
        samples: what is shown.
        title: first line of the header.
        subtitle: second line of the header.
    """
    rows = [
        [
            Panel(
                picture=_pair(sample) if isinstance(sample, PairSample) else _video(sample),
                caption=_caption(sample),
            )
        ]
        for sample in samples
    ]
    return draw_board(rows, title=title, subtitle=subtitle)


def _caption(sample: PairSample | VideoSample) -> str:
    if isinstance(sample, VideoSample):
        return f"{sample.name}: {len(sample.tracks)} tracks over {len(sample.frames)} frames"
    short = {name: value for name, value in sample.facts.items() if len(value) < 24 and name.isalpha()}
    facts = ", ".join(f"{name} {value}" for name, value in short.items())
    known = (
        "" if sample.dense0 is None else f"; {float(sample.dense0.confidence.mean()):.0%} of image 0 known"
    )
    return f"{sample.name}{known}{'; ' if facts else ''}{facts}"


def _pair(sample: PairSample) -> NDArray[np.uint8]:
    pictures = [_shown(sample.image0), _shown(sample.image1)]
    if sample.dense0 is not None:
        pictures.append(_warp(sample))
    canvas = Canvas(pictures)
    scales = [
        len(picture) / image.size[0]
        for picture, image in zip(pictures, (sample.image0, sample.image1), strict=False)
    ]
    xy0, xy1 = _points(sample)
    colours = _colours(len(xy0))
    for side, xy in enumerate((xy0, xy1)):
        canvas.dots(canvas.place((xy + 0.5) * scales[side] - 0.5, side), colours)
    return np.asarray(canvas.done())


def _shown(image: Image) -> NDArray[np.uint8]:
    return to_bytes(fit(image, longer_side=SIDE, enlarge=True).pixels)


def _warp(sample: PairSample) -> NDArray[np.uint8]:
    field = sample.dense0
    assert field is not None
    known = field.confidence[0] > 0.5
    place = field.grid.nan_to_num(nan=-2.0)
    warped = warp_maps(sample.image1.pixels[None], place)[0]
    here = (
        fit(sample.image0, longer_side=max(field.size)).pixels
        if field.size != sample.image0.size
        else sample.image0.pixels
    )
    gray = here.mean(dim=0, keepdim=True) * (1 - PALE) + PALE
    return _shown(Image(pixels=torch.where(known, warped, gray.expand_as(warped)).clamp(0, 1)))


def _points(sample: PairSample) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return keypoints that are in sight in both images; without any, places whose truth is known."""
    if sample.xy0 is not None and sample.xy1 is not None:
        seen = slice(None) if sample.visible is None else sample.visible
        return sample.xy0[seen].double().numpy(), sample.xy1[seen].double().numpy()
    if sample.dense0 is None or sample.dense0.size != sample.image0.size:
        return np.empty((0, 2)), np.empty((0, 2))
    known = (sample.dense0.confidence[0] > 0.5).nonzero()
    count = min(POINTS, len(known))
    chosen = known[((torch.arange(count) + 0.5) * len(known) / max(count, 1)).long()]
    y, x = chosen.T
    place = normalised_to_pixel(sample.dense0.grid[0, :, y, x].T.double(), sample.image1.size)
    return torch.stack((x, y), dim=1).double().numpy(), place.numpy()


def _video(sample: VideoSample) -> NDArray[np.uint8]:
    count = len(sample.frames)
    chosen = sorted({int(frame) for frame in np.linspace(0, count - 1, FRAMES).round()})
    pictures = [_shown(sample.frames[frame]) for frame in chosen]
    canvas = Canvas(pictures)
    scale = len(pictures[0]) / sample.frames[0].size[0]
    rows = np.linspace(0, len(sample.tracks) - 1, min(TRACKS, len(sample.tracks))).round().astype(int)
    xy = (sample.tracks.xy.double().numpy()[rows] + 0.5) * scale - 0.5
    visible = sample.tracks.visible.numpy()[rows]
    colours = _colours(len(rows))
    for panel, frame in enumerate(chosen):
        seen = np.flatnonzero(visible[:, frame])
        tints = [colours[row] for row in seen]
        for before in range(max(0, frame - TRAIL), frame):
            both = [row for row in seen if visible[row, before] and visible[row, before + 1]]
            begin, end = (canvas.place(xy[both, at], panel) for at in (before, before + 1))
            canvas.lines(begin, end, [colours[row] for row in both], width=3)
        canvas.rings(canvas.place(xy[seen, frame], panel), tints, radius=6)
    return np.asarray(canvas.done())


def _colours(count: int) -> list[Colour]:
    """Return colours that are easy to tell apart: hues a golden angle away from one another."""
    hues = [(0.05 + 0.381966 * number) % 1 for number in range(count)]
    tints = [colorsys.hsv_to_rgb(hue, 0.85, 1.0) for hue in hues]
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in tints]
