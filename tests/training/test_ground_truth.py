"""Ground-truth matches of keypoints and of coarse cells."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from homolog.core.camera import Camera, RelativePose
from homolog.core.coords import Size, pixel_grid, pixel_to_normalised
from homolog.core.dense import DenseField
from homolog.core.errors import ConfigError
from homolog.training.ground_truth import coarse_truth, matches_from_depth, matches_from_homography

SHIFT = torch.tensor([[1.0, 0.0, 10.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
"""Ten pixels to the right."""


def test_near_ones_match_far_ones_do_not_and_those_between_are_ignored():
    xy0 = torch.tensor([[0.0, 0.0], [50.0, 0.0], [100.0, 0.0], [150.0, 0.0]])
    xy1 = torch.tensor([[12.0, 0.0], [64.0, 0.0], [116.0, 0.0], [11.0, 50.0]])  # 2, 4, 6 off, and nobody's
    found = matches_from_homography(xy0, xy1, SHIFT, positive=3.0, negative=5.0)
    assert found.matches0.tolist() == [0, -2, -1, -1]
    assert found.matches1.tolist() == [0, -2, -1, -1]


def test_of_two_candidates_the_nearer_matches_and_the_other_is_ignored():
    xy0 = torch.tensor([[0.0, 0.0]])
    xy1 = torch.tensor([[12.0, 0.0], [11.0, 0.0]])
    found = matches_from_homography(xy0, xy1, SHIFT)
    assert found.matches0.tolist() == [1]
    assert found.matches1.tolist() == [-2, 0]


def test_the_larger_error_of_both_ways_decides():
    twice = torch.diag(torch.tensor([2.0, 2.0, 1.0]))  # 2 pixels in image 0 are 4 in image 1
    found = matches_from_homography(torch.zeros(1, 2), torch.tensor([[4.0, 0.0]]), twice, negative=9.0)
    assert found.matches0.tolist() == [-2]


@pytest.mark.parametrize(("count0", "count1"), [(0, 3), (3, 0), (0, 0)])
def test_without_points_on_one_side_those_of_the_other_have_no_partner(count0, count1):
    found = matches_from_homography(torch.rand(count0, 2), torch.rand(count1, 2), SHIFT)
    assert found.matches0.tolist() == [-1] * count0
    assert found.matches1.tolist() == [-1] * count1


@given(seed=st.integers(0, 99), count0=st.integers(1, 12), count1=st.integers(1, 12))
def test_exchanging_the_images_exchanges_the_labels(seed, count0, count1):
    generator = torch.Generator().manual_seed(seed)
    xy0, xy1 = (torch.rand(n, 2, generator=generator) * 12 for n in (count0, count1))
    forth = matches_from_homography(xy0, xy1, torch.eye(3), negative=4.0)
    back = matches_from_homography(xy1, xy0, torch.eye(3), negative=4.0)
    assert torch.equal(forth.matches0, back.matches1)
    assert torch.equal(forth.matches1, back.matches0)


def test_a_negative_distance_below_the_positive_one_is_refused():
    with pytest.raises(ConfigError, match=r"at least the positive one, above 0, got 2\.0 and 3\.0"):
        matches_from_homography(torch.rand(1, 2), torch.rand(1, 2), SHIFT, negative=2.0)


def wall(xy0: Tensor, xy1: Tensor, *, holes: list[tuple[int, int]] | None = None, epipolar: bool = False):
    """A wall 10 m away, 100 x 80 pixels; camera 1 is 1 m to the left, so all moves 10 pixels to the right."""
    camera = Camera(K=torch.tensor([[100.0, 0.0, 49.5], [0.0, 100.0, 39.5], [0.0, 0.0, 1.0]]))
    depth = torch.full((80, 100), 10.0)
    depth0 = depth.clone()
    for x, y in holes or []:
        depth0[y - 1 : y + 2, x - 1 : x + 2] = 0
    return matches_from_depth(
        xy0,
        xy1,
        depth0=depth0,
        depth1=depth,
        camera0=camera,
        camera1=camera,
        pose=RelativePose(R=torch.eye(3), t=torch.tensor([1.0, 0.0, 0.0])),
        epipolar=epipolar,
    )


def test_depth_says_where_points_are_and_that_they_left_the_image():
    found = wall(
        torch.tensor([[20.0, 30.0], [60.0, 70.0], [95.0, 40.0]]),
        torch.tensor([[71.0, 70.0], [30.0, 30.0], [50.0, 5.0]]),
    )
    assert found.matches0.tolist() == [1, 0, -1]  # the last one is at 105 there
    assert found.matches1.tolist() == [1, 0, -1]


def test_without_depth_a_point_is_ignored_unless_its_epipolar_line_is_far_from_all():
    xy0, xy1 = torch.tensor([[20.0, 30.0], [40.0, 50.0]]), torch.tensor([[70.0, 31.0], [30.0, 10.0]])
    plain = wall(xy0, xy1, holes=[(20, 30), (40, 50)])
    assert plain.matches0.tolist() == [-2, -2]
    assert plain.matches1.tolist() == [-1, -1]  # theirs is known: nobody is near
    # Nobody of image 1 is undecided, so nobody can be the partner.
    assert wall(xy0, xy1, holes=[(20, 30), (40, 50)], epipolar=True).matches0.tolist() == [-1, -1]


def test_next_to_a_hole_the_nearest_pixel_tells_the_depth():
    # The hole covers 19 to 21; at 21.6 the nearest pixel is 22, whose depth is known.
    xy0 = torch.tensor([[21.6, 30.0], [21.4, 30.0]])
    found = wall(xy0, torch.tensor([[31.6, 30.0]]), holes=[(20, 30)])
    assert found.matches0.tolist() == [0, -2]


CELL = 4


def apply(homography: Tensor, xy: Tensor) -> Tensor:
    at = torch.cat((xy.double(), torch.ones(len(xy), 1, dtype=torch.float64)), dim=1) @ homography.T
    return at[:, :2] / at[:, 2:]


def truth(homography: Tensor, size: Size, other: Size) -> DenseField:
    """Of every pixel whose place in the other image is on it; float64."""
    place = pixel_to_normalised(apply(homography, pixel_grid(size)), other)
    place[(place.abs() > 1).any(dim=1)] = torch.nan
    grid = place.T.reshape(1, 2, *size)
    return DenseField(grid=grid, confidence=grid.isfinite().all(dim=1).double())


def view(angle: float, zoom: float, tilt: float, size: Size) -> Tensor:
    centre = torch.tensor([[1, 0, -size[1] / 2], [0, 1, -size[0] / 2], [0, 0, 1]], dtype=torch.float64)
    turn = torch.tensor(
        [
            [zoom * math.cos(angle), -zoom * math.sin(angle), 0],
            [zoom * math.sin(angle), zoom * math.cos(angle), 0],
            [tilt, 0, 1],
        ],
        dtype=torch.float64,
    )
    return torch.linalg.inv(centre) @ turn @ centre


def walk(homography: Tensor, size0: Size, size1: Size, column: int, row: int) -> tuple[int, int] | None:
    """The cell of image 1 that the centre of a cell of image 0 is in, or None; by pixels, without tensors."""
    middle = (CELL - 1) / 2
    # Known if the four pixels around the centre all have a place on the other image.
    for y in (math.floor(row * CELL + middle), math.ceil(row * CELL + middle)):
        for x in (math.floor(column * CELL + middle), math.ceil(column * CELL + middle)):
            at = apply(homography, torch.tensor([[float(x), float(y)]]))[0].tolist()
            if not (-0.5 <= at[0] <= size1[1] - 0.5 and -0.5 <= at[1] <= size1[0] - 0.5):
                return None
    centre = torch.tensor([[column * CELL + middle, row * CELL + middle]])
    x, y = apply(homography, centre)[0].tolist()
    return int((x + 0.5) // CELL), int((y + 0.5) // CELL)


def oracle(homography: Tensor, size0: Size, size1: Size) -> list[int]:
    back = torch.linalg.inv(homography)
    wide = size1[1] // CELL
    labels: list[int] = []
    for row in range(size0[0] // CELL):
        for column in range(size0[1] // CELL):
            there = walk(homography, size0, size1, column, row)
            again = None if there is None else walk(back, size1, size0, *there)
            labels.append(-2 if there is None or again != (column, row) else there[1] * wide + there[0])
    return labels


@settings(max_examples=25)
@given(angle=st.floats(-3, 3), zoom=st.floats(0.6, 1.6), tilt=st.floats(-0.003, 0.003))
def test_cells_match_as_the_oracle_says_both_ways(angle: float, zoom: float, tilt: float):
    size0, size1 = (24, 32), (28, 24)
    homography = view(angle, zoom, tilt, size0)
    back = torch.linalg.inv(homography)
    found = coarse_truth(
        truth(homography, size0, size1), truth(back, size1, size0), cells0=(6, 8), cells1=(7, 6)
    )
    # A centre within a thousandth of a cell's border may be said to be on either side.
    expected0, expected1 = oracle(homography, size0, size1), oracle(back, size1, size0)
    unsure = near_a_border(homography, size0) | {
        cell for cell, other in enumerate(found.matches0[0].tolist()) if other in near_a_border(back, size1)
    }
    for cell, (one, other) in enumerate(zip(found.matches0[0].tolist(), expected0, strict=True)):
        assert one == other or cell in unsure
    if not unsure and not near_a_border(back, size1):
        assert found.matches1[0].tolist() == expected1
    pairs0 = {(i, j) for i, j in enumerate(found.matches0[0].tolist()) if j >= 0}
    pairs1 = {(i, j) for j, i in enumerate(found.matches1[0].tolist()) if i >= 0}
    assert pairs0 == pairs1


def near_a_border(homography: Tensor, size: Size) -> set[int]:
    """Cells whose centre goes to within 0.02 px of a border: labels between pixels are interpolated."""
    cells = pixel_grid((size[0] // CELL, size[1] // CELL)).double() * CELL + (CELL - 1) / 2
    part = ((apply(homography, cells) + 0.5) / CELL) % 1
    off = torch.minimum(part, 1 - part).amin(dim=1) * CELL
    return set((off < 0.02).nonzero()[:, 0].tolist())


def test_the_identity_matches_each_cell_with_itself_and_keeps_its_centre():
    whole = DenseField.identity((16, 24))
    found = coarse_truth(whole, whole, cells0=(4, 6), cells1=(4, 6))
    assert found.matches0.tolist() == [list(range(24))]
    assert found.matches1.tolist() == [list(range(24))]
    centres = pixel_to_normalised(pixel_grid((4, 6)), (4, 6))
    torch.testing.assert_close(found.place0[0], centres)


def shifted(cells: float) -> tuple[DenseField, DenseField]:
    """16 x 24 pixels, 4 x 6 cells: image 1 shows everything so many cells to the right."""
    whole = DenseField.identity((16, 24))
    step = torch.tensor([2 * cells / 6, 0.0])[:, None, None]
    return (
        DenseField(grid=whole.grid + step, confidence=whole.confidence),
        DenseField(grid=whole.grid - step, confidence=whole.confidence),
    )


def test_a_cell_that_falls_beside_the_image_has_no_partner():
    found = coarse_truth(*shifted(2), cells0=(4, 6), cells1=(4, 6))
    assert found.matches0[0, :6].tolist() == [2, 3, 4, 5, -1, -1]
    assert found.matches1[0, :6].tolist() == [-1, -1, 0, 1, 2, 3]


@pytest.mark.parametrize(("rest", "label"), [("ignored", -2), ("unmatched", -1)])
def test_without_a_label_or_a_way_back_a_cell_is_the_rest(rest, label):
    there, back = shifted(1)
    holes = there.grid.clone()
    holes[0, :, 6, 5] = torch.nan  # one of the four pixels around the centre of cell (1, 1)
    doubt = back.confidence.clone()
    doubt[0, 13, 17] = 0  # and of cell (4, 3)
    found = coarse_truth(
        DenseField(grid=holes, confidence=there.confidence),
        DenseField(grid=back.grid, confidence=doubt),
        cells0=(4, 6),
        cells1=(4, 6),
        rest=rest,
    )
    matches0, matches1 = found.matches0[0].reshape(4, 6), found.matches1[0].reshape(4, 6)
    assert matches0[1].tolist() == [7, label, 9, 10, 11, -1]
    assert found.place0[0].reshape(4, 6, 2)[1, 1].isnan().all()
    assert matches1[1].tolist() == [-1, 6, label, 8, 9, 10]
    assert matches1[3].tolist() == [-1, 18, 19, 20, label, 22]
    assert matches0[3].tolist() == [19, 20, 21, label, 23, -1]


def test_of_two_cells_that_fall_into_one_only_its_own_matches():
    # Image 1 is half as large: cells (0, 0) and (1, 0) both fall into (0, 0), whose centre is between them.
    whole, small = DenseField.identity((16, 24)), DenseField.identity((8, 12))
    found = coarse_truth(whole, small, cells0=(4, 6), cells1=(2, 3))
    assert int((found.matches0 >= 0).sum()) == int((found.matches1 >= 0).sum()) <= 6
    assert (found.matches0 >= -2).all()


def test_pairs_of_a_batch_are_labelled_each_by_itself():
    pairs = [shifted(0), shifted(2), shifted(-1.2)]
    joined = [
        DenseField(
            grid=torch.cat([pair[side].grid for pair in pairs]),
            confidence=torch.cat([pair[side].confidence for pair in pairs]),
        )
        for side in (0, 1)
    ]
    whole = coarse_truth(*joined, cells0=(4, 6), cells1=(4, 6))
    for index, pair in enumerate(pairs):
        alone = coarse_truth(*pair, cells0=(4, 6), cells1=(4, 6))
        assert torch.equal(whole.matches0[index], alone.matches0[0])
        assert torch.equal(whole.matches1[index], alone.matches1[0])


@pytest.mark.usefixtures("unchecked")
def test_the_rest_has_to_exist():
    with pytest.raises(ConfigError, match=r"expected rest to be one of .*ignore'; did you mean ignored"):
        coarse_truth(*shifted(0), cells0=(4, 6), cells1=(4, 6), rest="ignore")  # type: ignore[arg-type]
