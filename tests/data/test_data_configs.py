"""Every YAML of configs/data names a class that takes its arguments, and finds its data below HOMOLOG_DATA."""

import importlib
import inspect
import pickle
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from omegaconf import OmegaConf

from homolog.core.errors import DataError
from homolog.core.samples import VideoSample
from homolog.data.inventory import Layout, layouts
from homolog.evaluators.benchmark import Benchmark
from homolog.zoo import load_task
from homolog.zoo.build import build

CONFIGS = Path(__file__).parents[2] / "configs" / "data"
OFFICIAL = [layout for layout in layouts() if layout.configs]


def node(name: str) -> dict[str, Any]:
    """A configuration with its required places filled in."""
    config = OmegaConf.load(CONFIGS / f"{name}.yaml")
    for key in ("root", "file"):
        if OmegaConf.is_missing(config, key):
            OmegaConf.update(config, key, "/elsewhere")
    return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))


@pytest.mark.parametrize("name", sorted(file.stem for file in CONFIGS.glob("*.yaml")))
def test_the_class_takes_the_arguments_and_the_file_describes_itself(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMOLOG_DATA", "/somewhere")
    config = node(name)
    module, _, attribute = config.pop("_target_").rpartition(".")
    inspect.signature(getattr(importlib.import_module(module), attribute)).bind(**config)
    assert (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("layout", OFFICIAL, ids=lambda layout: layout.name)
def test_data_that_is_missing_is_looked_for_in_the_official_folder(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMOLOG_DATA", str(tmp_path))
    for name in layout.configs:
        config = node(name)
        assert any(str(value).startswith(str(tmp_path)) for value in config.values())
        with pytest.raises(DataError, match=str(tmp_path)):
            build(config)


def test_any_file_in_tapvids_format_is_a_task(tmp_path: Path) -> None:
    videos = {
        "clip": {
            "video": np.zeros((3, 16, 16, 3), dtype=np.uint8),
            "points": np.full((2, 3, 2), 0.5, dtype=np.float32),
            "occluded": np.zeros((2, 3), dtype=bool),
        }
    }
    (tmp_path / "my clips.pkl").write_bytes(pickle.dumps(videos))
    task = load_task("tapvid_file", f'data.file="{tmp_path}/my clips.pkl"')
    assert isinstance(task, Benchmark)
    assert len(task) == 1
    sample = task.data[0]
    assert isinstance(sample, VideoSample)
    assert sample.frames[0].size == (256, 256)
