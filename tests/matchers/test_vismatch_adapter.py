"""The adapter of vismatch, against its documented interface; against itself where it is installed."""

import importlib.util
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data
from torch import nn

from homolog.core.errors import CapabilityError, ConfigError, DataError, MissingDependencyError
from homolog.core.protocols import Matcher
from homolog.matchers.vismatch_adapter import VismatchMatcher


class Theirs(nn.Module):
    """What `vismatch.get_matcher` returns, as far as its documentation says."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__()
        self.skip_ransac = False
        self.answer = answer
        self.seen: list[tuple[torch.Size, float, float, bool, bool]] = []

    def forward(self, img0: torch.Tensor, img1: torch.Tensor) -> dict[str, Any]:
        self.seen.append(
            (
                img0.shape,
                float(img0.min()),
                float(img1.max()),
                self.training,
                torch.is_inference_mode_enabled(),
            )
        )
        return self.answer


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Theirs:
    """A package vismatch with the matchers `even` and `odd`; getting one prints, as it does there."""
    network = Theirs(
        {
            "matched_kpts0": np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32),
            "matched_kpts1": np.array([[5.0, 6.0], [7.0, 8.0]], dtype=np.float32),
            "matched_confidences": np.array([0.25, 0.75], dtype=np.float32),
            "num_inliers": 0,
            "H": None,
        }
    )
    package = ModuleType("vismatch")
    calls: list[tuple[Any, ...]] = []

    def get_matcher(name: str, device: str = "cpu", max_num_keypoints: int = 2048, **settings: Any) -> Theirs:
        print("!!! a banner")
        if name == "odd":
            raise RuntimeError("no weights\nhere")
        calls.append((name, device, max_num_keypoints, settings))
        return network

    vars(package).update(available_models=["even", "odd"], get_matcher=get_matcher, calls=calls)
    monkeypatch.setitem(sys.modules, "vismatch", package)
    return network


def test_matches_arrive_best_first_with_their_confidence(theirs: Theirs, scene):
    matcher = VismatchMatcher("even", keypoints=99, settings={"lowe_thresh": 0.9})
    assert isinstance(matcher, Matcher)
    found = matcher.match(scene((40, 48)), scene((20, 30))).matches()
    assert found.score.tolist() == [0.75, 0.25]
    assert found.xy0.tolist() == [[3, 4], [1, 2]]
    assert found.xy1.tolist() == [[7, 8], [5, 6]]
    assert sys.modules["vismatch"].calls == [("even", "cpu", 99, {"lowe_thresh": 0.9})]


def test_it_sees_rgb_in_0_to_1_in_evaluation_and_inference_mode_without_ransac(theirs: Theirs, scene):
    VismatchMatcher("even").match(scene((40, 48)), scene((40, 48))).matches()
    ((shape, low, high, training, inference),) = theirs.seen
    assert tuple(shape) == (3, 40, 48)
    assert 0 <= low < high <= 1
    assert (training, inference, theirs.skip_ransac) == (False, True, True)


@pytest.mark.parametrize("said", [{"matched_confidences": None}, {}])
def test_without_confidences_all_matches_are_equal_and_in_their_order(theirs: Theirs, scene, said):
    del theirs.answer["matched_confidences"]  # older versions do not have the key
    theirs.answer.update(said)
    found = VismatchMatcher("even").match(scene((40, 48)), scene((40, 48))).matches()
    assert found.score.tolist() == [1, 1]
    assert found.xy0.tolist() == [[1, 2], [3, 4]]


def test_it_is_loaded_once_for_a_device_and_only_when_it_is_needed(theirs: Theirs, scene, capsys):
    matcher = VismatchMatcher("even").to("cpu")
    calls = sys.modules["vismatch"].calls
    assert calls == []
    for _ in range(2):
        matcher.match(scene((40, 48)), scene((40, 48))).matches()
    assert len(calls) == 1
    matcher.to("meta").match(scene((40, 48)), scene((40, 48))).matches()
    assert [call[1] for call in calls] == ["cpu", "meta"]
    assert capsys.readouterr().out == ""


def test_points_cannot_be_transferred(theirs: Theirs, scene):
    found = VismatchMatcher("even").match(scene((40, 48)), scene((40, 48)))
    assert not found.can_transfer
    with pytest.raises(CapabilityError, match="vismatch even finds matches only"):
        found.transfer([[1.0, 2.0]])


def test_a_mistyped_name_is_one_line(theirs: Theirs):
    with pytest.raises(ConfigError, match=r"vismatch has no matcher evan; did you mean even\?"):
        VismatchMatcher("evan")


def test_what_cannot_be_loaded_or_fails_is_one_line(theirs: Theirs, scene):
    with pytest.raises(
        ConfigError, match=r"vismatch odd: cannot be loaded \(RuntimeError: no weights here\)"
    ):
        VismatchMatcher("odd").match(scene((40, 48)), scene((40, 48))).matches()
    theirs.answer = {}
    with pytest.raises(DataError, match="vismatch even: failed on scene and scene"):
        VismatchMatcher("even").match(scene((40, 48)), scene((40, 48))).matches()


def test_without_the_package_the_pip_line_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "vismatch", None)
    with pytest.raises(MissingDependencyError, match="pip install vismatch"):
        VismatchMatcher("sift-nn")


@pytest.mark.weights
@pytest.mark.filterwarnings("ignore")  # what it warns of is its own affair
@pytest.mark.skipif(
    importlib.util.find_spec("vismatch") is None, reason="the extra vismatch is not installed"
)
def test_the_real_sift_of_vismatch_follows_a_shift():
    photo = data.astronaut()
    found = VismatchMatcher("sift-nn", keypoints=500).match(photo[:, :400], photo[:, 12:412]).matches()
    assert len(found) > 100
    offset = (found.xy1 - found.xy0).median(dim=0).values
    assert offset.tolist() == pytest.approx([-12, 0], abs=0.1)
