"""Nearest neighbours: mutual nearest descriptors, the dual softmax, and single points in a map."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from kornia.feature import match_mnn, match_smnn
from torch import Tensor

from homolog.core.coords import Size, normalised_to_pixel, pixel_grid, pixel_to_normalised, resize_pixel
from homolog.core.dense import Described, Transfer
from homolog.core.errors import CapabilityError, ConfigError, ShapeError
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints
from homolog.core.protocols import PointHead, SimilarityHead, SparseHead
from homolog.heads.nearest import (
    DualSoftmax,
    Metric,
    Nearest,
    dual_softmax,
    first_of_each_row,
    mutual_nearest,
    peaks_both_ways,
)
from homolog.heads.read_out import cosines, locate

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
        ({"metric": "euclidean", "match_threshold": 0.5}, "expected metric=cosine"),
    ],
)
def test_settings_of_mutual_nearest_out_of_range_raise(settings, message):
    with pytest.raises(ConfigError, match=message):
        mutual_nearest(unit(3), unit(3), **settings)


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


def test_dual_softmax_expects_descriptors():
    with pytest.raises(CapabilityError, match="expected keypoints with descriptors"):
        DualSoftmax()(keypoints(None), keypoints(None), NOTHING, NOTHING)


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_that_is_not_above_zero_is_refused(temperature):
    with pytest.raises(ConfigError, match="temperature above 0"):
        DualSoftmax(temperature=temperature)


TEMPERATURE = 0.02
QUERY = torch.tensor([[1.0, 0.0]], dtype=torch.float64)


def map_of_cosines(cosine: Tensor) -> Tensor:
    """Return a map of unit descriptors whose cosines with `QUERY` are these."""
    return torch.stack((cosine, (1 - cosine.square()).sqrt()))


def peaked(size: Size, *, at: tuple[int, int], thirds: tuple[int, int]) -> Tensor:
    """Return cosines of -1, but 1 at (x, y), and at `thirds` a third of its weight in the softmax."""
    cosine = torch.full(size, -1.0, dtype=torch.float64)
    cosine[at[1], at[0]] = 1
    cosine[thirds[1], thirds[0]] = 1 - TEMPERATURE * math.log(3)
    return cosine


@pytest.mark.parametrize(
    ("at", "thirds", "expected"),
    [
        ((3, 2), (4, 2), (3.25, 2.0)),  # a quarter of the way to the right neighbour
        ((3, 2), (2, 3), (2.75, 2.25)),
        ((0, 0), (1, 0), (0.25, 0.0)),  # in a corner, where the window ends at the border
        ((6, 4), (6, 3), (6.0, 3.75)),
    ],
)
def test_a_peak_is_found_between_cells_as_computed_by_hand(at, thirds, expected):
    map_ = map_of_cosines(peaked((5, 7), at=at, thirds=thirds))
    found = locate(QUERY, map_, window=3, temperature=TEMPERATURE)
    torch.testing.assert_close(found.xy, torch.tensor([expected], dtype=torch.float64))
    assert found.similarity.item() == 1
    assert found.concentration.item() == pytest.approx(1)


def test_cells_outside_of_the_window_do_not_move_the_point_and_lower_the_concentration():
    cosine = peaked((5, 7), at=(3, 2), thirds=(4, 2))
    alone = locate(QUERY, map_of_cosines(cosine), window=3, temperature=TEMPERATURE)
    cosine[0, 0] = cosine[4, 6] = cosine[2, 5] = 1 - TEMPERATURE * math.log(3)
    rivalled = locate(QUERY, map_of_cosines(cosine), window=3, temperature=TEMPERATURE)
    assert torch.equal(rivalled.xy, alone.xy)
    # 1 + 1/3 within the window, three times 1/3 beyond it
    assert rivalled.concentration.item() == pytest.approx((4 / 3) / (7 / 3))


def test_a_window_of_one_returns_the_centre_of_the_best_cell():
    map_ = map_of_cosines(peaked((5, 7), at=(3, 2), thirds=(4, 2)))
    assert locate(QUERY, map_, window=1, temperature=TEMPERATURE).xy.tolist() == [[3, 2]]


def plain_locate(query: Tensor, map_: Tensor, window: int, temperature: float) -> list[tuple[float, float]]:
    """The same cell by cell."""
    height, width = map_.shape[1:]
    cells = [(x, y) for y in range(height) for x in range(width)]
    found: list[tuple[float, float]] = []
    for row in query:
        cosine = {(x, y): float(row @ map_[:, y, x]) for x, y in cells}
        peak = max(cells, key=cosine.__getitem__)
        near = [c for c in cells if max(abs(c[0] - peak[0]), abs(c[1] - peak[1])) <= window // 2]
        weight = [math.exp((cosine[c] - cosine[peak]) / temperature) for c in near]
        x, y = (sum(w * c[axis] for w, c in zip(weight, near, strict=True)) / sum(weight) for axis in (0, 1))
        found.append((x, y))
    return found


@given(
    seed=st.integers(0, 1000),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    window=st.sampled_from([1, 3, 5, 21]),
    chunk=st.sampled_from([1, 30, 1 << 20]),
)
def test_it_finds_what_plain_loops_find(seed, height, width, window, chunk):
    generator = torch.Generator().manual_seed(seed)
    query = F.normalize(torch.randn(4, 6, generator=generator, dtype=torch.float64), dim=1)
    map_ = F.normalize(torch.randn(6, height, width, generator=generator, dtype=torch.float64), dim=0)
    found = locate(query, map_, window=window, temperature=0.1, chunk=chunk)
    expected = torch.tensor(plain_locate(query, map_, window, 0.1), dtype=torch.float64)
    torch.testing.assert_close(found.xy, expected)
    assert ((found.concentration > 0) & (found.concentration <= 1)).all()


@pytest.mark.parametrize(("window", "sigma"), [(None, None), (None, 1.5), (3, 0.7), (21, 2.0)])
def test_a_kernel_weighs_similarities_as_plain_loops_do(window: int | None, sigma: float | None):
    generator = torch.Generator().manual_seed(3)
    query = F.normalize(torch.randn(5, 6, generator=generator, dtype=torch.float64), dim=1)
    map_ = F.normalize(torch.randn(6, 4, 7, generator=generator, dtype=torch.float64), dim=0)
    found = locate(query, map_, window=window, temperature=0.1, sigma=sigma, chunk=40)
    for one, place in zip(query, found.xy, strict=True):
        cosine = torch.einsum("d,dhw->hw", one, map_)
        top, left = divmod(int(cosine.argmax()), 7)
        total, moment = 0.0, torch.zeros(2, dtype=torch.float64)
        for y in range(4):
            for x in range(7):
                if window is not None and max(abs(x - left), abs(y - top)) > window // 2:
                    continue
                squared = (x - left) ** 2 + (y - top) ** 2
                kernel = 1.0 if sigma is None else math.exp(-squared / (2 * sigma**2))
                weight = math.exp(float(cosine[y, x]) * kernel / 0.1)
                total += weight
                moment += weight * torch.tensor([x, y], dtype=torch.float64)
        torch.testing.assert_close(place, moment / total)
    assert ((found.concentration > 0) & (found.concentration <= 1)).all()


def test_a_source_may_be_the_cell_that_a_point_lies_in():
    generator = torch.Generator().manual_seed(4)
    map_ = torch.randn(1, 1, 8, 3, 4, generator=generator)
    features = Features(maps={"map": map_}, image_size=(30, 40))
    inside_of_cells = torch.tensor([[0.0, 0.0], [9.4, 9.4], [9.6, 9.4], [39.0, 29.0], [21.0, 12.0]])
    centres = torch.tensor([[4.5, 4.5], [4.5, 4.5], [14.5, 4.5], [34.5, 24.5], [24.5, 14.5]])
    found = Nearest(source="cell", window=1).transfer(inside_of_cells, features, features)
    assert torch.equal(found.xy, centres)
    smooth = Nearest(window=1).similarity(inside_of_cells, features, features)
    assert not torch.allclose(smooth, Nearest(source="cell").similarity(inside_of_cells, features, features))


@pytest.mark.parametrize("channels", [1, 31, 32, 33, 70, 128])
def test_lengths_of_descriptors_do_not_count(channels: int):
    """Compared by cosine, whatever the number of channels, whose squares are added up 32 at a time."""
    generator = torch.Generator().manual_seed(channels)
    query = torch.randn(3, channels, generator=generator, dtype=torch.float64)
    map_ = torch.randn(channels, 5, 6, generator=generator, dtype=torch.float64)
    unit = locate(F.normalize(query, dim=1), F.normalize(map_, dim=0), window=3, temperature=0.1)
    stretched = map_ * torch.rand(5, 6, generator=generator, dtype=torch.float64).add(0.1)
    found = locate(7 * query, stretched, window=3, temperature=0.1)
    for ours, wanted in zip(found, unit, strict=True):
        torch.testing.assert_close(ours, wanted)


def test_a_cell_without_descriptor_resembles_nothing_and_leaves_gradients_finite():
    map_ = torch.ones(2, 3, 3, dtype=torch.float64)
    map_[:, 0, 0] = 0
    map_[1, 2, 2] = 0
    map_.requires_grad_()
    found = locate(QUERY, map_, window=3, temperature=0.1)
    assert found.similarity.item() == 1
    assert found.xy.isfinite().all()
    found.xy.sum().backward()
    assert map_.grad is not None
    assert map_.grad.isfinite().all()


def test_gradients_reach_query_and_map():
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(3, 4, generator=generator, dtype=torch.float64).requires_grad_()
    map_ = torch.randn(4, 5, 6, generator=generator, dtype=torch.float64).requires_grad_()

    def places(query: Tensor, map_: Tensor) -> Tensor:
        return locate(F.normalize(query, dim=1), F.normalize(map_, dim=0), window=3, temperature=0.5).xy

    assert torch.autograd.gradcheck(places, (query, map_))


@pytest.mark.usefixtures("unchecked")
def test_descriptors_of_another_length_than_the_map_are_refused():
    with pytest.raises(ShapeError, match="descriptors of one length"):
        locate(torch.zeros(1, 3), torch.zeros(2, 4, 4), window=3, temperature=0.1)


def features(map_: Tensor, *, stride: int = 8, name: str = "map") -> Features:
    size = (map_.shape[-2] * stride, map_.shape[-1] * stride)
    return Features(maps={name: map_[None, None]}, image_size=size)


def random_map(height: int, width: int, *, channels: int = 64, seed: int = 0) -> Tensor:
    return torch.randn(channels, height, width, generator=torch.Generator().manual_seed(seed))


def cell_centres(cells: list[tuple[int, int]], stride: int) -> Tensor:
    return resize_pixel(torch.tensor(cells, dtype=torch.float32), (1, 1), (stride, stride))


def test_points_move_by_the_shift_between_two_windows_on_one_map():
    whole = random_map(30, 40)
    features0, features1 = features(whole[:, 2:22, 5:35]), features(whole[:, 6:30, 1:31])
    xy0 = cell_centres([(0, 4), (11, 7), (25, 19), (3, 18)], stride=8)
    found = Nearest().transfer(xy0, features0, features1)
    torch.testing.assert_close(found.xy, xy0 + torch.tensor([4.0 * 8, -4.0 * 8]), rtol=0, atol=0.02)
    assert (found.confidence > 0.9).all()


def test_images_of_different_sizes_and_strides_keep_their_own_pixels():
    map_ = random_map(6, 11)
    cells = [(0, 0), (10, 5), (7, 2)]
    found = Nearest().transfer(cell_centres(cells, 8), features(map_, stride=8), features(map_, stride=14))
    torch.testing.assert_close(found.xy, cell_centres(cells, 14), rtol=0, atol=0.02)


def test_an_image_that_is_no_multiple_of_its_map_is_covered_by_it_all_the_same():
    map_ = random_map(6, 11)
    features0 = Features(maps={"map": map_[None, None]}, image_size=(50, 90))
    features1 = Features(maps={"map": map_[None, None]}, image_size=(70, 60))
    at = pixel_to_normalised(torch.tensor([[0.0, 0.0], [7.0, 2.0]]), (6, 11))
    found = Nearest().transfer(normalised_to_pixel(at, (50, 90)), features0, features1)
    torch.testing.assert_close(found.xy, normalised_to_pixel(at, (70, 60)), rtol=0, atol=0.02)


def test_halfway_between_two_cells_is_found_halfway():
    map_ = F.normalize(random_map(9, 12), dim=0)
    xy = (cell_centres([(4, 3)], 8) + cell_centres([(5, 3)], 8)) / 2
    found = Nearest(window=3).transfer(xy, features(map_), features(map_))
    # By symmetry: its mean with a unit vector is as similar to the one as to the other.
    torch.testing.assert_close(found.xy, xy, rtol=0, atol=0.01)


def test_only_the_rows_asked_for_are_compared(largest):
    map_ = random_map(50, 60, channels=4)
    with largest:
        Nearest().transfer(cell_centres([(1, 1), (20, 30), (8, 9)], 8), features(map_), features(map_))
    assert largest.elements == max(3 * 50 * 60, map_.numel())


def test_many_rows_are_compared_a_chunk_at_a_time(largest):
    map_ = random_map(50, 60, channels=4)
    xy = pixel_grid((50, 60)) * 8
    head = Nearest(chunk=30_000)
    with largest:
        found = head.transfer(xy, features(map_), features(map_))
    assert largest.elements == 30_000
    assert len(found.xy) == 3000


def test_confidence_is_high_where_the_place_is_there_and_low_where_it_is_not():
    map0 = random_map(16, 20)
    map1 = map0.clone()
    map1[:, :, 10:] = random_map(16, 10, seed=1)
    noise = 0.3 * random_map(16, 20, seed=2)
    xy = pixel_grid((16, 20)) * 8 + 3.5
    found = Nearest(temperature=0.05).transfer(xy, features(map0), features(map1 + noise))
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    there = xy[:, 0] < 10 * 8
    assert found.confidence[there].min() > found.confidence[~there].max()


def test_a_place_that_looks_like_another_is_less_sure():
    map0 = random_map(16, 20)
    map1 = map0.clone()
    map1[:, 12, 15] = map0[:, 3, 4]
    xy = cell_centres([(4, 3), (9, 9)], 8)
    twin, single = Nearest().transfer(xy, features(map0), features(map1)).confidence.tolist()
    assert twin == pytest.approx(0.5, abs=0.01)
    assert single > 0.99


def test_a_way_back_that_ends_three_cells_astray_divides_the_confidence_by_ten():
    # The point's descriptor is e0; what resembles it most in image 1 is, in turn, what image 0 has three
    # cells further right. All other cells are unlike either.
    map0, map1 = torch.zeros(4, 5, 9), torch.zeros(4, 5, 9)
    map0[2], map1[3] = 1, 1
    map0[:, 2, 1] = torch.tensor([1.0, 0, 0, 0])
    map0[:, 2, 4] = map1[:, 3, 7] = torch.tensor([0.6, 0.8, 0, 0])
    found = Nearest().transfer(cell_centres([(1, 2), (4, 2)], 8), features(map0), features(map1))
    torch.testing.assert_close(found.xy, cell_centres([(7, 3), (7, 3)], 8), rtol=0, atol=1e-3)
    torch.testing.assert_close(found.confidence, torch.tensor([1 / (1 + 3**2), 1.0]), rtol=0, atol=1e-3)


def test_described_points_of_several_images_are_found_as_transfer_finds_them():
    maps = [random_map(12, 15, seed=seed) for seed in range(3)]
    noise = 0.5 * random_map(12, 15, seed=9)
    first, second, target = (
        features(maps[0]),
        features(maps[1], stride=4),
        features(maps[0] + maps[1] + noise),
    )
    head = Nearest(temperature=0.05)
    xy0, xy1 = cell_centres([(2, 3), (9, 1)], 8), cell_centres([(4, 11), (0, 0), (14, 7)], 4)
    found = head.find(Described.cat([head.describe(xy0, first), head.describe(xy1, second)]), target)
    pairs = [head.transfer(xy0, first, target), head.transfer(xy1, second, target)]
    torch.testing.assert_close(found.xy, torch.cat([pair.xy for pair in pairs]), rtol=0, atol=1e-4)
    # The confidence of a pair is that of the way there, divided by 1 + the squared cycle error in cells.
    back = head.find(head.describe(found.xy[:2], target), first)
    astray = (back.xy - xy0).square().sum(dim=1) / 8**2
    torch.testing.assert_close(found.confidence[:2] / (1 + astray), pairs[0].confidence, rtol=0, atol=1e-5)


def test_no_points_are_nowhere():
    map_ = random_map(5, 6)
    found = Nearest().transfer(torch.zeros(0, 2), features(map_), features(map_))
    assert isinstance(found, Transfer)
    assert (found.xy.shape, found.confidence.shape) == ((0, 2), (0,))


def test_of_several_maps_one_has_to_be_chosen():
    one, other = random_map(5, 6), random_map(5, 6, seed=1)
    both = Features(maps={"one": one[None, None], "other": other[None, None]}, image_size=(40, 48))
    xy = cell_centres([(2, 3)], 8)
    with pytest.raises(ConfigError, match=r"one of the maps one, other; set head\.map"):
        Nearest().transfer(xy, both, both)
    chosen = Nearest(map="other").transfer(xy, both, features(one, name="other"))
    alone = Nearest().transfer(xy, features(other), features(one))
    assert torch.equal(chosen.xy, alone.xy)
    with pytest.raises(ShapeError, match="no feature map named others; did you mean other"):
        Nearest(map="others").transfer(xy, both, both)


def described_points(descriptor: Tensor | None, count: int = 0) -> Keypoints:
    count = count if descriptor is None else len(descriptor)
    xy = torch.rand(count, 2, generator=torch.Generator().manual_seed(count)) * 40
    return Keypoints(xy=xy, score=torch.ones(count), descriptor=descriptor)


def test_keypoints_are_paired_by_cosine_whatever_the_length_of_their_descriptors():
    generator = torch.Generator().manual_seed(0)
    descriptor = torch.randn(20, 16, generator=generator)
    length = torch.rand(20, 1, generator=generator) + 0.1
    order = torch.randperm(20, generator=generator)
    keypoints0, keypoints1 = described_points(descriptor), described_points((descriptor * length)[order])
    nothing = features(random_map(5, 6))
    found = Nearest()(keypoints0, keypoints1, nothing, nothing)
    assert torch.equal(found.xy0, keypoints0.xy)
    assert torch.equal(found.xy1, keypoints1.xy[order.argsort()])
    torch.testing.assert_close(found.score, torch.ones(20))


def test_minimum_and_ratio_reach_the_search():
    nothing = features(random_map(5, 6))
    keypoints0 = described_points(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    keypoints1 = described_points(torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]]))
    both, strict, distinct = (
        head(keypoints0, keypoints1, nothing, nothing).xy0.tolist()
        for head in (Nearest(), Nearest(match_threshold=0.9), Nearest(ratio=0.1))
    )
    assert both == keypoints0.xy.tolist()
    assert strict == distinct == keypoints0.xy[:1].tolist()


def test_nearest_expects_descriptors():
    nothing = features(random_map(5, 6))
    with pytest.raises(CapabilityError, match="expected keypoints with descriptors"):
        Nearest()(described_points(None, 3), described_points(None, 3), nothing, nothing)


@pytest.mark.parametrize(
    "settings",
    [
        {"window": 4},
        {"window": 0},
        {"temperature": 0.0},
        {"sigma": 0.0},
        {"source": "corner"},
        {"chunk": 0},
        {"ratio": 0.0},
        {"ratio": 2.0},
    ],
)
def test_settings_of_nearest_out_of_range_raise(settings):
    with pytest.raises(ConfigError, match="expected"):
        Nearest(**settings)


def test_it_pairs_keypoints_and_transfers_points():
    assert isinstance(Nearest(), SparseHead)
    assert isinstance(Nearest(), PointHead)


def test_they_are_the_cosines_with_every_cell():
    torch.manual_seed(0)
    features = [
        Features(maps={"m": torch.randn(1, 1, 5, *size)}, image_size=(64, 48)) for size in ((8, 6), (4, 7))
    ]
    head = Nearest()
    assert isinstance(head, SimilarityHead)
    xy = torch.tensor([[3.5, 3.5], [20.0, 50.0]])
    found = head.similarity(xy, *features)
    query = features[0].at("m", xy)
    expected = F.cosine_similarity(query[:, :, None, None], features[1]["m"][0], dim=1)
    assert found.shape == (2, 4, 7)
    torch.testing.assert_close(found, expected)
    # (3.5, 3.5) is the centre of the first cell: on its own map it is most similar to itself.
    own = head.similarity(xy[:1], features[0], features[0])[0]
    assert own.argmax() == 0
    assert own[0, 0].item() == pytest.approx(1, abs=1e-5)


@pytest.mark.usefixtures("unchecked")
def test_descriptors_of_other_lengths_are_refused():
    with pytest.raises(ShapeError, match="one length"):
        cosines(torch.randn(2, 4), torch.randn(5, 3, 3))
