"""Composing: what is found, what is overridden, and how an error reads."""

from pathlib import Path

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobRuntime
from hydra.version import getbase
from omegaconf import OmegaConf

from homolog.core.errors import ConfigError
from homolog.zoo import compose as compose_module
from homolog.zoo.build import resolved
from homolog.zoo.compose import compose, configs_folder


def test_composing_chooses_files_and_sets_values(configs: Path):
    config = compose("match", ["head=far", "x=3"], configs=configs)
    assert config["head"] == {"_target_": "homolog.core.coords.shift_affine", "x": 9.0, "y": 0.0}
    assert config["x"] == 3
    assert resolved(compose("match", ["x=3"], configs=configs))["head"]["x"] == 3


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("matcher=plian", "no matcher named 'plian'; did you mean plain?"),
        ("head=faar", "no head named 'faar'; did you mean far?"),
        ("backbone=zzz", "no backbone named 'zzz'; choose from absent, joined, light"),
        ("head.xx=7", "no setting head.xx; did you mean head.x? head has: x, y"),
        ("nothing=7", "no setting nothing; this configuration has: matcher, backbone, head, x, y"),
        ("~head.z", "no setting head.z; did you mean head."),
        ("matchr=plain", "no setting matchr; did you mean matcher?"),
        ("head={z:1}", "no setting head.z; did you mean head."),
        ("head.x=[1", "cannot read the setting 'head.x=[1'; write key=value"),
        ("head.x", "cannot read the setting 'head.x'; write key=value"),
        ("head=near,far", "expected one value in each of head=near,far"),
        ("head=5", "cannot apply the settings head=5"),
        ("matcher=broken", "no head named 'gone'; choose from far, near"),
    ],
)
def test_a_wrong_override_is_an_error_of_one_line_with_the_valid_names(
    configs: Path, override: str, said: str
):
    with pytest.raises(ConfigError) as caught:
        compose("match", [override], configs=configs)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_the_first_of_two_wrong_keys_is_named_at_the_level_of_the_chosen_file(configs: Path):
    with pytest.raises(ConfigError, match=r"no setting head\.xx; .* head has: x, y"):
        compose("match", ["y=3", "head.xx=1", "also=2", "head=far"], configs=configs)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("resize=800", "no setting resize; did you mean matches.resize or points.resize?"),
        ("longest=800", "no setting longest; did you mean matches.resize or points.resize?"),
        ("backbone=dinov2_s", "no setting backbone; did you mean points.backbone?"),
        ("head=nearest", "no setting head; did you mean matches.head or points.head?"),
        ("head.temperature=1", "no setting head; did you mean points.head.temperature?"),
        ("backbone=mini detector=xfeat", "no setting detector; did you mean matches.detector?"),
    ],
)
def test_a_setting_of_another_product_names_the_parts_of_the_default_and_how_to_choose(
    settings: str, said: str
):
    with pytest.raises(ConfigError) as caught:
        compose("match", settings.split())
    assert str(caught.value).startswith(said)
    assert str(caught.value).endswith("; matcher=small is the default, matcher=NAME chooses another")
    with pytest.raises(ConfigError, match=r"has: matcher, follow, matches, points$"):
        compose("match", ["matcher=small", *settings.split()])


def test_a_part_of_a_part_is_chosen_by_its_place():
    config = compose("match", ["points.head=nearest", "matches.detector=disk", "matches.head=lightglue_disk"])
    assert config["points"]["head"]["_target_"] == "homolog.heads.nearest.Nearest"
    assert config["matches"]["detector"]["_target_"] == "homolog.backbones.disk.Disk"
    assert config == compose(
        "match",
        ["head@points.head=nearest", "detector@matches.detector=disk", "head@matches.head=lightglue_disk"],
    )
    with pytest.raises(ConfigError, match="no head named 'nearst'; did you mean nearest"):
        compose("match", ["points.head=nearst"])
    # A setting that only shares its name with a group keeps its value.
    assert compose("match", ["matcher=xfeat", "head.source=cell"])["head"]["source"] == "cell"


def test_yaml_that_cannot_be_read_names_the_folder(configs: Path):
    (configs / "head" / "near.yaml").write_text("a: [1\n")
    with pytest.raises(ConfigError, match="expected YAML") as caught:
        compose("match", configs=configs)
    assert "\n" not in str(caught.value)


def test_a_folder_without_match_yaml_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"expected a configs folder with a match\.yaml"):
        configs_folder(tmp_path)


def test_the_checkout_is_found_first():
    assert configs_folder() == Path(__file__).parents[2] / "configs"


def test_an_installed_copy_is_found_through_the_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import homolog

    installed = tmp_path / "site-packages" / "homolog"
    (installed / "configs").mkdir(parents=True)
    (installed / "configs" / "match.yaml").touch()
    monkeypatch.setattr(compose_module, "__file__", str(installed / "zoo" / "compose.py"))
    monkeypatch.setattr(homolog, "__path__", [str(installed)])
    assert configs_folder() == installed / "configs"


def test_without_configs_the_error_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import homolog

    monkeypatch.setattr(compose_module, "__file__", str(tmp_path / "homolog" / "zoo" / "compose.py"))
    monkeypatch.setattr(homolog, "__path__", [str(tmp_path)])
    with pytest.raises(ConfigError, match="pip install homolog, or pass configs="):
        configs_folder()


def test_the_hydra_of_a_user_stays_as_it_was(configs: Path, tmp_path: Path):
    (tmp_path / "theirs.yaml").write_text("theirs: 1\n")
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.2", job_name="theirs"):
        before = GlobalHydra.instance(), GlobalHydra.instance().hydra, getbase(), HydraConfig.instance().cfg
        compose("match", configs=configs)
        with pytest.raises(ConfigError):
            compose("match", ["nothing=1"], configs=configs)
        after = GlobalHydra.instance(), GlobalHydra.instance().hydra, getbase(), HydraConfig.instance().cfg
        assert [id(part) for part in before] == [id(part) for part in after]
        assert JobRuntime.instance().get("name") == "theirs"
        assert OmegaConf.to_container(hydra.compose("theirs")) == {"theirs": 1}


def test_without_a_hydra_of_the_user_none_is_left_behind(configs: Path):
    compose("match", configs=configs)
    assert not GlobalHydra.instance().is_initialized()
