"""Optimal transport with a dustbin: both ways agree, padding is nothing, gradients flow, nothing overflows."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from homolog.core.errors import ConfigError
from homolog.heads.optimal_transport import log_optimal_transport, optimal_transport

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
