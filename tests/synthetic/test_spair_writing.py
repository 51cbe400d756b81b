"""Made-up pairs in SPair's layout: our reader of SPair sees the same points, boxes and pictures."""

import json
from pathlib import Path

import pytest
import torch

from homolog.core.errors import ConfigError, DataError
from homolog.data.spair import SpairPairs
from homolog.synthetic.category import topology
from homolog.synthetic.semantic_pairs import SemanticPairs
from homolog.synthetic.spair_writing import write_spair


@pytest.fixture(scope="module")
def source() -> SemanticPairs:
    return SemanticPairs(count=4, size=64, seed=2, split="val", names=["quadruped", "bottle"])


@pytest.fixture(scope="module")
def folder(source: SemanticPairs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "synthetic"
    seen: list[int] = []
    assert write_spair(source, folder, split="val", progress=seen.append) == 4
    assert seen == [1, 2, 3, 4]
    return folder


@pytest.mark.parametrize("keypoints", ["image", "pair"])
def test_our_reader_of_spair_sees_the_same_pairs(source: SemanticPairs, folder: Path, keypoints: str):
    read = SpairPairs(folder, split="val", keypoints=keypoints)  # type: ignore[arg-type]
    assert len(read) == 4
    for index in range(4):
        sample, made = read[index], source[index]
        assert made.xy0 is not None
        assert len(made.xy0) > 0
        for name in ("xy0", "xy1", "box0", "box1"):
            assert torch.equal(getattr(sample, name), getattr(made, name)), name
        for name in ("image0", "image1"):
            off = getattr(sample, name).pixels - getattr(made, name).pixels
            assert off.abs().mean() < 0.05
        assert sample.category == f"synthetic{made.category}"
        # The groups of SPair's own keypoints must not be taken for those of made-up ones.
        assert sample.groups == {}


def test_points_are_numbered_as_the_category_names_them(source: SemanticPairs, folder: Path):
    pair = source.pair(0)
    (file,) = (folder / "ImageAnnotation").glob("*/000000_1.json")
    content = json.loads(file.read_text())
    names = topology(pair.category).landmark_names
    assert content["landmark_names"] == list(names)
    assert list(content["kps"]) == [str(number) for number in range(len(names))]
    for number, seen in enumerate(pair.landmarks[1].visible.tolist()):
        assert (content["kps"][str(number)] is not None) == seen


def test_the_layout_has_the_parts_of_the_original(folder: Path):
    assert sorted(path.name for path in folder.iterdir()) == [
        *("ImageAnnotation", "JPEGImages", "Layout", "PairAnnotation"),
    ]
    names = (folder / "Layout" / "large" / "val.txt").read_text().split()
    assert names == sorted(path.stem for path in (folder / "PairAnnotation" / "val").iterdir())


def test_a_folder_with_something_in_it_is_refused(source: SemanticPairs, folder: Path):
    with pytest.raises(ConfigError, match="empty or not there"):
        write_spair(source, folder, split="val")


def test_a_failure_leaves_nothing(source: SemanticPairs, tmp_path: Path):
    class Failing:
        def __len__(self) -> int:
            return 2

        def pair(self, index: int):
            if index == 1:
                raise DataError("photo.jpg: damaged")
            return source.pair(index)

    with pytest.raises(DataError, match="damaged"):
        write_spair(Failing(), tmp_path / "new", split="trn")
    assert list(tmp_path.iterdir()) == []
