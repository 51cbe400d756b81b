"""`homolog sweep` and `homolog evaluate`: which cells, where they run, what they leave behind."""

import argparse
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from homolog.cli import launchers
from homolog.cli.evaluation import Cell, combinations, finished, make_cells, record_failure, run_safely
from homolog.cli.launchers import make_launcher
from homolog.cli.report.tables import find_results, read_results
from homolog.core.errors import ConfigError, DataError, MissingDependencyError


def options(out: Path, **changes: Any) -> argparse.Namespace:
    plain: dict[str, Any] = {"limit": None, "device": "cpu", "cache": "off", "seed": 0, "configs": None}
    return argparse.Namespace(out=out, **{**plain, **changes})


def cells(count: int, folder: Path) -> list[Cell]:
    return [
        Cell(matcher=(f"matcher=m{number}",), task=("task=t",), folder=folder / str(number))
        for number in range(count)
    ]


def test_every_combination_is_made_and_the_first_setting_varies_slowest():
    assert combinations(["matcher=mini,xfeat", "task=spair", "head.window=3,5"]) == [
        ["matcher=mini", "task=spair", "head.window=3"],
        ["matcher=mini", "task=spair", "head.window=5"],
        ["matcher=xfeat", "task=spair", "head.window=3"],
        ["matcher=xfeat", "task=spair", "head.window=5"],
    ]


def test_a_list_in_brackets_is_one_value():
    assert combinations(["matcher=mini", "backbone.maps=[blocks.2,blocks.4]"]) == [
        ["matcher=mini", "backbone.maps=[blocks.2,blocks.4]"]
    ]


def test_settings_that_cannot_be_read_are_quoted():
    with pytest.raises(ConfigError, match=r"matcher=\["):
        combinations(["matcher=["])


def test_each_cell_has_a_folder_that_says_what_it_is(tmp_path: Path):
    made = make_cells(
        ["matcher=dinov2_nn,xfeat", "task=named_keypoints", "data.root=/x", "head.window=5"],
        options(tmp_path),
    )
    assert [cell.folder.name for cell in made] == [
        "dinov2_nn_head.window=5__named_keypoints",
        "xfeat_head.window=5__named_keypoints",
    ]
    assert made[0].matcher == ("matcher=dinov2_nn", "head.window=5")
    assert made[0].task == ("task=named_keypoints", "data.root=/x")


def test_without_a_matcher_the_default_is_evaluated(tmp_path: Path):
    (made,) = make_cells(["task=named_keypoints", "data.root=/x", "points.resize=512"], options(tmp_path))
    assert made.matcher_name == "small points.resize=512"
    assert made.folder.name == "small_points.resize=512__named_keypoints"


def test_a_wrong_setting_of_any_combination_is_told_before_anything_runs(tmp_path: Path):
    with pytest.raises(ConfigError, match="did you mean xfeat"):
        make_cells(["matcher=mini,xfeet", "task=named_keypoints", "data.root=/x"], options(tmp_path))
    with pytest.raises(ConfigError, match="expected a task, as task=NAME; choose from"):
        make_cells(["matcher=mini"], options(tmp_path))
    with pytest.raises(ConfigError, match="each combination once"):
        make_cells(["matcher=mini,mini", "task=named_keypoints", "data.root=/x"], options(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        (["launcher=serial"], 3),
        pytest.param(["launcher=joblib", "launcher.jobs=2"], 3, marks=pytest.mark.slow),
        # A process for each cell.
        pytest.param(
            ["launcher=submitit", "launcher.cluster=local", "launcher.poll=0.2"], 2, marks=pytest.mark.slow
        ),
    ],
)
def test_a_launcher_runs_every_cell_and_their_errors_are_results(
    settings: list[str], count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    results = list(make_launcher(settings, None)(run_safely, cells(count, tmp_path / "out")))
    assert sorted(result["matcher"] for result in results) == [f"m{number}" for number in range(count)]
    for result in results:
        assert result["status"] == "failed"
        assert f"no matcher named '{result['matcher']}'" in result["reason"]
    assert read_results(find_results([tmp_path / "out"])) == sorted(
        results, key=lambda result: result["matcher"]
    )


def test_a_launcher_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingDependencyError, match=r"homolog-cli\[submitit\]"):
        launchers.Submitit()


def test_an_unknown_launcher_or_setting_is_refused():
    with pytest.raises(ConfigError, match="slurm"):
        make_launcher(["launcher=slurm"], None)
    with pytest.raises(ConfigError, match="job"):
        make_launcher(["launcher=joblib", "launcher.job=2"], None)


def test_a_failed_cell_says_why_and_counts_as_not_finished(tmp_path: Path):
    (cell,) = cells(1, tmp_path)
    result = record_failure(cell, DataError("no data\nhere"))
    assert result["reason"] == "no data here"
    assert result["status"] == "failed"
    assert finished(cell.folder) is None
    assert read_results([cell.folder])[0]["reason"] == "no data here"
    assert read_results([tmp_path / "nothing"]) == []


def test_a_result_of_other_settings_is_no_result(tmp_path: Path):
    (tmp_path / "result.json").write_text(json.dumps({"format": 1, "status": "done", "identity": "a"}))
    assert finished(tmp_path, "a") is not None
    assert finished(tmp_path, "b") is None
    (tmp_path / "result.json").write_text('{"format": 1, "status":')
    assert finished(tmp_path) is None


def test_results_are_found_below_a_folder_and_damaged_ones_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"no result\.json"):
        find_results([tmp_path])
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "result.json").write_text('{"format": 99}')
    assert find_results([tmp_path]) == [tmp_path / "a"]
    with pytest.raises(DataError, match="newer homolog"):
        read_results([tmp_path / "a"])
    (tmp_path / "a" / "result.json").write_text("[")
    with pytest.raises(DataError, match="evaluate again"):
        read_results([tmp_path / "a"])


def test_wrong_use_of_the_commands(homolog: Callable[..., Any], tmp_path: Path):
    said = homolog("evaluate", "mini", "spair")
    assert (said.code, "expected settings as key=value, got 'mini'" in said.err) == (2, True)
    said = homolog("evaluate", "matcher=mini,xfeat", "task=named_keypoints", "data.root=/x")
    assert (said.code, "use homolog sweep" in said.err) == (2, True)
    said = homolog("evaluate", "matcher=mini", "task=named_keypoints", "data.root=nowhere")
    assert said.code == 3
    assert "nowhere" in said.err
    said = homolog("report", tmp_path)
    assert (said.code, "no result.json" in said.err) == (3, True)
