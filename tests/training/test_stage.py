"""Learning rates over the steps, and who learns."""

from typing import Any, cast

import pytest
import torch
from torch import nn

from homolog.core.errors import ConfigError
from homolog.training.stage import Stage
from homolog.training.trainable import freeze, groups


def stage(**changes):
    plain: dict[str, Any] = {"steps": 100, "losses": {"dense": 1.0}, "data": {"a": 1.0}, "trainable": ["*"]}
    return Stage(**{**plain, **changes})


def test_rates_warm_up_and_fall():
    linear = stage(steps=12, warmup=2, schedule="linear", floor=0.5)
    assert [linear.rate(step) for step in (0, 1, 2, 7, 12)] == [0.5, 1, 1, 0.75, 0.5]
    cosine = stage(steps=10, schedule="cosine")
    assert [round(cosine.rate(step), 6) for step in (0, 5, 10)] == [1, 0.5, 0]
    assert stage().rate(99) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"batch": 0},
        {"losses": {"dense": 0.0}},
        {"trainable": []},
        {"schedule": "cosinus"},
        {"precision": "16-mixed"},
    ],
)
def test_numbers_that_no_training_can_run_with_are_refused(changes, unchecked):
    with pytest.raises(ConfigError):
        stage(**changes)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.head = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 4))


def test_what_does_not_learn_is_frozen_and_in_evaluation_mode():
    net = Net()
    names = freeze(net, ["head.*", "!head.2.bias"])
    assert names == ["head.0.weight", "head.0.bias", "head.2.weight"]
    assert [name for name, parameter in net.named_parameters() if parameter.requires_grad] == names
    assert [part.training for part in (net, net.backbone, net.backbone[1], net.backbone[2])] == [
        True,
        False,
        False,
        False,
    ]
    # Dropout has no parameters; it does as the part around it.
    assert net.head[1].training


def test_a_pattern_that_fits_nothing_is_refused():
    with pytest.raises(ConfigError, match="no parameter is called heads"):
        freeze(Net(), ["heads.*"])
    with pytest.raises(ConfigError, match="nothing to learn"):
        freeze(Net(), ["head.*", "!*"])


def test_learning_rates_differ_by_pattern():
    net = Net()
    freeze(net, ["*"])
    found = groups(net, stage(learning_rate=1e-2, factors={"backbone.*": 0.1, "backbone.0.bias": 0.5}))
    rates = {
        group["lr"]: sum(p.numel() for p in cast(list[nn.Parameter], group["params"])) for group in found
    }
    assert rates == pytest.approx({1e-3: 12 + 8, 5e-3: 4, 1e-2: 40})
    assert torch.optim.AdamW(found)
