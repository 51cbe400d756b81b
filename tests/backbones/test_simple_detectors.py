"""Detectors without a network of their own."""

import pytest
import torch
from torch import Tensor

from homolog.backbones.simple_detectors import Cells, Lattice, Peaks, strict_maxima
from homolog.core.errors import ConfigError, ShapeError
from homolog.core.features import Features


def test_points_are_the_centres_of_equal_cells():
    found = Lattice(spacing=16)(torch.zeros(2, 3, 32, 48))
    assert len(found) == 2
    assert found[0].xy.tolist() == [
        [7.5, 7.5],
        [23.5, 7.5],
        [39.5, 7.5],
        [7.5, 23.5],
        [23.5, 23.5],
        [39.5, 23.5],
    ]
    assert found[0].score.tolist() == [1.0] * 6


def test_a_side_that_is_no_multiple_is_covered_evenly():
    (found,) = Lattice(spacing=16)(torch.zeros(1, 3, 16, 44))
    assert found.xy.flatten().tolist() == pytest.approx(
        [44 / 6 - 0.5, 7.5, 44 / 2 - 0.5, 7.5, 44 * 5 / 6 - 0.5, 7.5]
    )


def test_spacing_one_is_every_pixel():
    (found,) = Lattice(spacing=1)(torch.zeros(1, 3, 2, 3))
    assert found.xy.tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]


def test_an_image_smaller_than_the_spacing_has_its_centre():
    (found,) = Lattice(spacing=64)(torch.zeros(1, 3, 5, 7))
    assert found.xy.tolist() == [[3, 2]]


@pytest.mark.parametrize("spacing", [0, -2.0])
def test_a_spacing_that_is_none_is_refused(spacing):
    with pytest.raises(ConfigError, match="above 0"):
        Lattice(spacing=spacing)


COARSE, FINE = torch.rand(2, 1, 5, 2, 3), torch.rand(2, 1, 4, 4, 6)


def test_points_are_the_centres_of_the_cells_of_the_chosen_map():
    features = Features(maps={"coarse": COARSE, "fine": FINE}, image_size=(28, 42))
    found = Cells("coarse")(torch.zeros(2, 3, 28, 42), features)
    assert len(found) == 2
    centres = [[6.5, 6.5], [20.5, 6.5], [34.5, 6.5], [6.5, 20.5], [20.5, 20.5], [34.5, 20.5]]
    assert found[1].xy.tolist() == centres
    assert found[1].score.tolist() == [1.0] * 6


def test_what_the_map_says_at_the_points_is_the_map_itself():
    features = Features(maps={"fine": FINE[:1]}, image_size=(64, 96))
    (found,) = Cells()(torch.zeros(1, 3, 64, 96), features)
    torch.testing.assert_close(features.at("fine", found.xy), FINE[0, 0].flatten(1).T)


def test_without_a_choice_all_maps_have_to_share_one_grid():
    size = (28, 42)
    same = Features(maps={"a": COARSE, "b": COARSE * 2}, image_size=size)
    assert len(Cells()(torch.zeros(2, 3, *size), same)[0]) == 6
    with pytest.raises(ShapeError, match=r"one of the maps coarse, fine.*set detector\.map"):
        Cells()(torch.zeros(2, 3, *size), Features(maps={"coarse": COARSE, "fine": FINE}, image_size=size))


def test_without_a_backbone_it_names_the_detector_that_needs_none():
    with pytest.raises(ShapeError, match="lattice"):
        Cells()(torch.zeros(1, 3, 28, 42))


def test_a_map_that_does_not_exist_is_named():
    with pytest.raises(ShapeError, match="did you mean fine"):
        Cells("fin")(torch.zeros(2, 3, 64, 96), Features(maps={"fine": FINE}, image_size=(64, 96)))


def features(**maps: Tensor) -> Features:
    return Features(maps={name: map_[:, None] for name, map_ in maps.items()}, image_size=(32, 48))


def plain_maxima(score: Tensor, radius: int, threshold: float) -> list[tuple[int, int]]:
    """The definition, cell by cell."""
    height, width = score.shape
    found: list[tuple[int, int]] = []
    for y in range(radius, height - radius):
        for x in range(radius, width - radius):
            window = score[y - radius : y + radius + 1, x - radius : x + radius + 1]
            if score[y, x] > threshold and (window >= score[y, x]).sum() == 1:
                found.append((x, y))
    return found


@pytest.mark.parametrize("radius", [1, 2, 4])
@pytest.mark.parametrize("levels", [8, 10_000])
def test_strict_maxima_are_those_of_the_definition_also_among_ties(radius, levels):
    score = torch.randint(0, levels, (2, 1, 23, 31), generator=torch.Generator().manual_seed(radius)) / levels
    for map_, (xy, value) in zip(
        score[:, 0], strict_maxima(score, nms_radius=radius, threshold=0.5), strict=True
    ):
        assert [tuple(point) for point in xy.int().tolist()] == plain_maxima(map_, radius, 0.5)
        assert value.tolist() == [map_[int(y), int(x)] for x, y in xy.tolist()]


def test_a_value_at_the_threshold_is_no_peak_and_one_above_is():
    score = torch.zeros(1, 1, 9, 9)
    score[..., 4, 4] = 0.5
    assert len(strict_maxima(score, nms_radius=2, threshold=0.5)[0][0]) == 0
    assert len(strict_maxima(score, nms_radius=2, threshold=0.499)[0][0]) == 1


def test_a_peak_of_a_coarse_map_is_at_the_centre_of_its_cell():
    score = torch.zeros(1, 1, 4, 6)
    score[..., 2, 3] = 1
    (found,) = Peaks("score", threshold=0.1, nms_radius=1)(torch.zeros(1, 3, 32, 48), features(score=score))
    assert found.xy.tolist() == [[27.5, 19.5]]  # cell (3, 2) of 8 x 8 pixels: 24..31 and 16..23


def test_the_best_come_first_and_ties_by_rows():
    score = torch.zeros(1, 1, 32, 48)
    for (x, y), value in {(20, 5): 0.5, (10, 5): 0.5, (30, 25): 0.9, (5, 20): 0.3}.items():
        score[..., y, x] = value
    images, seen = torch.zeros(1, 3, 32, 48), features(score=score)
    (found,) = Peaks("score", threshold=0.1)(images, seen)
    assert found.xy.tolist() == [[30, 25], [10, 5], [20, 5], [5, 20]]
    (best,) = Peaks("score", threshold=0.1, max_keypoints=2)(images, seen)
    assert best.xy.tolist() == [[30, 25], [10, 5]]


def test_reliability_reorders_the_peaks_but_does_not_move_the_threshold():
    score = torch.zeros(1, 1, 32, 48)
    score[..., 16, 12] = 0.9
    score[..., 16, 36] = 0.6
    left_and_right = torch.tensor([0.1, 0.8]).expand(1, 1, 1, 2)
    (found,) = Peaks("score", threshold=0.5, reliability="trust")(
        torch.zeros(1, 3, 32, 48), features(score=score, trust=left_and_right)
    )
    assert found.xy.tolist() == [[36, 16], [12, 16]]
    # Cell centres of the two halves are at x = 11.5 and 35.5, a step of 24 pixels.
    assert found.score.tolist() == pytest.approx([0.6 * 0.8, 0.9 * (0.1 + 0.7 * 0.5 / 24)])


def test_a_flat_map_has_no_keypoints():
    (found,) = Peaks("score", threshold=0.1)(
        torch.zeros(1, 3, 32, 48), features(score=torch.ones(1, 1, 32, 48))
    )
    assert found.xy.shape == (0, 2)


def test_each_image_has_its_own_peaks():
    score = torch.zeros(2, 1, 32, 48)
    score[0, 0, 5, 6] = 1
    found = Peaks("score", threshold=0.1)(torch.zeros(2, 3, 32, 48), features(score=score))
    assert [len(each) for each in found] == [1, 0]


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        (None, "expected features with a map xfeat.heatmap, got none; choose a backbone"),
        (features(heatmap=torch.zeros(1, 1, 4, 4)), "no feature map named xfeat.heatmap"),
        (features(**{"xfeat.heatmap": torch.zeros(1, 2, 4, 4)}), "expected xfeat.heatmap .B 1 1 h w."),
    ],
)
def test_features_that_lack_the_map_are_refused_by_name(seen, message):
    with pytest.raises(ShapeError, match=message) as caught:
        Peaks("xfeat.heatmap", threshold=0.1)(torch.zeros(1, 3, 32, 48), seen)
    assert "\n" not in str(caught.value)
