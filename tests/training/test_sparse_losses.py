"""The assignment loss and the dual softmax, computed by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from homolog.core.errors import ConfigError, ShapeError
from homolog.training.losses.matcha import contrastive_loss
from homolog.training.losses.sparse import assignment_loss, dual_softmax_loss


def test_the_assignment_loss_by_hand():
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


def test_the_loss_of_equal_descriptors_is_that_of_guessing_in_both_directions():
    loss, confidence = dual_softmax_loss(torch.ones(4, 3), torch.ones(4, 3), scale=0.2)
    assert loss.item() == pytest.approx(2 * math.log(4))
    torch.testing.assert_close(confidence, torch.full((4,), 1 / 16))


def test_the_loss_falls_to_nothing_for_descriptors_that_stand_apart():
    loss, confidence = dual_softmax_loss(torch.eye(5), torch.eye(5), scale=40.0)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(confidence, torch.ones(5))


def test_the_gradient_reaches_both_sets_and_not_the_confidence():
    generator = torch.Generator().manual_seed(0)
    sets = [torch.randn(6, 4, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2)]
    assert torch.autograd.gradcheck(lambda a, b: dual_softmax_loss(a, b, scale=0.7)[0], sets)
    assert not dual_softmax_loss(*sets, scale=0.7)[1].requires_grad


def test_no_pairs_have_no_loss():
    loss, confidence = dual_softmax_loss(torch.ones(0, 3), torch.ones(0, 3), scale=1.0)
    assert loss.item() == 0
    assert confidence.shape == (0,)


@pytest.mark.usefixtures("unchecked")
def test_sets_that_do_not_match_row_by_row_are_refused():
    with pytest.raises(ShapeError, match="two sets of matching descriptors"):
        dual_softmax_loss(torch.ones(3, 3), torch.ones(4, 3), scale=1.0)


def test_on_unit_descriptors_it_is_twice_the_contrastive_loss_of_that_scale():
    generator = torch.Generator().manual_seed(0)
    one, two = (F.normalize(torch.randn(6, 4, generator=generator), dim=1) for _ in range(2))
    torch.testing.assert_close(
        dual_softmax_loss(one, two, scale=12.0)[0], 2 * contrastive_loss(one, two, math.log(12.0))
    )
