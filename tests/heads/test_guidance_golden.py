"""The release's way of reading DINO's map, against its own function."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from homolog.heads.attention import look_up


@pytest.fixture(scope="module")
def golden(goldens: Path) -> dict[str, Any]:
    return json.loads((goldens / "omniglue_lookup.json").read_text(encoding="utf-8"))


def read(golden: dict[str, Any], xy: Tensor) -> Tensor:
    map_ = torch.tensor(golden["feature_map_hwc"], dtype=torch.float64).permute(2, 0, 1)
    width, height = golden["image_size_wh"]
    return look_up(map_, xy, (height, width), lookup="release")


def test_golden_descriptors_are_those_of_the_release(golden):
    found = read(golden, torch.tensor(golden["keypoints_xy"], dtype=torch.float64))
    expected = torch.tensor(golden["descriptors"], dtype=torch.float64)
    assert len(expected) > 0
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_golden_last_cells_fade_as_in_the_release(golden):
    width, height = golden["image_size_wh"]
    rows, columns = len(golden["feature_map_hwc"]), len(golden["feature_map_hwc"][0])
    checked = 0
    for case in golden["edge_cases"]:
        x, y = case["point"]
        pixel = torch.tensor([[x * width / columns, y * height / rows]], dtype=torch.float64)
        found = read(golden, pixel)[0]
        if "value" in case:
            checked += 1
            expected = torch.tensor(case["value"], dtype=torch.float64)
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        else:  # beside the map the release stops with an error; here there is nothing to read
            torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-6)
    assert checked
