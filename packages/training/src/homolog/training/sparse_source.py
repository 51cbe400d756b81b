"""A source whose dense truth stays hidden: made-up pairs in the place of photos, of which nobody knows it."""

from dataclasses import replace

from homolog.core.samples import PairSample
from homolog.training.mixture import Source


class SparseSource:
    """Pairs of another source with their keypoints, boxes and masks, and no dense truth, depth or pose."""

    def __init__(self, source: Source) -> None:
        """Wrap a source."""
        self._source = source

    def __len__(self) -> int:
        """Return how many pairs there are."""
        return len(self._source)

    def __getitem__(self, index: int, /) -> PairSample:
        """Return one."""
        hidden = dict.fromkeys(("dense0", "dense1", "depth0", "depth1", "pose", "homography"))
        return replace(self._source[index], **hidden)
