"""From scores to an assignment to matches, against kornia's LightGlue and cases computed by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kornia.feature.lightglue import sigmoid_log_double_softmax
from torch import Tensor

from homolog.core.errors import ConfigError
from homolog.heads.assignment import Assignment, double_softmax, mutual_matches


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_dustbins(probability: list[list[float]]) -> Tensor:
    inner = torch.tensor(probability)
    return torch.nn.functional.pad(inner, (0, 1, 0, 1), value=0.99).log()[None]


def test_mutual_matches_by_hand():
    #  Row 0 and column 1 choose each other; row 1 wants column 1 too; row 2 and column 0 agree, faintly.
    found = mutual_matches(with_dustbins([[0.1, 0.8], [0.0, 0.5], [0.15, 0.1]]), match_threshold=0.2)
    assert found.partner.tolist() == [[1, -1, -1]]
    torch.testing.assert_close(found.probability, torch.tensor([[0.8, 0.0, 0.15]]))


def test_of_equal_pairs_the_first_is_taken():
    found = mutual_matches(with_dustbins([[0.5, 0.5], [0.5, 0.5]]), match_threshold=0.2)
    assert found.partner.tolist() == [[0, -1]]


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (3, 0), (0, 0)])
def test_without_points_nothing_matches(rows, columns):
    found = mutual_matches(torch.zeros(2, rows + 1, columns + 1), match_threshold=0.0)
    assert found.partner.tolist() == [[-1] * rows] * 2


@given(rows=st.integers(1, 6), columns=st.integers(1, 6), seed=st.integers(0, 99))
def test_the_double_softmax_is_that_of_lightglue(rows, columns, seed):
    scores = random(2, rows, columns, seed=seed) * 3
    z0, z1 = random(2, rows, seed=seed + 1), random(2, columns, seed=seed + 2)
    expected = sigmoid_log_double_softmax(scores, z0[..., None], z1[..., None])
    torch.testing.assert_close(double_softmax(scores, z0, z1), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", ["sinkhorn", "double_softmax"])
def test_padding_changes_nothing_and_comes_out_as_minus_infinity(method):
    head = Assignment(8, method=method).double()
    one, other = random(1, 5, 8), random(1, 4, 8, seed=1)
    alone = head(one, other)
    valid0, valid1 = torch.arange(7)[None] < 5, torch.arange(6)[None] < 4
    for given0, given1 in ((valid0, valid1), (valid0, None), (None, valid1)):
        wide0 = one if given0 is None else torch.nn.functional.pad(one, (0, 0, 0, 2), value=9.0)
        wide1 = other if given1 is None else torch.nn.functional.pad(other, (0, 0, 0, 2), value=9.0)
        found = head(wide0, wide1, valid0=given0, valid1=given1)
        rows = [*range(5), wide0.shape[1]]
        columns = [*range(4), wide1.shape[1]]
        torch.testing.assert_close(found[0][rows][:, columns], alone[0], rtol=1e-9, atol=1e-9)
        padded = found[0].clone()
        padded[torch.tensor(rows)[:, None], torch.tensor(columns)] = -torch.inf
        assert (padded == -torch.inf).all()


@pytest.mark.parametrize("method", ["sinkhorn", "double_softmax"])
def test_it_learns_even_where_an_image_has_no_points(method):
    head = Assignment(8, method=method).double()
    one = random(2, 3, 8).requires_grad_()
    valid0 = torch.tensor([[True] * 3, [False] * 3])
    found = head(one, random(2, 4, 8, seed=1), valid0=valid0)
    found[found.isfinite()].sum().backward()
    assert one.grad is not None
    assert one.grad.isfinite().all()
    assert one.grad[0].abs().sum() > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_without_gradients_the_faster_transport_says_the_same():
    head = Assignment(8).double()
    one, other = random(1, 12, 8), random(1, 9, 8, seed=1)
    learning = head(one, other)
    assert learning.requires_grad
    with torch.inference_mode():
        torch.testing.assert_close(head(one, other), learning.detach(), rtol=0, atol=1e-5)


def test_projection_and_scaling_can_be_left_out():
    one, other = random(1, 3, 16), random(1, 4, 16, seed=1)
    bare = Assignment(16, projection=False, scaled=False, iterations=0).double()
    found = bare(one, other)[0, :3, :4]
    torch.testing.assert_close(
        found - found[0, 0], (one @ other.mT)[0] - (one @ other.mT)[0, 0, 0], rtol=1e-9, atol=1e-9
    )
    scaled = Assignment(16, projection=False, iterations=0).double()(one, other)[0, :3, :4]
    torch.testing.assert_close((found - found[0, 0]) / 4, scaled - scaled[0, 0], rtol=1e-9, atol=1e-9)
    assert {name for name, _ in bare.named_parameters()} == {"dustbin"}


def test_what_does_not_exist_is_refused(unchecked):
    with pytest.raises(
        ConfigError, match="expected the assignment sinkhorn or double_softmax, got hungarian"
    ):
        Assignment(8, method="hungarian")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected 0 iterations or more, got -3"):
        Assignment(8, iterations=-3)
