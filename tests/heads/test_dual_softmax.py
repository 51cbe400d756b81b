import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from homolog.core.errors import CapabilityError, ConfigError
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints
from homolog.heads.dual_softmax import (
    DualSoftmax,
    dual_softmax,
    first_of_each_row,
    peaks_both_ways,
)

NOTHING = Features(maps={"none": torch.zeros(1, 1, 1, 1, 1)}, image_size=(8, 8))


def keypoints(descriptor: torch.Tensor | None, *, offset: float = 0.0) -> Keypoints:
    count = 0 if descriptor is None else len(descriptor)
    xy = torch.arange(2 * count).reshape(count, 2).float() + offset
    return Keypoints(xy=xy, score=torch.ones(count), descriptor=descriptor)


def test_the_probability_is_the_product_of_the_shares_in_row_and_column():
    # exp(similarity / 0.5) is [[9, 1], [1, 1]]
    similarity = 0.5 * torch.tensor([[math.log(9), 0.0], [0.0, 0.0]])
    expected = torch.tensor([[0.9 * 0.9, 0.1 * 0.5], [0.5 * 0.1, 0.5 * 0.5]])
    torch.testing.assert_close(dual_softmax(similarity, 0.5), expected)


@given(
    seed=st.integers(0, 1000), rows=st.integers(1, 9), columns=st.integers(1, 9), scale=st.floats(0.1, 1e4)
)
def test_it_is_a_probability_and_transposes_with_its_input(seed, rows, columns, scale):
    generator = torch.Generator().manual_seed(seed)
    similarity = scale * torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    probability = dual_softmax(similarity, 0.1)
    assert ((probability >= 0) & (probability <= 1)).all()
    torch.testing.assert_close(dual_softmax(similarity.T, 0.1), probability.T)


def test_peaks_are_highest_in_row_and_column_and_strictly_above_the_minimum():
    probability = torch.tensor([[0.5, 0.4, 0.0], [0.6, 0.1, 0.0], [0.0, 0.25, 0.1]])
    assert peaks_both_ways(probability, match_threshold=0.2).nonzero().tolist() == [[1, 0]]
    assert peaks_both_ways(probability, match_threshold=0.6).nonzero().tolist() == []


def test_of_tied_peaks_the_first_of_each_row_is_taken():
    mask = peaks_both_ways(
        torch.tensor([[0.3, 0.3, 0.1], [0.1, 0.3, 0.3], [0.0, 0.0, 0.0]]), match_threshold=0.2
    )
    assert mask.nonzero().tolist() == [[0, 0], [0, 1], [1, 1], [1, 2]]
    rows, columns = first_of_each_row(mask)
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [0, 1])


def test_the_head_pairs_shuffled_descriptors_and_scores_them_by_probability():
    generator = torch.Generator().manual_seed(0)
    descriptor = torch.randn(20, 64, generator=generator)
    order = torch.randperm(20, generator=generator)
    keypoints0, keypoints1 = keypoints(descriptor), keypoints(7 * descriptor[order], offset=0.5)
    found = DualSoftmax()(keypoints0, keypoints1, NOTHING, NOTHING)
    assert torch.equal(found.xy0, keypoints0.xy)
    assert torch.equal(found.xy1, keypoints1.xy[order.argsort()])
    cosine = F.normalize(descriptor, dim=1) @ F.normalize(descriptor, dim=1).T
    torch.testing.assert_close(found.score, dual_softmax(cosine, 0.1).diagonal())


@pytest.mark.parametrize(("count0", "count1"), [(0, 4), (4, 0), (0, 0)])
def test_no_keypoints_give_no_matches(count0, count1):
    found = DualSoftmax()(
        keypoints(torch.ones(count0, 5)), keypoints(torch.ones(count1, 5)), NOTHING, NOTHING
    )
    assert len(found) == 0


def test_keypoints_without_descriptors_are_refused():
    with pytest.raises(CapabilityError, match="expected keypoints with descriptors"):
        DualSoftmax()(keypoints(None), keypoints(None), NOTHING, NOTHING)


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_that_is_not_above_zero_is_refused(temperature):
    with pytest.raises(ConfigError, match="temperature above 0"):
        DualSoftmax(temperature=temperature)
