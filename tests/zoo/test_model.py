"""From a name to a matcher."""

from pathlib import Path

import pytest
import torch
from torch import nn

import homolog.zoo
from homolog.core.errors import ConfigError
from homolog.core.protocols import Matcher
from homolog.zoo import load_matcher


def test_a_matcher_arrives_in_evaluation_mode_on_the_device_with_its_overrides():
    matcher = load_matcher("xfeat", "resize=160", "head.window=7", device="cpu")
    assert isinstance(matcher, Matcher)
    assert isinstance(matcher, nn.Module)
    assert not any(module.training for module in matcher.modules())
    assert {parameter.device for parameter in matcher.parameters()} == {torch.device("cpu")}
    assert matcher.resize == 160
    head = matcher.head
    assert isinstance(head, nn.Module)
    assert head.window == 7


def test_a_warning_names_the_parts_with_random_weights(caplog: pytest.LogCaptureFixture):
    load_matcher("xfeat", device="cpu")
    assert not caplog.messages
    load_matcher("xfeat", "backbone.checkpoint=null", device="cpu")
    assert [message.split(";")[0] for message in caplog.messages] == ["untrained: backbone"]


def test_a_configuration_of_something_else_is_refused(configs: Path):
    with pytest.raises(ConfigError, match="expected the configuration of a matcher, got one of Tensor"):
        load_matcher("plain", configs=without_parts(configs), device="cpu")


def without_parts(configs: Path) -> Path:
    text = "# @package _global_\n_target_: homolog.core.coords.shift_affine\nx: 1.0\ny: 2.0\n"
    (configs / "matcher" / "plain.yaml").write_text(f"{text}defaults: [_self_]\n")
    return configs


def test_an_unknown_name_or_device_is_refused():
    with pytest.raises(ConfigError, match="no matcher named 'xfaet'; did you mean xfeat"):
        load_matcher("xfaet")
    with pytest.raises(ConfigError, match="no device named toaster"):
        load_matcher("xfeat", device="toaster")


def test_the_public_names_of_the_zoo_can_be_imported():
    assert all(hasattr(homolog.zoo, name) for name in vars(homolog.zoo)["__all__"])
    with pytest.raises(AttributeError, match=r"No homolog\.zoo attribute load_everything"):
        _ = homolog.zoo.load_everything  # pyright: ignore[reportAttributeAccessIssue]
