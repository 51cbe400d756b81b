"""Who listens to whom: the better half, stable under ties, blind to padding."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from homolog.core.errors import ConfigError
from homolog.core.features import Features
from homolog.heads.guidance import guided_edges, look_up


def features(count: int, seed: int, *, levels: int | None = None) -> Tensor:
    """Random features [N 3]; with few levels many of them are equal."""
    generator = torch.Generator().manual_seed(seed)
    if levels is None:
        return torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return torch.randint(1, 1 + levels, (count, 3), generator=generator).double()


def slow(guidance0: Tensor, guidance1: Tensor, keep: float) -> list[list[bool]]:
    """Sort the sources of each target, best first and equal ones by index, and take the first."""
    unit0, unit1 = (each / each.norm(dim=1, keepdim=True) for each in (guidance0, guidance1))
    cosines = unit0 @ unit1.T
    wanted = max(1, math.ceil(round(keep * len(guidance1), 6)))
    rows: list[list[bool]] = []
    for row in cosines.tolist():
        best = sorted(range(len(row)), key=lambda j: -row[j])[:wanted]  # Python's sort is stable
        rows.append([j in best for j in range(len(row))])
    return rows


@given(
    count0=st.integers(1, 9),
    count1=st.integers(1, 9),
    keep=st.sampled_from([0.3, 0.4, 0.5, 0.6, 1.0]),
    seed=st.integers(0, 99),
)
def test_each_keypoint_keeps_the_better_share_rounded_up(count0, count1, keep, seed):
    one, other = features(count0, seed), features(count1, seed + 1)
    edges0, edges1 = guided_edges(one[None], other[None], keep=keep)
    assert edges0[0].tolist() == slow(one, other, keep)
    assert edges1[0].tolist() == slow(other, one, keep)


@given(count=st.integers(1, 12), keep=st.sampled_from([0.3, 0.5, 0.6]))
def test_of_equals_the_first_are_kept(count, keep):
    same = torch.tensor([1.0, 2.0]).expand(1, count, 2)
    edges0, _ = guided_edges(same[:, :1], same, keep=keep)
    wanted = max(1, math.ceil(keep * count))
    assert edges0[0, 0].tolist() == [index < wanted for index in range(count)]


def test_ties_are_settled_row_by_row():
    # Cosines of the one target: 1, 0, 0, 0, -1: two of the three ties at 0 have no room.
    target = torch.tensor([[[1.0, 0.0]]])
    sources = torch.tensor([[[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [-1.0, 0.0]]])
    edges0, _ = guided_edges(target, sources, keep=0.4)
    assert edges0[0, 0].tolist() == [True, True, False, False, False]


@given(
    counts=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=3),
    seed=st.integers(0, 50),
)
def test_padding_counts_for_nothing(counts, seed):
    length0, length1 = (max(1, *each) for each in zip(*counts, strict=True))
    pads = torch.full((len(counts), length0, 3), 7.0, dtype=torch.float64)
    pads1 = torch.full((len(counts), length1, 3), 7.0, dtype=torch.float64)
    for sample, (n, m) in enumerate(counts):
        pads[sample, :n], pads1[sample, :m] = features(n, seed + sample), features(m, seed + sample + 9)
    valid0 = torch.arange(length0) < torch.tensor([[n] for n, _ in counts])
    valid1 = torch.arange(length1) < torch.tensor([[m] for _, m in counts])
    edges0, edges1 = guided_edges(pads, pads1, valid0=valid0, valid1=valid1)
    for sample, (n, m) in enumerate(counts):
        if n and m:
            alone0, alone1 = guided_edges(pads[sample : sample + 1, :n], pads1[sample : sample + 1, :m])
            assert torch.equal(edges0[sample, :n, :m], alone0[0])
            assert torch.equal(edges1[sample, :m, :n], alone1[0])
        assert not edges0[sample, :, m:].any()
        assert not edges1[sample, :, n:].any()


def test_the_two_graphs_are_not_each_other_s_transposes():
    edges0, edges1 = guided_edges(features(8, 0)[None], features(8, 1)[None])
    assert not torch.equal(edges0[0], edges1[0].T)


@pytest.mark.parametrize("keep", [0.0, 1.5, -1.0])
def test_a_share_beyond_all_or_nothing_is_refused(keep):
    with pytest.raises(ConfigError, match=r"expected to keep a share in \(0, 1\]"):
        guided_edges(features(2, 0)[None], features(2, 1)[None], keep=keep)


def test_the_centre_of_a_cell_reads_that_cell_and_the_release_reads_it_half_a_cell_before():
    map_ = torch.arange(12.0).reshape(1, 3, 4)
    size = (30, 40)  # cells of 10 x 10 pixels, the first one centred on pixel 4.5
    centre = torch.tensor([[14.5, 4.5]])
    assert look_up(map_, centre, size)[0, 0].item() == pytest.approx(1.0, abs=1e-5)
    corner = torch.tensor([[10.0, 0.0]])
    assert look_up(map_, corner, size, lookup="release")[0, 0].item() == pytest.approx(1.0, abs=1e-5)
    features_ = Features(maps={"m": map_[None, None]}, image_size=size)
    anywhere = torch.rand(20, 2) * torch.tensor([40.0, 30.0]) - 0.5
    assert torch.equal(look_up(map_, anywhere, size), features_.at("m", anywhere))


def test_another_way_to_look_is_refused(unchecked):
    with pytest.raises(ConfigError, match="expected the lookup centre or release, got corner"):
        look_up(torch.zeros(1, 2, 2), torch.zeros(1, 2), (4, 4), lookup="corner")  # type: ignore[arg-type]
