"""Pictures of the best and the worst samples of a cell."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from homolog.cli.overlay import draw_lines, draw_points, draw_tracks
from homolog.core.atomic import write_bytes
from homolog.core.camera import Camera, RelativePose, epipolar_distance, fundamental
from homolog.core.image import Image
from homolog.core.samples import PairSample, VideoSample
from homolog.evaluators.benchmark import Benchmark
from homolog.evaluators.records import Record, Scored

EACH = 4
"""Best samples, and as many worst ones."""

POINTS, LINES, TRACKS, FRAMES = 40, 80, 24, 4
"""How much is drawn at most."""

NEAR = 0.05
"""Of the object's or else the image's longer side: a predicted point nearer than this is drawn as right."""

PIXELS = 0.003
"""Of the longer side: a match nearer than this to its true line or place is drawn as right."""


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
        One row for each picture: file, sample, quality, rank from the best (0) downwards.
    """
    if scored.quality is None:
        return []
    quality = np.asarray(scored.quality, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(quality))
    order = known[np.argsort(-quality[known], kind="stable")]
    ranks = sorted({*range(min(EACH, len(order))), *range(max(0, len(order) - EACH), len(order))})
    rows: list[dict[str, Any]] = []
    for rank in ranks:
        index = int(order[rank])
        picture = _draw(task.data[index], records[index])
        if picture is not None:
            file = folder / f"{rank:06d}.jpg"
            write_bytes(file, _jpeg(picture))
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


def _draw(sample: PairSample | VideoSample, record: Record) -> PIL.Image.Image | None:
    if isinstance(sample, VideoSample):
        return _tracks(sample, record)
    photos = _photo(sample.image0), _photo(sample.image1)
    if "predicted" in record and "xy0" in record and "xy1" in record:
        rows = _spread(len(record["xy0"]), POINTS)
        xy0, truth, predicted = (record[key][rows].astype(np.float64) for key in ("xy0", "xy1", "predicted"))
        side = max(record["box1"][2:]) if "box1" in record else max(record["size1"])
        right = np.linalg.norm(predicted - truth, axis=1) <= NEAR * float(side)
        return draw_points(photos, xy0, truth, predicted, right)
    if "match0" in record:
        rows = _spread(len(record["match0"]), LINES)
        xy0, xy1 = record["match0"][rows].astype(np.float64), record["match1"][rows].astype(np.float64)
        return draw_lines(photos, xy0, xy1, _right(record, xy0, xy1))
    return None


def _right(record: Record, xy0: NDArray[np.float64], xy1: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    allowed = PIXELS * float(max(*record["size0"], *record["size1"]))
    if "H" in record:
        moved = np.column_stack((xy0, np.ones(len(xy0)))) @ record["H"].astype(np.float64).T
        return np.linalg.norm(moved[:, :2] / moved[:, 2:] - xy1, axis=1) <= allowed
    if "R" not in record:
        return None
    R, t, K0, K1 = (torch.as_tensor(record[key], dtype=torch.float64) for key in ("R", "t", "K0", "K1"))
    F = fundamental(RelativePose(R=R, t=t), Camera(K=K0), Camera(K=K1))
    distances = epipolar_distance(torch.from_numpy(xy0), torch.from_numpy(xy1), F)
    return torch.maximum(*distances).numpy() <= allowed


def _tracks(sample: VideoSample, record: Record) -> PIL.Image.Image:
    rows = _spread(len(record["xy"]), TRACKS)
    frames = np.linspace(0, len(sample.frames) - 1, FRAMES).round().astype(int)
    # Tracks may have been scored at another size than the frames have.
    height, width = (int(value) for value in record["size"])
    photos = [
        np.asarray(PIL.Image.fromarray(_photo(sample.frames[frame])).resize((width, height)))
        for frame in frames
    ]
    truth, predicted = (record[key][rows][:, frames].astype(np.float64) for key in ("xy", "predicted"))
    right = np.linalg.norm(predicted - truth, axis=-1) <= NEAR * max(height, width)
    return draw_tracks(photos, truth, predicted, record["visible"][rows][:, frames], right)


def _spread(count: int, limit: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, limit)).round().astype(np.intp))


def _photo(image: Image) -> NDArray[np.uint8]:
    return (image.pixels * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


def _jpeg(picture: PIL.Image.Image) -> bytes:
    encoded = io.BytesIO()
    picture.save(encoded, "jpeg", quality=82)
    return encoded.getvalue()
