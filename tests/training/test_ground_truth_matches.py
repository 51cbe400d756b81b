"""Ground-truth matches and their loss, in cases that a ruler settles."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from homolog.core.camera import Camera, RelativePose
from homolog.core.errors import ConfigError
from homolog.training.ground_truth_matches import matches_from_depth, matches_from_homography
from homolog.training.losses.assignment import assignment_loss

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


def test_the_loss_by_hand():
    assignment = torch.log(torch.tensor([[[0.5, 0.2, 0.3], [0.1, 0.1, 0.8], [0.4, 0.7, 1.0]]]))
    found = assignment_loss(assignment, torch.tensor([[0, -1]]), torch.tensor([[0, -1]]), balance=0.25)
    matched, unmatched = -math.log(0.5), -(math.log(0.8) + math.log(0.7)) / 2
    assert found.matched.item() == pytest.approx(matched)
    assert found.unmatched.item() == pytest.approx(unmatched)
    assert found.total.item() == pytest.approx(0.25 * matched + 0.75 * unmatched)


def test_what_is_ignored_or_padding_has_neither_loss_nor_gradient():
    assignment = torch.rand(1, 4, 4, dtype=torch.float64).log()
    assignment[:, 2] = assignment[:, :, 1] = -torch.inf  # padding
    assignment.requires_grad_()
    found = assignment_loss(assignment, torch.tensor([[2, -2, -2]]), torch.tensor([[-2, -2, 0]]))
    found.total.sum().backward()
    assert assignment.grad is not None
    assert found.total.item() == pytest.approx(-0.5 * assignment[0, 0, 2].item())
    assert assignment.grad.isfinite().all()
    assert assignment.grad.count_nonzero() == 1


def test_a_pair_of_which_nothing_is_known_costs_nothing():
    assignment = torch.rand(2, 4, 4).log()
    ignored = torch.full((2, 3), -2)
    assert assignment_loss(assignment, ignored, ignored).total.tolist() == [0.0, 0.0]


def test_a_balance_beyond_all_or_nothing_is_refused():
    none = torch.full((1, 1), -2)
    with pytest.raises(ConfigError, match=r"expected a balance in \[0, 1\], got 2"):
        assignment_loss(torch.zeros(1, 2, 2), none, none, balance=2.0)
