"""`homolog list`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ONLY_LISTED = "import sys; from homolog.cli.main import main; code = main(['list']); print('torch' in sys.modules, code)"


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a process prints that lists the products of homolog, with nothing fetched, and then whether it has torch."""
    environment = {**os.environ, "HOMOLOG_CACHE": str(tmp_path_factory.mktemp("cache"))}
    words = [sys.executable, "-c", ONLY_LISTED]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def test_the_tables_name_every_kind_licence_size_and_status(listed: str):
    for word in (
        "matchers",
        "backbones",
        "detectors",
        "heads",
        "xfeat_lighterglue",
        "Apache-2.0",
        "17.1 MB",
        "here",
        "none needed",
        "downloadable",
    ):
        assert word in listed


def test_json_has_one_record_for_each_yaml(homolog):
    records = json.loads(homolog("list", "--json").out)
    configs = Path(__file__).parents[2] / "configs"
    kinds = ("matcher", "backbone", "detector", "head", "task", "recipe")
    assert len(records) == sum(len(list((configs / kind).glob("*.yaml"))) for kind in kinds)
    matchers = {record["name"]: record for record in records if record["kind"] == "matcher"}
    assert matchers["small"]["status"] == matchers["mini"]["status"] == "here"
    assert matchers["mini"]["size"] == 18826032 + 6247949
    # The default adds ALIKED and LightGlue.
    assert matchers["small"]["size"] == matchers["mini"]["size"] + 2738091 + 47632827


def test_recipes_come_with_what_their_file_says_of_them(homolog, listed: str, tmp_path: Path):
    assert "recipes" in listed
    assert "vggt_semantic" in listed
    (tmp_path / "match.yaml").touch()
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text("# @package _global_\n# My own recipe\nmatcher: mini\n")
    records = json.loads(homolog("list", "--json", "--configs", tmp_path).out)
    assert records == [{"kind": "recipe", "name": "mine", "description": "My own recipe"}]
    assert "My own recipe" in homolog("list", "--configs", tmp_path).out


def test_listing_does_without_torch(listed: str):
    assert listed.splitlines()[-1] == "False 0"


def test_other_configs_can_be_listed(homolog, tmp_path: Path):
    (tmp_path / "match.yaml").touch()
    (tmp_path / "head").mkdir()
    (tmp_path / "head" / "mine.yaml").write_text("# My own head\n_target_: homolog.heads.nearest.Nearest\n")
    records = json.loads(homolog("list", "--json", "--configs", tmp_path).out)
    assert [(record["name"], record["description"]) for record in records] == [("mine", "My own head")]
