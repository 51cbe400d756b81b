"""Errors: one line, a kind that outsiders would catch, and they survive the way out of a worker."""

import pickle

import pytest

from homolog.core.errors import (
    CapabilityError,
    ConfigError,
    DataError,
    HomologError,
    MissingDependencyError,
    ShapeError,
    WeightsError,
    did_you_mean,
    one_of,
)

KINDS = [
    (ShapeError, ValueError),
    (ConfigError, ValueError),
    (WeightsError, RuntimeError),
    (DataError, OSError),
    (CapabilityError, TypeError),
]


@pytest.mark.parametrize(("kind", "builtin"), KINDS)
def test_every_error_is_one_line_and_also_a_builtin(
    kind: type[HomologError], builtin: type[Exception]
) -> None:
    error = kind("expected a,\r\n   got b\n")
    assert str(error) == "expected a, got b"
    assert isinstance(error, builtin)
    assert isinstance(error, HomologError)


@pytest.mark.parametrize(
    "error",
    [kind("expected a, got b") for kind, _ in KINDS] + [MissingDependencyError("poselib", "--verify")],
)
def test_every_error_survives_pickling(error: HomologError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)


def test_a_missing_package_comes_with_its_pip_line() -> None:
    error = MissingDependencyError("poselib", "--verify")
    assert str(error) == "--verify needs the package poselib; run: pip install poselib"
    assert error.package == "poselib"
    extra = MissingDependencyError("homolog-backbones[dift]", "dift")
    assert str(extra).endswith("run: pip install 'homolog-backbones[dift]'")
    assert isinstance(error, ImportError)


def test_suggestions() -> None:
    assert did_you_mean("xfeet", ["sift", "xfeat"]) == "; did you mean xfeat?"
    assert did_you_mean("qqq", ["b", "a"]) == "; choose from a, b"
    assert did_you_mean("qqq", []) == "; there are none"


def test_suggestions_stay_short_however_many_names_there_are() -> None:
    names = [f"blocks.{number:03}.weight" for number in range(400)]
    hint = did_you_mean("qqq", names)
    assert hint.startswith("; choose from blocks.000.weight, blocks.001.weight, ")
    assert hint.endswith("blocks.029.weight and 370 more")
    assert did_you_mean("qqq", names[:30]).endswith("blocks.029.weight")
    assert did_you_mean("qqq", ["c", "b", "a"], show=2) == "; choose from a, b and 1 more"


def test_a_choice_is_returned_or_the_choices_are_named() -> None:
    assert one_of("mode", "mean", ["one", "mean"]) == "mean"
    with pytest.raises(
        ConfigError, match="expected mode to be one of one, mean, got 'men'; did you mean mean"
    ):
        one_of("mode", "men", ["one", "mean"])
    with pytest.raises(
        ConfigError, match="expected mode to be one of one, mean, got 'x'; choose one of them"
    ):
        one_of("mode", "x", ["one", "mean"])
