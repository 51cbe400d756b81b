"""Pictures of samples: a preview of generated ones, and examples of an evaluation's best and worst ones."""

import colorsys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from homolog.cli.figures.layout import (
    DPI,
    Panel,
    draw_dots,
    draw_lines,
    draw_panels,
    draw_rings,
    encoded,
    show_photos,
)
from homolog.cli.figures.prepare import to_bytes
from homolog.cli.figures.views import GAP, equal_heights
from homolog.core.atomic import write_bytes
from homolog.core.camera import Camera, RelativePose, epipolar_distance, fundamental
from homolog.core.coords import normalised_to_pixel, resize_pixel
from homolog.core.image import Image, fit, resize
from homolog.core.samples import PairSample, VideoSample
from homolog.core.sampling import warp_maps
from homolog.evaluators.benchmark import Benchmark
from homolog.evaluators.records import Record, Scored

RIGHT, WRONG, TRUTH = "#2ee071", "#ff4632", "white"
"""Colours of examples: right predictions, wrong ones, and the query points and their true places."""

SIDE = 320
"""Pixels: the longer side of an image of a preview."""

PREVIEW_POINTS, PREVIEW_TRACKS, FRAMES = 14, 28, 4
"""Points of a pair without keypoints, tracks of a video, and frames of a video that are shown."""

TRAIL = 6
"""Frames over which a track shows where it came from."""

PALE = 0.75
"""How much white is mixed into pixels whose truth is unknown, in [0, 1]."""

EXAMPLES = 4
"""Best samples that are drawn, and as many worst ones."""

HEIGHT, WIDTH = 320, 1000
"""Pixels: the height of an example, unless its photos are wider together."""

POINTS, LINES, TRACKS = 40, 80, 24
"""How many are drawn on an example at most."""

POINT_TOLERANCE = 0.05
"""Of the object's or else the image's longer side: a predicted point nearer than this is drawn as right."""

MATCH_TOLERANCE = 0.003
"""Of the longer side: a match nearer than this to its true line or place is drawn as right."""

Photo = NDArray[np.uint8]
Points = NDArray[np.floating]
Flags = NDArray[np.bool_]


def draw_preview(samples: Sequence[PairSample | VideoSample], *, title: str, subtitle: str) -> bytes:
    """Draw one row for each sample, as a PNG.

    A pair shows both images with the same points, and image 1 warped onto image 0 by the truth; where
    the truth is unknown, image 0 in pale grey. A video shows some frames with tracks: rings where a point
    is visible, and a trail of where it was.
    """
    rows = [_pair(sample) if isinstance(sample, PairSample) else _video(sample) for sample in samples]
    return draw_panels(rows, title=title, subtitle=subtitle)


def draw_examples(
    folder: Path, task: Benchmark, records: Sequence[Record], scored: Scored
) -> list[dict[str, Any]]:
    """Draw the best and the worst samples as the headline's protocol ranks them.

    Args:
        folder: receives the pictures.
        task: where the samples come from.
        records: of the first samples of the task, in order.
        scored: by the headline's protocol.

    Returns:
        One row for each picture: file, sample, quality, rank (0 is the best), and how many are ranked.
    """
    if scored.quality is None:
        return []
    quality = np.asarray(scored.quality, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(quality))
    order = known[np.argsort(-quality[known], kind="stable")]
    ranks = sorted({*range(min(EXAMPLES, len(order))), *range(max(0, len(order) - EXAMPLES), len(order))})
    rows: list[dict[str, Any]] = []
    for rank in ranks:
        index = int(order[rank])
        picture = _example(task.data[index], records[index])
        if picture is not None:
            file = folder / f"{rank:06d}.jpg"
            write_bytes(file, picture)
            rows.append(
                {
                    "file": f"{folder.name}/{file.name}",
                    "sample": records[index].name,
                    "quality": float(quality[index]),
                    "rank": rank,
                    "of": len(order),
                }
            )
    return rows


def draw_points(
    photos: tuple[Photo, Photo], xy0: Points, truth: Points, predicted: Points, right: Flags
) -> bytes:
    """Draw query points [N 2], and in the second photo a line from the truth (ring) to the prediction (dot), as a JPEG."""
    figure, axes, place = _strip(photos)
    colours = _right_or_wrong(right)
    expected, found = place[1](truth), place[1](predicted)
    draw_lines(axes, expected, found, colours, width=1.4)
    draw_rings(axes, np.concatenate((place[0](xy0), expected)), TRUTH, size=6.5, width=1.4)
    draw_dots(axes, found, colours, area=25)
    return encoded(figure, "jpeg")


def draw_match_lines(photos: tuple[Photo, Photo], xy0: Points, xy1: Points, right: Flags | None) -> bytes:
    """Draw matches [N 2] as lines between two photos, wrong ones on top, as a JPEG; white without a truth."""
    figure, axes, place = _strip(photos)
    order = np.arange(len(xy0)) if right is None else np.argsort(~right, kind="stable")
    colours = TRUTH if right is None else _right_or_wrong(right[order])
    draw_lines(axes, place[0](xy0)[order], place[1](xy1)[order], colours, width=0.8)
    return encoded(figure, "jpeg")


def draw_tracks(
    frames: Sequence[Photo], truth: Points, predicted: Points, visible: Flags, right: Flags
) -> bytes:
    """Draw tracks [N F 2] on F frames where the points are visible [N F], as a JPEG.

    The truth is drawn as rings, predictions as dots, coloured by whether they are right [N F].
    """
    figure, axes, place = _strip(frames)
    for index, placed in enumerate(place):
        seen = visible[:, index]
        colours = _right_or_wrong(right[seen, index])
        expected, found = placed(truth[seen, index]), placed(predicted[seen, index])
        draw_lines(axes, expected, found, colours, width=1.4)
        draw_rings(axes, expected, TRUTH, size=4.3, width=1.4)
        draw_dots(axes, found, colours, area=9)
    return encoded(figure, "jpeg")


def _pair(sample: PairSample) -> list[Panel]:
    images = sample.image0, sample.image1
    xy = _known_points(sample)
    short = {
        name: value
        for name, value in sample.facts.items()
        if len(value) < 24 and name.isalpha() and name != "keypoints"
    }
    captions = "; ".join((sample.name, *(f"{name} {value}" for name, value in short.items()))), ""
    colours = _hues(len(xy[0]))
    panels: list[Panel] = []
    for image, points, caption in zip(images, xy, captions, strict=True):
        shown = fit(image, longer_side=SIDE, enlarge=True)
        dots = partial(draw_dots, xy=_resized(points, image.size, shown.size), colours=colours, area=25)
        panels.append(Panel(picture=to_bytes(shown.pixels), caption=caption, annotate=dots))
    if sample.dense0 is not None:
        known = float(sample.dense0.confidence.mean())
        panels.append(Panel(picture=_warped(sample), caption=f"image 1 warped; {known:.0%} known"))
    return panels


def _warped(sample: PairSample) -> Photo:
    field = sample.dense0
    assert field is not None
    known = field.confidence[0] > 0.5
    warped = warp_maps(sample.image1.pixels[None], field.grid.nan_to_num(nan=-2.0))[0]
    image0 = sample.image0
    if field.size != image0.size:
        image0 = fit(image0, longer_side=max(field.size))
    grey = image0.pixels.mean(dim=0, keepdim=True) * (1 - PALE) + PALE
    pixels = torch.where(known, warped, grey.expand_as(warped)).clamp(0, 1)
    return to_bytes(fit(Image(pixels=pixels), longer_side=SIDE, enlarge=True).pixels)


def _known_points(sample: PairSample) -> tuple[Points, Points]:
    """Return keypoints that are visible in both images; without any, places whose truth is known."""
    if sample.xy0 is not None and sample.xy1 is not None:
        seen = slice(None) if sample.visible is None else sample.visible
        return sample.xy0[seen].double().numpy(), sample.xy1[seen].double().numpy()
    if sample.dense0 is None or sample.dense0.size != sample.image0.size:
        return np.empty((0, 2)), np.empty((0, 2))
    known = (sample.dense0.confidence[0] > 0.5).nonzero()
    count = min(PREVIEW_POINTS, len(known))
    chosen = known[((torch.arange(count) + 0.5) * len(known) / max(count, 1)).long()]
    y, x = chosen.T
    place = normalised_to_pixel(sample.dense0.grid[0, :, y, x].T.double(), sample.image1.size)
    return torch.stack((x, y), dim=1).double().numpy(), place.numpy()


def _video(sample: VideoSample) -> list[Panel]:
    count = len(sample.frames)
    rows = np.linspace(0, len(sample.tracks) - 1, min(PREVIEW_TRACKS, len(sample.tracks))).round().astype(int)
    xy, visible = sample.tracks.xy.double().numpy()[rows], sample.tracks.visible.numpy()[rows]
    panels: list[Panel] = []
    for frame in sorted({int(frame) for frame in np.linspace(0, count - 1, FRAMES).round()}):
        image = sample.frames[frame]
        shown = fit(image, longer_side=SIDE, enlarge=True)
        tracks = partial(_trails, xy=_resized(xy, image.size, shown.size), visible=visible, frame=frame)
        caption = f"frame {frame + 1} of {count}" if panels else f"{sample.name}; {len(sample.tracks)} tracks"
        panels.append(Panel(picture=to_bytes(shown.pixels), caption=caption, annotate=tracks))
    return panels


def _trails(axes: Axes, *, xy: Points, visible: Flags, frame: int) -> None:
    colours, seen = np.array(_hues(len(xy))).reshape(-1, 3), visible[:, frame]
    for before in range(max(0, frame - TRAIL), frame):
        both = seen & visible[:, before] & visible[:, before + 1]
        draw_lines(axes, xy[both, before], xy[both, before + 1], colours[both], width=1.1)
    draw_rings(axes, xy[seen, frame], colours[seen], size=4.5, width=1.4)


def _hues(count: int) -> list[tuple[float, float, float]]:
    """Return colours that are easy to tell apart: hues a golden angle away from one another."""
    return [colorsys.hsv_to_rgb((0.05 + 0.381966 * number) % 1, 0.85, 1.0) for number in range(count)]


def _example(sample: PairSample | VideoSample, record: Record) -> bytes | None:
    if isinstance(sample, VideoSample):
        return _track_example(sample, record)
    photos = to_bytes(sample.image0.pixels), to_bytes(sample.image1.pixels)
    if "predicted" in record and "xy0" in record and "xy1" in record:
        rows = _every(len(record["xy0"]), POINTS)
        xy0, truth, predicted = (record[key][rows].astype(np.float64) for key in ("xy0", "xy1", "predicted"))
        side = max(record["box1"][2:]) if "box1" in record else max(record["size1"])
        right = np.linalg.norm(predicted - truth, axis=1) <= POINT_TOLERANCE * float(side)
        return draw_points(photos, xy0, truth, predicted, right)
    if "match0" in record:
        rows = _every(len(record["match0"]), LINES)
        xy0, xy1 = record["match0"][rows].astype(np.float64), record["match1"][rows].astype(np.float64)
        return draw_match_lines(photos, xy0, xy1, _right_matches(record, xy0, xy1))
    return None


def _track_example(sample: VideoSample, record: Record) -> bytes:
    rows = _every(len(record["xy"]), TRACKS)
    frames = np.linspace(0, len(sample.frames) - 1, FRAMES).round().astype(int)
    # Tracks may have been scored at another size than the frames have.
    size = int(record["size"][0]), int(record["size"][1])
    photos = [to_bytes(resize(sample.frames[frame], size).pixels) for frame in frames]
    truth, predicted = (record[key][rows][:, frames].astype(np.float64) for key in ("xy", "predicted"))
    right = np.linalg.norm(predicted - truth, axis=-1) <= POINT_TOLERANCE * max(size)
    return draw_tracks(photos, truth, predicted, record["visible"][rows][:, frames], right)


def _right_matches(record: Record, xy0: NDArray[np.float64], xy1: NDArray[np.float64]) -> Flags | None:
    allowed = MATCH_TOLERANCE * float(max(*record["size0"], *record["size1"]))
    if "H" in record:
        moved = np.column_stack((xy0, np.ones(len(xy0)))) @ record["H"].astype(np.float64).T
        return np.linalg.norm(moved[:, :2] / moved[:, 2:] - xy1, axis=1) <= allowed
    if "R" not in record:
        return None
    R, t, K0, K1 = (torch.as_tensor(record[key], dtype=torch.float64) for key in ("R", "t", "K0", "K1"))
    F = fundamental(RelativePose(R=R, t=t), Camera(K=K0), Camera(K=K1))
    distances = epipolar_distance(torch.from_numpy(xy0), torch.from_numpy(xy1), F)
    return torch.maximum(*distances).numpy() <= allowed


def _every(count: int, limit: int) -> NDArray[np.intp]:
    """Return up to `limit` row numbers, evenly spread over `count` rows."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, limit)).round().astype(np.intp))


def _right_or_wrong(right: Flags) -> list[str]:
    return [RIGHT if each else WRONG for each in right]


def _resized(xy: Points, source: tuple[int, int], target: tuple[int, int]) -> Points:
    return resize_pixel(torch.from_numpy(xy), source, target).numpy()


def _strip(photos: Sequence[Photo]) -> tuple[Figure, Axes, list[Callable[[Points], Points]]]:
    """Return a figure of photos side by side, its axes, and for each photo the map from its pixels to the axes."""
    originals = [(photo.shape[0], photo.shape[1]) for photo in photos]
    sizes = equal_heights(*originals, height=HEIGHT, width=WIDTH)
    height, width = sizes[0][0], sum(columns for _, columns in sizes) + GAP * (len(sizes) - 1)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    left = show_photos(axes, photos, sizes)

    def placing(original: tuple[int, int], size: tuple[int, int], start: int) -> Callable[[Points], Points]:
        return lambda xy: _resized(xy, original, size) + np.array([start, 0])

    return figure, axes, [placing(*each) for each in zip(originals, sizes, left, strict=True)]
