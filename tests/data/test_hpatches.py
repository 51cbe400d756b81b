"""HPatches in its official layout: which sequences, which pairs, which homographies."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from homolog.core.errors import ConfigError, DataError
from homolog.data.hpatches import LARGE, HPatches

H = np.array([[1.1, 0.02, 3.5], [-0.01, 0.9, -2.25], [1e-4, -2e-5, 1.0]])


def sequence(root: Path, name: str) -> None:
    folder = root / name
    folder.mkdir(parents=True)
    for number in range(1, 7):
        PIL.Image.new("RGB", (20 + number, 16), (number, 0, 0)).save(folder / f"{number}.ppm")
        if number > 1:
            # Written as in the release: blanks at both ends, more than one between numbers.
            lines = [" " + "   ".join(f"{value * number:.8g}" for value in row) + " " for row in H]
            (folder / f"H_1_{number}").write_text("\n".join(lines) + "\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("i_ajuntament", "v_bird", "v_talent"):
        sequence(tmp_path, name)
    (tmp_path / "README.md").write_text("not a sequence")
    return tmp_path


def test_a_sequence_gives_five_pairs_with_the_homography_of_the_file(root: Path) -> None:
    data = HPatches(root=root, large=False)
    assert len(data) == 10
    sample: Any = data[6]
    assert (sample.name, sample.category, sample.facts) == ("v_bird/1-3", "viewpoint", {"sequence": "v_bird"})
    assert (sample.image0.size, sample.image1.size) == ((16, 21), (16, 23))
    np.testing.assert_allclose(sample.homography.numpy(), H * 3, rtol=1e-7)
    assert data[0].category == "illumination"


def test_large_sequences_take_part_when_asked_for(root: Path) -> None:
    assert len(HPatches(root=root, large=True)) == 15


def test_the_list_of_large_sequences_leaves_108_of_116() -> None:
    # protocols.md section 8: 116 sequences are 57 i and 59 v; without the large ones 52 i and 56 v.
    assert sum(name.startswith("i_") for name in LARGE) == 57 - 52
    assert sum(name.startswith("v_") for name in LARGE) == 59 - 56


def test_a_subset_can_be_chosen(root: Path) -> None:
    assert {HPatches(root=root, large=True, subset="illumination")[i].category for i in range(5)} == {
        "illumination"
    }
    assert len(HPatches(root=root, large=True, subset="viewpoint")) == 10


def test_errors_name_the_file_and_what_to_do(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Download hpatches"):
        HPatches(root=tmp_path / "nowhere", large=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="got none"):
        HPatches(root=tmp_path / "empty", large=False)
    with pytest.raises((ConfigError, TypeError)):
        HPatches(root=root, large=False, subset="blur")  # type: ignore[arg-type]
    data = HPatches(root=root, large=False)
    (root / "i_ajuntament/H_1_2").write_text("1 2 3\n4 5")
    with pytest.raises(DataError, match=r"H_1_2: expected 3 x 3 numbers, got 5"):
        data[0]
    (root / "i_ajuntament/H_1_2").unlink()
    with pytest.raises(DataError, match=r"H_1_2.*Download"):
        data[0]
    (root / "i_ajuntament/3.ppm").write_bytes(b"P6\n20 16\n255\n")
    with pytest.raises(DataError, match=r"3\.ppm"):
        data[1]
