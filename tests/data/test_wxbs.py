"""WxBS in the layout of the package wxbs-benchmark."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from homolog.core.errors import ConfigError, DataError
from homolog.data.wxbs import WxBS

POINTS = np.array([[1.5, 2, 3, 4.25], [10, 11, 12, 13], [0, 0, 19, 15]])


def pair(root: Path, kind: str, name: str, ending: str) -> Path:
    folder = root / "v1.1" / kind / name
    folder.mkdir(parents=True)
    PIL.Image.new("RGB", (20, 16)).save(folder / f"01.{ending}")
    PIL.Image.new("RGB", (30, 18)).save(folder / f"02.{ending}")
    np.savetxt(folder / "corrs.txt", POINTS)
    np.savetxt(folder / "crossval_errors.txt", np.ones(3))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    pair(tmp_path, "WGABS", "strahov", "png")
    pair(tmp_path, "WGLBS", "kyiv_dolltheater2", "jpg")
    pair(tmp_path, "WGLBS", "dh", "jpg")
    (tmp_path / "v1.1/.DS_Store").write_text("")
    return tmp_path


def test_the_test_is_all_but_the_validation_pairs(root: Path) -> None:
    data = WxBS(root=root)
    assert [data[i].name for i in range(len(data))] == ["WGABS/strahov", "WGLBS/dh"]
    assert [WxBS(root=root, split="val")[0].name] == ["WGLBS/kyiv_dolltheater2"]


def test_points_of_both_photos_are_read(root: Path) -> None:
    sample: Any = WxBS(root=root)[0]
    np.testing.assert_array_equal(sample.xy0.numpy(), POINTS[:, :2])
    np.testing.assert_array_equal(sample.xy1.numpy(), POINTS[:, 2:])
    assert (sample.image0.size, sample.image1.size) == ((16, 20), (18, 30))
    assert sample.category == "WGABS"


def test_errors_name_the_file_and_what_to_do(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"WxBS_v1\.1\.zip"):
        WxBS(root=tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"v2\.0: expected pairs.*WxBS_v1\.1\.zip"):
        WxBS(root=root, version="v2.0")
    with pytest.raises((ConfigError, TypeError)):
        WxBS(root=root, split="train")  # type: ignore[arg-type]
    data = WxBS(root=root)
    (root / "v1.1/WGABS/strahov/corrs.txt").write_text("1 2 3\n")
    with pytest.raises(DataError, match=r"corrs\.txt: expected N x 4 numbers, got 3"):
        data[0]
    (root / "v1.1/WGLBS/dh/02.jpg").unlink()
    with pytest.raises(DataError, match=r"02\.jpg"):
        data[1]
