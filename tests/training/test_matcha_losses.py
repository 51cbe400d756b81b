"""MATCHA's losses: contrastive and dense flow."""

import math

import pytest
import torch
from torch import nn

from homolog.core.errors import ConfigError
from homolog.training.losses.matcha import LOG_SCALE, contrastive_loss, dense_flow_loss, soft_argmax

# --- contrastive --------------------------------------------------------------------------------


def test_two_pairs_by_hand():
    # Cosines 1 and 0 for the first row, 0.6 and 0.8 for the second; e^(ln 5 c).
    descriptor0 = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    descriptor1 = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    e = [[5.0, 1.0], [5**0.6, 5**0.8]]
    rows = -math.log(e[0][0] / (e[0][0] + e[0][1])) - math.log(e[1][1] / (e[1][0] + e[1][1]))
    columns = -math.log(e[0][0] / (e[0][0] + e[1][0])) - math.log(e[1][1] / (e[0][1] + e[1][1]))
    # The logarithm of the scale is that of ln 5.
    found = contrastive_loss(descriptor0, descriptor1, math.log(math.log(5)))
    assert found.item() == pytest.approx((rows / 2 + columns / 2) / 2, rel=1e-5)


def test_equal_descriptors_cost_a_guess_and_a_single_point_nothing():
    assert contrastive_loss(torch.ones(4, 3), torch.ones(4, 3)).item() == pytest.approx(math.log(4))
    assert contrastive_loss(torch.ones(1, 3), -torch.ones(1, 3)).item() == 0
    assert contrastive_loss(torch.ones(0, 3), torch.ones(0, 3)).item() == 0


def test_what_is_not_valid_neither_matches_nor_distracts():
    generator = torch.Generator().manual_seed(0)
    one, two = (torch.randn(4, 5, generator=generator) for _ in range(2))
    holes = [torch.cat((each, torch.full((2, 5), torch.nan))) for each in (one, two)]
    valid = torch.arange(6) < 4
    torch.testing.assert_close(contrastive_loss(*holes, valid=valid), contrastive_loss(one, two))


def test_the_scale_learns_and_is_limited_to_a_hundred():
    generator = torch.Generator().manual_seed(0)
    one, two = (torch.randn(4, 5, generator=generator) for _ in range(2))
    scale = nn.Parameter(torch.tensor(LOG_SCALE))
    contrastive_loss(one, two, scale).backward()
    assert scale.grad is not None
    assert scale.grad != 0
    torch.testing.assert_close(contrastive_loss(one, two, 9.0), contrastive_loss(one, two, math.log(100.0)))
    scale.grad = None
    contrastive_loss(one[:0], two[:0], scale).backward()
    assert scale.grad is not None  # reached, so that no process waits for it
    assert scale.grad == 0


# --- dense flow ---------------------------------------------------------------------------------

SIZE = (16, 24)
"""Of the images; their maps have cells of 4 pixels."""


def distinct(height: int, width: int) -> torch.Tensor:
    """A map in which every cell has a direction of its own."""
    return torch.eye(height * width).reshape(height * width, height, width)


def flow(xy0, xy1, **options):
    map_ = distinct(4, 6)
    sizes = {"image_size0": SIZE, "image_size1": SIZE}
    return dense_flow_loss(map_, map_, torch.tensor(xy0), torch.tensor(xy1), **sizes, **options)


def test_a_point_is_found_at_its_cell_and_the_error_is_in_cells():
    # The centre of cell (2, 1) is pixel (9.5, 5.5); the annotation lies 3 cells right and 4 below... of it.
    assert flow([[9.5, 5.5]], [[9.5, 5.5]]).item() == pytest.approx(0, abs=1e-5)
    assert flow([[9.5, 5.5]], [[9.5 + 12, 5.5 + 16]]).item() == pytest.approx(5, rel=1e-4)


def test_hidden_points_do_not_count():
    nan = float("nan")
    points0, points1 = [[9.5, 5.5], [1.5, 1.5], [nan, 0.0]], [[13.5, 5.5], [9.5, 9.5], [3.0, 3.0]]
    assert flow(points0, points1, visible=torch.tensor([True, False, True])).item() == pytest.approx(
        1, rel=1e-4
    )
    assert flow([[nan, nan]], [[0.0, 0.0]]).item() == 0


def test_the_soft_argmax_is_the_expected_place():
    # 3 : 1 between two cells of a row.
    cosine = torch.full((1, 6), -10.0)
    cosine[0, 3], cosine[0, 5] = math.log(3), 0.0
    found = soft_argmax(cosine, (2, 3), temperature=1.0, focus="all", radius=1.0)
    rest = 4 * math.exp(-10)
    x = (3 * 0 + 1 * 2 + math.exp(-10) * (0 + 1 + 2 + 1)) / (4 + rest)
    torch.testing.assert_close(found, torch.tensor([[x, 4 / (4 + rest) + math.exp(-10) / (4 + rest)]]))


def test_a_window_sees_only_what_is_near_the_best_cell():
    cosine = torch.zeros(1, 7)
    cosine[0, 1], cosine[0, 2], cosine[0, 6] = 1.0, 0.9, 0.99
    found = soft_argmax(cosine, (1, 7), temperature=0.1, focus="window", radius=1.0)
    share = torch.tensor([0.0, 1.0, 0.9]).div(0.1).softmax(dim=0)
    torch.testing.assert_close(found[0, 0], (share * torch.arange(3.0)).sum())
    assert soft_argmax(cosine, (1, 7), temperature=0.1, focus="all", radius=1.0)[0, 0] > 2


def test_a_kernel_fades_what_is_far_from_the_best_cell():
    cosine = torch.tensor([[1.0, 0.0, 0.9]])
    found = soft_argmax(cosine, (1, 3), temperature=0.1, focus="kernel", radius=1.0)
    share = torch.tensor([1.0, 0.0, 0.9 * math.exp(-2)]).div(0.1).softmax(dim=0)
    torch.testing.assert_close(found[0, 0], (share * torch.arange(3.0)).sum())


def test_noise_moves_the_targets_by_its_deviation_and_repeats_with_its_generator():
    points = [[9.5, 5.5]] * 4000
    generator = torch.Generator().manual_seed(0)
    found = flow(points, points, deviation=0.5, generator=generator)
    # The mean distance of a normal distribution in the plane.
    assert found.item() == pytest.approx(0.5 * math.sqrt(math.pi / 2), rel=0.03)
    assert flow(points, points, deviation=0.5, generator=generator.manual_seed(0)) == found


def test_descending_the_flow_loss_finds_the_points():
    generator = torch.Generator().manual_seed(0)
    map0, map1 = (torch.randn(8, 4, 6, generator=generator).requires_grad_() for _ in range(2))
    xy0, xy1 = torch.tensor([[2.0, 3.0], [18.0, 12.0]]), torch.tensor([[20.0, 10.0], [3.0, 2.0]])
    losses: list[float] = []
    for _ in range(100):
        # At the default temperature, random features saturate the softmax.
        loss = dense_flow_loss(map0, map1, xy0, xy1, image_size0=SIZE, image_size1=SIZE, temperature=0.2)
        losses.append(loss.item())
        for map_, gradient in zip((map0, map1), torch.autograd.grad(loss, (map0, map1)), strict=True):
            map_.data -= gradient
    assert losses[0] > 1
    assert min(losses) < 0.1


@pytest.mark.usefixtures("unchecked")
def test_options_of_the_flow_have_to_exist_and_be_in_range():
    with pytest.raises(ConfigError, match=r"expected focus to be one of .*windows'; did you mean window"):
        flow([[0.0, 0.0]], [[0.0, 0.0]], focus="windows")
    for wrong in ({"temperature": 0.0}, {"radius": 0.0}, {"deviation": -1.0}):
        with pytest.raises(ConfigError, match="expected temperature and radius above 0"):
            flow([[0.0, 0.0]], [[0.0, 0.0]], **wrong)
