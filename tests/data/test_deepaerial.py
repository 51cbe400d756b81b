"""DeepAerial in the layout of GoogleEarth_pck: crops, the turn, and the points that go with it."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from skimage import data as photos

from homolog.core.coords import pixel_to_normalised
from homolog.core.errors import ConfigError, DataError
from homolog.core.sampling import sample_points
from homolog.data.deepaerial import DeepAerial

SIDE = 200  # of the photos; points count in an image of half of it


@pytest.fixture
def root(tmp_path: Path) -> Path:
    image = (
        PIL.Image.fromarray(photos.astronaut())
        .resize((40, 40))
        .resize((SIDE, SIDE), PIL.Image.Resampling.BICUBIC)
    )
    image.save(tmp_path / "0_src.png")
    image.save(tmp_path / "0_tgt.png")
    # The first pixel, the last, and the middle of their axis, which runs from 1 to 100.
    x, y = [1.0, 100.0, 50.5] + [30.0] * 17, [1.0, 100.0, 50.5] + [70.0] * 17
    row = ",".join(map(str, ["0_src.png", "0_tgt.png", *x, *y, 1, 0, 0, 0, 1, 0]))
    header = ",".join(
        ["source", "target", *(f"x{i}" for i in range(20)), *(f"y{i}" for i in range(20)), *"abcdef"]
    )
    (tmp_path / "test_pairs.csv").write_text("\n".join([header, *([row] * 8)]) + "\n")
    return tmp_path


def test_points_keep_their_relative_place_in_the_crop(root: Path) -> None:
    sample: Any = DeepAerial(root=root, size=101)[0]
    assert sample.xy0.shape == (20, 2)
    np.testing.assert_allclose(sample.xy0[:3], [[0, 0], [100, 100], [50, 50]], atol=1e-4)
    np.testing.assert_allclose(sample.xy0[3], [29 / 99 * 100, 69 / 99 * 100], atol=1e-4)


def test_the_affine_map_takes_image_0_to_image_1(root: Path) -> None:
    data: Any = DeepAerial(root=root, size=101)
    angles: list[float] = []
    for index in range(len(data)):
        sample = data[index]
        A = sample.homography
        assert torch.allclose(A[:2, :2] @ A[:2, :2].T, torch.eye(2, dtype=torch.float64))
        np.testing.assert_allclose(sample.xy1[2], [50, 50], atol=1e-4)  # the centre stays
        xy0 = torch.rand(300, 2, generator=torch.Generator().manual_seed(index)).double() * 60 + 20
        xy1 = xy0 @ A[:2, :2].T + A[:2, 2]
        colours = [
            sample_points(image.pixels[None], pixel_to_normalised(xy.float(), (101, 101))[None])
            for image, xy in ((sample.image0, xy0), (sample.image1, xy1))
        ]
        assert (colours[0] - colours[1]).abs().mean() < 0.01
        angles.append(float(sample.facts["degrees"]))
    assert len(set(angles)) == 8
    assert min(angles) < -20
    assert max(angles) > 20


def test_without_a_turn_both_crops_are_the_middle_of_the_photos(root: Path) -> None:
    sample = DeepAerial(root=root, size=100, degrees=0.0)[0]
    middle = np.asarray(PIL.Image.open(root / "0_src.png"))[50:150, 50:150] / 255
    np.testing.assert_allclose(sample.image0.pixels.permute(1, 2, 0), middle, atol=1e-5)
    np.testing.assert_allclose(sample.image1.pixels, sample.image0.pixels, atol=1e-5)


def test_a_seed_gives_the_same_turns(root: Path) -> None:
    turns = [DeepAerial(root=root, size=64, seed=seed)[3].facts["degrees"] for seed in (0, 0, 1)]
    assert turns[0] == turns[1] != turns[2]


def test_errors_name_the_file_and_what_to_do(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"eval_pck\.py"):
        DeepAerial(root=tmp_path / "nowhere")
    with pytest.raises(DataError, match="choose a smaller size"):
        DeepAerial(root=root, size=180)[0]
    with pytest.raises(ConfigError, match="0 to 180 degrees"):
        DeepAerial(root=root, degrees=200.0)
    (root / "test_pairs.csv").write_text("source,target\n0_src.png,0_tgt.png,1,2\n")
    with pytest.raises(DataError, match="expected two names and 40 numbers, got 4 cells"):
        DeepAerial(root=root)
    (root / "test_pairs.csv").write_text("source,target\n../0_src.png,0_tgt.png," + ",".join(["1"] * 40))
    with pytest.raises(DataError, match="expected the name of a file below"):
        DeepAerial(root=root, size=64)[0]
