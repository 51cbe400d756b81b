"""Follow points through a video with a matcher of image pairs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from homolog.core.cache import LRUCache
from homolog.core.dense import Described
from homolog.core.errors import ConfigError, ShapeError
from homolog.core.image import Image
from homolog.core.protocols import Matcher, PointHead, ReadsPoints
from homolog.core.tracks import Queries, Tracks
from homolog.matchers.base import FeatureMatcher, ImageFeatures
from homolog.matchers.sparse import SparseMatcher

_BATCH = 8
"""Frames that are extracted at a time."""


class FrameByFrame:
    """Finds the points of every query frame on every frame; with `chained`, those of every frame on the next.

    A matcher that reads points (`homolog.core.protocols.ReadsPoints`, without a joint backbone) extracts each
    frame once, and all points are searched on a frame in one call. Other matchers match the frames pairwise, and
    all points of a pair are transferred in one call.
    """

    def __init__(
        self,
        matcher: Matcher,
        *,
        visible_above: float | None,
        cycle: float | None,
        chained: bool = False,
        memory: int = 1_000_000_000,
    ) -> None:
        """Choose how points are followed, and which count as visible.

        Args:
            matcher: must transfer points.
            visible_above: a point is visible if its confidence is above this, in a chain the lowest
                confidence of all steps; None skips this check. If the matcher reads points, it is the confidence
                of the way there alone, which `cycle` complements; otherwise that of `transfer`.
            cycle: a point is visible if its cycle error (to the other frame and back) is at most this many
                pixels, in a chain the error of every step; None skips this check and the way back.
            chained: search each frame for the points of its neighbour instead of those of the query frames.
            memory: bytes of the features of frames to hold, half of them of query frames. If a video
                needs more, its query frames are processed in blocks, and frames are extracted once per block.
                Used for a matcher that reads points.

        Raises:
            ConfigError: a value out of its range.
        """
        if visible_above is not None and not 0 <= visible_above < 1:
            raise ConfigError(f"expected visible_above in [0, 1) or null, got {visible_above}")
        if cycle is not None and cycle <= 0:
            raise ConfigError(f"expected a cycle above 0 pixels or null, got {cycle}")
        if memory < 0:
            raise ConfigError(f"expected a memory of 0 bytes or more, got {memory}")
        self.matcher, self.chained, self.memory = matcher, chained, memory
        self.visible_above, self.cycle = visible_above, cycle

    def track(self, frames: list[Image], queries: Queries) -> Tracks:
        """Return where each query is on every frame; on its own frame it is unchanged.

        Args:
            frames: of one size.
            queries: pixel coordinates on `frames`.

        Returns:
            Pixel coordinates on `frames`; float32, on the CPU. Without `visible_above` and `cycle` all
            points are visible.

        Raises:
            CapabilityError: the matcher finds sparse matches only.
            ShapeError: a query frame outside the video.
        """
        query_frame = queries.frame.cpu().long()
        if len(query_frame) and not 0 <= int(query_frame.min()) <= int(query_frame.max()) < len(frames):
            raise ShapeError(
                f"expected query frames from 0 to {len(frames) - 1}, got {int(query_frame.min())} to {int(query_frame.max())}"
            )
        # Matchers return pixels of the original file; for these images, the frame itself is the original.
        images = [Image(pixels=frame.pixels, name=frame.name) for frame in frames]
        found = _Tracked.start(queries.xy.detach().cpu().float(), len(frames))
        if isinstance(self.matcher, ReadsPoints) and not _pairs_only(self.matcher):
            video = _Video(self.matcher, images, self.memory // 2)
            if self.chained:
                _follow_chain(partial(self._read_pair, video), len(images), query_frame, found)
            else:
                self._read_video(video, query_frame, found)
        else:
            follow = _follow_chain if self.chained else _follow_queries
            follow(partial(self._match_pair, images), len(images), query_frame, found)
        return Tracks(xy=found.xy, visible=self._visible(found), query_frame=queries.frame.cpu())

    def _match_pair(self, images: list[Image], xy: Tensor, source: int, target: int) -> "_Moved":
        forward = self.matcher.match(images[source], images[target]).transfer(xy)
        back = None
        if self.cycle is not None:
            back = self.matcher.match(images[target], images[source]).transfer(forward.xy).xy.cpu().float()
        return _Moved(forward.xy.cpu().float(), forward.confidence.cpu().float(), back)

    def _read_pair(self, video: "_Video", xy: Tensor, source: int, target: int) -> "_Moved":
        features = dict(video.read((source, target)))
        matcher = video.matcher
        forward = matcher.find(matcher.describe(features[source], xy), features[target])
        back = None
        if self.cycle is not None:
            back = matcher.find(matcher.describe(features[target], forward.xy), features[source]).xy
        return _Moved(forward.xy, forward.confidence, back)

    def _read_video(self, video: "_Video", query_frame: Int[Tensor, " N"], found: "_Tracked") -> None:
        """Find all points on all frames, one block of query frames at a time."""
        block: dict[int, ImageFeatures] = {}
        size = 0
        for source, features in video.read(query_frame.unique().tolist()):
            if block and size + _nbytes(features) > self.memory // 2:
                self._read_block(video, block, query_frame, found)
                block, size = {}, 0
            block[source] = features
            size += _nbytes(features)
        if block:
            self._read_block(video, block, query_frame, found)

    def _read_block(
        self,
        video: "_Video",
        sources: dict[int, ImageFeatures],
        query_frame: Int[Tensor, " N"],
        found: "_Tracked",
    ) -> None:
        """Find the points of some query frames on all frames: one call per frame, and one per query frame back."""
        matcher = video.matcher
        rows_of = {source: (query_frame == source).nonzero()[:, 0] for source in sources}
        rows = torch.cat(list(rows_of.values()))
        described = Described.cat(
            [matcher.describe(sources[source], found.xy[its, source]) for source, its in rows_of.items()]
        )
        others = [index for index in range(len(video)) if index not in sources]
        back: list[_WayBack] = []
        for target, features in chain(sources.items(), video.read(others)):
            away = (query_frame[rows] != target).nonzero()[:, 0]
            if len(away) == 0:
                continue
            forward = matcher.find(described.select(away), features)
            moved = rows[away]
            found.xy[moved, target] = forward.xy
            found.confidence[moved, target] = forward.confidence
            if self.cycle is not None:
                target_of = torch.full_like(moved, target)
                back.append(_WayBack(moved, target_of, matcher.describe(features, forward.xy)))
                # What points need can be larger than the features of the frames, when there are many.
                if sum(each.described.nbytes for each in back) > self.memory // 2:
                    _go_back(matcher, sources, back, query_frame, found)
                    back.clear()
        if back:
            _go_back(matcher, sources, back, query_frame, found)

    def _visible(self, found: "_Tracked") -> Tensor:
        visible = torch.ones_like(found.confidence, dtype=torch.bool)
        if self.visible_above is not None:
            visible &= found.confidence > self.visible_above
        if self.cycle is not None:
            visible &= found.cycle_error <= self.cycle
        return visible


# --- pair by pair ---------------------------------------------------------------------------------


class _Moved(NamedTuple):
    """Points moved from one frame to another: [N 2], confidence [N], and where the way back ends, if computed."""

    xy: Tensor
    confidence: Tensor
    back: Tensor | None


_Step = Callable[[Tensor, int, int], _Moved]
"""Moves points [N 2] from a frame to another."""


def _follow_queries(step: _Step, count: int, query_frame: Int[Tensor, " N"], found: "_Tracked") -> None:
    sources = query_frame.unique().tolist()
    # Frames in the outer loop, query frames in the inner one: this needs the least memory for features.
    for index in range(count):
        for source in sources:
            if source != index:
                _move(step, (query_frame == source).nonzero()[:, 0], source, index, found)


def _follow_chain(step: _Step, count: int, query_frame: Int[Tensor, " N"], found: "_Tracked") -> None:
    for index in range(count - 1):
        _move(step, (query_frame <= index).nonzero()[:, 0], index, index + 1, found)
    for index in range(count - 1, 0, -1):
        _move(step, (query_frame >= index).nonzero()[:, 0], index, index - 1, found)


def _move(step: _Step, rows: Int[Tensor, " M"], source: int, target: int, found: "_Tracked") -> None:
    if len(rows) == 0:
        return
    start = found.xy[rows, source]
    moved = step(start, source, target)
    found.xy[rows, target] = moved.xy
    found.confidence[rows, target] = torch.minimum(found.confidence[rows, source], moved.confidence)
    if moved.back is not None:
        error = (moved.back - start).norm(dim=1)
        found.cycle_error[rows, target] = torch.maximum(found.cycle_error[rows, source], error)


# --- all points at once ---------------------------------------------------------------------------


class _Video:
    """The features of a video's frames, extracted in batches, and once each while they fit in memory."""

    def __init__(self, matcher: ReadsPoints, images: list[Image], memory: int) -> None:
        self.matcher, self._images = matcher, images
        self._held: LRUCache[ImageFeatures] = LRUCache(memory)

    def __len__(self) -> int:
        return len(self._images)

    def read(self, indices: Sequence[int]) -> Iterator[tuple[int, ImageFeatures]]:
        """Return each index with the features of its frame."""
        for start in range(0, len(indices), _BATCH):
            batch = indices[start : start + _BATCH]
            held = {index: self._held.get(index) for index in batch}
            missing = [index for index, features in held.items() if features is None]
            extracted = self.matcher.point_features([self._images[index] for index in missing])
            for index, features in zip(missing, extracted, strict=True):
                self._held.put(index, features, _nbytes(features))
                held[index] = features
            yield from ((index, features) for index, features in held.items() if features is not None)


class _WayBack(NamedTuple):
    """Points to find again on their query frames: row [M] and frame [M] of each, and what is compared."""

    rows: Tensor
    frames: Tensor
    described: Described


def _go_back(
    matcher: ReadsPoints,
    sources: dict[int, ImageFeatures],
    back: Sequence[_WayBack],
    query_frame: Int[Tensor, " N"],
    found: "_Tracked",
) -> None:
    """Find the points of many frames on the frames of their queries, one call per query frame."""
    rows, frames = (
        torch.cat(parts) for parts in ([each.rows for each in back], [each.frames for each in back])
    )
    described = Described.cat([each.described for each in back])
    for source, features in sources.items():
        own = (query_frame[rows] == source).nonzero()[:, 0]
        if len(own):
            returned = matcher.find(described.select(own), features).xy
            error = (returned - found.xy[rows[own], source]).norm(dim=1)
            found.cycle_error[rows[own], frames[own]] = error


def _nbytes(features: ImageFeatures) -> int:
    keypoints = {} if features.keypoints is None else features.keypoints.parts()
    return sum(tensor.nbytes for tensor in (*features.features.maps.values(), *keypoints.values()))


def _pairs_only(matcher: object) -> bool:
    """Return whether the matcher has to see both images before it can read a point."""
    if isinstance(matcher, SparseMatcher) and not isinstance(matcher.head, PointHead):
        return True
    return isinstance(matcher, FeatureMatcher) and matcher.joint


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Tracked:
    """The tracks so far: on the query frame its position, full confidence and no cycle error."""

    xy: Float[Tensor, "N T 2"]
    confidence: Float[Tensor, "N T"]
    cycle_error: Float[Tensor, "N T"]

    @classmethod
    def start(cls, xy: Float[Tensor, "N 2"], frames: int) -> "_Tracked":
        count = len(xy)
        return cls(
            xy=xy[:, None].repeat(1, frames, 1),
            confidence=torch.ones(count, frames),
            cycle_error=torch.zeros(count, frames),
        )
