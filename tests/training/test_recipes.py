"""Stages, trainable parameters, and the recipes of this repository."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch
import yaml
from torch import nn

from homolog.core.errors import ConfigError
from homolog.training.checkpoints import check_exported, part_of
from homolog.training.recipe import Recipe
from homolog.training.stage import Stage, freeze, parameter_groups
from homolog.zoo.build import build, resolved
from homolog.zoo.compose import compose


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
def test_invalid_settings_of_a_stage_are_rejected(changes, unchecked):
    with pytest.raises(ConfigError):
        stage(**changes)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.head = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 4))


def test_other_parameters_are_frozen_and_their_modules_in_evaluation_mode():
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
    # Dropout has no parameters; it follows its parent.
    assert net.head[1].training


def test_a_pattern_that_matches_nothing_is_rejected():
    with pytest.raises(ConfigError, match="no parameter matches heads"):
        freeze(Net(), ["heads.*"])
    with pytest.raises(ConfigError, match="nothing to train"):
        freeze(Net(), ["head.*", "!*"])


def test_learning_rates_differ_by_pattern():
    net = Net()
    freeze(net, ["*"])
    found = parameter_groups(
        net, stage(learning_rate=1e-2, factors={"backbone.*": 0.1, "backbone.0.bias": 0.5})
    )
    rates = {
        group["lr"]: sum(p.numel() for p in cast(list[nn.Parameter], group["params"])) for group in found
    }
    assert rates == pytest.approx({1e-3: 12 + 8, 5e-3: 4, 1e-2: 40})
    assert torch.optim.AdamW(found)


ROOT = Path(__file__).parents[2]
RECIPES = sorted(path.stem for path in (ROOT / "configs/recipe").glob("*.yaml"))


def tiny(kind, name):
    path = ROOT / "tests/tiny" / kind / f"{name}.yaml"
    return [f"{kind}.{word}" for word in yaml.safe_load(path.read_text())] if path.exists() else []


def matcher_of(recipe):
    chosen = yaml.safe_load((ROOT / f"configs/matcher/{recipe.matcher}.yaml").read_text())["defaults"]
    names = {key.split("@")[1]: name for part in chosen[:-1] for key, name in part.items()}
    if recipe.matcher == "vggt_semantic":  # full size, without memory
        with torch.device("meta"):
            return build(
                compose("match", ["matcher=vggt_semantic", "backbone.checkpoint=null", *recipe.settings])
            )
    small = [word for kind in ("backbone", "detector") for word in tiny(kind, names.get(kind))]
    return build(compose("match", [f"matcher={recipe.matcher}", *small, *recipe.settings]))


def recipe_of(name, *words):
    config = compose("train", [f"recipe={name}", *words])
    if "encoder" in config["objective"]:
        config["objective"]["encoder"]["checkpoint"] = None
    return build(config)


@pytest.mark.parametrize(
    "name",
    [name if name.startswith("mini") else pytest.param(name, marks=pytest.mark.slow) for name in RECIPES],
)
def test_a_recipe_composes_and_fits_its_matcher(name):
    recipe = recipe_of(name)
    assert isinstance(recipe, Recipe)
    matcher = matcher_of(recipe)
    for stage_name, stage in recipe.stages.items():
        check_exported(freeze(matcher, stage.trainable), recipe.parts, stage_name)
    for part in recipe.parts:
        part_of(matcher, part)
    multiple = getattr(matcher, "multiple", 1)
    assert [side % multiple for side in recipe.size] == [0, 0]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_describes_itself_in_its_first_comment(name):
    lines = (ROOT / f"configs/recipe/{name}.yaml").read_text().splitlines()
    assert lines[0] == "# @package _global_"
    assert lines[1].startswith("# ")


@pytest.mark.parametrize(
    "name", [name for name in RECIPES if name.startswith("mini") and "homography" not in name]
)
def test_a_miniature_makes_its_data_itself(name):
    recipe = recipe_of(name)
    for stage in recipe.stages:
        assert all(len(source) > 0 for source in recipe.sources_of(stage).values())


def test_unknown_losses_sources_and_stages_are_rejected():
    for words, said in (
        (["+stages.fuse.losses.dense=1"], "stage fuse: no loss dense"),
        (["+stages.fuse.data.photos=1"], "stage fuse: no source photos"),
        (["stages.fuse.steps=0"], "steps"),
        (["size=[256]"], "size"),
    ):
        with pytest.raises(ConfigError, match=said):
            build(resolved(compose("train", ["recipe=mini_fusion", *words])))
    with pytest.raises(ConfigError, match="no stage fused"):
        recipe_of("mini_fusion").select(["fused"])
