"""The homography of all matches, without RANSAC, as an estimator."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from homolog.core.errors import ConfigError, MissingDependencyError
from homolog.evaluators.homography_fit import fit_homography
from homolog.evaluators.two_view import MatchedPair, MatrixEstimate

Solver = Literal["homolog", "kornia"]
"""`homolog`: singular values, float64. `kornia`: kornia's default, float32, as glue-factory calls it; on
noisy matches the two minimise different errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectHomography:
    """Weighted direct linear transform; the weight of a match is its score.

    Attributes:
        solver: whose.
    """

    solver: Solver

    def __post_init__(self) -> None:
        """Refuse another solver."""
        if self.solver not in ("homolog", "kornia"):
            raise ConfigError(f"expected the solver homolog or kornia, got {self.solver!r}")

    def estimate(self, pair: MatchedPair, /) -> MatrixEstimate | None:
        """Return the homography, or None from fewer than four matches; every match is an inlier.

        Raises:
            MissingDependencyError: kornia is asked for and not installed.
            ShapeError: a negative score.
        """
        xy0, xy1, usable = pair.usable()
        if len(xy0) < 4:
            return None
        fit = fit_homography if self.solver == "homolog" else _by_kornia
        H = fit(xy0, xy1, pair.score[usable])
        return None if H is None else MatrixEstimate(matrix=H, inlier=usable)

    def settings(self) -> dict[str, str]:
        """Return every choice as text."""
        return {"estimator": "weighted DLT", "solver": self.solver, "weight": "score of the match"}


def _by_kornia(xy0: np.ndarray, xy1: np.ndarray, weight: np.ndarray) -> np.ndarray | None:
    try:
        import torch
        from kornia.geometry.homography import find_homography_dlt
    except ImportError as error:
        raise MissingDependencyError("kornia", "the solver kornia") from error
    points0, points1, weights = (
        torch.from_numpy(part.astype(np.float32))[None] for part in (xy0, xy1, weight)
    )
    H = find_homography_dlt(points0, points1, weights)[0].double().numpy()
    return H if np.isfinite(H).all() else None
