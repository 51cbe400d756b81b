"""`homolog evaluate`, `sweep` and `report` on a data set of three pairs whose truth is known."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from skimage import data

import homolog.cli.evaluation as evaluation
from homolog.cli.evaluation import Cell, run_cell
from homolog.evaluators.benchmark import Benchmark
from homolog.evaluators.records import load_records

SHIFT = 24
POINTS = {f"p{number}": [60 + 40 * number, 50 + 30 * number] for number in range(5)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos, each paired with itself moved by 24 pixels to the left."""
    folder = tmp_path_factory.mktemp("pairs")
    images: dict[str, Any] = {}
    pairs: list[dict[str, Any]] = []
    for name in ("astronaut", "chelsea", "coffee"):
        photo = PIL.Image.fromarray(getattr(data, name)()).convert("RGB").crop((60, 0, 380, 256))
        photo.save(folder / f"{name}0.png")
        photo.transform(photo.size, PIL.Image.Transform.AFFINE, (1, 0, SHIFT, 0, 1, 0)).save(
            folder / f"{name}1.png"
        )
        for side in (0, 1):
            points = {key: [x - SHIFT * side, y] for key, (x, y) in POINTS.items()}
            images[f"{name}{side}"] = {
                "file": f"{name}{side}.png",
                "size": [320, 256],
                "bbox": [20, 20, 200, 200],
                "keypoints": points,
            }
        pairs.append({"category": name, "src": f"{name}0", "trg": f"{name}1"})
    (folder / "pairs.json").write_text(json.dumps({"images": images, "pairs": pairs}))
    return folder


def cell(root: Path, folder: Path, **changes: Any) -> Cell:
    plain: dict[str, Any] = {
        "matcher": ("matcher=xfeat",),
        "task": ("task=named_keypoints", f"data.root={root}"),
        "device": "cpu",
        "cache": "off",
    }
    return Cell(folder=folder, **plain, **changes)


def test_a_run_leaves_scores_answers_pictures_and_where_they_come_from(root: Path, homolog: Any):
    words = ("matcher=xfeat", "task=named_keypoints", f"data.root={root}", "--cache", "off", "--out", "o")
    said = homolog("evaluate", *words)
    assert said.code == 0
    folder = Path("o/xfeat__named_keypoints")
    result = json.loads((folder / "result.json").read_text())
    assert (result["status"], result["samples"], result["of"], result["kind"]) == ("done", 3, 3, "semantic")
    assert result["headline"]["protocol"] == "spair/geoaware"
    assert result["headline"]["value"] > 0.9
    assert {"command", "commit", "versions", "hardware", "seed", "config", "seconds"} <= set(result)
    assert result["config"]["task"]["data"]["root"] == str(root)
    assert "spair/geoaware" in said.out
    assert "PCK@0.1 per point, box" in said.out
    records = load_records(folder / "records.npz")
    assert [record.category for record in records] == ["astronaut", "chelsea", "coffee"]
    error = np.concatenate([record["predicted"] - record["xy1"] for record in records])
    assert np.median(np.linalg.norm(error, axis=1)) < 4
    with np.load(folder / "samples.npz") as samples:
        assert list(samples["name"]) == [record.name for record in records]
    assert [row["rank"] for row in result["examples"]] == [0, 1, 2]
    for row in result["examples"]:
        with PIL.Image.open(folder / row["file"]) as picture:
            picture.load()
    assert not list(folder.glob("partial-*"))


def test_a_finished_cell_is_not_run_again_until_its_settings_change(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = run_cell(cell(root, tmp_path))

    def never(self: Benchmark, *given: Any, **named: Any) -> Iterator[Any]:
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(Benchmark, "answers", never)
        assert run_cell(cell(root, tmp_path)) == first
        with pytest.raises(AssertionError):
            run_cell(cell(root, tmp_path, seed=1))
    assert run_cell(cell(root, tmp_path, limit=2))["samples"] == 2


def test_an_interrupted_run_resumes_from_its_predictions_to_the_same_result(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = run_cell(cell(root, tmp_path / "whole"))
    really, begun = Benchmark.answers, list[int]()

    def breaking(self: Benchmark, matcher: Any, *, start: int = 0, limit: int | None = None) -> Iterator[Any]:
        begun.append(start)
        for index, record in enumerate(really(self, matcher, start=start, limit=limit)):
            if index == 2 and len(begun) == 1:
                raise KeyboardInterrupt
            yield record

    monkeypatch.setattr(Benchmark, "answers", breaking)
    monkeypatch.setattr(evaluation, "PARTIAL_EVERY", 0.0)
    with pytest.raises(KeyboardInterrupt):
        run_cell(cell(root, tmp_path / "broken"))
    assert not (tmp_path / "broken" / "result.json").exists()
    resumed = run_cell(cell(root, tmp_path / "broken"))
    assert begun == [0, 2]
    assert resumed["protocols"] == whole["protocols"]
    assert resumed["samples"] == 3


def test_a_sweep_records_what_fails_and_a_report_shows_it(root: Path, homolog: Any):
    words = ("sweep", "matcher=xfeat,sift", "task=named_keypoints", f"data.root={root}", "--cache", "off")
    said = homolog(*words, "--limit", "2", "--out", "out")
    assert said.code == 1
    failed = json.loads(Path("out/sift__named_keypoints/result.json").read_text())
    assert failed["status"] == "failed"
    assert "sparse matches only" in failed["reason"]
    again = homolog(*words, "--limit", "2", "--out", "out")
    assert "2 evaluations, 1 of them already have a result" in again.err
    said = homolog("report", "out")
    assert said.code == 0
    page = Path("out/report.html").read_text()
    shown = ("spair/geoaware", "best and worst", "only the first 2 samples", "data:image/jpeg")
    for text in ("sparse matches only", *shown):
        assert text in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    table = Path("out/report.md").read_text()
    assert "| sift | failed |" in table
