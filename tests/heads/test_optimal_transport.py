"""Optimal transport with a dustbin, and the matches read off it."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kornia.feature.lightglue import sigmoid_log_double_softmax
from torch import Tensor

from homolog.core.errors import ConfigError
from homolog.heads.optimal_transport import (
    Assignment,
    double_softmax,
    log_optimal_transport,
    mutual_matches,
    optimal_transport,
)

ONE = torch.tensor(1.0, dtype=torch.float64)


def random_scores(*shape: int, scale: float = 1.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64) * scale


def slow(scores: Tensor, dustbin: float, iterations: int) -> Tensor:
    """Sinkhorn as Cuturi writes it, one pair, float64: scale rows, scale columns."""
    rows, columns = scores.shape
    kernel = torch.full((rows + 1, columns + 1), dustbin, dtype=torch.float64)
    kernel[:-1, :-1] = scores
    kernel = kernel.exp()
    mass0 = torch.tensor([1.0] * rows + [columns], dtype=torch.float64)
    mass1 = torch.tensor([1.0] * columns + [rows], dtype=torch.float64)
    b = torch.ones(columns + 1, dtype=torch.float64)
    a = torch.ones(rows + 1, dtype=torch.float64)
    for _ in range(iterations):
        a = mass0 / (kernel @ b)
        b = mass1 / (kernel.T @ a)
    return (a[:, None] * kernel * b).log()


SIZES = st.integers(1, 6)


@given(
    rows=SIZES,
    columns=SIZES,
    iterations=st.integers(1, 30),
    dustbin=st.floats(-3, 3),
    seed=st.integers(0, 99),
)
def test_both_ways_are_the_plain_iteration(rows, columns, iterations, dustbin, seed):
    scores = random_scores(1, rows, columns, seed=seed, scale=3)
    alpha = torch.tensor(dustbin, dtype=torch.float64)
    expected = slow(scores[0], dustbin, iterations)
    for found in (
        log_optimal_transport(scores, alpha, iterations=iterations),
        optimal_transport(scores, alpha, iterations=iterations, tolerance=0.0),
    ):
        torch.testing.assert_close(found[0], expected, rtol=1e-9, atol=1e-9)


@given(
    counts=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=4),
    extra=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_padding_and_the_rest_of_the_batch_change_nothing(counts, extra, seed):
    length0, length1 = (max(each) + extra for each in zip(*counts, strict=True))
    scores = random_scores(len(counts), length0, length1, seed=seed, scale=2)
    valid0 = torch.arange(length0) < torch.tensor([[n] for n, _ in counts])
    valid1 = torch.arange(length1) < torch.tensor([[m] for _, m in counts])
    # What padding holds must not matter, whatever it is.
    scores = scores.masked_fill(~(valid0[..., None] & valid1[:, None]), 1e4)
    # With a tolerance, a batch goes on until the last of its pairs has converged.
    for transport in (log_optimal_transport, partial(optimal_transport, tolerance=0.0)):
        whole = transport(scores, ONE, iterations=20, valid0=valid0, valid1=valid1)
        for sample, (n, m) in enumerate(counts):
            alone = transport(scores[sample : sample + 1, :n, :m], ONE, iterations=20)[0]
            rows = [*range(n), length0]
            columns = [*range(m), length1]
            torch.testing.assert_close(
                whole[sample][rows][:, columns], alone, rtol=1e-9, atol=1e-9, equal_nan=True
            )
        assert (whole[:, :-1][~valid0] == -torch.inf).all()
        assert (whole[:, :, :-1].transpose(1, 2)[~valid1] == -torch.inf).all()


@pytest.mark.parametrize("scale", [1.0, 30.0, 300.0, 3000.0])
def test_no_score_is_too_large_for_the_faster_way(scale):
    scores = random_scores(2, 40, 33, scale=scale)
    precise = log_optimal_transport(scores, ONE)
    for dtype, tolerance in ((torch.float64, 1e-6), (torch.float32, 2e-6 * scale)):
        found = optimal_transport(scores.to(dtype), ONE.to(dtype), tolerance=0.0)
        assert not found.isnan().any()
        torch.testing.assert_close(found.double(), precise, rtol=1e-5, atol=max(tolerance, 2e-5))


def test_stopping_early_changes_hardly_anything_and_stops_indeed(monkeypatch):
    scores = random_scores(1, 60, 50).float()
    every = optimal_transport(scores, ONE.float(), tolerance=0.0)
    products = []
    product = torch.mv
    monkeypatch.setattr(torch, "mv", lambda *given: products.append(1) or product(*given))
    early = optimal_transport(scores, ONE.float())
    assert len(products) < 100  # of the 200 of a hundred iterations
    torch.testing.assert_close(early, every, rtol=0, atol=2e-5)


def test_the_gradient_is_that_of_finite_differences():
    scores = random_scores(2, 3, 4, scale=2).requires_grad_()
    dustbin = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    valid0 = torch.tensor([[True] * 3, [True, True, False]])

    def real(scores: Tensor, dustbin: Tensor) -> Tensor:
        found = log_optimal_transport(scores, dustbin, iterations=10, valid0=valid0)
        return found[found.isfinite()]

    assert torch.autograd.gradcheck(real, (scores, dustbin))


def test_a_pair_without_any_points_spoils_no_gradient_of_its_batch():
    scores = random_scores(2, 3, 4).requires_grad_()
    valid0 = torch.tensor([[True] * 3, [False] * 3])
    valid1 = torch.tensor([[True] * 4, [False] * 4])
    dustbin = ONE.clone().requires_grad_()
    found = log_optimal_transport(scores, dustbin, iterations=10, valid0=valid0, valid1=valid1)
    assert found[1, -1, -1].isnan()
    found[0].sum().backward()
    assert scores.grad is not None
    assert dustbin.grad is not None
    assert scores.grad.isfinite().all()
    assert dustbin.grad.isfinite()
    assert (scores.grad[1] == 0).all()


def test_half_precision_is_computed_in_single_precision_even_under_autocast():
    scores = random_scores(1, 5, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = [
            each(scores.bfloat16(), ONE.bfloat16()) for each in (log_optimal_transport, optimal_transport)
        ]
    expected = log_optimal_transport(scores.bfloat16().double(), ONE)
    for each in found:
        assert each.dtype == torch.float32
        torch.testing.assert_close(each.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("transport", [log_optimal_transport, optimal_transport])
def test_a_negative_number_of_iterations_is_refused(transport):
    with pytest.raises(ConfigError, match="expected 0 iterations or more, got -1"):
        transport(random_scores(1, 2, 2), ONE, iterations=-1)


def test_a_negative_tolerance_is_refused():
    with pytest.raises(ConfigError, match="expected a tolerance of 0 or more, got -1"):
        optimal_transport(random_scores(1, 2, 2), ONE, tolerance=-1.0)


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
    with pytest.raises(ConfigError, match="expected assignment to be one of sinkhorn, double_softmax"):
        Assignment(8, method="hungarian")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected 0 iterations or more, got -3"):
        Assignment(8, iterations=-3)
