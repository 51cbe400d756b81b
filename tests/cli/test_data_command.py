"""`homolog data check`."""

import argparse
import json
from pathlib import Path

import PIL.Image
import pytest

from homolog.cli.commands.data import run
from homolog.core.errors import DataError


def check(root: Path, *, as_json: bool = False) -> int:
    return run(argparse.Namespace(action="check", root=root, json=as_json))


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    root.mkdir()
    PIL.Image.new("RGB", (16, 16)).save(root / "a.png")
    (root / "pairs.json").write_text(json.dumps({"images": {}, "pairs": []}))
    return tmp_path


def test_a_complete_data_set_is_exit_code_0(complete: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(complete) == 0
    out = capsys.readouterr().out
    assert f"named keypoints: complete in {complete / 'mine'}, data=named_keypoints" in out
    assert "SPair-71k" in out.split("not here")[1]


def test_only_incomplete_data_sets_are_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "SPair-71k" / "PairAnnotation" / "test").mkdir(parents=True)
    (tmp_path / "SPair-71k" / "PairAnnotation" / "test" / "000000-a-b:cat.json").write_text("{}")
    assert check(tmp_path) == 1
    out = capsys.readouterr().out
    assert "SPair-71k: incomplete" in out
    assert "12,234" in out
    assert "to complete it: Download SPair-71k.tar.gz" in out
    row = next(line for line in out.splitlines() if "pairs of the test split" in line)
    assert row.split()[0] == "incomplete"


def test_nothing_recognised_is_exit_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(tmp_path) == 3
    assert "no known data set" in capsys.readouterr().out


def test_json_has_what_the_tables_have(complete: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(complete, as_json=True) == 0
    content = json.loads(capsys.readouterr().out)
    (found,) = content["found"]
    assert found["name"] == "named keypoints"
    assert found["complete"] is True
    assert found["items"][0] == {
        "what": "annotations",
        "pattern": "pairs.json",
        "found": 1,
        "expected": 1,
        "unit": "files",
        "optional": False,
        "complete": True,
        "note": "",
    }
    assert {"SPair-71k", "TSS"} <= {absent["name"] for absent in content["absent"]}


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a folder with data sets"):
        check(tmp_path / "no")
