"""Mutual nearest neighbours: against a plain twin, with exact ties, and in bounded memory."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from kornia.feature import match_mnn, match_smnn
from torch import Tensor

from homolog.core.errors import ConfigError, ShapeError
from homolog.heads.mutual import Metric, mutual_nearest

Pairs = list[tuple[int, int]]

# Neither this share nor its square is a ratio of small integers, so no case below lies on the edge.
RATIO = 0.77


def pairs_of(descriptor0: Tensor, descriptor1: Tensor, **settings: Any) -> Pairs:
    index0, index1, _ = mutual_nearest(descriptor0, descriptor1, **settings)
    return list(zip(index0.tolist(), index1.tolist(), strict=True))


def plain_twin(
    descriptor0: list[list[int]],
    descriptor1: list[list[int]],
    *,
    match_threshold: float | None,
    ratio: float | None,
    metric: Metric,
) -> Pairs:
    """The same in loops over exact integers: lowest index on ties, distances only for the ratio."""

    def closeness(a: list[int], b: list[int]) -> int:
        if metric == "cosine":
            return sum(x * y for x, y in zip(a, b, strict=True))
        return -sum((x - y) ** 2 for x, y in zip(a, b, strict=True))

    def distance(value: int) -> float:
        return math.sqrt(max(0, 2 - 2 * value if metric == "cosine" else -value))

    def stands_out(values: list[int], place: int) -> bool:
        others = values[:place] + values[place + 1 :]
        second = distance(max(others)) if others else 0.0
        return ratio is None or (second > 0 and distance(values[place]) <= ratio * second)

    rows = [[closeness(a, b) for b in descriptor1] for a in descriptor0]
    columns = [list(column) for column in zip(*rows, strict=True)]
    pairs: Pairs = []
    for i, row in enumerate(rows):
        j = row.index(max(row)) if row else None
        if j is None or columns[j].index(max(columns[j])) != i:
            continue
        sure = match_threshold is None or match_threshold <= 0 or row[j] > match_threshold
        if sure and stands_out(row, j) and stands_out(columns[j], i):
            pairs.append((i, j))
    return pairs


@st.composite
def integer_sets(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]]]:
    """Two sets of short integer vectors: every product is exact, and ties are everywhere."""
    vector = st.lists(st.integers(-3, 3), min_size=(size := draw(st.integers(1, 4))), max_size=size)
    return draw(st.lists(vector, max_size=40)), draw(st.lists(vector, max_size=70))


@given(
    sets=integer_sets(),
    match_threshold=st.sampled_from([None, -1.0, 0.0, 1.0, 2.0, 5.5]),
    ratio=st.sampled_from([None, RATIO]),
    metric=st.sampled_from(["cosine", "euclidean"]),
    chunk=st.sampled_from([1, 2000, 1 << 20]),
)
def test_it_finds_what_plain_loops_find_whatever_the_ties(sets, match_threshold, ratio, metric, chunk):
    if metric == "euclidean":
        match_threshold = None
    tensors = [
        torch.tensor(each, dtype=torch.float32).reshape(len(each), len((sets[0] + sets[1] or [[0]])[0]))
        for each in sets
    ]
    expected = plain_twin(*sets, match_threshold=match_threshold, ratio=ratio, metric=metric)
    assert (
        pairs_of(*tensors, match_threshold=match_threshold, ratio=ratio, metric=metric, chunk=chunk)
        == expected
    )


def unit(count: int, *, size: int = 32, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, size, generator=generator, dtype=dtype), dim=1)


def noisy(descriptor: Tensor, *, seed: int = 1) -> Tensor:
    return F.normalize(descriptor + 0.3 * unit(len(descriptor), size=descriptor.shape[1], seed=seed), dim=1)


@given(seed=st.integers(0, 10**6), count0=st.integers(1, 50), count1=st.integers(1, 80))
def test_reordering_the_descriptors_reorders_the_pairs(seed, count0, count1):
    descriptor0 = unit(count0, seed=seed, dtype=torch.float64)
    descriptor1 = unit(count1, seed=seed + 1, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    order0 = torch.randperm(count0, generator=generator)
    order1 = torch.randperm(count1, generator=generator)
    shuffled = pairs_of(descriptor0[order0], descriptor1[order1], ratio=0.95)
    back = sorted((int(order0[i]), int(order1[j])) for i, j in shuffled)
    assert back == pairs_of(descriptor0, descriptor1, ratio=0.95)


@pytest.mark.parametrize("ratio", [None, 0.9])
@pytest.mark.parametrize(("count0", "count1"), [(1, 1), (15, 63), (16, 64), (17, 65), (333, 470), (470, 333)])
def test_the_chunk_decides_about_memory_and_nothing_else(count0, count1, ratio):
    descriptor0 = unit(count0)
    descriptor1 = torch.cat((noisy(descriptor0), unit(count1, seed=5)))[:count1]
    whole = mutual_nearest(descriptor0, descriptor1, ratio=ratio)
    for chunk in (1, 5_000, 70_000):
        part = mutual_nearest(descriptor0, descriptor1, ratio=ratio, chunk=chunk)
        assert torch.equal(part.index0, whole.index0)
        assert torch.equal(part.index1, whole.index1)
        torch.testing.assert_close(part.similarity, whole.similarity, rtol=0, atol=1e-6)


@pytest.mark.parametrize("chunk", [1, 1 << 14, 1 << 20])
@pytest.mark.parametrize(("count0", "count1", "size"), [(37, 129, 3), (501, 350, 64), (250, 777, 65)])
def test_repeated_descriptors_of_any_values_give_way_to_their_first_occurrence(count0, count1, size, chunk):
    descriptor0, descriptor1 = unit(count0, size=size), unit(count1, size=size, seed=1)
    once = mutual_nearest(descriptor0, descriptor1)
    twice = mutual_nearest(
        torch.cat((descriptor0, descriptor0.flip(0))),
        torch.cat((descriptor1, descriptor1.flip(0))),
        chunk=chunk,
    )
    assert torch.equal(twice.index0, once.index0)
    assert torch.equal(twice.index1, once.index1)


@pytest.mark.parametrize("ratio", [None, 0.9])
def test_no_tensor_is_ever_larger_than_the_chunk(ratio, largest):
    descriptor0, descriptor1 = unit(3000, size=8), unit(2000, size=8, seed=1)
    chunk = 1 << 17  # of 6 million similarities
    with largest:
        pairs = mutual_nearest(descriptor0, descriptor1, ratio=ratio, chunk=chunk)
    assert len(pairs.index0)
    assert chunk // 2 < largest.elements <= chunk


def test_even_the_smallest_chunk_holds_sixteen_rows(largest):
    descriptor0, descriptor1 = unit(500, size=8), unit(640, size=8, seed=1)
    with largest:
        mutual_nearest(descriptor0, descriptor1, chunk=1)
    assert largest.elements == 16 * 640


def test_the_memory_test_would_notice_a_whole_matrix(largest):
    descriptor0, descriptor1 = unit(300, size=8), unit(200, size=8, seed=1)
    with largest:
        (descriptor0 @ descriptor1.T).argmax(dim=1)
    assert largest.elements == 300 * 200


def test_similarities_are_cosines_or_minus_distances():
    descriptor0, descriptor1 = unit(40, dtype=torch.float64), unit(50, seed=1, dtype=torch.float64)
    i, j, cosine = mutual_nearest(descriptor0, descriptor1)
    torch.testing.assert_close(cosine, (descriptor0[i] * descriptor1[j]).sum(dim=1))
    i, j, closeness = mutual_nearest(3 * descriptor0, descriptor1, metric="euclidean")
    torch.testing.assert_close(closeness, -(3 * descriptor0[i] - descriptor1[j]).norm(dim=1))


def test_of_unit_descriptors_it_keeps_the_pairs_that_kornia_keeps():
    descriptor0 = unit(400)
    descriptor1 = torch.cat((noisy(descriptor0)[:300], unit(150, seed=9)))
    _, mutual = match_mnn(descriptor0, descriptor1)
    assert pairs_of(descriptor0, descriptor1) == sorted(map(tuple, mutual.tolist()))
    for ratio in (0.7, 0.9):
        _, sure = match_smnn(descriptor0, descriptor1, th=ratio)
        assert 0 < len(sure) < len(mutual)
        assert pairs_of(descriptor0, descriptor1, ratio=ratio) == sorted(map(tuple, sure.tolist()))


def test_a_cosine_equal_to_the_minimum_is_not_enough():
    descriptor0 = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    descriptor1 = torch.tensor([[0.5, 0.0], [0.0, 0.75]])
    assert pairs_of(descriptor0, descriptor1, match_threshold=0.5) == [(1, 1)]


@pytest.mark.parametrize("match_threshold", [None, 0.0, -0.1])
def test_no_positive_minimum_keeps_even_opposite_descriptors(match_threshold):
    descriptor0, descriptor1 = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
    assert pairs_of(descriptor0, descriptor1, match_threshold=match_threshold) == [(0, 0)]


def test_the_ratio_test_drops_a_pair_without_a_second_neighbour():
    descriptor = unit(3)
    assert pairs_of(descriptor[:1], descriptor, ratio=0.99) == []
    assert pairs_of(descriptor, descriptor[:1], ratio=0.99) == []


@pytest.mark.parametrize(("count0", "count1"), [(0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("settings", [{}, {"ratio": 0.9}, {"match_threshold": 0.5}, {"metric": "euclidean"}])
def test_an_empty_set_has_no_pairs(count0, count1, settings):
    index0, index1, similarity = mutual_nearest(torch.zeros(count0, 8), torch.zeros(count1, 8), **settings)
    assert (len(index0), len(index1), len(similarity)) == (0, 0, 0)
    assert index0.dtype == index1.dtype == torch.long


def test_the_inputs_stay_as_they_were_and_no_gradient_flows():
    descriptor0, descriptor1 = unit(30).requires_grad_(), unit(40, seed=1)
    before = descriptor0.detach().clone(), descriptor1.clone()
    assert not mutual_nearest(descriptor0, descriptor1, ratio=0.9).similarity.requires_grad
    assert torch.equal(descriptor0.detach(), before[0])
    assert torch.equal(descriptor1, before[1])


@pytest.mark.usefixtures("unchecked")
def test_descriptors_of_different_lengths_are_refused():
    with pytest.raises(ShapeError, match="descriptors of one length"):
        mutual_nearest(torch.zeros(3, 8), torch.zeros(3, 7))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratio": 0.0}, "ratio in"),
        ({"ratio": 1.1}, "ratio in"),
        ({"chunk": 0}, "chunk >= 1"),
        ({"metric": "euclidean", "match_threshold": 0.5}, "needs metric cosine"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        mutual_nearest(unit(3), unit(3), **settings)
