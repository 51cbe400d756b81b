import pytest
import torch

from homolog.backbones.lattice import Lattice
from homolog.core.errors import ConfigError


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
