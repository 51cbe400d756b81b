"""`homolog list`."""

import json
import subprocess
import sys
from pathlib import Path


def test_the_tables_name_every_kind_licence_size_and_status(homolog):
    said = homolog("list")
    assert said.code == 0
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
        assert word in said.out


def test_json_has_one_record_for_each_yaml(homolog):
    records = json.loads(homolog("list", "--json").out)
    configs = Path(__file__).parents[2] / "configs"
    kinds = ("matcher", "backbone", "detector", "head", "task", "recipe")
    assert len(records) == sum(len(list((configs / kind).glob("*.yaml"))) for kind in kinds)
    mini = next(record for record in records if (record["kind"], record["name"]) == ("matcher", "mini"))
    assert mini["status"] == "here"
    assert mini["size"] == 18826032 + 6247949


def test_recipes_come_with_what_their_file_says_of_them(homolog, tmp_path: Path):
    said = homolog("list").out
    assert "recipes" in said
    assert "vggt_semantic" in said
    (tmp_path / "match.yaml").touch()
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text("# @package _global_\n# My own recipe\nmatcher: mini\n")
    records = json.loads(homolog("list", "--json", "--configs", tmp_path).out)
    assert records == [{"kind": "recipe", "name": "mine", "description": "My own recipe"}]
    assert "My own recipe" in homolog("list", "--configs", tmp_path).out


def test_listing_does_without_torch():
    code = "import sys; from homolog.cli.main import main; main(['list']); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_other_configs_can_be_listed(homolog, tmp_path: Path):
    (tmp_path / "match.yaml").touch()
    (tmp_path / "head").mkdir()
    (tmp_path / "head" / "mine.yaml").write_text("# My own head\n_target_: homolog.heads.nearest.Nearest\n")
    records = json.loads(homolog("list", "--json", "--configs", tmp_path).out)
    assert [(record["name"], record["description"]) for record in records] == [("mine", "My own head")]
