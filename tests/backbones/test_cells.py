import pytest
import torch

from homolog.backbones.cells import Cells
from homolog.core.errors import ShapeError
from homolog.core.features import Features

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
