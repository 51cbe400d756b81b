"""Transferred points and lazily computed matches, in pixels of the original files."""

import numpy as np
import pytest
import torch

from homolog.core.errors import CapabilityError, DataError, ShapeError
from homolog.core.image import crop
from homolog.matchers.sparse import SparseMatcher


@pytest.fixture
def found(tiny, scene):
    """Image 0 is 96 wide and 64 high, image 1 half as large; networks see both at 48 x 32."""
    matcher = SparseMatcher(
        detector=tiny.Points([(1.0, 2.0), (3.0, 4.0)]),
        head=tiny.SamePlace(),
        backbone=tiny.Colours(),
        descriptor_map="colour",
        resize=48,
    )
    return matcher.match(scene((64, 96)), scene((32, 48)))


@pytest.mark.parametrize(
    "points",
    [
        [[10.5, 20.5], [94.5, 60.5]],
        [(10.5, 20.5), (94.5, 60.5)],
        np.array([[10.5, 20.5], [94.5, 60.5]]),
        np.array([[10.5, 20.5], [94.5, 60.5]], dtype=np.float32),
        torch.tensor([[10.5, 20.5], [94.5, 60.5]]),
        torch.tensor([[10.5, 20.5], [94.5, 60.5]], dtype=torch.float64),
    ],
)
def test_points_of_every_kind_are_moved_in_original_pixels(found, points):
    xy1, confidence = found.transfer(points)
    # Half as large: (x + 0.5) / 2 - 0.5.
    torch.testing.assert_close(xy1, torch.tensor([[5.0, 10.0], [47.0, 30.0]]))
    assert confidence.tolist() == [0.75, 0.75]


@pytest.mark.parametrize("points", [[], np.zeros((0, 2)), torch.zeros(0, 2)])
def test_no_points_give_no_places(found, points):
    xy1, confidence = found.transfer(points)
    assert (xy1.shape, confidence.shape) == ((0, 2), (0,))


def test_points_beside_the_image_are_read_at_its_border_with_confidence_zero(found):
    xy1, confidence = found.transfer([[-0.5, 63.5], [-9.0, 70.0], [95.6, 0.0]])
    assert confidence.tolist() == [0.75, 0.0, 0.0]
    # The border of image 0 is that of image 1, brought to the outermost pixel centres.
    torch.testing.assert_close(xy1, torch.tensor([[0.0, 31.0], [0.0, 31.0], [47.0, 0.0]]), atol=0.26, rtol=0)


def test_a_crop_is_read_and_answered_in_pixels_of_the_whole(tiny, scene):
    matcher = SparseMatcher(
        detector=tiny.Points([]), head=tiny.SamePlace(), backbone=tiny.Colours(), descriptor_map="colour"
    )
    whole = scene((100, 100))
    part0, part1 = crop(whole, x=10, y=20, size=(40, 40)), crop(whole, x=50, y=60, size=(40, 40))
    xy1, confidence = matcher.match(part0, part1).transfer([[15.0, 26.0], [5.0, 26.0]])
    assert xy1[0].tolist() == [55.0, 66.0]
    assert confidence.tolist() == [0.75, 0.0]  # x = 5 is on the whole, but beside the crop


@pytest.mark.parametrize(
    "points", [np.array([1.0, 2.0]), np.zeros((2, 3)), [[1.0, 2.0], [3.0]], np.zeros((1, 2, 2))]
)
def test_what_is_no_list_of_points_is_refused(found, points):
    with pytest.raises(ShapeError, match="expected points"):
        found.transfer(points)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_coordinates_that_are_not_finite_are_refused(found, value):
    with pytest.raises(DataError, match="finite"):
        found.transfer([[value, 1.0]])


def test_a_head_that_cannot_transfer_says_what_can(tiny, scene):
    matcher = SparseMatcher(detector=tiny.Points([]), head=tiny.InOrder(), backbone=tiny.Colours())
    found = matcher.match(scene((40, 48)), scene((40, 48)))
    assert not found.can_transfer
    with pytest.raises(CapabilityError, match="matcher=mini"):
        found.transfer([[1.0, 1.0]])


def test_without_a_map_there_is_no_transfer_even_if_the_head_could(tiny, scene):
    found = SparseMatcher(detector=tiny.Points([]), head=tiny.SamePlace()).match(
        scene((40, 48)), scene((40, 48))
    )
    assert not found.can_transfer


def test_matches_are_computed_when_asked_for_and_once_and_transfer_needs_none(tiny, scene):
    head = tiny.SamePlace()
    matcher = SparseMatcher(detector=tiny.Points([(1.0, 1.0)] * 3), head=head, backbone=tiny.Colours())
    found = matcher.match(scene((40, 48)), scene((40, 48)))
    found.transfer([[1.0, 1.0]])
    assert (len(head.given), len(head.asked)) == (0, 1)
    assert [len(found.matches(limit)) for limit in (None, 2, 0, 9)] == [3, 2, 0, 3]
    assert (len(head.given), len(head.asked)) == (1, 1)


def test_a_negative_limit_is_refused(found):
    with pytest.raises(ShapeError, match="limit of 0 or more"):
        found.matches(-1)


def test_keypoints_are_told_in_original_pixels_and_matches_lie_on_them(found):
    # Seen at half size: (x + 0.5) * 2 - 0.5 in image 0; image 1 is enlarged to what is seen by no factor.
    torch.testing.assert_close(found.keypoints0, torch.tensor([[2.5, 4.5], [6.5, 8.5]]))
    matches = found.matches()
    assert all(any(torch.equal(xy, keypoint) for keypoint in found.keypoints0) for xy in matches.xy0)
    assert all(any(torch.equal(xy, keypoint) for keypoint in found.keypoints1) for xy in matches.xy1)
    assert found.keypoints1.dtype == torch.float32
    assert not found.keypoints1.requires_grad
