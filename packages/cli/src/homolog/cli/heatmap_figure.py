"""The picture of similarities: one photo with places on it, and a heat map of the other for each place."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from homolog.cli.board import Bar, Mark, Panel, draw_board
from homolog.cli.dense_presentation import to_bytes
from homolog.cli.page import GAP
from homolog.cli.sheet import printable
from homolog.core.coords import Size
from homolog.core.dense import Transfer
from homolog.core.image import Image, resize

COLOURS = "inferno"

HEIGHT, WIDTH = 560, 2200
"""Pixels: the height of all panels, unless those of a row are wider together."""


def draw_heatmaps(
    images: tuple[Image, Image],
    places: Sequence[tuple[float, float]],
    cosines: Float[Tensor, "N h w"],
    moved: Transfer,
) -> bytes:
    """Draw all places on the first photo, and for each of them how similar the second photo is, as a PNG.

    Args:
        images: as they were read.
        places: N places of the first photo, in pixels of the file.
        cosines: of each place with the cells of a map of the second photo.
        moved: where each was found, in pixels of the file.
    """
    columns = 2 if len(places) in {1, 3} else 3
    sizes = _sizes(images[0].size, images[1].size, columns)
    first, second = resize(images[0], sizes[0]), resize(images[1], sizes[1])
    tints: list[tuple[float, ...]] = [tuple(tint) for tint in mpl.colormaps["tab10"](np.arange(10))]
    starts = first.xy_from_original(torch.tensor(places, dtype=torch.float64)).tolist()
    ends = second.xy_from_original(moved.xy.double()).tolist()
    names = [printable(Path(image.name).name, 24) for image in images]
    panels = [
        Panel(
            picture=to_bytes(first.pixels),
            caption="what was asked for",
            marks=tuple(_mark(start, number, tints) for number, start in enumerate(starts)),
        )
    ]
    for number, (cosine, end, confidence) in enumerate(
        zip(cosines, ends, moved.confidence.tolist(), strict=True)
    ):
        heat, bar = _heat(second, cosine)
        panels.append(
            Panel(
                picture=heat,
                caption=f"{number + 1}: found with confidence {confidence:.2f}",
                bar=bar,
                marks=(_mark(end, number, tints),),
            )
        )
    return draw_board(
        [panels[start : start + columns] for start in range(0, len(panels), columns)],
        title=f"{names[0]} → {names[1]}",
        subtitle="the brighter, the more similar to the asked place; the ring is where the matcher found it",
    )


def _heat(image: Image, cosine: Float[Tensor, "h w"]) -> tuple[NDArray[np.uint8], Bar]:
    """Lay a heat map over a photo without its colours; each place has a scale of its own, up to its best."""
    low, high = float(cosine.median()), float(cosine.max())
    if high - low < 1e-6:
        low, high = low - 0.5, high + 0.5
    whole = F.interpolate(cosine[None, None], size=image.size, mode="bilinear", align_corners=False)[0, 0]
    share = ((whole - low) / (high - low)).clamp(0, 1).numpy()
    gray = image.pixels.mean(dim=0).numpy()[..., None]
    mixed = 0.3 * gray + 0.7 * mpl.colormaps[COLOURS](share)[..., :3]
    return (mixed * 255 + 0.5).astype(np.uint8), Bar(colours=COLOURS, low=low, high=high, label="cosine")


def _mark(xy: Sequence[float], number: int, tints: Sequence[tuple[float, ...]]) -> Mark:
    return Mark(xy=(xy[0], xy[1]), label=str(number + 1), colour=tints[number % len(tints)])


def _sizes(size0: Size, size1: Size, columns: int) -> tuple[Size, Size]:
    aspects = [width / height for height, width in (size0, size1)]
    height = max(1, int(min(HEIGHT, (WIDTH - GAP * (columns - 1)) / (columns * max(aspects)))))
    first, second = ((height, max(1, round(height * aspect))) for aspect in aspects)
    return first, second
