"""Every recipe that comes along: composed, built, and fitted to its matcher, without weights or data."""

from pathlib import Path

import pytest
import torch
import yaml

from homolog.core.errors import ConfigError
from homolog.training.export import check_exported, part_of
from homolog.training.recipe import Recipe
from homolog.training.trainable import freeze
from homolog.zoo.build import build, resolved
from homolog.zoo.compose import compose

ROOT = Path(__file__).parents[2]
RECIPES = sorted(path.stem for path in (ROOT / "configs/recipe").glob("*.yaml"))


def tiny(kind, name):
    path = ROOT / "tests/tiny" / kind / f"{name}.yaml"
    return [f"{kind}.{word}" for word in yaml.safe_load(path.read_text())] if path.exists() else []


def matcher_of(recipe):
    chosen = yaml.safe_load((ROOT / f"configs/matcher/{recipe.matcher}.yaml").read_text())["defaults"]
    names = {key.split("@")[1]: name for part in chosen[:-1] for key, name in part.items()}
    if recipe.matcher == "vggt_semantic":  # whole, and without memory
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
def test_a_recipe_is_whole_and_fits_its_matcher(name):
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


def test_the_paper_s_numbers_are_in_the_stages_of_vggt_semantic():
    stages = recipe_of("vggt_semantic").stages
    assert list(stages) == ["sparse", "synthetic", "manifold", "uncertainty"]
    assert stages["sparse"].losses == {"keypoint": 0.01}
    assert stages["synthetic"].losses == {"dense": 10000, "keypoint": 0.01}
    for name in ("synthetic", "manifold", "uncertainty"):  # synthetic to real 1:3
        shares = dict(stages[name].data)
        assert 3 * shares.pop("synthetic") == sum(shares.values())
    assert set(stages["manifold"].losses) == {"dense", "keypoint", "matching", "reconstruction", "smoothness"}
    assert set(stages["uncertainty"].losses) == {*stages["manifold"].losses, "uncertainty"}
    assert {stage.learning_rate for stage in stages.values()} == {1e-4}


def test_a_stage_that_asks_for_what_is_not_there_is_refused():
    for words, said in (
        (["+stages.fuse.losses.dense=1"], "stage fuse: no loss dense"),
        (["+stages.fuse.data.photos=1"], "stage fuse: no source photos"),
        (["stages.fuse.steps=0"], "steps"),
        (["size=[256]"], "size"),
    ):
        with pytest.raises(ConfigError, match=said):
            build(resolved(compose("train", ["recipe=mini_fusion", *words])))
    with pytest.raises(ConfigError, match="no stage fused"):
        recipe_of("mini_fusion").chosen(["fused"])
