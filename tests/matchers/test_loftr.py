"""LoFTR with random weights, against kornia's own call; its published weights need a download."""

import importlib
import sys
from pathlib import Path

import kornia.feature
import pytest
import torch
from skimage import data
from torch import Tensor

from homolog.core.cache import FeatureCache
from homolog.core.errors import CapabilityError, MissingDependencyError, WeightsError
from homolog.core.image import Image, crop
from homolog.core.protocols import Correspondence, KeepsFeatures, Matcher
from homolog.matchers.loftr import Loftr


@pytest.fixture(scope="module")
def loftr() -> Loftr:
    torch.manual_seed(0)
    return Loftr(None, match_threshold=0.0, resize=None)


@pytest.fixture(scope="module")
def photo() -> Image:
    return Image(pixels=torch.from_numpy(data.astronaut().copy()).permute(2, 0, 1) / 255)


@pytest.fixture(scope="module")
def pair(photo: Image) -> tuple[Image, Image]:
    """Two parts of one photo, of different sizes."""
    return crop(photo, x=100, y=60, size=(96, 128)), crop(photo, x=140, y=76, size=(104, 88))


def gray(image: Image) -> Tensor:
    red, green, blue = image.pixels
    return (0.299 * red + 0.587 * green + 0.114 * blue)[None, None]


def test_it_satisfies_the_protocols(loftr, pair):
    assert isinstance(loftr, Matcher)
    assert isinstance(loftr, KeepsFeatures)
    assert isinstance(loftr.match(*pair), Correspondence)


def test_matches_are_those_of_kornia_in_pixels_of_the_originals(loftr, pair):
    with torch.inference_mode():
        expected = loftr.network({"image0": gray(pair[0]), "image1": gray(pair[1])})
    found = loftr.match(*pair).matches()
    assert len(found) > 10
    order = expected["confidence"].sort(descending=True, stable=True).indices
    # kornia's pixel centres lie at halves; the parts were cut out at these corners of the photo.
    xy0 = expected["keypoints0"][order] - 0.5 + torch.tensor([100.0, 60.0])
    xy1 = expected["keypoints1"][order] - 0.5 + torch.tensor([140.0, 76.0])
    torch.testing.assert_close(found.score, expected["confidence"][order], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.xy0, xy0, rtol=0, atol=1e-3)
    # Those that the fine stage moves beyond the image are brought back onto it.
    limit = torch.tensor([140.0 + 87, 76.0 + 103])
    torch.testing.assert_close(found.xy1, xy1.clamp_min(0).minimum(limit), rtol=0, atol=1e-2)


def test_an_image_matched_with_itself_is_found_where_it_is(loftr, pair):
    found = loftr.match(pair[0], pair[0]).matches()
    assert len(found) > 20
    # The fine stage moves by at most half of its window of 5 cells of 2 pixels.
    assert (found.xy0 - found.xy1).abs().median() <= 4


def test_the_convolutional_part_sees_each_image_once(loftr, pair, monkeypatch):
    loftr.forget()
    seen: list[int] = []
    extract = loftr.network.extract_features
    monkeypatch.setattr(loftr.network, "extract_features", lambda image: seen.append(1) or extract(image))
    for one in pair:
        for other in pair:
            loftr.match(one, other).matches()
    assert len(seen) == 2


def test_a_second_matcher_reads_the_maps_from_the_cache(pair, tmp_path: Path):
    answers = []
    for _ in range(2):
        torch.manual_seed(0)
        matcher = Loftr(None, match_threshold=0.0, resize=None)
        matcher.use_cache(FeatureCache(tmp_path), "recipe")
        answers.append(matcher.match(*pair).matches())
    assert torch.equal(answers[0].xy1, answers[1].xy1)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


def test_images_are_scaled_to_multiples_of_eight_and_results_back(photo):
    torch.manual_seed(0)
    small = Loftr(None, match_threshold=0.0, resize=100)
    found = small.match(photo, crop(photo, x=0, y=0, size=(300, 401))).matches()
    assert len(found) > 3
    # The grid of cells of 8 pixels of 104, stretched to 512; from the third on, as two at the border are left out.
    steps = (found.xy0 + 0.5) * 104 / 512 / 8
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-4)
    assert steps.min() >= 2


def test_no_match_is_below_the_threshold(pair):
    torch.manual_seed(0)
    strict = Loftr(None, match_threshold=0.9, resize=None)
    assert (strict.match(*pair).matches().score > 0.9).all()


def test_it_transfers_no_points(loftr, pair):
    found = loftr.match(*pair)
    assert not found.can_transfer
    with pytest.raises(CapabilityError, match="finds sparse matches only"):
        found.transfer([[1.0, 2.0]])


def test_published_checkpoints_are_read(loftr, pair, tmp_path: Path):
    state = {f"matcher.{name}": value for name, value in loftr.network.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "loftr.ckpt")
    again = Loftr(tmp_path / "loftr.ckpt", match_threshold=0.0, resize=None)
    assert torch.equal(again.match(*pair).matches().xy1, loftr.match(*pair).matches().xy1)
    state.popitem()
    torch.save({"state_dict": state}, tmp_path / "loftr.ckpt")
    with pytest.raises(WeightsError, match=r"LoFTR from loftr\.ckpt: the weights do not fit: 1 missing"):
        Loftr(tmp_path / "loftr.ckpt")


def test_positions_can_be_encoded_as_in_the_paper(pair):
    answers = []
    for fixed in (False, True):
        torch.manual_seed(0)
        matcher = Loftr(None, match_threshold=0.0, resize=None, fixed_positions=fixed)
        answers.append(matcher.match(*pair).matches().score)
    assert answers[0].shape != answers[1].shape or not torch.equal(*answers)


def test_building_it_does_not_change_the_configuration_of_kornia():
    from kornia.feature.loftr.loftr import default_cfg

    before = str(default_cfg)
    Loftr(None, match_threshold=0.7, border=0, fixed_positions=True)
    assert str(default_cfg) == before


def test_it_uses_the_network_of_kornia(loftr):
    assert isinstance(loftr.network, kornia.feature.LoFTR)
    assert not loftr.training


def test_without_kornia_the_error_names_the_package(monkeypatch):
    for module in [name for name in sys.modules if name.split(".")[0] == "kornia"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "kornia", None)
    monkeypatch.delitem(sys.modules, "homolog.matchers.loftr")
    with pytest.raises(MissingDependencyError, match="the matcher loftr needs the package kornia"):
        importlib.import_module("homolog.matchers.loftr")
