"""The semantic tasks and PCK protocols of `configs/`: they build, and say the choices that official codes make."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from homolog.evaluators.benchmark import Benchmark
from homolog.evaluators.keypoint_pck import PckProtocol
from homolog.evaluators.predictors import PointPredictor
from homolog.zoo import load_task
from homolog.zoo.build import build
from homolog.zoo.compose import compose, configs_folder

CONFIGS = configs_folder()
GROUPS = ("spair", "ap10k", "pfpascal", "willow")
TASKS = {
    "spair": "spair/geoaware",
    "spair_u": "spair/geoaware",
    "ap10k_intra": "ap10k/intra",
    "ap10k_cross_species": "ap10k/cross-species",
    "ap10k_cross_family": "ap10k/cross-family",
    "pfpascal": "pfpascal/hpf",
    "willow": "willow/bbox-kp",
    "named_keypoints": "spair/geoaware",
}
PROTOCOLS = sorted(
    f"{group}/{path.stem}" for group in GROUPS for path in (CONFIGS / "protocol" / group).glob("*.yaml")
)

OFFICIAL = {
    # name: comparison, side, average, frame, precision, alphas
    "spair/geoaware": ("<", "box", "per image", "padded square of 840 px", "float32", {0.1, 0.05, 0.01}),
    "spair/diy_sc": ("<", "box", "per point", "padded square of 840 px", "float32", {0.1, 0.05, 0.01}),
    "spair/dift": ("<=", "box", "per image", "original image", "float64", {0.1}),
    "spair/hpf": ("<=", "box", "per image", "longer side at most 300 px", "float32", {0.1}),
    "spair/visual_ai": (
        *("<=", "box", "per image", "stretched square of 768 px, corners aligned", "float32"),
        {0.01, 0.05, 0.1, 0.15},
    ),
    "spair/distilldift": ("<=", "box", "per point", "original image", "float32", {0.1}),
    "ap10k/intra": ("<", "box", "per image", "padded square of 840 px", "float32", {0.1, 0.05, 0.01}),
    "pfpascal/hpf": (
        *("<=", "image", "per image", "longer side at most 300 px", "float32"),
        {0.05, 0.1, 0.15},
    ),
    "pfpascal/geoaware": ("<", "image", "per image", "padded square of 840 px", "float32", {0.05, 0.1, 0.15}),
    "willow/bbox_kp": (
        *("<=", "keypoints", "per image", "longer side at most 300 px", "float32"),
        {0.05, 0.1, 0.15},
    ),
}
"""As reference codes have them; those left out differ by the data they are for, or are our reading."""


@pytest.fixture
def without_data(tmp_path: Path) -> Path:
    """The configs of homolog, but with data sets that have no samples: none of them lies here."""
    shutil.copytree(CONFIGS, tmp_path / "configs")
    for name in TASKS:
        (tmp_path / "configs" / "data" / f"{name}.yaml").write_text("{}\n")
    return tmp_path / "configs"


@pytest.mark.parametrize(("task", "headline"), TASKS.items())
def test_a_task_builds_and_leads_with_its_headline(task: str, headline: str, without_data: Path):
    built = load_task(task, configs=without_data)
    assert isinstance(built, Benchmark)
    assert built.kind == "semantic"
    assert isinstance(built.predict, PointPredictor)
    scored = built.score([])
    assert next(iter(scored)) == built.headline
    assert built.protocols[built.headline].name == headline
    assert next(iter(scored.values())).scores[0].name.startswith("PCK@0.1 per image, ")


@pytest.mark.parametrize("task", TASKS)
def test_the_data_of_a_task_is_configured(task: str):
    config = compose("evaluate", [f"task={task}", "data.root=somewhere"])
    assert config["data"]["_target_"].startswith("homolog.data.")


def protocol_of(file: str) -> Any:
    group, _, variant = file.partition("/")
    return build(compose(f"protocol/{group}/{variant}")["protocol"][group])


@pytest.mark.parametrize("file", PROTOCOLS)
def test_a_protocol_has_the_name_of_its_file(file: str):
    built = protocol_of(file)
    assert isinstance(built, PckProtocol)
    assert built.name == file.replace("_", "-")
    assert built.alphas[0] == 0.1


@pytest.mark.parametrize("file", OFFICIAL)
def test_a_protocol_makes_the_official_choices(file: str):
    built = protocol_of(file)
    settings = (built.comparison, built.side, built.average, str(built.frame), built.precision)
    assert (*settings, set(built.alphas)) == OFFICIAL[file]


def test_what_is_assumed_is_said():
    for file in (name for name in PROTOCOLS if name.endswith("/matcha")):
        assert protocol_of(file).note.startswith("assumed")
        assert protocol_of(file).score([]).settings["note"].startswith("assumed")


def test_the_three_protocols_of_ap10k_differ_in_nothing_but_the_name():
    settings = [vars(protocol_of(file)) for file in PROTOCOLS if file.startswith("ap10k/")]
    assert len(settings) == 3
    assert all({**each, "name": ""} == {**settings[0], "name": ""} for each in settings)
