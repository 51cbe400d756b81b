"""TAP-Vid: videos with tracked points, from the pickles of DAVIS, RGB-Stacking, Kinetics and RoboTAP.

A file holds a dictionary of videos by name (DAVIS, RoboTAP), a list of them (RGB-Stacking, shards of
Kinetics), or a single one (an npz that `homolog.synthetic.export` wrote); each is `{video, points, occluded}`: `video` uint8 [T H W 3], or a list of T encoded frames
(Kinetics), `points` [N T 2] as x, y in 0..1, `occluded` [N T].

In the files (0, 0) is the outer corner of the first pixel and (1, 1) that of the last (`tapnet/tapvid/README`,
`evaluation_datasets.py`: points times width and height are raster coordinates). Samples follow
`homolog.core.coords`, whose pixel centres are integers: raster coordinates minus one half. CoTracker's
reader multiplies by 255 instead of 256, and in place, so that it reads other points the second time; neither
is done here.

A pickle can only be read as a whole. One file is kept in memory at a time; `homolog.data.converted.convert`
writes it without pickle, and a converted `.npz` beside a `.pkl` is read in its stead.
"""

import glob
import io
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import PIL.Image
import torch

from homolog.core.coords import Size, normalised_to_pixel
from homolog.core.errors import ConfigError, DataError
from homolog.core.image import Image
from homolog.core.samples import VideoSample
from homolog.core.tracks import Tracks
from homolog.data.converted import read_any
from homolog.data.inventory import Expected, Layout
from homolog.data.safe_npz import member_names

_HOME = "https://github.com/google-deepmind/tapnet/tree/main/tapnet/tapvid"
_KINETICS = "Kinetics: videos under the terms of YouTube, annotations CC BY 4.0"

DAVIS = Layout(
    name="TAP-Vid DAVIS",
    folder="tapvid_davis",
    home=_HOME,
    licence="annotations CC BY 4.0; videos under the Creative Commons licences of their makers",
    obtain="Download tapvid_davis.zip, whose address TAP-Vid's README has, and unpack it.",
    signature=("tapvid_davis.[pn][kp][lz]",),
    expected=(Expected(what="file of 30 videos", pattern="tapvid_davis.[pn][kp][lz]"),),
    configs=("tapvid_davis",),
)

RGB_STACKING = Layout(
    name="TAP-Vid RGB-Stacking",
    folder="tapvid_rgb_stacking",
    home=_HOME,
    licence="CC BY 4.0",
    obtain="Download tapvid_rgb_stacking.zip, whose address TAP-Vid's README has, and unpack it.",
    signature=("tapvid_rgb_stacking.[pn][kp][lz]",),
    expected=(Expected(what="file of 50 videos", pattern="tapvid_rgb_stacking.[pn][kp][lz]"),),
    configs=("tapvid_rgb_stacking",),
)

KINETICS = Layout(
    name="TAP-Vid Kinetics",
    folder="tapvid_kinetics",
    home=_HOME,
    licence=_KINETICS,
    obtain="Download the annotations and run generate_tapvid.py, as TAP-Vid's README says; it fetches the videos.",
    signature=("*_of_0010.[pn][kp][lz]",),
    expected=(
        Expected(
            what="shards",
            pattern="*_of_0010.[pn][kp][lz]",
            count=10,
            note="1,000 videos by the README, newer files have more",
        ),
    ),
    configs=("tapvid_kinetics",),
)

ROBOTAP = Layout(
    name="RoboTAP",
    folder="robotap",
    home=_HOME,
    licence="CC BY 4.0",
    obtain="Download robotap.zip, whose address TAP-Vid's README has, and unpack it.",
    signature=("robotap_split*.[pn][kp][lz]",),
    expected=(Expected(what="files of 265 videos together", pattern="robotap_split*.[pn][kp][lz]"),),
    configs=("tapvid_robotap",),
)

_MEMBERS = frozenset({"video", "points", "occluded"})

_LAYOUTS = (DAVIS, RGB_STACKING, KINETICS, ROBOTAP)


class TapVid:
    """Videos with tracks, as samples with pixel coordinates of their frames.

    All tracks are kept, those that are never visible too; which become queries is the evaluator's
    choice. `query_frame` is the first frame on which a track is visible, 0 if there is none.
    """

    def __init__(self, *, root: str | Path, files: str, size: Sequence[int] | None) -> None:
        """Find the files; they are read when the first sample is asked for.

        Args:
            root: the folder of the files.
            files: pattern of their names in it.
            size: (height, width) to which frames are resampled, 256 x 256 in all official numbers; None
                leaves them as they are. Tracks are in pixels of the result.

        Raises:
            ConfigError: no size.
            DataError: no such files.
        """
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise ConfigError(f"TAP-Vid: expected a size (height, width) or null, got {list(size)}")
        self._size: Size | None = None if size is None else (int(size[0]), int(size[1]))
        folder = Path(root).expanduser()
        self._files = _matching(folder, files)
        if not self._files:
            raise DataError(f"{folder}: expected {files}, found none; {_advice(files)}")
        self._open: tuple[Path, dict[str, Any]] | None = None

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> VideoSample:
        """Read a video.

        Raises:
            DataError: the file is damaged or holds something else.
        """
        path, key = self._index[index]
        name = key if len(self._files) == 1 or key == path.stem else f"{path.stem}/{key}"
        return _sample(self._videos(path)[key], name, f"{path}, {key}", self._size)

    @cached_property
    def _index(self) -> list[tuple[Path, str]]:
        return [
            (path, key)
            for path in self._files
            for key in ((path.stem,) if _is_single(path) else self._videos(path))
        ]

    def _videos(self, path: Path) -> dict[str, Any]:
        if self._open is None or self._open[0] != path:
            self._open = None  # lets go of the last file before the next fills memory
            self._open = path, _named(read_any(path), path)
        return self._open[1]


def tapvid_file(*, file: str | Path, size: Sequence[int] | None) -> TapVid:
    """Return the videos of one file in TAP-Vid's format; see `TapVid`."""
    path = Path(file).expanduser()
    return TapVid(root=path.parent, files=glob.escape(path.name), size=size)


def _matching(folder: Path, files: str) -> list[Path]:
    """Return the files of a pattern, each once: converted, where it was converted."""
    stem = files.removesuffix(".pkl")
    found = [*folder.glob(files), *(folder.glob(f"{stem}.npz") if stem != files else ())]
    return sorted({path.with_suffix(""): path for path in found}.values())


def _advice(files: str) -> str:
    stem = files.removesuffix(".pkl")
    known = [layout for layout in _LAYOUTS if layout.signature[0].startswith(f"{stem}.")]
    return known[0].advice() if known else "name a pickle in TAP-Vid's format, or one that was converted"


def _is_single(path: Path) -> bool:
    """Tell from the names of its members whether a file holds one video, without reading them."""
    return {f"{name}.npy" for name in _MEMBERS} <= member_names(path)


def _named(content: Any, path: Path) -> dict[str, Any]:
    if isinstance(content, list | tuple):
        items = cast("Sequence[Any]", content)
        return {f"{number:04d}": video for number, video in enumerate(items)}
    if isinstance(content, dict) and _is_single(path):
        return {path.stem: content}
    if isinstance(content, dict):
        return {str(key): video for key, video in cast("dict[Any, Any]", content).items()}
    raise DataError(
        f"{path}: expected a dictionary or a list of videos, got a {type(content).__name__}; obtain it again"
    )


def _sample(video: Any, name: str, label: str, size: Size | None) -> VideoSample:
    if not isinstance(video, dict) or not video.keys() >= _MEMBERS:
        raise DataError(
            f"{label}: expected video, points and occluded, got something else; obtain the file again"
        )
    fields = cast("dict[str, Any]", video)
    frames = [_frame(frame, f"{label}, frame {number}", size) for number, frame in enumerate(fields["video"])]
    if not frames or len({frame.size for frame in frames}) != 1:
        raise DataError(
            f"{label}: expected frames of one size, got {len(frames)} frames; obtain the file again"
        )
    return VideoSample(frames=frames, tracks=_tracks(fields, frames, label), name=name)


def _tracks(fields: dict[str, Any], frames: list[Image], label: str) -> Tracks:
    points, occluded = np.asarray(fields["points"]), np.asarray(fields["occluded"])
    if points.shape != (*occluded.shape, 2) or occluded.ndim != 2 or occluded.shape[1] != len(frames):
        raise DataError(
            f"{label}: expected points [N {len(frames)} 2] and occluded [N {len(frames)}], got {list(points.shape)} "
            f"and {list(occluded.shape)}; obtain the file again"
        )
    try:
        unit = torch.from_numpy(points.astype(np.float64))
        visible = torch.from_numpy(np.logical_not(occluded.astype(bool)))
    except (TypeError, ValueError) as error:
        raise DataError(f"{label}: expected numbers, got {error}; obtain the file again") from error
    if not bool(unit[visible].isfinite().all()):
        raise DataError(
            f"{label}: expected finite positions of visible points, got others; obtain the file again"
        )
    xy = normalised_to_pixel(2 * unit - 1, frames[0].size).float()
    return Tracks(xy=xy, visible=visible, query_frame=visible.to(torch.uint8).argmax(dim=1))


def _frame(frame: Any, label: str, size: Size | None) -> Image:
    pixels = _decoded(frame, label) if isinstance(frame, bytes | str) else np.asarray(frame)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise DataError(
            f"{label}: expected uint8 [H W 3], got {pixels.dtype} {list(pixels.shape)}; obtain the file again"
        )
    if size is not None and pixels.shape[:2] != size:
        # The filter of mediapy.resize_video, with which the official reader resizes.
        resized = PIL.Image.fromarray(pixels).resize((size[1], size[0]), PIL.Image.Resampling.LANCZOS)
        pixels = np.asarray(resized)
    channels = np.divide(pixels.transpose(2, 0, 1), 255, dtype=np.float32)
    return Image(pixels=torch.from_numpy(np.ascontiguousarray(channels)), name=label)


def _decoded(frame: bytes | str, label: str) -> np.ndarray:
    # Pickles of Python 2 hold bytes as text.
    content = frame.encode("latin-1", errors="replace") if isinstance(frame, str) else frame
    try:
        with PIL.Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise DataError(
            f"{label}: expected an encoded frame, got a damaged one ({error}); obtain the file again"
        ) from error
