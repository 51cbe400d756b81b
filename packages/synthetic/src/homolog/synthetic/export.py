"""Write synthetic samples in the layouts of SPair-71k and TAP-Vid, for code that reads nothing else."""

import io
import json
import logging
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch

from homolog.core.atomic import write_bytes
from homolog.core.coords import pixel_to_normalised
from homolog.core.errors import ConfigError, DataError, HomologError
from homolog.core.samples import PairSample, VideoSample
from homolog.synthetic.category import topology
from homolog.synthetic.semantic_pairs import SemanticPair
from homolog.synthetic.shards.codecs import encode_image

logger = logging.getLogger(__name__)


@runtime_checkable
class SemanticSource(Protocol):
    """A source of pairs with their landmarks, such as `SemanticPairs`."""

    def __len__(self) -> int: ...
    def pair(self, index: int) -> SemanticPair:
        """Make one pair."""
        ...


def write_spair(
    source: SemanticSource,
    folder: str | Path,
    *,
    split: Literal["trn", "val", "test"],
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write semantic pairs in the layout of SPair-71k; the folder appears when all of them are in it.

    `homolog.data.spair` reads it back. What differs from the original:

    - Every pair has two images of its own, `<number>_0.jpg` and `<number>_1.jpg`.
    - Categories are called `synthetic` and their name (`syntheticbird`), because keypoint 3 of a synthetic bird
      is not keypoint 3 of SPair's: code that knows the groups of SPair's keypoints must not apply them.
    - Points are not rounded to whole pixels, and boxes end at the outer edge of the outermost pixels.
    - What SPair's annotators judged by eye (viewpoint, scale, truncation, occlusion) is not written.

    Keypoints are numbered as the category lists them (`landmark_names` in each image's annotation), and are
    written only where they are visible.

    Args:
        source: of the pairs.
        folder: a new or an empty one.
        split: under which the pairs are listed.
        progress: called with the number of pairs that are done.

    Returns:
        How many pairs were written: those without a common keypoint, or with the object invisible in one image,
        are left out, because the layout has no place for them.

    Raises:
        ConfigError: the folder is not empty, or no pair can be written.
        DataError: it cannot be written to, or the disk is full; nothing is left.
    """
    final = Path(folder).expanduser()
    if final.exists() and (not final.is_dir() or any(final.iterdir())):
        raise ConfigError(
            f"{final}: expected an empty or a new folder, got one with files; choose another one"
        )
    draft = final.with_name(f".homolog-{secrets.token_hex(6)}")
    try:
        names = _write_all(source, draft, split, progress)
        if not names:
            raise ConfigError(
                f"expected a pair with a common keypoint, got none in {len(source)}; raise the count"
            )
        _write(draft / "Layout" / "large" / f"{split}.txt", ("\n".join(names) + "\n").encode())
        if final.exists():
            final.rmdir()
        draft.rename(final)
    except HomologError:
        raise
    except OSError as error:
        raise DataError(
            f"{final}: cannot write there ({error.strerror}); make room, or choose another"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return len(names)


def write_tapvid(sample: VideoSample, path: Path) -> None:
    """Write a video and its tracks in the layout of TAP-Vid, whole or not at all.

    One file holds one video: `video` uint8 [T H W 3], `points` float32 [N T 2] as x, y in 0..1 with (0, 0) at the
    outer corner of the first pixel, `occluded` bool [N T]; no pickle. `homolog.data.tapvid` reads a file, or a
    folder of them. The layout has no place for the query frames: its protocols define them, as the frames where
    a track is first visible. Unknown positions (behind the camera) stay NaN; they are occluded.

    Args:
        sample: frames of 8 bits come back as they were.
        path: where to; should end in `.npz`.

    Raises:
        DataError: it cannot be written there.
    """
    frames = torch.stack([frame.pixels for frame in sample.frames]).detach().cpu()
    video = (frames.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    xy = sample.tracks.xy.detach().cpu().double()
    points = (pixel_to_normalised(xy, sample.frames[0].size) + 1) / 2
    encoded = io.BytesIO()
    np.savez_compressed(
        encoded,
        allow_pickle=False,
        video=video.numpy(),
        points=points.float().numpy(),
        occluded=~sample.tracks.visible.cpu().numpy(),
    )
    write_bytes(path, encoded.getvalue())


def _write_all(
    source: SemanticSource, draft: Path, split: str, progress: Callable[[int], None] | None
) -> list[str]:
    names: list[str] = []
    for index in range(len(source)):
        pair = source.pair(index)
        sample = pair.sample()
        if sample.box0 is not None and sample.box1 is not None and sample.xy0 is not None and len(sample.xy0):
            names.append(_write_pair(draft, split, index, pair, sample))
        if progress is not None:
            progress(index + 1)
    if len(names) < len(source):
        logger.info("%d pairs without a common keypoint are left out", len(source) - len(names))
    return names


def _write_pair(draft: Path, split: str, index: int, pair: SemanticPair, sample: PairSample) -> str:
    category = "synthetic" + re.sub(r"[^A-Za-z]", "", pair.category)
    stems = [f"{index:06d}_{side}" for side in (0, 1)]
    name = f"{index:06d}-{stems[0]}-{stems[1]}:{category}"
    sides = [_side(pair, sample, side, stems[side], category) for side in (0, 1)]
    for image, stem, side in zip((sample.image0, sample.image1), stems, sides, strict=True):
        _write(draft / "JPEGImages" / category / f"{stem}.jpg", encode_image(image.pixels, "jpg"))
        _write(draft / "ImageAnnotation" / category / f"{stem}.json", _json(side))
    both = np.flatnonzero(pair.landmarks[0].visible & pair.landmarks[1].visible).tolist()
    content: dict[str, Any] = {
        "pair_id": index,
        "filename": name,
        "category": category,
        "kps_ids": [str(number) for number in both],
    }
    for prefix, side in zip(("src", "trg"), sides, strict=True):
        content[f"{prefix}_imname"] = side["filename"]
        content[f"{prefix}_imsize"] = [side["image_width"], side["image_height"], side["image_depth"]]
        content[f"{prefix}_bndbox"] = side["bndbox"]
        content[f"{prefix}_kps"] = [side["kps"][str(number)] for number in both]
    _write(draft / "PairAnnotation" / split / f"{name}.json", _json(content))
    return name


def _side(pair: SemanticPair, sample: PairSample, side: int, stem: str, category: str) -> dict[str, Any]:
    box = (sample.box0, sample.box1)[side]
    height, width = (sample.image0, sample.image1)[side].size
    marks, names = pair.landmarks[side], topology(pair.category).landmark_names
    assert box is not None
    x, y, across, down = box.tolist()
    return {
        "filename": f"{stem}.jpg",
        "image_width": width,
        "image_height": height,
        "image_depth": 3,
        "category": category,
        "bndbox": [x, y, x + across, y + down],
        "kps": {
            str(number): [float(f"{value:.9g}") for value in xy] if seen else None
            for number, (xy, seen) in enumerate(zip(marks.xy.tolist(), marks.visible.tolist(), strict=True))
        },
        "landmark_names": list(names),
    }


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
