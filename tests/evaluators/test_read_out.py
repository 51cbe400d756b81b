"""Read-outs against plain twins, and what their windows do."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from homolog.core.errors import ShapeError
from homolog.evaluators.read_out import (
    align_corners,
    dift,
    distilldift,
    gaussian_weighted,
    geoaware_descriptors,
    geoaware_soft_patch,
    geoaware_transfer,
    hpf,
    peak,
    soft_argmax,
    upsampled_cosine,
    visual_ai_corners,
    visual_ai_nearest,
    zeroed_beyond,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_cosine_with_an_upsampled_map_is_that_of_the_upsampled_map():
    query, map_ = noise(3, 7), noise(7, 5, 6, seed=1)
    large = F.interpolate(map_[None], size=(31, 44), mode="bilinear", align_corners=False)[0]
    wanted = torch.einsum("nd,dhw->nhw", F.normalize(query, dim=1), F.normalize(large, dim=0))
    for chunk in (1, 31 * 44 * 3, 1 << 24):
        torch.testing.assert_close(upsampled_cosine(query, map_, size=(31, 44), chunk=chunk), wanted)


def test_dift_finds_the_pixel_that_a_plain_loop_over_the_upsampled_map_finds():
    map0, map1 = noise(6, 7, 8), noise(6, 9, 5, seed=1)
    size0, size1 = (30, 41), (26, 37)
    xy0 = torch.tensor([[0, 0], [40, 29], [13, 7], [20.0, 20.0]])
    large0, large1 = (
        F.interpolate(map_[None], size=size, mode="bilinear", align_corners=False)[0]
        for map_, size in ((map0, size0), (map1, size1))
    )
    for (x, y), found in zip(
        xy0.long().tolist(),
        dift(map0, map1, xy0, size0=size0, size1=size1).tolist(),
        strict=True,
    ):
        cosine = F.cosine_similarity(large0[:, y, x, None, None], large1, dim=0).numpy()
        row, column = np.unravel_index(cosine.argmax(), cosine.shape)
        assert found == [column, row]


def test_the_expected_cell_by_hand():
    """Two cells, one twice as likely."""
    maps = torch.zeros(1, 3, 4)
    maps[0, 0, 3], maps[0, 2, 0] = 20 + np.log(2.0), 20
    torch.testing.assert_close(
        soft_argmax(maps, temperature=1.0), torch.tensor([[2.0, 2 / 3]]), atol=1e-5, rtol=0
    )
    assert peak(maps).tolist() == [[3, 0]]


def test_the_expected_cell_is_as_exact_as_in_double_precision():
    similarity = F.normalize(noise(20, 16), dim=1) @ F.normalize(noise(3600, 16, seed=1), dim=1).T
    maps = similarity.reshape(20, 60, 60)
    exact = soft_argmax(maps.double(), temperature=0.02)
    torch.testing.assert_close(soft_argmax(maps, temperature=0.02).double(), exact, atol=2e-4, rtol=0)


def test_beyond_the_window_similarities_become_zero_and_outweigh_negative_ones():
    maps = torch.full((1, 9, 9), -0.5)
    maps[0, 4, 1] = -0.1
    kept = zeroed_beyond(maps, half=1)
    assert int((kept != 0).sum()) == 9
    assert kept[0, 4, 1] == maps[0, 4, 1]
    # All the weight lies outside the window: the place is pulled away from the peak, to the middle.
    place = soft_argmax(kept, temperature=0.02)
    assert place[0, 0] > 3.5
    window = geoaware_soft_patch(maps.reshape(1, 81), patches=9, window=1)
    torch.testing.assert_close(window, place)


def test_a_window_at_the_corner_has_no_cells_beyond_the_map():
    maps = torch.zeros(1, 5, 5)
    maps[0, 0, 0] = 1
    kept = zeroed_beyond(maps + 0.5, half=2)
    assert int((kept != 0).sum()) == 9


def test_the_gaussian_leaves_the_peak_and_falls_off():
    maps = torch.ones(1, 7, 7)
    maps[0, 3, 3] = 2
    weighted = gaussian_weighted(maps, sigma=2.0)[0]
    assert weighted[3, 3] == 2
    assert weighted[3, 5].item() == pytest.approx(np.exp(-4 / 8))
    assert weighted[0, 0].item() == pytest.approx(np.exp(-18 / 8))


def test_geoaware_finds_itself_in_the_middle_of_its_patch():
    descriptors = geoaware_descriptors(noise(16, 32))
    xy0 = torch.tensor([[0.0, 0.0], [27.9, 14.0], [55.0, 55.0]])
    found = geoaware_transfer(descriptors, descriptors, xy0, patches=4, side=56, window=None)
    assert found.tolist() == [[7, 7], [21, 21], [49, 49]]


def test_geoaware_normalises_parts_by_themselves():
    descriptors = noise(5, 7)
    parts = geoaware_descriptors(descriptors, parts=(3, 4))
    torch.testing.assert_close(parts[:, :3].norm(dim=1), torch.full((5,), 0.5**0.5))
    torch.testing.assert_close(parts.norm(dim=1), torch.ones(5))


def test_geoaware_refuses_maps_of_another_size():
    with pytest.raises(ShapeError, match="3 x 3 similarities"):
        geoaware_soft_patch(torch.zeros(1, 16), patches=3, window=0)
    with pytest.raises(ShapeError, match="3 x 3 descriptors"):
        geoaware_transfer(
            torch.zeros(8, 2), torch.zeros(8, 2), torch.zeros(1, 2), patches=3, side=42, window=0
        )


def test_visual_ai_mean_of_corners_by_hand():
    """Every cell of map 0 is found one column further right on map 1, so that a place between cells is too."""
    map1 = noise(40, 6, 7)
    map0 = map1[:, :, 1:]
    cell0 = torch.tensor([[2.25, 3.5], [0.0, 0.0], [5.0, 5.0]])
    found = visual_ai_corners(map0, map1, cell0)
    torch.testing.assert_close(found, cell0 + torch.tensor([1.0, 0.0]), atol=1e-4, rtol=0)
    assert visual_ai_nearest(map0, map1, torch.tensor([[2.0, 3.0]])).tolist() == [[3, 3]]


def test_visual_ai_scales_corner_to_corner_and_back():
    xy = torch.tensor([[0.0, 0.0], [143.0, 111.0], [20.0, 30.0]])
    cells = align_corners(xy, (112, 144), (7, 9))
    torch.testing.assert_close(cells[1], torch.tensor([8.0, 6.0]))
    torch.testing.assert_close(align_corners(cells, (7, 9), (112, 144)), xy)


def test_distilldift_rounds_half_to_even_and_stays_on_the_image():
    map0, map1 = noise(5, 6, 6), noise(5, 6, 6, seed=1)

    def found(*xy: list[float]) -> torch.Tensor:
        return distilldift(map0, map1, torch.tensor(xy), size0=(24, 24), size1=(24, 24), soft=False)

    assert torch.equal(found([2.5, 3.5], [-4.0, 90.0]), found([2.0, 4.0], [0.0, 23.0]))


def test_distilldift_refines_within_its_window():
    map_ = noise(64, 8, 8)
    xy0 = torch.tensor([[20.0, 12.0], [3.0, 28.0]])
    soft = distilldift(map_, map_, xy0, size0=(32, 32), size1=(32, 32), soft=True)
    assert (soft - xy0).abs().max() < 2
    assert not torch.equal(soft, soft.round())


@pytest.mark.usefixtures("unchecked")
def test_hpf_moves_a_point_with_the_fields_that_cover_it():
    """The point lies in two fields; one moves by (10, 0), the other by (0, 20)."""
    fields0 = torch.tensor([[0.0, 0, 10, 10], [5, 5, 15, 15], [50, 50, 60, 60]])
    fields1 = torch.tensor([[10.0, 0, 20, 10], [5, 25, 15, 35], [0, 0, 10, 10]])
    confidence = torch.eye(3)
    xy0 = torch.tensor([[7.0, 8.0], [10.0, 1.0], [99.0, 99.0]])
    found = hpf(confidence, fields0, fields1, xy0)
    assert found[:2].tolist() == [[12, 18], [20, 1]]
    assert found[2].isnan().all()
    with pytest.raises(ShapeError, match=r"confidences \[3 3\]"):
        hpf(confidence[:2], fields0, fields1, xy0)
