"""Which points of annotated tracks a tracker is asked for."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from homolog.core.errors import ConfigError, ShapeError

QueryMode = Literal["first", "strided", "initial"]
"""`first`: where each track is first seen. `strided`: wherever it is seen on every fifth frame, so one
track is asked for several times. `initial`: only tracks that are seen on the first frame."""

STRIDE = 5
"""Frames from one query frame of `strided` to the next, as TAP-Vid has it."""


class SampledQueries(NamedTuple):
    """Q queries.

    Attributes:
        track: [Q] row of the annotation that each follows.
        frame: [Q] the frame on which each is asked for; the track is seen there.
    """

    track: Int[np.ndarray, " Q"]
    frame: Int[np.ndarray, " Q"]


def sample_queries(visible: Bool[np.ndarray, "N T"], *, mode: QueryMode) -> SampledQueries:
    """Choose the queries of a video.

    Reproduces `sample_queries_first` and `sample_queries_strided` of
    google-deepmind/tapnet:tapnet/tapvid/evaluation_datasets.py, their order included: by track for
    `first`, by frame and then by track for `strided`. Tracks that are never seen are left out.
    `initial` is what MATCHA (table 4) does on TAP-Vid as far as it says.

    Args:
        visible: whether track n is seen on frame t.
        mode: which rule.

    Raises:
        ShapeError: not [N T].
        ConfigError: another mode.

    >>> sample_queries(np.array([[False, True], [False, False]]), mode="first")
    SampledQueries(track=array([0]), frame=array([1]))
    """
    if visible.ndim != 2:
        raise ShapeError(f"sample_queries: expected visible [N T], got {list(visible.shape)}")
    if mode == "first":
        track = np.flatnonzero(visible.any(axis=1))
        return SampledQueries(track, visible[track].argmax(axis=1) if len(track) else track)
    if mode == "strided":
        step, track = np.nonzero(visible[:, ::STRIDE].T)
        return SampledQueries(track, step * STRIDE)
    if mode == "initial":
        track = np.flatnonzero(visible[:, :1].any(axis=1))
        return SampledQueries(track, np.zeros_like(track))
    raise ConfigError(f"expected the query mode first, strided or initial, got {mode!r}")
