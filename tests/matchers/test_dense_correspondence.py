"""Matches, transfer and cycle error of known fields, in pixels of the original files."""

import pytest
import torch
from torch import Tensor, nn

from homolog.core.coords import Size, identity_grid, pixel_grid
from homolog.core.dense import DenseField
from homolog.core.errors import DataError, ShapeError
from homolog.core.features import Features
from homolog.matchers.dense import DenseMatcher
from homolog.matchers.dense_correspondence import DenseCorrespondence
from homolog.matchers.side import Side

FRAME = torch.eye(2, 3, dtype=torch.float64)
# Image 0 is 80 wide and 40 high and seen at half its size; image 1 is 60 x 60 and seen at 40 x 20 too.
SIDES = (Side(size=(40, 80), to_original=FRAME, seen_size=(20, 40)), Side(size=(60, 60), to_original=FRAME, seen_size=(20, 40)))  # fmt: skip


class Identity(nn.Module):
    """A dense head by which every image shows the same as the other, told on a map of given cells."""

    def __init__(self, cells: Size | None) -> None:
        super().__init__()
        self.cells = cells
        self.seen: Size = (0, 0)

    def check(self, backbone) -> None:
        pass

    def forward(self, features: Features) -> tuple[DenseField, DenseField]:
        self.seen = features.image_size
        field = DenseField.identity(self.cells or features.image_size)
        return field, field


def shifted(x: float, y: float, *, size: Size = (20, 40), confidence: Tensor | None = None) -> DenseField:
    grid = identity_grid(size) + torch.tensor([x, y])[:, None, None]
    return DenseField(
        grid=grid[None], confidence=torch.full((1, *size), 0.5) if confidence is None else confidence
    )


def correspondence(
    field0: DenseField, field1: DenseField, *, spacing: int = 4, cycle: float | int | None = None
) -> DenseCorrespondence:
    return DenseCorrespondence(SIDES, lambda: (field0, field1), spacing=spacing, cycle=cycle)


# --- identity -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [None, (3, 5), (2, 2)])
@pytest.mark.parametrize("size", [(45, 83), (100, 31), (64, 64)])
def test_an_image_on_itself_stays_where_it_is_to_a_thousandth_of_a_pixel(tiny, scene, size, cells):
    head = Identity(cells)
    matcher = DenseMatcher(backbone=tiny.Colours(multiple=8), head=head, resize=48, enlarge=True, spacing=3)
    image = scene(size)
    found = matcher.match(image, image)
    matches = found.matches()
    height, width = head.seen
    assert len(matches) == round(height / 3) * round(width / 3)
    torch.testing.assert_close(matches.xy1, matches.xy0, atol=1e-3, rtol=0)
    xy0 = pixel_grid(size)
    moved = found.transfer(xy0)
    torch.testing.assert_close(moved.xy, xy0, atol=1e-3, rtol=0)
    torch.testing.assert_close(moved.confidence, torch.ones(len(xy0)))
    assert found.cycle_error(xy0).max() < 1e-3


# --- matches --------------------------------------------------------------------------------------


def test_matches_start_at_an_even_lattice_of_the_given_spacing():
    found = correspondence(shifted(0, 0), shifted(0, 0)).matches()
    # 5 x 10 squares of 4 seen pixels, 8 of the original: centres at 3.5, 11.5, ...
    assert len(found) == 50
    assert sorted(set(found.xy0[:, 0].tolist())) == [3.5 + 8 * i for i in range(10)]
    assert sorted(set(found.xy0[:, 1].tolist())) == [3.5 + 8 * i for i in range(5)]


def test_a_spacing_larger_than_the_image_leaves_its_middle():
    found = correspondence(shifted(0, 0), shifted(0, 0), spacing=1000).matches()
    assert found.xy0.tolist() == [[39.5, 19.5]]
    assert found.xy1.tolist() == [[29.5, 29.5]]


def test_matches_are_ranked_by_the_confidence_on_image_0():
    ramp = torch.linspace(0.1, 0.9, 40).expand(1, 20, 40)
    found = correspondence(shifted(0, 0, confidence=ramp), shifted(0, 0)).matches()
    assert torch.equal(found.score, found.score.sort(descending=True).values)
    assert found.xy0[:5, 0].tolist() == [75.5] * 5  # the five rows of the last column
    first = correspondence(shifted(0, 0, confidence=ramp), shifted(0, 0)).matches(3)
    assert torch.equal(first.xy0, found.xy0[:3])


def test_points_that_leave_image_1_are_no_matches():
    # Half of the width further right: the right half of image 0 is not on image 1.
    found = correspondence(shifted(1.0, 0), shifted(-1.0, 0)).matches()
    assert len(found) == 25
    assert found.xy0[:, 0].max() == 35.5
    torch.testing.assert_close(found.xy1[:, 0], (found.xy0[:, 0] + 0.5) * 0.75 + 30 - 0.5)


@pytest.mark.parametrize(("cycle", "left"), [(None, 50), (2.01, 50), (1.99, 25), (0, 25)])
def test_the_cycle_check_leaves_out_what_does_not_come_back(cycle, left):
    # The way back is right on the left half of image 1, and 2 of 40 seen pixels off on the right one.
    back = identity_grid((20, 40)).clone()
    back[0, :, 20:] += 2 * 2 / 40
    field1 = DenseField(grid=back[None], confidence=torch.ones(1, 20, 40))
    found = correspondence(shifted(0, 0), field1, cycle=cycle).matches()
    if cycle == 0:  # exact to rounding only
        assert len(found) <= left
    else:
        assert len(found) == left
    if left == 25:
        assert (found.xy0[:, 0] < 40).all()


# --- transfer and cycle error ---------------------------------------------------------------------


def test_points_move_with_the_field_that_lives_on_image_0():
    found = correspondence(shifted(0.1, -0.2), shifted(0, 0))
    xy1, confidence = found.transfer([[39.5, 19.5]])
    # The middle, and a tenth of half of image 1 further right, a fifth of its half further up.
    torch.testing.assert_close(xy1, torch.tensor([[29.5 + 3, 29.5 - 6]]))
    assert confidence.tolist() == [0.5]


@pytest.mark.parametrize("border", [1.0, -1.0])
def test_a_place_on_the_very_border_of_image_1_is_on_it(border):
    field0 = DenseField(grid=torch.full((1, 2, 20, 40), border), confidence=torch.ones(1, 20, 40))
    found = correspondence(field0, shifted(0, 0))
    assert found.transfer(pixel_grid((40, 80))).confidence.min() > 0.999
    assert len(found.matches()) == 50


def test_points_beside_image_0_and_those_that_leave_image_1_have_no_confidence():
    found = correspondence(shifted(0.5, 0), shifted(-0.5, 0))
    xy1, confidence = found.transfer([[10.0, 20.0], [-3.0, 20.0], [70.0, 20.0]])
    assert confidence.tolist() == [0.5, 0.0, 0.0]
    assert xy1[2, 0] == 59.0  # at the border of image 1
    assert found.cycle_error([[10.0, 20.0], [-3.0, 20.0], [70.0, 20.0]])[1:].tolist() == [torch.inf] * 2


def test_the_cycle_error_is_the_distance_in_pixels_of_original_0():
    # There: 0.1 right and 0.1 down; back: nowhere. 0.1 is 4 of 80 pixels and 2 of 40.
    found = correspondence(shifted(0.1, 0.1), shifted(0, 0))
    error = found.cycle_error([[20.0, 10.0], [60.0, 30.0]])
    torch.testing.assert_close(error, torch.full((2,), 20.0**0.5))


def test_the_cycle_error_counts_what_lands_beyond_the_border_of_image_0():
    # Back from image 1 it goes 0.6 left of where it started: 24 pixels, though only 10 are left there.
    found = correspondence(shifted(0, 0), shifted(-0.6, 0))
    torch.testing.assert_close(found.cycle_error([[10.0, 20.0]]), torch.tensor([24.0]))


def test_fields_are_plain_tensors_that_may_be_trained_on():
    found = correspondence(shifted(0, 0), shifted(0, 0))
    for field in found.fields:
        assert not field.grid.is_inference()
        assert not field.confidence.is_inference()
        assert field.grid.dtype == field.confidence.dtype == torch.float32
    assert found.fields[0] is found.fields[0]
    assert not found.matches().xy1.is_inference()


@pytest.mark.parametrize("ask", ["transfer", "cycle_error"])
def test_what_is_no_list_of_points_is_refused(ask):
    found = correspondence(shifted(0, 0), shifted(0, 0))
    with pytest.raises(ShapeError, match="expected points"):
        getattr(found, ask)([[1.0, 2.0, 3.0]])
    with pytest.raises(DataError, match="finite"):
        getattr(found, ask)([[1.0, float("nan")]])
    with pytest.raises(ShapeError, match="limit of 0 or more"):
        found.matches(-1)


@pytest.mark.parametrize("points", [[], torch.zeros(0, 2)])
def test_no_points_give_no_places(points):
    found = correspondence(shifted(0, 0), shifted(0, 0))
    assert found.transfer(points).xy.shape == (0, 2)
    assert found.cycle_error(points).shape == (0,)
