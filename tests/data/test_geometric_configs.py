"""The configurations of geometric and temporal data sets name classes and arguments that exist."""

import importlib
import inspect
import pickle
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from omegaconf import OmegaConf

from homolog.core.samples import VideoSample
from homolog.data import (
    deepaerial,
    gso,
    hpatches,
    megadepth1500_gluefactory,
    megadepth1500_loftr,
    megadepth1500_xfeat,
    navi,
    scannet1500_loftr,
    scannet1500_superglue,
    tapvid,
    wxbs,
)
from homolog.data.layout import Layout
from homolog.evaluators.benchmark import Benchmark
from homolog.zoo import load_task

CONFIGS = Path(__file__).parents[2] / "configs" / "data"
LAYOUTS: list[Layout] = [
    hpatches.LAYOUT,
    megadepth1500_loftr.LAYOUT,
    megadepth1500_xfeat.LAYOUT,
    megadepth1500_gluefactory.LAYOUT,
    scannet1500_loftr.LAYOUT,
    scannet1500_superglue.LAYOUT,
    wxbs.LAYOUT,
    navi.LAYOUT,
    gso.LAYOUT,
    deepaerial.LAYOUT,
    tapvid.DAVIS,
    tapvid.RGB_STACKING,
    tapvid.KINETICS,
    tapvid.ROBOTAP,
]
NAMES = [
    *(name for layout in LAYOUTS for name in layout.configs),
    "pair_list",
    "pose_pairs",
    "sh100",
    "sh200",
    "tapvid",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_fits_the_class_it_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMOLOG_DATA", "/somewhere")
    config = OmegaConf.load(CONFIGS / f"{name}.yaml")
    for key in ("root", "file"):
        if OmegaConf.is_missing(config, key):
            OmegaConf.update(config, key, "/elsewhere")
    node = cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    module, _, attribute = node.pop("_target_").rpartition(".")
    inspect.signature(getattr(importlib.import_module(module), attribute)).bind(**node)
    first = (CONFIGS / f"{name}.yaml").read_text().splitlines()[0]
    assert re.match(r"# [A-Z]", first)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_the_root_of_a_configuration_is_the_official_folder(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMOLOG_DATA", "/somewhere")
    for name in layout.configs:
        assert OmegaConf.load(CONFIGS / f"{name}.yaml").root == f"/somewhere/{layout.folder}"


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
