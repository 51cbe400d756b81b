"""Follow points through a video with a matcher of image pairs."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from homolog.core.errors import ConfigError, ShapeError
from homolog.core.image import Image
from homolog.core.protocols import Matcher
from homolog.core.tracks import Queries, Tracks


class FrameByFrame:
    """Matches frames pairwise, and transfers the points of each pair in one go.

    Every query frame is matched with every frame; with `chained`, every frame with the next one, from the
    query frame in both directions. A `FeatureMatcher` extracts each frame once, if its memory holds the
    features of the query frames and of one more frame.
    """

    def __init__(
        self,
        matcher: Matcher,
        *,
        visible_above: float | None,
        cycle: float | None,
        chained: bool = False,
    ) -> None:
        """Choose how points are followed, and which count as visible.

        Args:
            matcher: must transfer points.
            visible_above: a point is visible if its confidence is above this, in a chain the lowest
                confidence of all steps; None skips this check.
            cycle: a point is visible if its cycle error (to the other frame and back) is at most this many
                pixels, in a chain the error of every step; None skips this check and the way back.
            chained: match each frame with the next instead of with the query frames.

        Raises:
            ConfigError: a value out of its range.
        """
        if visible_above is not None and not 0 <= visible_above < 1:
            raise ConfigError(f"expected visible_above in [0, 1) or null, got {visible_above}")
        if cycle is not None and cycle <= 0:
            raise ConfigError(f"expected a cycle above 0 pixels or null, got {cycle}")
        self.matcher, self.chained = matcher, chained
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
        if self.chained:
            self._follow_chain(images, query_frame, found)
        else:
            self._follow_queries(images, query_frame, found)
        return Tracks(xy=found.xy, visible=self._visible(found), query_frame=queries.frame.cpu())

    def _follow_queries(self, images: list[Image], query_frame: Int[Tensor, " N"], found: "_Tracked") -> None:
        sources = query_frame.unique().tolist()
        # Frames in the outer loop, query frames in the inner one: this needs the least memory for features.
        for index in range(len(images)):
            for source in sources:
                if source != index:
                    self._step(images, (query_frame == source).nonzero()[:, 0], source, index, found)

    def _follow_chain(self, images: list[Image], query_frame: Int[Tensor, " N"], found: "_Tracked") -> None:
        last = len(images) - 1
        for index in range(last):
            self._step(images, (query_frame <= index).nonzero()[:, 0], index, index + 1, found)
        for index in range(last, 0, -1):
            self._step(images, (query_frame >= index).nonzero()[:, 0], index, index - 1, found)

    def _step(
        self, images: list[Image], rows: Int[Tensor, " M"], source: int, target: int, found: "_Tracked"
    ) -> None:
        if len(rows) == 0:
            return
        start = found.xy[rows, source]
        forward = self.matcher.match(images[source], images[target]).transfer(start)
        found.xy[rows, target] = forward.xy.cpu().float()
        confidence = forward.confidence.cpu().float()
        found.confidence[rows, target] = torch.minimum(found.confidence[rows, source], confidence)
        if self.cycle is not None:
            backward = self.matcher.match(images[target], images[source]).transfer(forward.xy)
            cycle_error = (backward.xy.cpu().float() - start).norm(dim=1)
            found.cycle_error[rows, target] = torch.maximum(found.cycle_error[rows, source], cycle_error)

    def _visible(self, found: "_Tracked") -> Tensor:
        visible = torch.ones_like(found.confidence, dtype=torch.bool)
        if self.visible_above is not None:
            visible &= found.confidence > self.visible_above
        if self.cycle is not None:
            visible &= found.cycle_error <= self.cycle
        return visible


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
