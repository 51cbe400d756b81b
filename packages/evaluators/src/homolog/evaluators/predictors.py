"""Predictors: query a matcher for points, matches, tracks or a dense field of one sample, and return a `Record`."""

from collections.abc import Callable, Mapping, Sequence
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from homolog.core.coords import Size, inside, normalised_to_pixel, pixel_to_normalised, resize_pixel
from homolog.core.dense import DenseField, Transfer
from homolog.core.errors import ConfigError, ShapeError, one_of
from homolog.core.image import Image, resize
from homolog.core.keypoints import Matches
from homolog.core.protocols import Correspondence, Matcher, Tracker
from homolog.core.samples import PairSample, VideoSample
from homolog.core.sampling import sample_points
from homolog.core.tracks import Queries, Tracks
from homolog.evaluators.dense import warp_error
from homolog.evaluators.records import Record
from homolog.evaluators.tracking import QueryMode, sample_queries

KNOWN = 1 - 1e-3
"""The ground truth is known if its confidence is 1, up to rounding by interpolation."""


class PointPredictor:
    """Transfers the annotated points of a pair that are visible in both images.

    Only these have a ground truth, so only these are queried and recorded: every row of a record is visible.
    Groups of points are recorded under their names (`geometry_aware`).
    """

    def __call__(self, matcher: Matcher, sample: PairSample | VideoSample, /) -> Record:
        """Return the record of a pair.

        Raises:
            CapabilityError: the matcher cannot transfer points.
            ConfigError: a sample without annotated points.
            ShapeError: the matcher returns the wrong number of points.
        """
        if not isinstance(sample, PairSample) or sample.xy0 is None or sample.xy1 is None:
            raise ConfigError(
                f"{sample.name}: expected a pair with annotated points, got none; choose a semantic task"
            )
        count = len(sample.xy0)
        visible = torch.ones(count, dtype=torch.bool) if sample.visible is None else sample.visible.cpu()
        xy0, xy1 = (xy.cpu()[visible] for xy in (sample.xy0, sample.xy1))
        found = matcher.match(sample.image0, sample.image1).transfer(xy0)
        if found.xy.shape != xy0.shape or found.confidence.shape != xy0.shape[:1]:
            raise ShapeError(
                f"{sample.name}: expected {len(xy0)} points [N 2] and confidences [N] from the matcher, "
                f"got {list(found.xy.shape)} and {list(found.confidence.shape)}"
            )
        arrays: dict[str, np.ndarray] = {
            "xy0": _numbers(xy0),
            "xy1": _numbers(xy1),
            "visible": np.ones(len(xy0), dtype=np.bool_),
            "predicted": _numbers(found.xy),
            "confidence": _numbers(found.confidence),
            **{name: members.cpu()[visible].numpy() for name, members in sample.groups.items()},
        }
        boxes = {"box0": sample.box0, "box1": sample.box1}
        arrays |= {name: _numbers(box) for name, box in boxes.items() if box is not None}
        return _record(sample, arrays, {})


class MatchPredictor:
    """Records the matches of a pair and all its ground truth: camera poses, homography, points."""

    def __init__(self, *, max_matches: int | None, foreground: bool = False) -> None:
        """Choose which matches to keep.

        Args:
            max_matches: keep only the best matches of a pair; None keeps all.
            foreground: drop matches outside the foreground mask of either image, as OmniGlue does on NAVI.
                An image without a mask is all foreground. `max_matches` applies before that.

        Raises:
            ConfigError: a negative `max_matches`.
        """
        if max_matches is not None and max_matches < 0:
            raise ConfigError(f"expected max_matches of 0 or more, or null for all, got {max_matches}")
        self.max_matches = max_matches
        self.foreground = foreground

    def __call__(self, matcher: Matcher, sample: PairSample | VideoSample, /) -> Record:
        """Return the record of a pair.

        Raises:
            ConfigError: a sample that is not a pair.
            ShapeError: a mask whose size is not that of its image.
        """
        if not isinstance(sample, PairSample):
            raise ConfigError(f"{sample.name}: expected a pair, got a video; choose another task")
        found = matcher.match(sample.image0, sample.image1)
        matches = found.matches(self.max_matches).cpu()
        if self.foreground:
            matches = _on_foreground(matches, sample)
        arrays = {
            "match0": matches.xy0.numpy(),
            "match1": matches.xy1.numpy(),
            "score": matches.score.numpy(),
        }
        # Dense correspondences have no keypoints.
        keypoints = {f"keypoints{side}": getattr(found, f"keypoints{side}", None) for side in (0, 1)}
        facts = {
            "matches": "all" if self.max_matches is None else f"best {self.max_matches}",
            "matches outside the foreground": "dropped" if self.foreground else "kept",
        }
        known = {**keypoints, **_ground_truth(sample)}
        arrays |= {name: part.detach().cpu().numpy() for name, part in known.items() if part is not None}
        return _record(sample, arrays, facts)


class TrackPredictor:
    """Tracks the queries of a video, and records the tracks in pixels of the original video.

    TAP-Vid's readers resize every video to 256 x 256 before tracking (with mediapy; here with an antialiased
    bilinear filter), and its thresholds are pixels of that raster.
    """

    def __init__(
        self, *, tracker: Callable[[Matcher], Tracker], query_mode: QueryMode, raster: Sequence[int] | None
    ) -> None:
        """Choose tracker and queries.

        Args:
            tracker: makes a tracker of the evaluated matcher; in YAML a class with `_partial_: true`.
            query_mode: how queries are chosen, see `sample_queries`.
            raster: (height, width) that frames are stretched to before tracking; None keeps their size.

        Raises:
            ConfigError: an invalid raster, or an unknown mode.
        """
        if raster is not None and (len(raster) != 2 or min(raster) < 1):
            raise ConfigError(f"expected a raster [height, width] or null, got {list(raster)}")
        self.tracker = tracker
        self.query_mode: QueryMode = one_of("query_mode", query_mode, get_args(QueryMode))
        self.raster: Size | None = None if raster is None else (raster[0], raster[1])

    def __call__(self, matcher: Matcher, sample: PairSample | VideoSample, /) -> Record:
        """Return the record of a video: one row for each query.

        Raises:
            CapabilityError: the matcher cannot track points.
            ConfigError: a sample that is not a video.
            ShapeError: the tracker returns tracks of the wrong shape.
        """
        if not isinstance(sample, VideoSample):
            raise ConfigError(
                f"{sample.name}: expected a video with tracks, got a pair; choose a temporal task"
            )
        visible = sample.tracks.visible.cpu().numpy()
        track, frame = (
            torch.from_numpy(part) for part in sample_queries(visible, query_mode=self.query_mode)
        )
        truth = sample.tracks.xy.cpu()[track]
        found = self._track(matcher, sample, truth[torch.arange(len(track)), frame], frame)
        raster = "as they are" if self.raster is None else f"{self.raster[1]} x {self.raster[0]}"
        return Record(
            name=sample.name,
            arrays={
                "size": np.array(sample.frames[0].size),
                "track": track.numpy(),
                "query_frame": frame.numpy(),
                "xy": truth.float().numpy(),
                "visible": visible[track.numpy()],
                "predicted": found.xy.float().numpy(),
                "predicted_visible": found.visible.numpy(),
            },
            facts={"queries": self.query_mode, "raster": raster},
        )

    def _track(self, matcher: Matcher, sample: VideoSample, xy: Tensor, frame: Tensor) -> Tracks:
        size = sample.frames[0].size
        raster = self.raster or size
        # New images without `to_original`: queries and tracks are in pixels of the raster.
        frames = [Image(pixels=resize(image, raster).pixels, name=image.name) for image in sample.frames]
        queries = Queries(xy=resize_pixel(xy, size, raster), frame=frame)
        found = self.tracker(matcher).track(frames, queries)
        if found.xy.shape != (len(xy), len(frames), 2):
            raise ShapeError(
                f"{sample.name}: expected tracks [{len(xy)} {len(frames)} 2] from the tracker, got {list(found.xy.shape)}"
            )
        return Tracks(
            xy=resize_pixel(found.xy.detach().cpu(), raster, size),
            visible=found.visible.detach().cpu(),
            query_frame=frame,
        )


class DensePredictor:
    """Transfers a lattice of pixels of image 0 to image 1.

    Only foreground pixels with a known ground truth are queried. Records have the arrays of annotated points,
    and `warp_error` [N]: the squared distance between the colours of image 1 at the predicted and at the true
    place (see `homolog.evaluators.warp_error`).
    """

    def __init__(self, *, stride: int, chunk: int = 4096) -> None:
        """Choose the lattice.

        Args:
            stride: distance of queried pixels along rows and columns; 1 for all, as official codes do.
            chunk: points to transfer at a time.

        Raises:
            ConfigError: a value below 1.
        """
        if stride < 1 or chunk < 1:
            raise ConfigError(f"expected a stride and a chunk of at least 1, got {stride} and {chunk}")
        self.stride = stride
        self.chunk = chunk

    def __call__(self, matcher: Matcher, sample: PairSample | VideoSample, /) -> Record:
        """Return the record of a pair.

        Raises:
            CapabilityError: the matcher cannot transfer points.
            ConfigError: a sample without a dense ground truth.
        """
        if not isinstance(sample, PairSample) or sample.dense0 is None:
            raise ConfigError(
                f"{sample.name}: expected a pair with a dense ground truth, got none; choose a dense task"
            )
        image0, image1 = sample.image0, sample.image1
        at, truth = self._known(sample, sample.dense0)
        xy0 = image0.xy_to_original(at)
        found = self._transfer(matcher.match(image0, image1), xy0)
        colours = [_colours(image1, xy) for xy in (image1.xy_from_original(found.xy), truth)]
        return Record(
            name=sample.name,
            category=sample.category or "",
            arrays={
                "size0": np.array(image0.size),
                "size1": np.array(image1.size),
                "xy0": xy0.numpy(),
                "xy1": image1.xy_to_original(truth).numpy(),
                "visible": np.ones(len(xy0), dtype=np.bool_),
                "predicted": found.xy.numpy(),
                "confidence": found.confidence.numpy(),
                "warp_error": warp_error(*colours).astype(np.float32),
            },
            facts={**sample.facts, "lattice": f"every {self.stride} px"},
        )

    def _known(self, sample: PairSample, dense: DenseField) -> tuple[Tensor, Tensor]:
        size = sample.image0.size
        if len(dense.grid) != 1 or (sample.mask0 is not None and tuple(sample.mask0.shape) != size):
            raise ShapeError(
                f"{sample.name}: expected one dense ground truth and a mask of the size of image 0, {size}; check the data set"
            )
        # At its own resolution a field is exact, even next to unknown cells.
        field = dense if dense.size == size else dense.resized(size)
        rows, columns = (torch.arange((self.stride - 1) // 2, side, self.stride) for side in size)
        y, x = (part.reshape(-1) for part in torch.meshgrid(rows, columns, indexing="ij"))
        known = field.confidence[0].cpu()[y, x] >= KNOWN
        if sample.mask0 is not None:
            known &= sample.mask0.cpu()[y, x]
        known &= field.grid[0].cpu()[:, y, x].isfinite().all(dim=0)
        y, x = y[known], x[known]
        truth = normalised_to_pixel(field.grid[0].cpu()[:, y, x].T.double(), sample.image1.size)
        return torch.stack((x, y), dim=1).float(), truth.float()

    def _transfer(self, correspondence: Correspondence, xy0: Tensor) -> Transfer:
        # At least one chunk, so that a matcher that cannot transfer raises even for a pair without ground truth.
        chunks = xy0.split(self.chunk) if len(xy0) else (xy0,)
        answers = [correspondence.transfer(part) for part in chunks]
        return Transfer(
            torch.cat([answer.xy.detach().cpu().float() for answer in answers]),
            torch.cat([answer.confidence.detach().cpu().float() for answer in answers]),
        )


def _file_size(image: Image) -> Size:
    """Return (height, width) of the file that an image was resized or mirrored from.

    The size of a file that it was cropped from is unknown; then this is the size of the crop in that file.
    """
    height, width = image.size
    linear = image.to_original[:, :2].abs()
    return round(height * float(linear[1].max())), round(width * float(linear[0].max()))


def _record(sample: PairSample, arrays: Mapping[str, np.ndarray], facts: Mapping[str, str]) -> Record:
    sizes = {
        f"size{side}": np.array(_file_size(image))
        for side, image in enumerate((sample.image0, sample.image1))
    }
    return Record(
        name=sample.name,
        category=sample.category or "",
        arrays={**sizes, **arrays},
        facts={**sample.facts, **facts},
    )


def _numbers(values: Tensor) -> np.ndarray:
    values = values.detach().cpu()
    return (values if values.dtype == torch.float64 else values.float()).numpy()


def _ground_truth(sample: PairSample) -> dict[str, Tensor | None]:
    return {
        "K0": None if sample.camera0 is None else sample.camera0.K,
        "K1": None if sample.camera1 is None else sample.camera1.K,
        "R": None if sample.pose is None else sample.pose.R,
        "t": None if sample.pose is None else sample.pose.t,
        "H": sample.homography,
        "xy0": sample.xy0,
        "xy1": sample.xy1,
        "visible": sample.visible,
    }


def _on_foreground(matches: Matches, sample: PairSample) -> Matches:
    keep = torch.ones(len(matches), dtype=torch.bool)
    for image, mask, xy in (
        (sample.image0, sample.mask0, matches.xy0),
        (sample.image1, sample.mask1, matches.xy1),
    ):
        if mask is not None:
            keep &= _masked(mask.cpu(), image, xy, sample.name)
    return matches.select(keep)


def _masked(mask: Tensor, image: Image, xy: Tensor, name: str) -> Tensor:
    if tuple(mask.shape) != image.size:
        raise ShapeError(
            f"{name}: expected a mask of the size of its image, {image.size}, got {tuple(mask.shape)}; check the data set"
        )
    at = image.xy_from_original(xy.double())
    on_image = inside(at, image.size)
    height, width = image.size
    x, y = at.nan_to_num(nan=0.0).round().long().unbind(dim=1)
    return on_image & mask[y.clamp(0, height - 1), x.clamp(0, width - 1)]


def _colours(image: Image, xy: Tensor) -> np.ndarray:
    at = pixel_to_normalised(xy, image.size)
    return sample_points(image.pixels.cpu()[None], at[None], padding="zeros")[0].numpy()
