"""Old names: the error names the new one, on the command line and in a YAML of the user's own."""

import importlib
import shutil
from pathlib import Path

import pytest

from homolog.core.errors import ConfigError
from homolog.zoo import list_products, load_matcher
from homolog.zoo.build import build, check_target
from homolog.zoo.compose import compose, configs_folder
from homolog.zoo.renamed import CHOICES, TARGETS


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("longest=800", "the setting longest is now called resize"),
        ("describe=feature", "the setting describe is now called descriptor_map"),
        ("detector.limit=500", "the setting detector.limit is now called detector.max_keypoints"),
        ("head.minimum=0.1", "the setting head.minimum is now called head.match_threshold"),
        ("detector.radius=3", "the setting detector.radius is now called detector.nms_radius"),
        (
            "detector.window=5",
            "the setting detector.window is now called detector.nms_radius; a window of 5 is an nms_radius of 2",
        ),
        ("+longest=800", "the setting longest is now called resize"),
        ("+detector.limit=500", "the setting detector.limit is now called detector.max_keypoints"),
    ],
)
def test_an_override_of_an_old_setting_names_the_new_one(override: str, message: str):
    with pytest.raises(ConfigError) as caught:
        load_matcher("xfeat", "detector=xfeat", override)
    assert str(caught.value) == message


def test_a_setting_that_kept_its_name_elsewhere_still_works():
    assert compose("match", ["matcher=xfeat", "head.window=7"])["head"]["window"] == 7


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A configs folder of the user's own."""
    return Path(shutil.copytree(configs_folder(), tmp_path / "own"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("describe: feature", "the setting describe is now called descriptor_map"),
        ("longest: 800", "the setting longest is now called resize"),
        ("detector: {limit: 500}", "the setting detector.limit is now called detector.max_keypoints"),
        ("head: {minimum: 0.1}", "the setting head.minimum is now called head.match_threshold"),
    ],
)
def test_an_old_setting_in_a_yaml_names_the_new_one(own: Path, settings: str, message: str):
    text = f"# @package _global_\n# Mine\ndefaults: [xfeat, _self_]\n{settings}\n"
    (own / "matcher" / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        build(compose("match", ["matcher=mine"], configs=own))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("homolog.core.weights.fetch", "homolog.zoo.sources.fetch"),
        ("homolog.core.hub.fetch_folder", "homolog.zoo.sources.fetch_folder"),
        ("homolog.data.synthetic.scenes.Room", "homolog.synthetic.scenes.Room"),
    ],
)
def test_an_old_target_names_the_new_one(old: str, new: str):
    with pytest.raises(ConfigError, match=f"^source: _target_ {old} is now called {new}$"):
        build({"source": {"_target_": old}})


def test_an_old_source_of_weights_names_the_new_one_in_the_list(own: Path):
    file = own / "backbone" / "mine.yaml"
    text = (own / "backbone" / "dinov2_s.yaml").read_text()
    file.write_text(text.replace("homolog.zoo.sources.fetch", "homolog.core.weights.fetch"))
    status = {product.name: product.status for product in list_products(own)}["mine"]
    assert status.endswith(
        "homolog.core.weights.fetch is not a source of weights; it is now called homolog.zoo.sources.fetch"
    )


@pytest.mark.parametrize(
    ("entry", "settings", "new"),
    [
        ("match", "matcher=mini_glue", "matcher=mini_omniglue"),
        ("match", "matcher=xfeat head=guided_glue", "head=guided_matcher"),
        ("match", "points.head=guided_glue", "head=guided_matcher"),
        ("train", "recipe=mini_glue", "recipe=mini_omniglue"),
    ],
)
def test_an_old_choice_names_the_new_one(entry: str, settings: str, new: str):
    old = settings.split()[-1].removeprefix("points.")
    with pytest.raises(ConfigError, match=f"^{old} is now called {new}$"):
        compose(entry, settings.split())


def test_new_choices_exist():
    assert [new for new in CHOICES.values() if not (configs_folder() / f"{new}.yaml").is_file()] == []


def test_new_targets_exist():
    evaluators = {f"homolog.evaluators.{name}" for name in ("image_sizes", "opencv_solvers", "solvers")}
    modules = {"homolog.synthetic", "homolog.synthetic.shards", *evaluators}
    for target in set(TARGETS.values()) - modules:
        check_target(target)
    for module in modules:
        importlib.import_module(module)
