"""The semi-dense head."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from homolog.core.coords import pixel_grid, pixel_to_normalised, resize_pixel
from homolog.core.errors import CapabilityError, ConfigError
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints
from homolog.core.protocols import SimilarityHead
from homolog.core.sampling import warp_maps
from homolog.heads.coarse_to_fine import CoarseToFine, mutual_cells
from homolog.heads.nearest import dual_softmax, first_of_each_row, peaks_both_ways

SIZE = (64, 96)
NONE = Keypoints(xy=torch.zeros(0, 2), score=torch.zeros(0))


def head(**changes: Any) -> CoarseToFine:
    torch.manual_seed(0)
    small: dict[str, Any] = {
        "coarse_channels": 16,
        "fine_channels": 8,
        "width": 16,
        "depth": 1,
        "heads": 2,
        "fine_width": 8,
    }
    return CoarseToFine(**{**small, **changes}).eval()


def reading_head(**changes: Any) -> CoarseToFine:
    """A head that takes the maps as they are, so that what it finds is known."""
    net = head(depth=0, window=5, match_threshold=0.0, **changes)
    for layer in (net.project, net.refine_with):
        layer.weight.data.copy_(torch.eye(layer.out_channels)[:, :, None, None])
        nn.init.zeros_(layer.get_parameter("bias"))
    net.sharpness.data.fill_(300.0)
    return net


def smooth(channels: int, height: int, width: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, channels, height // 4 + 2, width // 4 + 2, generator=random)
    return F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)


def pair(shift: tuple[float, float] = (0.0, 0.0)) -> tuple[Features, Features]:
    """Features of an image, and of the same image moved by `shift` pixels: xy1 = xy0 + shift."""
    maps = {"coarse": (16, 8), "fine": (8, 2)}
    found: list[dict[str, Tensor]] = [{}, {}]
    for seed, (name, (channels, stride)) in enumerate(maps.items()):
        map_ = smooth(channels, SIZE[0] // stride, SIZE[1] // stride, seed)
        places = pixel_grid((SIZE[0] // stride, SIZE[1] // stride)) - torch.tensor(shift) / stride
        size = (map_.shape[-2], map_.shape[-1])
        grid = pixel_to_normalised(places, size).T.reshape(1, 2, *size)
        found[0][name] = map_[:, None]
        found[1][name] = warp_maps(map_, grid, padding="border")[:, None]
    return Features(maps=found[0], image_size=SIZE), Features(maps=found[1], image_size=SIZE)


@given(
    st.integers(0, 30),
    st.integers(0, 30),
    st.sampled_from([0.05, 0.1, 1.0]),
    st.integers(1, 200),
    st.integers(0, 1000),
)
def test_blocks_of_rows_find_what_the_whole_matrix_says(
    count0: int, count1: int, temperature: float, rows: int, seed: int
):
    random = torch.Generator().manual_seed(seed)
    one = F.normalize(torch.randn(count0, 5, generator=random, dtype=torch.float64), dim=1)
    two = F.normalize(torch.randn(count1, 5, generator=random, dtype=torch.float64), dim=1)
    found = mutual_cells(one, two, temperature=temperature, match_threshold=0.01, rows=rows)
    whole = dual_softmax(one @ two.T, temperature)
    index0, index1 = first_of_each_row(peaks_both_ways(whole, match_threshold=0.01))
    assert torch.equal(found.index0, index0)
    assert torch.equal(found.index1, index1)
    torch.testing.assert_close(found.probability, whole[index0, index1])


def test_an_image_and_itself_match_cell_by_cell_at_their_centres():
    one, _ = pair()
    found = reading_head()(NONE, NONE, one, one)
    centres = resize_pixel(pixel_grid((8, 12)), (8, 12), SIZE)
    torch.testing.assert_close(found.xy0, centres)
    # At the border the window hangs over the edge and pulls inwards.
    inner = (centres - torch.tensor([47.5, 31.5])).abs().amax(dim=1) < 28
    assert (found.xy1 - found.xy0)[inner].norm(dim=1).max() < 0.6


@pytest.mark.parametrize("shift", [(2.0, 0.0), (0.0, -2.0), (-2.0, 2.0)])
def test_a_shift_below_a_cell_is_found_by_the_fine_map(shift: tuple[float, float]):
    one, two = pair(shift)
    found = reading_head()(NONE, NONE, one, two)
    moved = found.xy1 - found.xy0
    assert len(moved) > 60
    torch.testing.assert_close(moved.median(dim=0).values, torch.tensor(shift), atol=0.35, rtol=0)
    unrefined = reading_head()
    unrefined.window = 1
    coarse = unrefined(NONE, NONE, one, two)
    error = (moved - torch.tensor(shift)).norm(dim=1).median()
    assert error < 0.5 * (coarse.xy1 - coarse.xy0 - torch.tensor(shift)).norm(dim=1).median()


def test_points_are_transferred_at_any_place_and_never_leave_the_image():
    one, two = pair((8.0, 0.0))
    xy0 = torch.tensor([[20.3, 30.8], [40.0, 12.0], [95.0, 63.0], [0.0, 0.0]])
    found = reading_head().transfer(xy0, one, two)
    torch.testing.assert_close(found.xy[:2], xy0[:2] + torch.tensor([8.0, 0.0]), atol=2.0, rtol=0)
    assert (found.xy >= 0).all()
    assert (found.xy <= torch.tensor([95.0, 63.0])).all()
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()


def test_the_map_of_similarities_peaks_where_the_point_is_transferred_to():
    one, two = pair((8.0, 0.0))
    net = reading_head()
    xy0 = torch.tensor([[20.3, 30.8], [40.0, 12.0]])
    cosine = net.similarity(xy0, one, two)
    assert isinstance(net, SimilarityHead)
    assert cosine.shape == (2, 8, 12)
    assert (cosine.abs() <= 1 + 1e-5).all()
    best = cosine.flatten(1).argmax(dim=1)
    peak = torch.stack((best % 12, best // 12), dim=1) * 8 + 3.5
    assert (peak - net.transfer(xy0, one, two).xy).abs().max() < 8


def test_refinement_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch):
    import homolog.heads.coarse_to_fine as module

    one, two = pair((1.0, 1.0))
    net = reading_head()
    whole = net(NONE, NONE, one, two)
    monkeypatch.setattr(module, "ROWS", 500)
    blocks = net(NONE, NONE, one, two)
    assert torch.equal(whole.xy0, blocks.xy0)
    torch.testing.assert_close(whole.xy1, blocks.xy1)


def test_swapping_the_images_swaps_the_cells_that_match():
    one, two = pair((8.0, 8.0))
    net = reading_head()
    tokens0, tokens1 = net.tokens(one, two)
    there = mutual_cells(tokens0[0], tokens1[0], temperature=0.1, match_threshold=0.2)
    back = mutual_cells(tokens1[0], tokens0[0], temperature=0.1, match_threshold=0.2)
    pairs = set(zip(there.index0.tolist(), there.index1.tolist(), strict=True))
    assert pairs == set(zip(back.index1.tolist(), back.index0.tolist(), strict=True))
    assert len(pairs) >= 30


def test_the_border_and_the_minimum_leave_matches_out():
    one, _ = pair()
    assert len(reading_head(border=2)(NONE, NONE, one, one)) == (8 - 4) * (12 - 4)
    strict = reading_head()
    strict.match_threshold = 2.0
    none = strict(NONE, NONE, one, one)
    assert len(none) == 0
    assert none.xy1.shape == (0, 2)


def test_attention_looks_at_both_images():
    net = head()
    one, two = pair((8.0, 0.0))
    tokens, _ = net.tokens(one, two)
    other, _ = net.tokens(one, one)
    assert not torch.allclose(tokens, other)


def test_gradients_reach_everything_that_matching_reads():
    net = head(match_threshold=0.0)
    one, two = pair((2.0, 0.0))
    tokens0, tokens1 = net.tokens(one, two)
    at = torch.tensor([[30.0, 30.0], [50.0, 20.0]])
    loss = (tokens0 @ tokens1.transpose(1, 2)).square().mean() + net.refine(at, at, one, two).sum()
    loss.backward()
    silent = [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()]
    # A key's bias moves all of its query's logits alike.
    assert [name for name in silent if "key_value.bias" not in name] == []


def test_the_alignment_is_read_in_training_only():
    one, _ = pair()
    net = head(alignment_channels=5)
    assert net.aligned(one).shape == (1, 96, 5)
    plain = head()
    assert torch.equal(net(NONE, NONE, one, one).xy1, plain(NONE, NONE, one, one).xy1)
    with pytest.raises(CapabilityError, match="alignment_channels"):
        plain.aligned(one)


@pytest.mark.parametrize(
    "changes", [{"window": 4}, {"temperature": 0.0}, {"border": -1}, {"depth": -1}, {"width": 18}]
)
def test_numbers_out_of_range_are_refused(changes: dict[str, Any]):
    with pytest.raises(ConfigError, match="coarse_to_fine"):
        head(**changes)


def test_a_start_from_the_features_compares_the_cells_of_the_coarse_map():
    net = head(start="features", depth=2)
    features0, features1 = pair((8.0, -8.0))
    tokens = net.tokens(features0, features1)
    for found, features in zip(tokens, (features0, features1), strict=True):
        cells = F.normalize(features["coarse"][:, 0].flatten(2).transpose(1, 2), dim=-1)
        assert torch.allclose(found, cells, atol=1e-6)


def test_layers_of_a_start_from_the_features_learn_and_read_where_cells_are():
    net = head(start="features")
    features0, features1 = pair()
    one, two = net.tokens(features0, features1)
    (one * two.roll(1, dims=1)).sum().backward()
    for layers in (net.own, net.other):
        last = layers[0].get_submodule("out").get_parameter("weight")
        assert last.grad is not None
        assert last.grad.abs().max() > 0
    # Once layers add something, equal cells at different places become different tokens, but only then.
    flat = Features(
        maps={name: torch.ones_like(map_) for name, map_ in features0.maps.items()}, image_size=SIZE
    )
    assert torch.allclose(net.tokens(flat, flat)[0][0, 0], net.tokens(flat, flat)[0][0, -1], atol=1e-6)
    with torch.no_grad():
        net.own[0].get_submodule("out").get_parameter("weight").normal_()
    assert not torch.allclose(net.tokens(flat, flat)[0][0, 0], net.tokens(flat, flat)[0][0, -1], atol=1e-2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "zeros"}, "expected start to be one of"),
        ({"start": "features", "width": 32}, "expected the width to be the 16 coarse_channels"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_start_that_cannot_be_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        head(**changes)
