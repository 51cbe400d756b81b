"""What goes into an estimator of two-view geometry, and what comes out. Small, and without torch: both travel."""

from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from homolog.core.errors import ShapeError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatchedPair:
    """The matches of one pair of images, best first, all float64.

    Attributes:
        name: of the pair, for messages.
        xy0: [M 2] pixels of image 0.
        xy1: [M 2] pixels of image 1.
        score: [M], higher is better.
        K0: [3 3] intrinsics of image 0 for these pixels, or None.
        K1: [3 3] of image 1, or None.
    """

    name: str
    xy0: Float[np.ndarray, "M 2"]
    xy1: Float[np.ndarray, "M 2"]
    score: Float[np.ndarray, " M"]
    K0: Float[np.ndarray, "3 3"] | None = None
    K1: Float[np.ndarray, "3 3"] | None = None

    def __post_init__(self) -> None:
        """Refuse parts of different lengths."""
        if not len(self.xy0) == len(self.xy1) == len(self.score):
            raise ShapeError(
                f"{self.name}: expected as many xy1 and scores as xy0, got {len(self.xy0)}, {len(self.xy1)} and "
                f"{len(self.score)}"
            )

    def intrinsics(self) -> tuple[np.ndarray, np.ndarray]:
        """Return K0 and K1.

        Raises:
            ShapeError: the pair has none.
        """
        if self.K0 is None or self.K1 is None:
            raise ShapeError(
                f"{self.name}: expected a pair with intrinsics, got none; choose a task with poses"
            )
        return self.K0, self.K1

    def usable(self) -> tuple[Float[np.ndarray, "U 2"], Float[np.ndarray, "U 2"], Bool[np.ndarray, " M"]]:
        """Return the matches that have finite coordinates, which estimators see, and tell which those are."""
        # Nearly always all of them, and then a sum is all it takes to know.
        if np.isfinite(self.xy0.sum() + self.xy1.sum()):
            return self.xy0, self.xy1, np.ones(len(self.xy0), dtype=np.bool_)
        finite = np.all(np.isfinite(np.concatenate((self.xy0, self.xy1), axis=1)), axis=1)
        return self.xy0[finite], self.xy1[finite], finite


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoseEstimate:
    """The motion from camera 0 to camera 1: X1 = R X0 + t.

    Attributes:
        R: [3 3] rotation.
        t: [3] direction of the translation.
        inlier: [M] which matches agree with it.
    """

    R: Float[np.ndarray, "3 3"]
    t: Float[np.ndarray, "3"]
    inlier: Bool[np.ndarray, " M"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatrixEstimate:
    """A homography [3 3], a fundamental matrix [3 3] or an affine map [2 3], between pixels.

    Attributes:
        matrix: from image 0 to image 1.
        inlier: [M] which matches agree with it.
    """

    matrix: Float[np.ndarray, "rows 3"]
    inlier: Bool[np.ndarray, " M"]


Estimate = TypeVar("Estimate", PoseEstimate, MatrixEstimate, covariant=True)


@runtime_checkable
class Estimator(Protocol[Estimate]):
    """Estimates geometry from matches. It is pickled to other processes, so it holds settings only."""

    def estimate(self, pair: MatchedPair, /) -> Estimate | None:
        """Return what the matches agree on, or None for a failure; never a stand-in for one.

        Equal matches give equal answers, whatever was estimated before.

        Raises:
            MissingDependencyError: the library that does it is not installed.
        """
        ...

    def settings(self) -> dict[str, str]:
        """Return every choice that moves the answer, as text."""
        ...


def spread(inlier: np.ndarray, usable: np.ndarray) -> Bool[np.ndarray, " M"]:
    """Return flags of the usable matches as flags of all."""
    flags = usable.copy()
    flags[usable] = np.asarray(inlier, dtype=np.bool_).reshape(-1)
    return flags
