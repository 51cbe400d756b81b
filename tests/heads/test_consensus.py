"""Transfer by consensus: plain loops as the oracle, known motions, confidence, errors."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from homolog.core.coords import pixel_grid, resize_pixel
from homolog.core.dense import Described
from homolog.core.errors import CapabilityError, ConfigError, ShapeError
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints
from homolog.core.protocols import SimilarityHead, SparseHead, TransferHead
from homolog.heads.consensus import LEAST_SUPPORT, STEP, Consensus
from homolog.heads.nearest import Nearest

CELL = 8


def features(map_: Tensor, **others: Tensor) -> Features:
    size = (map_.shape[1] * CELL, map_.shape[2] * CELL)
    return Features(
        maps={name: m[None, None] for name, m in {"map": map_, **others}.items()}, image_size=size
    )


def noise(height: int, width: int, *, channels: int = 16, seed: int = 0) -> Tensor:
    return torch.randn(channels, height, width, generator=torch.Generator().manual_seed(seed))


def averaged(map_: Tensor) -> Tensor:
    """The map at half its size."""
    size = [side // 2 for side in map_.shape[1:]]
    return F.interpolate(map_[None], size=size, mode="bilinear", antialias=True)[0]


def pixels(cells: Tensor, map_: Tensor) -> Tensor:
    height, width = map_.shape[1:]
    return resize_pixel(cells, (height, width), (height * CELL, width * CELL))


def bilinear(map_: Tensor, x: float, y: float) -> tuple[Tensor, float]:
    """The value between cells with zeros outside, and how much of it lies on the map."""
    value, inside = torch.zeros_like(map_[..., 0, 0]), 0.0
    for i in (math.floor(x), math.floor(x) + 1):
        for j in (math.floor(y), math.floor(y) + 1):
            share = max(0.0, 1 - abs(x - i)) * max(0.0, 1 - abs(y - j))
            if 0 <= i < map_.shape[-1] and 0 <= j < map_.shape[-2]:
                value, inside = value + share * map_[..., j, i], inside + share
    return value, inside


def slow_scores(
    map0: Tensor, map1: Tensor, at: tuple[float, float], transforms: list[tuple[float, float, float]]
) -> Tensor:
    """The score of every cell by plain loops; transforms are (scale, degrees, 1 or -1)."""
    height, width = map0.shape[1:]
    target = F.normalize(map1 - map1.mean(dim=(1, 2), keepdim=True), dim=0)
    neighbours: list[tuple[float, float, float, Tensor]] = []
    total = 0.0
    for row in range(-2, 3):
        for column in range(-2, 3):
            if (row + column) % 2 or abs(row) + abs(column) == 4:
                continue
            dx, dy = 1.5 * column, 1.5 * row
            weight = math.exp(-(dx**2 + dy**2) / 8)
            total += weight
            x, y = at[0] + dx, at[1] + dy
            if -0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5:
                value, _ = bilinear(map0, min(max(x, 0), width - 1), min(max(y, 0), height - 1))
                neighbours.append((dx, dy, weight, F.normalize(value - map0.mean(dim=(1, 2)), dim=0)))
    best = torch.full(map1.shape[1:], -math.inf)
    for scale, degrees, flip in transforms:
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        for j in range(map1.shape[1]):
            for i in range(map1.shape[2]):
                votes, support = 0.0, 0.0
                for dx, dy, weight, descriptor in neighbours:
                    mx, my = flip * scale * dx, scale * dy
                    mx, my = (round(each / STEP) * STEP for each in (mx * c - my * s, mx * s + my * c))
                    similar = torch.einsum("c,chw->hw", descriptor, target)
                    value, inside = bilinear(similar, i + mx, j + my)
                    votes += weight / total * float(value)
                    support += weight / total * inside
                best[j, i] = max(float(best[j, i]), votes / max(support, LEAST_SUPPORT))
    return best


@pytest.mark.parametrize("at", [(4.0, 3.0), (0.3, 5.6), (6.9, 0.0)])
def test_scores_are_those_of_plain_loops(at: tuple[float, float]) -> None:
    map0, map1 = noise(7, 8), noise(6, 9, seed=1)
    head = Consensus(scales=(0.667, 1.0), rotations=(20.0,), mirror=True)
    xy = pixels(torch.tensor([at]), map0)
    found = head.similarity(xy, features(map0), features(map1))[0]
    transforms = [(s, r, f) for s, r in ((0.667, 0.0), (1.0, 0.0), (1.0, 20.0)) for f in (1.0, -1.0)]
    torch.testing.assert_close(found, slow_scores(map0, map1, at, transforms), atol=1e-5, rtol=1e-4)


@given(dx=st.integers(-4, 4), dy=st.integers(-4, 4), seed=st.integers(0, 99))
def test_a_shifted_map_is_found_at_its_shift(dx: int, dy: int, seed: int) -> None:
    map0 = noise(20, 24, seed=seed)
    map1 = torch.roll(map0, (dy, dx), dims=(1, 2))
    cells = torch.tensor([[12.0, 10.0], [10.0, 9.0], [13.0, 11.0]])
    found = Consensus().transfer(pixels(cells, map0), features(map0), features(map1))
    away = (found.xy - pixels(cells + torch.tensor([dx, dy]), map1)).norm(dim=1) / CELL
    assert float(away.max()) < 0.5
    assert float(found.confidence.min()) > 0.9


def smooth(at: Tensor) -> Tensor:
    """A field of many waves [64 ...] at positions [... 2]."""
    wave = torch.randn(64, 2, generator=torch.Generator().manual_seed(5)) * 0.35
    phase = torch.rand(64, generator=torch.Generator().manual_seed(6)) * 2 * math.pi
    return (torch.einsum("kc,...c->k...", wave, at) + phase.reshape(64, *[1] * (at.ndim - 1))).cos()


@pytest.mark.parametrize(
    ("scale", "degrees", "flip"), [(1.333, 0.0, 1.0), (0.667, 0.0, 1.0), (1.0, 30.0, 1.0), (1.0, 0.0, -1.0)]
)
def test_the_neighbours_are_moved_as_the_image_was(scale: float, degrees: float, flip: float) -> None:
    grid = pixel_grid((21, 21)) - 10
    turn = torch.tensor(
        [
            [math.cos(math.radians(degrees)), -math.sin(math.radians(degrees))],
            [math.sin(math.radians(degrees)), math.cos(math.radians(degrees))],
        ]
    )
    linear = scale * turn @ torch.diag(torch.tensor([flip, 1.0]))
    map0 = smooth(grid).unflatten(1, (21, 21))
    map1 = smooth(grid @ torch.linalg.inv(linear).T).unflatten(1, (21, 21))
    fits = Consensus(scales=(scale,), rotations=(degrees,), mirror=flip < 0)
    plain = Consensus(scales=(1.0,), rotations=())
    xy = pixels(torch.tensor([[10.0, 10.0]]), map0)
    scores = [float(h.similarity(xy, features(map0), features(map1))[0, 10, 10]) for h in (fits, plain)]
    assert scores[0] > scores[1] + 0.03
    assert scores[0] > 0.8
    found = fits.transfer(xy, features(map0), features(map1))
    assert float((found.xy - xy).norm()) / CELL < 0.5


def test_neighbours_decide_between_two_places_that_look_alike() -> None:
    map0 = noise(16, 16)
    map1 = map0.clone()
    map1[:, 3, 3] = map1[:, 10, 10] * 1.5  # another cell has the very descriptor
    xy = pixels(torch.tensor([[10.0, 10.0]]), map0)
    one = Consensus().transfer(xy, features(map0), features(map1))
    other = Nearest().transfer(xy, features(map0), features(map1))
    assert float((one.xy - xy).norm()) < CELL / 2
    assert float(one.confidence) > 0.9 > 0.6 > float(other.confidence)


def test_what_all_cells_share_does_not_count() -> None:
    map0, map1 = noise(12, 12), noise(12, 12, seed=1)
    shared = torch.full((16, 1, 1), 3.0)
    xy = pixels(torch.tensor([[5.0, 6.0], [2.2, 8.1]]), map0)
    plain = Consensus().similarity(xy, features(map0), features(map1))
    shifted = Consensus().similarity(xy, features(map0 + shared), features(map1 - 2 * shared))
    torch.testing.assert_close(plain, shifted, atol=1e-5, rtol=1e-4)


def test_a_place_that_is_not_there_has_a_low_confidence() -> None:
    map0 = noise(16, 16, channels=64)
    there, elsewhere = (
        Consensus()
        .transfer(pixels(torch.tensor([[8.0, 8.0]]), map0), features(map0), features(map1))
        .confidence
        for map1 in (map0, noise(16, 16, channels=64, seed=9))
    )
    assert float(there) > 0.9
    assert float(elsewhere) < 0.5


def test_fine_maps_settle_the_place_near_the_peak() -> None:
    """The fine map has three cells per cell; image 1 is image 0 moved by one cell and a third, so four of them."""
    fine0 = noise(36, 36, channels=8)
    fine1 = torch.roll(fine0, (0, 4), dims=(1, 2))
    map0 = smooth(pixel_grid((12, 12))).unflatten(1, (12, 12))
    map1 = smooth(pixel_grid((12, 12)) - torch.tensor([4 / 3, 0.0])).unflatten(1, (12, 12))
    xy = pixels(torch.tensor([[5.0, 5.0]]), map0)
    truth = xy + torch.tensor([4 / 3 * CELL, 0.0])
    coarse = Consensus(map="map").transfer(xy, features(map0, fine=fine0), features(map1, fine=fine1))
    found = Consensus(map="map", fine={"fine": 1.0}).transfer(
        xy, features(map0, fine=fine0), features(map1, fine=fine1)
    )
    assert float((found.xy - truth).norm()) < 0.15
    assert float((found.xy - truth).norm()) < float((coarse.xy - truth).norm())
    torch.testing.assert_close(found.confidence, coarse.confidence)


def test_a_large_map_is_averaged_and_settles_the_place_itself() -> None:
    map0, map1 = noise(24, 32), noise(24, 32, seed=1)
    halves = [features(averaged(map_), fine=map_) for map_ in (map0, map1)]
    xy = pixel_grid((3, 4)) * 40 + 13
    own = Consensus(cells=16).transfer(xy, features(map0), features(map1))
    # The images of both are 256 x 192; the averaged map has cells of 16 pixels.
    doubled = [Features(maps=each.maps, image_size=(24 * CELL, 32 * CELL)) for each in halves]
    expected = Consensus(map="map", fine={"fine": 1.0}).transfer(xy, *doubled)
    torch.testing.assert_close(own, expected)
    # Each map is averaged by itself, whatever the other one needs.
    small = features(averaged(map1))
    assert Consensus(cells=16).transfer(xy, features(map0), small).xy.isfinite().all()


def test_points_of_several_images_are_found_in_one_call_and_in_chunks() -> None:
    maps = [features(noise(10, 12, seed=seed), fine=noise(20, 24, seed=seed + 9)) for seed in range(3)]
    head = Consensus(map="map", fine={"fine": 1.0})
    xy = torch.tensor([[20.0, 30.0], [70.0, 50.0], [0.0, 79.0]])
    expected = [head.transfer(xy, each, maps[2]) for each in maps[:2]]
    joined = Described.cat([head.describe(xy, each) for each in maps[:2]])
    for chunk in (1, 4000, 1 << 22):
        found = Consensus(map="map", fine={"fine": 1.0}, chunk=chunk).find(joined, maps[2])
        torch.testing.assert_close(found.xy, torch.cat([each.xy for each in expected]))
        torch.testing.assert_close(found.confidence, torch.cat([each.confidence for each in expected]))


def test_no_tensor_is_larger_than_the_chunk_or_the_map(largest) -> None:
    map_ = noise(30, 40)
    head = Consensus(chunk=20_000)
    with largest:
        head.transfer(torch.rand(50, 2) * 200, features(map_), features(map_))
    assert largest.elements <= 20_000  # 50 points with all cells of both maps would be 72 million


def test_no_points_are_nowhere() -> None:
    found = Consensus().transfer(torch.zeros(0, 2), features(noise(8, 8)), features(noise(8, 8)))
    assert found.xy.shape == (0, 2)
    assert found.confidence.shape == (0,)


def test_a_map_smaller_than_the_neighbourhood_is_searched_all_the_same() -> None:
    map0 = noise(2, 3)
    xy = pixels(torch.tensor([[1.0, 1.0], [2.0, 0.0]]), map0)
    found = Consensus().transfer(xy, features(map0), features(map0))
    assert found.xy.isfinite().all()
    assert float((found.xy - xy).norm(dim=1).max()) < CELL


def test_a_flat_map_gives_finite_answers_and_no_confidence() -> None:
    flat = torch.ones(4, 20, 20)
    found = Consensus().transfer(torch.tensor([[80.0, 80.0]]), features(flat), features(flat))
    assert found.xy.isfinite().all()
    assert float(found.confidence) < 0.1


def test_keypoints_are_paired_as_nearest_pairs_them() -> None:
    points = [
        Keypoints(
            xy=torch.rand(20, 2),
            score=torch.ones(20),
            descriptor=torch.randn(20, 8, generator=torch.Generator().manual_seed(seed)),
        )
        for seed in (0, 1)
    ]
    maps = features(noise(4, 4))
    one, other = (head(*points, maps, maps) for head in (Consensus(), Nearest()))
    assert one.index0 is not None
    torch.testing.assert_close(one.index0, other.index0)
    torch.testing.assert_close(one.score, other.score)
    bare = Keypoints(xy=torch.rand(2, 2), score=torch.ones(2))
    with pytest.raises(CapabilityError, match="consensus: expected keypoints with descriptors"):
        Consensus()(bare, bare, maps, maps)


def test_it_does_what_its_protocols_say() -> None:
    head = Consensus(map="map", fine={"map": 1.0, "fine": 0.5})
    assert isinstance(head, SparseHead)
    assert isinstance(head, TransferHead)
    assert isinstance(head, SimilarityHead)
    assert head.reads == ("map", "fine")
    assert Consensus().reads is None


def test_maps_that_do_not_fit_are_refused() -> None:
    two = features(noise(4, 4), other=noise(4, 4))
    xy = torch.zeros(1, 2)
    with pytest.raises(ConfigError, match=r"one of the maps map, other; set head\.map"):
        Consensus().transfer(xy, two, two)
    with pytest.raises(ShapeError, match="length 4, got 16"):
        Consensus().transfer(xy, features(noise(4, 4)), features(noise(4, 4, channels=4)))
    pair = Features(maps={"map": torch.zeros(1, 2, 4, 4, 4)}, image_size=(32, 32))
    with pytest.raises(ShapeError, match="features of one image"):
        Consensus().transfer(xy, pair, pair)


@pytest.mark.parametrize(
    "settings",
    [
        {"spacing": 0.0},
        {"sigma": -1.0},
        {"scales": (1.0, 0.0)},
        {"scales": ()},
        {"temperature": 0.0},
        {"power": 0.0},
        {"chunk": 0},
        {"cells": 0},
        {"fine": {}},
        {"fine": {"map": 0.0}},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict) -> None:
    with pytest.raises(ConfigError, match="consensus: expected"):
        Consensus(**settings)
