"""The dense matcher: what the parts see, both orders of a pair, and fields, matches and cycle error."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from homolog.core.cache import FeatureCache
from homolog.core.coords import Size, identity_grid, pixel_grid
from homolog.core.dense import DenseField
from homolog.core.errors import CapabilityError, ConfigError, DataError, ShapeError
from homolog.core.features import Features
from homolog.core.image import crop
from homolog.core.protocols import Correspondence, KeepsFeatures, Matcher
from homolog.matchers.base import ImageGeometry
from homolog.matchers.dense import DenseCorrespondence, DenseMatcher
from homolog.matchers.sparse import SparseMatcher


class ByColour(nn.Module):
    """A dense head that finds every cell of a view by its colour in the other view.

    Red and green of the tiny scenes say where in the scene a cell is, and do so linearly: where a
    colour is in a view follows from that view's colours by least squares. `lean` is added to the x of
    view 0's field and taken from that of view 1's, so that the first view is told apart from the second.
    """

    def __init__(self, *, lean: float = 0.0) -> None:
        super().__init__()
        self.lean = lean
        self.given: list[Features] = []

    def check(self, backbone) -> None:
        if "colour" not in backbone.channels:
            raise ConfigError("by colour: expected the map colour")

    def forward(self, features: Features) -> tuple[DenseField, DenseField]:
        self.given.append(features)
        view0, view1 = features["colour"][0, :, :2].double()
        return _found(view0, view1, self.lean, 0.25), _found(view1, view0, -self.lean, 0.75)


def _found(query: Tensor, reference: Tensor, lean: float, confidence: float) -> DenseField:
    size = (query.shape[1], query.shape[2])
    places = identity_grid(size, dtype=torch.float64).flatten(1).T
    colours = torch.cat((reference.flatten(1).T, torch.ones(len(places), 1)), dim=1)
    to_place = torch.linalg.lstsq(colours, places).solution
    asked = torch.cat((query.flatten(1).T, torch.ones(len(places), 1)), dim=1)
    grid = (asked @ to_place).T.reshape(1, 2, *size).float()
    grid[:, 0] += lean
    return DenseField(grid=grid, confidence=torch.full((1, *size), confidence))


@pytest.fixture
def matcher(tiny):
    def make(*, joint: bool = False, multiple: int = 4, lean: float = 0.0, **settings) -> DenseMatcher:
        backbone = tiny.Colours(joint=joint, multiple=multiple)
        return DenseMatcher(backbone=backbone, head=ByColour(lean=lean), **settings)

    return make


def test_it_satisfies_the_protocols(matcher, scene):
    dense = matcher()
    assert isinstance(dense, Matcher)
    assert isinstance(dense, KeepsFeatures)
    assert isinstance(dense.match(scene((40, 48)), scene((40, 48))), Correspondence)


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("joint", [False, True])
def test_both_images_are_seen_at_one_size_halfway_between_theirs(matcher, scene, joint):
    dense = matcher(joint=joint, resize=64)
    dense.match(scene((100, 200)), scene((160, 128), shade=0.2))
    # 32 x 64 and 64 x 52 (51.2 rounded to fours); halfway between is 48 x 58, and 58 rounds up.
    assert dense.backbone.seen == ([(1, 2, 3, 48, 60)] if joint else [(1, 1, 3, 48, 60)] * 2)


@pytest.mark.parametrize("joint", [False, True])
def test_positions_are_in_pixels_of_originals_of_different_sizes(matcher, scene, joint):
    found = matcher(joint=joint, resize=64).match(scene((100, 200)), scene((90, 60)))
    xy1, _ = found.transfer([[0.0, 0.0], [49.5, 24.5], [150.0, 80.0], [199.0, 99.0]])
    # (x + 0.5) * 0.3 - 0.5 and (y + 0.5) * 0.9 - 0.5, those beyond the outermost centres brought back.
    wanted = torch.tensor([[0.0, 0.0], [14.5, 22.0], [44.65, 71.95], [59.0, 89.0]])
    # Resizing bends the colours at the borders: a fiftieth of a pixel.
    torch.testing.assert_close(xy1, wanted, atol=0.05, rtol=0)


# --- passes ---------------------------------------------------------------------------------------


def x_shift(found, index: int) -> float:
    """How far a field leans from the truth, in normalised x."""
    field = found.fields[index]
    return float((field.grid - identity_grid(field.size)[None])[:, 0].mean())


@pytest.mark.parametrize(
    ("passes", "leans", "confidences"),
    [
        ("one", (0.1, -0.1), (0.25, 0.75)),
        # As the second view of the other pass, image 0 leans the other way.
        ("mean", (0.0, 0.0), (0.5, 0.5)),
        ("first", (0.1, 0.1), (0.25, 0.25)),
    ],
)
def test_passes_combine_the_fields_of_both_orders(matcher, scene, passes, leans, confidences):
    found = matcher(lean=0.1, passes=passes).match(scene((40, 48)), scene((40, 48), shade=0.1))
    assert [x_shift(found, index) for index in (0, 1)] == pytest.approx(leans, abs=1e-4)
    for field, confidence in zip(found.fields, confidences, strict=True):
        torch.testing.assert_close(field.confidence, torch.full_like(field.confidence, confidence))


@pytest.mark.parametrize(("passes", "swaps"), [("one", False), ("mean", True), ("first", True)])
@pytest.mark.parametrize("joint", [False, True])
def test_swapped_images_have_swapped_answers_after_two_passes(matcher, scene, joint, passes, swaps):
    dense = matcher(joint=joint, lean=0.1, passes=passes)
    image0, image1 = scene((40, 48)), scene((48, 40), shade=0.1)
    there, back = dense.match(image0, image1), dense.match(image1, image0)
    same = [
        torch.allclose(one.grid, other.grid, atol=1e-5)
        and torch.allclose(one.confidence, other.confidence, atol=1e-5)
        for one, other in zip(there.fields, reversed(back.fields), strict=True)
    ]
    assert same == [swaps, swaps]


@pytest.mark.parametrize(("passes", "calls"), [("one", [2]), ("mean", [2, 2]), ("first", [2, 2])])
def test_a_joint_backbone_sees_the_pair_once_per_order(matcher, scene, passes, calls):
    dense = matcher(joint=True, passes=passes)
    dense.match(scene((40, 48)), scene((40, 48), shade=0.1))
    assert [shape[1] for shape in dense.backbone.seen] == calls


# --- remembering ----------------------------------------------------------------------------------


def test_images_of_one_size_cost_one_extraction_each_in_all_their_pairs(matcher, scene):
    dense = matcher()
    images = [scene((40, 48), shade=shade) for shade in (0.1, 0.2, 0.3)]
    for first in images:
        for second in images:
            _ = dense.match(first, second).fields
    assert len(dense.backbone.seen) == 3
    dense.forget()
    dense.match(images[0], images[1])
    assert len(dense.backbone.seen) == 5


def test_joint_features_are_cached_per_ordered_pair(matcher, scene):
    dense = matcher(joint=True)
    image0, image1 = scene((40, 48)), scene((40, 48), shade=0.1)
    for first, second in ((image0, image1), (image0, image1), (image1, image0), (image0, image1)):
        dense.match(first, second)
    assert len(dense.backbone.seen) == 2


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("passes", ["one", "mean"])
def test_the_disk_cache_saves_all_extractions_of_the_next_run_and_changes_no_result(
    matcher, scene, tmp_path, joint, passes
):
    image0, image1 = scene((40, 48)), scene((64, 32), shade=0.1)
    plain = matcher(joint=joint, passes=passes).match(image0, image1).fields
    answers = [plain]
    for extracted in ((2 if passes == "mean" else 1) if joint else 2, 0):
        dense = matcher(joint=joint, passes=passes)
        dense.use_cache(FeatureCache(tmp_path), "recipe")
        answers.append(dense.match(image0, image1).fields)
        assert len(dense.backbone.seen) == extracted
    for before, after in pairwise(answers):
        for one, other in zip(before, after, strict=True):
            assert torch.equal(one.grid, other.grid)
            assert torch.equal(one.confidence, other.confidence)


def test_the_head_runs_only_when_needed_and_once(matcher, scene):
    dense = matcher()
    found = dense.match(scene((40, 48)), scene((40, 48)))
    assert dense.head.given == []
    found.transfer([[1.0, 1.0]])
    found.matches()
    found.cycle_error([[1.0, 1.0]])
    assert len(dense.head.given) == 1
    assert dense.head.given[0]["colour"].shape[:2] == (1, 2)


def test_points_of_a_crop_are_in_pixels_of_the_original(matcher, scene):
    whole = scene((96, 96))
    part0, part1 = crop(whole, x=8, y=16, size=(64, 48)), crop(whole, x=21, y=5, size=(64, 48))
    found = matcher().match(part0, part1)
    # Both show the same scene, so a point of one is that very point of the whole in the other.
    xy0 = torch.tensor([[30.0, 40.0], [50.25, 60.5]])
    torch.testing.assert_close(found.transfer(xy0).xy, xy0, atol=0.01, rtol=0)
    matches = found.matches()
    assert len(matches) > 10
    torch.testing.assert_close(matches.xy1, matches.xy0, atol=0.01, rtol=0)


# --- extract once, match many ---------------------------------------------------------------------


@pytest.mark.parametrize("passes", ["one", "mean", "first"])
def test_features_of_images_of_one_size_match_as_the_images_do(matcher, scene, passes):
    image0, image1 = scene((100, 200)), scene((90, 180), shade=0.1)  # both 32 x 64 when resized
    dense = matcher(resize=64, lean=0.1, passes=passes)
    expected = dense.match(image0, image1)
    dense.forget()
    found = dense.match_features(dense.extract(image0), dense.extract(image1))
    for one, other in zip(found.fields, expected.fields, strict=True):
        assert torch.equal(one.grid, other.grid)
        assert torch.equal(one.confidence, other.confidence)
    assert torch.equal(found.matches().xy1, expected.matches().xy1)
    assert found.keypoints0 is None


def test_features_of_images_of_different_sizes_need_match(matcher, scene):
    dense = matcher(resize=64)
    wide, tall = dense.extract([scene((50, 100)), scene((100, 50))])
    with pytest.raises(CapabilityError, match=r"features of \(32, 64\) and \(64, 32\); call match"):
        dense.match_features(wide, tall)


# --- refusals -------------------------------------------------------------------------------------


def test_parts_and_settings_that_do_not_fit_are_errors(tiny, matcher):
    with pytest.raises(ConfigError, match="expects a dense head such as dense_grid, got InOrder"):
        DenseMatcher(backbone=tiny.Colours(), head=tiny.InOrder())
    dense: Any = ByColour()
    with pytest.raises(
        ConfigError, match="expects a head that pairs keypoints, such as nearest, got ByColour"
    ):
        SparseMatcher(detector=tiny.Points([]), head=dense)
    backbone = tiny.Colours()
    backbone.channels = {"gray": 1}
    with pytest.raises(ConfigError, match="expected the map colour"):
        DenseMatcher(backbone=backbone, head=ByColour())
    with pytest.raises(ConfigError, match="resize of at least 1"):
        matcher(resize=0)
    for wrong in ({"spacing": 0}, {"cycle": -1.0}):
        with pytest.raises(ConfigError, match="spacing of at least 1 pixel, and cycle of 0 pixels or more"):
            matcher(**wrong)


# --- the correspondence ---------------------------------------------------------------------------


GEOMETRIES = (
    # Image 0 is 80 wide and 40 high and processed at half its size; image 1 is 60 x 60, processed at 40 x 20 too.
    ImageGeometry(size=(40, 80), to_original=torch.eye(2, 3, dtype=torch.float64), network_size=(20, 40)),
    ImageGeometry(size=(60, 60), to_original=torch.eye(2, 3, dtype=torch.float64), network_size=(20, 40)),
)


class Identity(nn.Module):
    """A dense head for two images that show the same, with fields of the given number of cells."""

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
    return DenseCorrespondence(*GEOMETRIES, lambda: (field0, field1), spacing=spacing, cycle=cycle)


# --- identity -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [None, (3, 5), (2, 2)])
@pytest.mark.parametrize("size", [(45, 83), (100, 31), (64, 64)])
def test_an_image_matches_itself_to_a_thousandth_of_a_pixel(tiny, scene, size, cells):
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


def test_matches_start_at_a_regular_lattice_of_the_given_spacing():
    found = correspondence(shifted(0, 0), shifted(0, 0)).matches()
    # 5 x 10 squares of 4 seen pixels, 8 of the original: centres at 3.5, 11.5, ...
    assert len(found) == 50
    assert sorted(set(found.xy0[:, 0].tolist())) == [3.5 + 8 * i for i in range(10)]
    assert sorted(set(found.xy0[:, 1].tolist())) == [3.5 + 8 * i for i in range(5)]


def test_a_spacing_larger_than_the_image_gives_its_middle():
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


def test_points_that_leave_image_1_are_not_matches():
    # Half of the width further right: the right half of image 0 is not on image 1.
    found = correspondence(shifted(1.0, 0), shifted(-1.0, 0)).matches()
    assert len(found) == 25
    assert found.xy0[:, 0].max() == 35.5
    torch.testing.assert_close(found.xy1[:, 0], (found.xy0[:, 0] + 0.5) * 0.75 + 30 - 0.5)


@pytest.mark.parametrize(("cycle", "left"), [(None, 50), (2.01, 50), (1.99, 25), (0, 25)])
def test_the_cycle_check_drops_points_that_do_not_come_back(cycle, left):
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


def test_points_move_with_the_field_on_image_0():
    found = correspondence(shifted(0.1, -0.2), shifted(0, 0))
    xy1, confidence = found.transfer([[39.5, 19.5]])
    # The middle, and a tenth of half of image 1 further right, a fifth of its half further up.
    torch.testing.assert_close(xy1, torch.tensor([[29.5 + 3, 29.5 - 6]]))
    assert confidence.tolist() == [0.5]


@pytest.mark.parametrize("border", [1.0, -1.0])
def test_a_point_exactly_on_the_border_of_image_1_is_on_it(border):
    field0 = DenseField(grid=torch.full((1, 2, 20, 40), border), confidence=torch.ones(1, 20, 40))
    found = correspondence(field0, shifted(0, 0))
    assert found.transfer(pixel_grid((40, 80))).confidence.min() > 0.999
    assert len(found.matches()) == 50


def test_points_outside_image_0_and_those_that_leave_image_1_have_confidence_zero():
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


def test_the_cycle_error_includes_the_part_beyond_the_border_of_image_0():
    # Back from image 1 it goes 0.6 left of where it started: 24 pixels, though only 10 are left there.
    found = correspondence(shifted(0, 0), shifted(-0.6, 0))
    torch.testing.assert_close(found.cycle_error([[10.0, 20.0]]), torch.tensor([24.0]))


def test_fields_can_be_used_in_autograd():
    found = correspondence(shifted(0, 0), shifted(0, 0))
    for field in found.fields:
        assert not field.grid.is_inference()
        assert not field.confidence.is_inference()
        assert field.grid.dtype == field.confidence.dtype == torch.float32
    assert found.fields[0] is found.fields[0]
    assert not found.matches().xy1.is_inference()


@pytest.mark.parametrize("ask", ["transfer", "cycle_error"])
def test_anything_but_a_list_of_points_is_an_error(ask):
    found = correspondence(shifted(0, 0), shifted(0, 0))
    with pytest.raises(ShapeError, match="expected points"):
        getattr(found, ask)([[1.0, 2.0, 3.0]])
    with pytest.raises(DataError, match="finite"):
        getattr(found, ask)([[1.0, float("nan")]])
    with pytest.raises(ShapeError, match="limit of 0 or more"):
        found.matches(-1)


@pytest.mark.parametrize("points", [[], torch.zeros(0, 2)])
def test_no_points_give_no_positions(points):
    found = correspondence(shifted(0, 0), shifted(0, 0))
    assert found.transfer(points).xy.shape == (0, 2)
    assert found.cycle_error(points).shape == (0,)
