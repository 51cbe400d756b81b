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

    Every query frame is matched with every frame; chained, every frame with the next, from the query
    frame both ways through the video. A matcher that remembers features, as `SparseMatcher` does,
    extracts each frame once: at any time only the query frames and one more have to be remembered.
    """

    def __init__(
        self,
        matcher: Matcher,
        *,
        visible_above: float | None,
        cycle: float | None,
        chained: bool = False,
    ) -> None:
        """Choose how points are followed, and which are said to be visible.

        Args:
            matcher: has to transfer points.
            visible_above: a point is visible where its confidence is above this; None does not ask.
                In a chain, where the lowest confidence on the way is.
            cycle: a point is visible where the way there and back again ends within so many pixels of
                its start; None does not ask, and saves the way back. In a chain, where each step does.
            chained: match each frame with the next instead of with the query frames.

        Raises:
            ConfigError: a value out of its range.
        """
        if visible_above is not None and not 0 <= visible_above < 1:
            raise ConfigError(f"expected visible_above in [0, 1) or null, got {visible_above}")
        if cycle is not None and cycle <= 0:
            raise ConfigError(f"expected a cycle above 0 pixels or null, got {cycle}")
        self.matcher = matcher
        self.visible_above = visible_above
        self.cycle = cycle
        self.chained = chained

    def track(self, frames: list[Image], queries: Queries) -> Tracks:
        """Return where each query is on every frame; on its own frame it is what it was.

        Args:
            frames: of one size.
            queries: pixel coordinates on `frames`.

        Returns:
            Pixel coordinates on `frames`; float32, on the CPU. Without `visible_above` and `cycle` all
            points are said to be visible.

        Raises:
            CapabilityError: the matcher finds sparse matches only.
            ShapeError: a query beside the video.
        """
        asked = queries.frame.cpu().long()
        if len(asked) and not 0 <= int(asked.min()) <= int(asked.max()) < len(frames):
            raise ShapeError(
                f"expected query frames from 0 to {len(frames) - 1}, got {int(asked.min())} to {int(asked.max())}"
            )
        # Matchers answer in pixels of the original file; of these images, the original is what is given.
        images = [Image(pixels=frame.pixels, name=frame.name) for frame in frames]
        found = _Found.start(queries.xy.detach().cpu().float(), len(frames))
        if self.chained:
            self._follow_chain(images, asked, found)
        else:
            self._follow_queries(images, asked, found)
        return Tracks(xy=found.xy, visible=self._visible(found), query_frame=queries.frame.cpu())

    def _follow_queries(self, images: list[Image], asked: Int[Tensor, " N"], found: "_Found") -> None:
        sources = asked.unique().tolist()
        # Frames outside, query frames inside: what has to be remembered is then as little as possible.
        for index in range(len(images)):
            for source in sources:
                if source != index:
                    self._step(images, (asked == source).nonzero()[:, 0], source, index, found)

    def _follow_chain(self, images: list[Image], asked: Int[Tensor, " N"], found: "_Found") -> None:
        last = len(images) - 1
        for index in range(last):
            self._step(images, (asked <= index).nonzero()[:, 0], index, index + 1, found)
        for index in range(last, 0, -1):
            self._step(images, (asked >= index).nonzero()[:, 0], index, index - 1, found)

    def _step(
        self, images: list[Image], rows: Int[Tensor, " M"], source: int, target: int, found: "_Found"
    ) -> None:
        if len(rows) == 0:
            return
        start = found.xy[rows, source]
        there = self.matcher.match(images[source], images[target]).transfer(start)
        found.xy[rows, target] = there.xy.cpu().float()
        confidence = there.confidence.cpu().float()
        found.confidence[rows, target] = torch.minimum(found.confidence[rows, source], confidence)
        if self.cycle is not None:
            back = self.matcher.match(images[target], images[source]).transfer(there.xy)
            astray = (back.xy.cpu().float() - start).norm(dim=1)
            found.astray[rows, target] = torch.maximum(found.astray[rows, source], astray)

    def _visible(self, found: "_Found") -> Tensor:
        visible = torch.ones_like(found.confidence, dtype=torch.bool)
        if self.visible_above is not None:
            visible &= found.confidence > self.visible_above
        if self.cycle is not None:
            visible &= found.astray <= self.cycle
        return visible


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Found:
    """What is known so far; on the query's frame its place, full confidence and no error."""

    xy: Float[Tensor, "N T 2"]
    confidence: Float[Tensor, "N T"]
    astray: Float[Tensor, "N T"]

    @classmethod
    def start(cls, xy: Float[Tensor, "N 2"], frames: int) -> "_Found":
        count = len(xy)
        return cls(
            xy=xy[:, None].repeat(1, frames, 1),
            confidence=torch.ones(count, frames),
            astray=torch.zeros(count, frames),
        )
