"""Pairs made by random homographies: exact, bounded, the same every time."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from skimage import data as photos

from homolog.core.coords import pixel_to_normalised
from homolog.core.errors import ConfigError, DataError
from homolog.core.homography import homography_of
from homolog.core.sampling import sample_points
from homolog.data.homography_pairs import HomographyPairs

SIZE = (96, 128)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    # Blurred, so that bilinear sampling of both images agrees closely.
    for name, image in (("a.jpg", photos.astronaut()), ("more/b.png", photos.coffee())):
        PIL.Image.fromarray(image).resize((80, 60)).resize((400, 300), PIL.Image.Resampling.BICUBIC).save(
            folder / name
        )
    (folder / "notes.txt").write_text("no photo")
    return folder


def pairs(root: Path, displacement: float = 30.0, **options: int) -> Any:
    # Any, because samples have no points, cameras or maps in general, and these have.
    return HomographyPairs(root=root, size=SIZE, displacement=displacement, **options)


def moved(H: np.ndarray, xy: np.ndarray) -> np.ndarray:
    seen = np.hstack((xy, np.ones((len(xy), 1)))) @ H.T
    return seen[:, :2] / seen[:, 2:]


@pytest.mark.parametrize("displacement", [0.0, 10.0, 30.0])
def test_image_1_shows_at_h_of_x_what_image_0_shows_at_x(root: Path, displacement: float) -> None:
    data = pairs(root, displacement)
    for index in range(6):
        sample = data[index]
        xy0 = np.random.default_rng(index).uniform((5, 5), (122, 90), (200, 2))
        xy1 = moved(sample.homography.numpy(), xy0)
        seen = (xy1 > 2).all(axis=1) & (xy1 < (125, 93)).all(axis=1)
        assert seen.sum() > 40
        colours = [
            sample_points(
                image.pixels[None], pixel_to_normalised(torch.from_numpy(xy[seen]).float(), SIZE)[None]
            )
            for image, xy in ((sample.image0, xy0), (sample.image1, xy1))
        ]
        difference = (colours[0] - colours[1]).abs().mean()
        assert difference < 0.01
        # Half a pixel off is seen where photos are rich enough; the map itself is judged by its corners below.


def test_corners_move_by_no_more_than_asked_and_by_nearly_that(root: Path) -> None:
    corners = np.array([[-0.5, -0.5], [127.5, -0.5], [127.5, 95.5], [-0.5, 95.5]])
    data = pairs(root, 20.0)
    homographies = [data[index].homography for index in range(60)]
    offsets = np.stack([moved(H.numpy(), corners) - corners for H in homographies])
    assert offsets.shape == (60, 4, 2)
    assert np.abs(offsets).max() <= 20 + 1e-9
    assert np.abs(offsets).max() > 19
    assert np.abs(offsets.mean(axis=(0, 1))).max() < 3


def test_no_map_is_folded_or_mirrored_however_far_corners_move(root: Path) -> None:
    data = pairs(root, 70.0)
    for index in range(40):
        H = data[index].homography
        # The map keeps its orientation all over image 0: the determinant of its derivative is positive.
        grid = np.stack(np.meshgrid((0, 60, 127), (0, 50, 95)), axis=-1).reshape(-1, 2).astype(float)
        w = np.hstack((grid, np.ones((9, 1)))) @ H.numpy()[2]
        assert (np.linalg.det(H.numpy()) / w**3 > 0).all()


def test_an_index_is_the_same_pair_every_time_and_no_other(root: Path) -> None:
    one, again, other = pairs(root), pairs(root), pairs(root, seed=1)
    assert torch.equal(one[3].image1.pixels, again[3].image1.pixels)
    first, second, third = one[3].homography, one[4].homography, other[3].homography
    assert torch.equal(first, again[3].homography)
    assert not torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(pairs(root, count=5)[3].image0.pixels, one[3].image0.pixels)


def test_all_photos_are_used_and_named(root: Path) -> None:
    data = pairs(root, count=12)
    assert len(data) == 12
    assert len(pairs(root)) == 10_000
    samples = [data[index] for index in range(12)]
    assert {sample.facts["photo"] for sample in samples} == {"a.jpg", "more/b.png"}
    assert len({sample.name for sample in samples}) == 12
    assert samples[0].image0.size == samples[0].image1.size == SIZE
    assert data[-1].name == samples[-1].name
    with pytest.raises(IndexError):
        data[12]


def test_a_homography_is_solved_from_its_corners() -> None:
    H = np.array([[1.2, 0.1, 5], [-0.2, 0.9, 3], [1e-3, -5e-4, 1]])
    corners = np.array([[0.0, 0], [10, 0], [10, 7], [0, 7]])
    np.testing.assert_allclose(homography_of(corners, moved(H, corners)), H, atol=1e-12)


def test_small_photos_are_enlarged_to_cover_the_crop(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (20, 10), (200, 100, 50)).save(tmp_path / "a.png")
    sample = HomographyPairs(root=tmp_path, size=SIZE, displacement=0.0)[0]
    assert float((sample.image0.pixels - sample.image1.pixels).abs().max()) < 1e-5


def test_wrong_choices_and_missing_photos_say_what_to_do(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a folder with photos"):
        pairs(tmp_path)
    for size, displacement, count in (((8, 8), 1.0, 1), (SIZE, 200.0, 1), (SIZE, -1.0, 1), (SIZE, 1.0, 0)):
        with pytest.raises(ConfigError, match="homography pairs"):
            HomographyPairs(root=root, size=size, displacement=displacement, count=count)
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(DataError, match=r"a\.jpg"):
        pairs(tmp_path)[0]
