"""External functions and vismatch as matchers: their inputs, their results, and the errors."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data
from torch import nn

from homolog.core.errors import CapabilityError, ConfigError, DataError, MissingDependencyError
from homolog.core.image import Image, crop, resize
from homolog.core.protocols import Correspondence, Matcher
from homolog.matchers.external import ExternalMatcher, VismatchMatcher, load_function

XY0 = np.array([[1.0, 2.0], [30.0, 20.0]])
XY1 = np.array([[3.0, 4.0], [5.0, 6.0]])


def pair(image0, image1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return XY0, XY1, np.array([0.1, 0.9])


def moved(image0, image1, xy0) -> tuple[np.ndarray, np.ndarray]:
    return xy0 + 2, np.full(len(xy0), 0.5)


# --- what goes in, what comes out -----------------------------------------------------------------


def test_it_satisfies_the_protocols(scene):
    matcher = ExternalMatcher(pair, moved)
    assert isinstance(matcher, Matcher)
    assert isinstance(matcher.match(scene((40, 48)), scene((40, 48))), Correspondence)


def test_the_function_gets_8_bit_rgb_arrays():
    seen: list[np.ndarray] = []

    def look(image0: np.ndarray, image1: np.ndarray) -> Any:
        seen.extend((image0, image1))
        return XY0[:0], XY1[:0]

    gray = torch.full((3, 40, 48), 0.5)
    gray[0, 3, 7] = 1.0
    ExternalMatcher(look).match(Image(pixels=gray), Image(pixels=gray[:, :20])).matches()
    assert [(array.shape, array.dtype) for array in seen] == [
        ((40, 48, 3), np.dtype(np.uint8)),
        ((20, 48, 3), np.dtype(np.uint8)),
    ]
    assert seen[0][3, 7].tolist() == [255, 128, 128]


def test_8_bit_images_are_passed_on_exactly():
    given = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    seen: list[np.ndarray] = []

    def look(image0: np.ndarray, image1: np.ndarray) -> Any:
        seen.append(image0)
        return [], []

    ExternalMatcher(look).match(given, given).matches()
    np.testing.assert_array_equal(seen[0], given)


def test_matches_come_best_first_and_in_pixels_of_the_originals(scene):
    half = resize(crop(scene((80, 100)), x=20, y=10, size=(60, 80)), (30, 40))
    found = ExternalMatcher(pair).match(half, scene((40, 48))).matches()
    # Of the crop (x + 0.5) * 2 - 0.5, and its corner is (20, 10) of the whole.
    assert found.score.tolist() == pytest.approx([0.9, 0.1])
    assert found.xy0.tolist() == [[80.5, 50.5], [22.5, 14.5]]
    assert found.xy1.tolist() == [[5.0, 6.0], [3.0, 4.0]]
    assert found.xy0.dtype == torch.float32


def test_the_function_is_called_once_and_only_when_needed(scene):
    calls: list[int] = []

    def count(image0, image1) -> Any:
        calls.append(1)
        return XY0, XY1

    found = ExternalMatcher(count).match(scene((40, 48)), scene((40, 48)))
    assert not calls
    assert found.matches(1).score.tolist() == [1]
    assert len(found.matches()) == 2
    assert len(calls) == 1


@pytest.mark.parametrize(
    "answer", [([], []), (np.zeros((0, 2)), None), (torch.zeros(0, 2), torch.zeros(0, 2))]
)
def test_no_matches_are_a_valid_result(scene, answer):
    if answer[1] is None:
        answer = (answer[0], answer[0], None)
    assert len(ExternalMatcher(lambda *_: answer).match(scene((40, 48)), scene((40, 48))).matches()) == 0


def test_points_are_transferred_in_pixels_of_the_originals(scene):
    half = resize(scene((80, 96)), (40, 48))
    found = ExternalMatcher(pair, moved).match(half, scene((40, 48)))
    assert found.can_transfer
    answer = found.transfer([[10.5, 20.5]])
    # (10.5, 20.5) of the original is (5, 10) of the half.
    assert answer.xy.tolist() == [[7.0, 12.0]]
    assert answer.confidence.tolist() == [0.5]


def test_a_transfer_without_confidence_has_confidence_one(scene):
    found = ExternalMatcher(pair, lambda image0, image1, xy0: torch.from_numpy(xy0))
    answer = found.match(scene((40, 48)), scene((40, 48))).transfer(np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert answer.xy.tolist() == [[1, 2], [3, 4]]
    assert answer.confidence.tolist() == [1, 1]


def test_points_outside_the_image_are_moved_onto_it_and_have_confidence_zero(scene):
    asked: list[np.ndarray] = []

    def look(image0, image1, xy0: np.ndarray) -> Any:
        asked.append(xy0.copy())
        xy0 += 1000  # theirs to change
        return np.zeros((2, 2)), np.ones(2)

    answer = (
        ExternalMatcher(pair, look)
        .match(scene((40, 48)), scene((40, 48)))
        .transfer([[-9.0, 50.0], [4.0, 4.0]])
    )
    assert asked[0].tolist() == [[-0.5, 39.5], [4, 4]]
    assert answer.confidence.tolist() == [0, 1]


def test_without_a_transfer_function_the_error_says_what_to_do(scene):
    found = ExternalMatcher(pair).match(scene((40, 48)), scene((40, 48)))
    assert not found.can_transfer
    with pytest.raises(CapabilityError, match="give matcher=external a transfer function"):
        found.transfer([[1.0, 2.0]])


def test_a_function_that_modifies_its_arguments_does_not_affect_the_next_call(scene):
    seen: list[int] = []

    def scribble(image0: np.ndarray, image1: np.ndarray, xy0: np.ndarray) -> Any:
        seen.append(int(image0.sum()))
        image0[:] = 0
        return xy0

    found = ExternalMatcher(pair, scribble).match(scene((40, 48)), scene((40, 48)))
    found.transfer([[1.0, 2.0]])
    found.transfer([[1.0, 2.0]])
    assert seen[0] == seen[1] > 0


# --- answers that are none ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "expected (xy0, xy1) or (xy0, xy1, score), got NoneType; return a tuple"),
        ((XY0,), "expected (xy0, xy1) or (xy0, xy1, score), got a tuple of 1; return a tuple"),
        ((XY0.T[:, :1], XY1), "xy0: expected [N 2] of (x, y), got [2, 1]"),
        ((XY0, XY1[:1]), "expected as many xy1 as xy0, got 1 and 2"),
        ((XY0, XY1 * np.nan), "xy1: expected finite numbers, got NaN or infinity; remove those"),
        ((XY0, XY1, [1.0]), "expected score [2], got [1]"),
        ((XY0, XY1, [1.0, np.inf]), "score: expected finite numbers"),
        ((["a", "b"], XY1), "xy0: expected numbers, got a list of 2"),
        ((XY0, XY1 + np.array([0, 40])), "xy1: expected pixels of an image of 48 x 40 with integers at pixel centres, got (3, 44) and 1 more outside it"),
        ((XY0 - np.array([2, 0]), XY1), "xy0: expected pixels of an image of 48 x 40 with integers at pixel centres, got (-1, 2) and 0 more"),
    ],
)  # fmt: skip
def test_invalid_matches_are_one_line_errors(scene, answer, said):
    def theirs(image0, image1) -> Any:
        return answer

    with pytest.raises(DataError) as caught:
        ExternalMatcher(theirs).match(scene((40, 48)), scene((40, 48))).matches()
    assert said in str(caught.value)
    assert "theirs" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (XY1[:1], "expected xy1 [2 2] and confidence [2] for 2 points, got [1, 2] and [2]"),
        ((XY1, [0.5]), "expected xy1 [2 2] and confidence [2] for 2 points, got [2, 2] and [1]"),
        ((XY1, [0.5, 1.5]), "expected confidence in [0, 1], got 0.5 to 1.5"),
        ((XY1, [0.5, np.nan]), "confidence: expected finite numbers"),
        (None, "xy1: expected"),
    ],
)
def test_invalid_transfers_are_one_line_errors(scene, answer, said):
    found = ExternalMatcher(pair, lambda *_: answer).match(scene((40, 48)), scene((40, 48)))
    with pytest.raises(DataError) as caught:
        found.transfer([[1.0, 2.0], [3.0, 4.0]])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_of_the_function_is_one_line_and_keeps_its_traceback(scene):
    def broken(image0, image1) -> Any:
        raise RuntimeError("first line\nsecond line")

    with pytest.raises(
        DataError, match=r"broken: failed on these images \(RuntimeError: first line second"
    ) as caught:
        ExternalMatcher(broken).match(scene((40, 48)), scene((40, 48))).matches()
    assert isinstance(caught.value.__cause__, RuntimeError)


# --- functions by name ----------------------------------------------------------------------------


def test_a_function_is_found_in_a_module_or_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "their_matcher_module.py"
    file.write_text(
        "class Method:\n    @staticmethod\n    def match(a, b):\n        return [[1, 2]], [[3, 4]]\n"
    )
    from_file = load_function(f"{file}:Method.match")
    monkeypatch.syspath_prepend(str(tmp_path))
    from_module = load_function("their_matcher_module:Method.match")
    assert from_file(0, 0) == from_module(0, 0) == ([[1, 2]], [[3, 4]])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "numpy.linalg",
            "expected a function as package.module:name or path/to/file.py:name, got 'numpy.linalg'",
        ),
        ("numpy:", "expected a function as"),
        ("no_such_package.inner:f", "there is no no_such_package; install it, set PYTHONPATH"),
        ("numpy.no_such_part:f", "there is no numpy.no_such_part"),
        ("numpy:lineer.norm", "expected lineer.norm in numpy, but there is no lineer"),
        ("numpy:pi", "expected a function, got float"),
        ("nowhere/their.py:f", "nowhere/their.py: expected a Python file, but there is none"),
    ],
)
def test_the_error_for_a_wrong_name_says_why(source: str, said: str):
    with pytest.raises(ConfigError) as caught:
        ExternalMatcher(source)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_dependency", "cannot be imported, it needs no_such_dependency; install that"),
        ("raise OSError('no GPU\\nhere')", "cannot be imported (OSError: no GPU here)"),
        ("def f(:", "cannot be imported (SyntaxError"),
    ],
)
def test_the_error_for_a_module_that_cannot_be_imported_says_why(tmp_path: Path, code: str, said: str):
    file = tmp_path / "theirs.py"
    file.write_text(code)
    with pytest.raises(ConfigError) as caught:
        load_function(f"{file}:f")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


# --- vismatch -------------------------------------------------------------------------------------


class Theirs(nn.Module):
    """What `vismatch.get_matcher` returns, according to its documentation."""

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


def test_vismatch_gets_rgb_in_0_to_1_in_evaluation_and_inference_mode_without_ransac(theirs: Theirs, scene):
    VismatchMatcher("even").match(scene((40, 48)), scene((40, 48))).matches()
    ((shape, low, high, training, inference),) = theirs.seen
    assert tuple(shape) == (3, 40, 48)
    assert 0 <= low < high <= 1
    assert (training, inference, theirs.skip_ransac) == (False, True, True)


@pytest.mark.parametrize("said", [{"matched_confidences": None}, {}])
def test_without_confidences_matches_keep_their_order(theirs: Theirs, scene, said):
    del theirs.answer["matched_confidences"]  # older versions do not have the key
    theirs.answer.update(said)
    found = VismatchMatcher("even").match(scene((40, 48)), scene((40, 48))).matches()
    assert found.score.tolist() == [1, 1]
    assert found.xy0.tolist() == [[1, 2], [3, 4]]


def test_vismatch_is_loaded_once_per_device_and_only_when_needed(theirs: Theirs, scene, capsys):
    matcher = VismatchMatcher("even").to("cpu")
    calls = sys.modules["vismatch"].calls
    assert calls == []
    for _ in range(2):
        matcher.match(scene((40, 48)), scene((40, 48))).matches()
    assert len(calls) == 1
    matcher.to("meta").match(scene((40, 48)), scene((40, 48))).matches()
    assert [call[1] for call in calls] == ["cpu", "meta"]
    assert capsys.readouterr().out == ""


def test_vismatch_transfers_no_points(theirs: Theirs, scene):
    found = VismatchMatcher("even").match(scene((40, 48)), scene((40, 48)))
    assert not found.can_transfer
    with pytest.raises(CapabilityError, match="vismatch even finds matches only"):
        found.transfer([[1.0, 2.0]])


def test_a_mistyped_name_of_vismatch_is_a_one_line_error(theirs: Theirs):
    with pytest.raises(ConfigError, match=r"vismatch has no matcher evan; did you mean even\?"):
        VismatchMatcher("evan")


def test_errors_of_vismatch_are_one_line(theirs: Theirs, scene):
    with pytest.raises(
        ConfigError, match=r"vismatch odd: cannot be loaded \(RuntimeError: no weights here\)"
    ):
        VismatchMatcher("odd").match(scene((40, 48)), scene((40, 48))).matches()
    theirs.answer = {}
    with pytest.raises(DataError, match="vismatch even: failed on scene and scene"):
        VismatchMatcher("even").match(scene((40, 48)), scene((40, 48))).matches()


def test_without_vismatch_the_error_has_the_pip_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "vismatch", None)
    with pytest.raises(MissingDependencyError, match="pip install vismatch"):
        VismatchMatcher("sift-nn")


@pytest.mark.weights
@pytest.mark.filterwarnings("ignore")  # its own warnings
@pytest.mark.skipif(
    importlib.util.find_spec("vismatch") is None, reason="the extra vismatch is not installed"
)
def test_the_real_sift_of_vismatch_follows_a_shift():
    photo = data.astronaut()
    found = VismatchMatcher("sift-nn", keypoints=500).match(photo[:, :400], photo[:, 12:412]).matches()
    assert len(found) > 100
    offset = (found.xy1 - found.xy0).median(dim=0).values
    assert offset.tolist() == pytest.approx([-12, 0], abs=0.1)
