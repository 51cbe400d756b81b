"""Dense truth between shapes of different topology that share canonical coordinates.

Imported and generated meshes have no common triangles. If each carries a canonical position per vertex,
a pixel of one view corresponds to the pixel of the other with the nearest canonical position. That finds
whole pixels; one Gauss-Newton step on the canonical positions around the winner finds the place between.
"""

import numpy as np
from jaxtyping import Bool, Float32, Int32

from homolog.core.errors import MissingDependencyError
from homolog.synthetic.correspondence import DenseTruth, OneWay, both_ways

APART = 100.0
"""Between parts, in canonical units: no part is ever nearest to another."""


def truth_from_canonical(
    canonical0: Float32[np.ndarray, "H W 3"],
    part0: Int32[np.ndarray, "H W"],
    canonical1: Float32[np.ndarray, "h w 3"],
    part1: Int32[np.ndarray, "h w"],
    *,
    tolerance: float = 0.02,
    two_way: float | None = 2.0,
) -> tuple[DenseTruth, DenseTruth]:
    """Return the truth that lives on view 0 and points to view 1, and the one from 1 to 0.

    Args:
        canonical0: canonical position of what each pixel of view 0 shows.
        part0: part of it, -1 where a pixel shows nothing that the other view could have.
        canonical1: the same for view 1.
        part1: the same for view 1.
        tolerance: how far apart two canonical positions may be and still be taken for one place.
        two_way: drop labels that do not lead back to within so many pixels; None keeps them. Where a place
            is hidden, the nearest one in sight is another: this is what tells.

    Raises:
        MissingDependencyError: scipy is not installed.
    """
    there = _labels(canonical0, part0, canonical1, part1, tolerance)
    back = _labels(canonical1, part1, canonical0, part0, tolerance)
    return both_ways(there, back, two_way=two_way)


def _labels(
    canonical: np.ndarray, part: np.ndarray, far_canonical: np.ndarray, far_part: np.ndarray, tolerance: float
) -> OneWay:
    try:
        from scipy.spatial import KDTree
    except ImportError as error:
        raise MissingDependencyError(
            "homolog-synthetic[synthetic]", "canonical nearest neighbours"
        ) from error
    xy = np.full((*part.shape, 2), np.nan, np.float32)
    covisible = np.zeros(part.shape, np.bool_)
    fg = part >= 0
    rows, columns = np.nonzero(far_part >= 0)
    if len(rows) and fg.any():
        tree = KDTree(_with_part(far_canonical[rows, columns], far_part[rows, columns]))
        distance, winner = tree.query(_with_part(canonical[fg], part[fg]), distance_upper_bound=2 * tolerance)
        found = np.isfinite(distance)
        index = np.where(found, winner, 0)
        start = np.stack((columns[index], rows[index]), axis=-1)
        place, rest = _refined(start, canonical[fg], far_canonical, far_part)
        covisible[fg] = found & (np.minimum(rest, distance) < tolerance)
        xy[fg] = np.where(found[:, None], place, np.nan)
    return OneWay(xy=xy, covisible=covisible, part=part)


def _with_part(canonical: np.ndarray, part: np.ndarray) -> np.ndarray:
    return np.concatenate((canonical, APART * part[:, None]), axis=1)


def _refined(
    start: np.ndarray, wanted: np.ndarray, canonical: np.ndarray, part: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return places between pixels, and how far the canonical position there is from the wanted one."""
    here = canonical[start[:, 1], start[:, 0]]
    missing = (wanted - here).astype(np.float64)
    slopes = [_slope(start, step, canonical, part) for step in ((1, 0), (0, 1))]
    J = np.stack([slope for slope, _ in slopes], axis=-1)
    usable: Bool[np.ndarray, " N"] = slopes[0][1] & slopes[1][1]
    # Levenberg's small diagonal: a surface seen from the side has almost no slope in one direction.
    normal = np.einsum("nci,ncj->nij", J, J) + 1e-12 * np.eye(2)
    step = np.linalg.solve(normal, np.einsum("nci,nc->ni", J, missing)[..., None])[..., 0]
    step = np.where(usable[:, None], np.clip(step, -1, 1), 0)
    rest = np.linalg.norm(missing - np.einsum("nci,ni->nc", J, step), axis=1)
    return start + step, rest


def _slope(
    start: np.ndarray, step: tuple[int, int], canonical: np.ndarray, part: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the central difference of the canonical positions, and where both neighbours are of the part."""
    height, width = part.shape
    ends: list[np.ndarray] = []
    usable = np.ones(len(start), np.bool_)
    for sign in (1, -1):
        column, row = start[:, 0] + sign * step[0], start[:, 1] + sign * step[1]
        inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
        column, row = np.where(inside, column, 0), np.where(inside, row, 0)
        usable &= inside & (part[row, column] == part[start[:, 1], start[:, 0]])
        ends.append(canonical[row, column])
    slope = (ends[0] - ends[1]) / 2
    return np.where(usable[:, None], slope, 0).astype(np.float64), usable
