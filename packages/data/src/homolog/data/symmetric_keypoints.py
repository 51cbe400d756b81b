"""Which annotated keypoints look alike, so that only the geometry of the object tells them apart.

Zhang et al., "Telling Left from Right" (2024), section 3 and its supplement, call the points of such a
group the geometry-aware subset. The groups follow from what the numbered keypoints of SPair-71k and
AP-10K are (left and right ear, four paws); which ones count is as GeoAware-SC's
`utils/utils_geoware.py` defines it, so that the subset is the same.
"""

from collections.abc import Collection, Sequence

Groups = tuple[tuple[int, ...], ...]

_LEFT_RIGHT_PAIRS_OF_MAMMALS: Groups = ((2, 3), (9, 10, 11, 12))  # ears, paws or hooves

SPAIR: dict[str, Groups] = {
    "aeroplane": tuple((first, first + 1) for first in range(4, 21, 2)),
    "bicycle": ((2, 3), (6, 7), (9, 10)),
    "bird": ((1, 2), (10, 11), (12, 13), (14, 15)),
    "boat": tuple((first, first + 1) for first in range(1, 12, 2)),
    "bottle": tuple((first, first + 1) for first in range(0, 9, 2)),
    "bus": (
        (0, 1),
        (2, 3, 5, 6),
        (4, 7),
        (10, 13, 20, 23),
        (11, 14, 21, 24),
        (12, 15, 22, 25),
        (16, 17, 26, 27),
        (18, 19, 28, 29),
    ),
    "car": (
        (0, 1),
        (2, 3, 6, 7),
        (4, 8),
        (5, 9),
        (10, 13, 20, 23),
        (11, 14, 21, 24),
        (12, 15, 22, 25),
        (16, 17, 26, 27),
        (18, 19, 28, 29),
    ),
    "cat": _LEFT_RIGHT_PAIRS_OF_MAMMALS,
    "chair": ((0, 1), (2, 3), (4, 5, 6, 7), (8, 9), (10, 11), (12, 13)),
    "cow": (*_LEFT_RIGHT_PAIRS_OF_MAMMALS, (15, 16, 17, 18), (19, 20)),
    "dog": _LEFT_RIGHT_PAIRS_OF_MAMMALS,
    "horse": ((2, 3), (10, 11, 12, 13), (16, 17, 18, 19)),
    "motorbike": ((0, 1), (2, 3)),
    "person": tuple((first, first + 1) for first in range(8, 19, 2)),
    "pottedplant": ((0, 1, 2, 3), (4, 5), (6, 8)),
    "sheep": (*_LEFT_RIGHT_PAIRS_OF_MAMMALS, (15, 16, 17, 18), (19, 20)),
    "train": tuple((first, first + 1) for first in range(0, 17, 2)),
    "tvmonitor": ((0, 2, 4, 6), (1, 3, 5, 7), (8, 10, 12, 14), (9, 11, 13, 15)),
}
"""Groups of keypoint numbers by category of SPair-71k."""

AP10K: Groups = ((5, 8), (6, 9, 12, 15), (7, 10, 13, 16), (11, 14))
"""Groups of keypoint numbers of AP-10K: shoulders, elbows and knees, paws, hips."""


def geometry_aware(groups: Groups, points: Sequence[int], target: Collection[int]) -> list[bool]:
    """Tell which points of a pair are in the geometry-aware subset.

    Args:
        groups: keypoint numbers that look alike.
        points: numbers of the keypoints seen in both images.
        target: numbers of the keypoints seen in image 1.

    Returns:
        For each point, whether at least two members of its group are seen in image 1.

    >>> geometry_aware(((2, 3), (9, 10)), [0, 2, 9], {0, 2, 3, 9})
    [False, True, False]
    """
    confusable = {
        number for group in groups if sum(member in target for member in group) >= 2 for number in group
    }
    return [point in confusable for point in points]
