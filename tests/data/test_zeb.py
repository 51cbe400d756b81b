"""ZEB in its published layout: names of files as GIM's readers expect them, and cameras that explain projections."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from homolog.core.camera import epipolar_distance, fundamental
from homolog.core.errors import ConfigError, DataError
from homolog.data.inventory import inspect
from homolog.data.zeb import SEPARATORS, Zeb
from homolog.evaluators.benchmark import Benchmark
from homolog.evaluators.records import Record
from homolog.zoo import load_task

K0 = np.array([[60.0, 0, 31.0], [0, 58.0, 24.5], [0, 0, 1]])
K1 = np.array([[50.0, 0, 33.0], [0, 52.0, 22.5], [0, 0, 1]])
C, S = np.cos(0.2), np.sin(0.2)
T = np.array([[C, 0, S, -0.7], [0, 1, 0, 0.1], [-S, 0, C, 0.4], [0, 0, 0, 1]])
WORLD = np.random.default_rng(5).uniform((-1, -1, 4), (1, 1, 6), (12, 3))

# scene, words of the text file, names of the photos and of the text file: as in GIM's published lists of results.
FILES = {
    "gl3d": ("0001", ("00000002.png", "00000074.png"), "0001_00000002", "0001_00000074", "0001_00000002_00000074"),
    "eth3di": ("delivery_area", ("DSC_0675.JPG", "DSC_0676.JPG"), "delivery_area-DSC_0675", "delivery_area-DSC_0676", "delivery_area-DSC_0675-DSC_0676"),
    "robotcarnight": ("2014-11-14-16-34-33", ("1415984956291375", "1415984959478441"), "2014-11-14-16-34-33_1415984956291375", "2014-11-14-16-34-33_1415984959478441", "2014-11-14-16-34-33_1415984956291375_1415984959478441"),
    "scenenet": ("10", ("1025", "7125"), "10-1025", "10-7125", "10-1025-7125"),
    "gtasfm": ("20190127_154841", ("image_0", "image_39"), "20190127_154841-image_0", "20190127_154841-image_39", "20190127_154841-image_0-image_39"),
}  # fmt: skip


def text(values: np.ndarray) -> str:
    return " ".join(repr(float(value)) for value in values.ravel())


def write(root: Path) -> None:
    for subset, (_, words, first, second, pair) in FILES.items():
        folder = root / subset
        folder.mkdir(parents=True)
        for seed, name in enumerate((first, second)):
            pixels = np.random.default_rng(seed).integers(0, 256, (48, 64 + seed, 3), dtype=np.uint8)
            PIL.Image.fromarray(pixels).save(folder / f"{name}.png")
        line = f"{words[0]} {words[1]} 0.25 0.75 {text(K0)} {text(K1)} {text(T)}\n"
        (folder / f"{pair}.txt").write_text(line)


def read(root: Path) -> Zeb:
    return Zeb(root=root, subsets=list(FILES), origin="centre")


def test_photos_are_found_and_cameras_explain_the_projections(tmp_path: Path) -> None:
    write(tmp_path)
    data = read(tmp_path)
    assert len(data) == len(FILES)
    moved = WORLD @ T[:3, :3].T + T[:3, 3]
    xy0, xy1 = (torch.from_numpy((X @ K.T)[:, :2] / X[:, 2:]) for X, K in ((WORLD, K0), (moved, K1)))
    for index, (subset, (*_, pair)) in enumerate(FILES.items()):
        sample: Any = data[index]
        assert (sample.category, sample.name) == (subset, f"{subset}/{pair}")
        assert (sample.image0.size, sample.image1.size) == ((48, 64), (48, 65))
        assert sample.facts == {"overlap": "0.2500"}
        F = fundamental(sample.pose, sample.camera0, sample.camera1)
        assert float(torch.stack(epipolar_distance(xy0, xy1, F)).max()) < 1e-9


def test_intrinsics_can_be_taken_from_the_corner(tmp_path: Path) -> None:
    write(tmp_path)
    sample: Any = Zeb(root=tmp_path, subsets=["scenenet"], origin="corner")[0]
    assert sample.camera0.K[:2, 2].tolist() == [30.5, 24.0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "expected 38 words .*, got 0"),
        ("1025 7125 0.5 0.5", "expected 38 words .*, got 4"),
        (f"1025 7125 0.5 x {text(K0)} {text(K1)} {text(T)}", "got text"),
        (f"1025 7125 0.5 0.5 {text(K0)} {text(K1)} {text(2 * T)}", "no rotation"),
        (f"1025 9 0.5 0.5 {text(K0)} {text(K1)} {text(T)}", r"10-9\.png: .* no such file"),
        (f"1025 .. 0.5 0.5 {text(K0)} {text(K1)} {text(T)}", "no such file"),
    ],
)
def test_a_damaged_pair_is_a_data_error(tmp_path: Path, line: str, message: str) -> None:
    write(tmp_path)
    (tmp_path / "scenenet/10-1025-7125.txt").write_text(line)
    with pytest.raises(DataError, match=message):
        Zeb(root=tmp_path, subsets=["scenenet"], origin="centre")[0]


def test_sets_that_are_missing_or_unknown_are_named(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(DataError, match=r"kitti: expected a text file for each pair, found none; Download"):
        Zeb(root=tmp_path, subsets=["scenenet", "kitti"], origin="centre")
    with pytest.raises(ConfigError, match="did you mean kitti"):
        Zeb(root=tmp_path, subsets=["kiti"], origin="centre")
    with pytest.raises(ConfigError, match="at least one set"):
        Zeb(root=tmp_path, subsets=[], origin="centre")


def test_the_inventory_knows_the_twelve_sets(tmp_path: Path) -> None:
    write(tmp_path / "zeb")
    found = next(each for each in inspect(tmp_path).found if each.name == "ZEB (GIM)")
    assert [item.what for item in found.items if item.found == 0] == [
        f"pairs of {subset}" for subset in SEPARATORS if subset not in FILES
    ]
    assert not found.complete


def test_the_task_scores_each_set(tmp_path: Path) -> None:
    write(tmp_path)
    task = load_task("zeb", f"data.root={tmp_path}", f"data.subsets=[{','.join(FILES)}]")
    assert isinstance(task, Benchmark)
    moved = WORLD @ T[:3, :3].T + T[:3, 3]
    wrong = WORLD[::-1] @ T[:3, :3].T + T[:3, 3]

    def record(subset: str, points: np.ndarray) -> Record:
        arrays = {
            "match0": (WORLD @ K0.T)[:, :2] / WORLD[:, 2:],
            "match1": (points @ K1.T)[:, :2] / points[:, 2:],
            "score": np.ones(len(WORLD)),
            "size0": np.array([48, 64]),
            "size1": np.array([48, 65]),
            "K0": K0,
            "K1": K1,
            "R": T[:3, :3],
            "t": T[:3, 3],
        }
        return Record(name=subset, category=subset, arrays=arrays)

    scored = task.score([record("gl3d", moved), record("kitti", wrong)])["gim"]
    rows = {row.category: row.value for row in scored.scores if row.name == "AUC@5deg"}
    assert rows["gl3d"] > 0.99
    assert rows["kitti"] == 0
