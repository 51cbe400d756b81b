"""Points tracked through a video."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.core.errors import ShapeError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Queries:
    """N points to track: the position of each, and the frame on which it is given.

    Attributes:
        xy: [N 2] pixel coordinates on the frame of the query.
        frame: [N] index of that frame, from 0.
    """

    xy: Float[Tensor, "N 2"]
    frame: Int[Tensor, " N"]

    def __post_init__(self) -> None:
        """Raise a ShapeError unless there is one frame per point."""
        if len(self.xy) != len(self.frame):
            raise ShapeError(
                f"Queries: expected one frame per point, got {len(self.xy)} xy, {len(self.frame)} frames"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tracks:
    """N points on T frames.

    Attributes:
        xy: [N T 2] pixel coordinates; the best guess where a point is not visible.
        visible: [N T].
        query_frame: [N] the frame of the query of each track.
    """

    xy: Float[Tensor, "N T 2"]
    visible: Bool[Tensor, "N T"]
    query_frame: Int[Tensor, " N"]

    def __post_init__(self) -> None:
        """Raise a ShapeError unless the parts have the shapes above."""
        if self.xy.shape[:2] != self.visible.shape or len(self.xy) != len(self.query_frame):
            raise ShapeError(
                f"Tracks: expected xy [N T 2], visible [N T], query_frame [N], got {list(self.xy.shape)}, "
                f"{list(self.visible.shape)}, {list(self.query_frame.shape)}"
            )

    def __len__(self) -> int:
        """Return the number of tracks."""
        return len(self.xy)

    def queries(self) -> Queries:
        """Return the points on their query frames, as the queries of a tracker."""
        rows = self.query_frame.new_tensor(range(len(self)))
        return Queries(xy=self.xy[rows, self.query_frame], frame=self.query_frame)
