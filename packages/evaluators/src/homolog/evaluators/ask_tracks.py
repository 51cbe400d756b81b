"""Ask for the tracks of a video."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from homolog.core.coords import Size, resize_pixel
from homolog.core.errors import ConfigError, ShapeError
from homolog.core.image import Image, resize
from homolog.core.protocols import Matcher, Tracker
from homolog.core.samples import PairSample, VideoSample
from homolog.core.tracks import Queries, Tracks
from homolog.evaluators.query_sampling import QueryMode, sample_queries
from homolog.evaluators.record import Record


class AskTracks:
    """Has a tracker follow the queries of a video, and keeps the tracks in pixels of the original video.

    TAP-Vid's readers resize every video to 256 x 256 before a tracker sees it (they with mediapy, here
    with an antialiased bilinear filter), and their thresholds are pixels of that raster.
    """

    def __init__(
        self, *, tracker: Callable[[Matcher], Tracker], mode: QueryMode, raster: Sequence[int] | None
    ) -> None:
        """Choose what to ask for.

        Args:
            tracker: makes a tracker of the matcher that is measured; a class with `_partial_: true`.
            mode: how queries are chosen, see `sample_queries`.
            raster: (height, width) that frames are stretched to before they are tracked; None leaves
                them as they are.

        Raises:
            ConfigError: a raster that is none.
        """
        if raster is not None and (len(raster) != 2 or min(raster) < 1):
            raise ConfigError(f"expected a raster [height, width] or null, got {list(raster)}")
        self.tracker = tracker
        self.mode: QueryMode = mode
        self.raster: Size | None = None if raster is None else (raster[0], raster[1])

    def __call__(self, matcher: Matcher, sample: PairSample | VideoSample, /) -> Record:
        """Return the record of a video: one row for each query.

        Raises:
            CapabilityError: the matcher cannot follow points.
            ConfigError: a sample that is no video.
            ShapeError: the tracker answers something else than it was asked.
        """
        if not isinstance(sample, VideoSample):
            raise ConfigError(
                f"{sample.name}: expected a video with tracks, got a pair; choose a temporal task"
            )
        visible = sample.tracks.visible.cpu().numpy()
        track, frame = (torch.from_numpy(part) for part in sample_queries(visible, mode=self.mode))
        truth = sample.tracks.xy.cpu()[track]
        found = self._followed(matcher, sample, truth[torch.arange(len(track)), frame], frame)
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
            facts={"queries": self.mode, "raster": self._raster_text},
        )

    def _followed(self, matcher: Matcher, sample: VideoSample, xy: Tensor, frame: Tensor) -> Tracks:
        size = sample.frames[0].size
        raster = self.raster or size
        # New images, whose pixels are all that counts: tracks are asked for and told in them.
        frames = [Image(pixels=resize(image, raster).pixels, name=image.name) for image in sample.frames]
        asked = Queries(xy=resize_pixel(xy, size, raster), frame=frame)
        found = self.tracker(matcher).track(frames, asked)
        if found.xy.shape != (len(xy), len(frames), 2):
            raise ShapeError(
                f"{sample.name}: expected tracks [{len(xy)} {len(frames)} 2] of the tracker, got {list(found.xy.shape)}"
            )
        return Tracks(
            xy=resize_pixel(found.xy.detach().cpu(), raster, size),
            visible=found.visible.detach().cpu(),
            query_frame=frame,
        )

    @property
    def _raster_text(self) -> str:
        return "as they are" if self.raster is None else f"{self.raster[1]} x {self.raster[0]}"
