"""TSS and .flo files."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from homolog.core.errors import DataError
from homolog.data.annotation import MAGIC, read_flow
from homolog.data.tss import TssPairs


def tss(root: Path) -> Any:
    # Any, because samples have no points, boxes or fields in general, and these have.
    return TssPairs(root)


def write_flow(path: Path, flow: np.ndarray) -> None:
    """Write .flo as Middlebury describes it: magic, width, height, then u and v, row by row."""
    height, width = flow.shape[:2]
    path.write_bytes(struct.pack("<fii", MAGIC, width, height) + flow.astype("<f4").tobytes())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two pairs; in each, image 1 is 12 x 10 and image 2 is 16 x 9 pixels."""
    root = tmp_path / "TSS_CVPR2016"
    for name in ("JODS/busd_1_2", "FG3DCar/01_02"):
        folder = root / name
        folder.mkdir(parents=True)
        for number, (width, height) in ((1, (12, 10)), (2, (16, 9))):
            PIL.Image.new("RGB", (width, height), (number, 0, 0)).save(folder / f"image{number}.png")
            mask = np.zeros((height, width), dtype=np.uint8)
            mask[2:6, 3:8] = 255
            mask[0, 0] = 254
            PIL.Image.fromarray(mask).save(folder / f"mask{number}.png")
            flow = np.full((height, width, 2), (number, -2.5), dtype=np.float32)
            flow[3, 4] = 1e10
            flow[3, 5] = np.nan
            write_flow(folder / f"flow{number}.flo", flow)
    return root


def test_pairs_come_in_the_order_of_the_official_script(tree: Path) -> None:
    data = tss(tree)
    assert [sample.name for sample in data] == [
        "FG3DCar/01_02/2to1",
        "FG3DCar/01_02/1to2",
        "JODS/busd_1_2/2to1",
        "JODS/busd_1_2/1to2",
    ]
    assert [(sample.category, sample.facts["subset"]) for sample in data] == [
        ("car", "FG3DCar"),
        ("car", "FG3DCar"),
        ("bus", "JODS"),
        ("bus", "JODS"),
    ]


def test_the_field_says_where_each_pixel_is_in_the_other_image(tree: Path) -> None:
    back, there = tss(tree)[0], tss(tree)[1]
    assert there.image0.size == (10, 12)
    assert there.image1.size == (9, 16)
    for sample, (u, v) in ((there, (1, -2.5)), (back, (2, -2.5))):
        xy = torch.tensor([[[6.0, 4.0], [7.0, 5.0]]])
        moved = sample.dense0.transfer(xy, query_size=sample.image0.size, reference_size=sample.image1.size)
        torch.testing.assert_close(moved.xy[0], xy[0] + torch.tensor([u, v]))


def test_confidence_is_one_where_the_foreground_is_known(tree: Path) -> None:
    sample = tss(tree)[1]
    expected = torch.zeros(10, 12)
    expected[2:6, 3:8] = 1
    assert torch.equal(sample.mask0, expected.bool())  # 254 is no foreground
    expected[3, 4] = expected[3, 5] = 0
    assert torch.equal(sample.dense0.confidence[0], expected)
    assert sample.dense0.grid.isfinite().all()


def test_unknown_displacements_are_nan(tmp_path: Path) -> None:
    flow = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    flow[1, 2, 0] = 2e9
    flow[0, 1, 1] = np.inf
    write_flow(tmp_path / "a.flo", flow)
    read = read_flow(tmp_path / "a.flo")
    assert read.dtype == np.float32
    flow[1, 2] = flow[0, 1] = np.nan
    np.testing.assert_array_equal(read, flow)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "begins with 202021.25"),
        (struct.pack("<fii", 1.0, 1, 1) + bytes(8), "begins with"),
        (struct.pack(">fii", MAGIC, 1, 1) + bytes(8), "begins with"),
        (struct.pack("<fii", MAGIC, 2, 1) + bytes(8), "28 bytes, got 20"),
        (struct.pack("<fii", MAGIC, 1, 1) + bytes(9), "20 bytes, got 21"),
        (struct.pack("<fii", MAGIC, -1, -1) + bytes(8), "-1 x -1"),
        (struct.pack("<fii", MAGIC, 2**30, 2**30), "displacements"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "a.flo").write_bytes(content)
    with pytest.raises(DataError, match=match):
        read_flow(tmp_path / "a.flo")


def test_missing_files_are_named(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.flo: expected a \.flo file, found none"):
        read_flow(tmp_path / "a.flo")
    (tree / "FG3DCar" / "01_02" / "mask2.png").unlink()
    with pytest.raises(DataError, match=r"mask2\.png: expected the image"):
        tss(tree)[0]
    with pytest.raises(DataError, match=r"TSS_CVPR2016\.zip"):
        tss(tmp_path)


def test_a_flow_or_a_mask_of_another_size_is_refused(tree: Path) -> None:
    folder = tree / "FG3DCar" / "01_02"
    write_flow(folder / "flow1.flo", np.zeros((9, 16, 2)))
    with pytest.raises(DataError, match="expected 12 x 10 displacements"):
        tss(tree)[1]
    PIL.Image.new("L", (12, 10)).save(folder / "mask2.png")
    with pytest.raises(DataError, match="expected 16 x 9 pixels"):
        tss(tree)[0]
