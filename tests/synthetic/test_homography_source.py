"""Homographies of photos as training data: the dense truth is the map wherever it is defined."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from homolog.core.coords import identity_grid, inside, pixel_grid
from homolog.core.errors import ConfigError, DataError
from homolog.core.sampling import warp_maps
from homolog.synthetic.homography_source import HomographySource, homography_truth

SIZE = (96, 128)


def _source(photo_folder: Path, **options: object) -> HomographySource:
    settings: dict[str, object] = {"count": 6, "size": SIZE, "displacement": 30.0, **options}
    return HomographySource(photos=photo_folder, **settings)  # type: ignore[arg-type]


def test_the_identity_is_the_lattice() -> None:
    for truth in homography_truth(np.eye(3), np.ones(SIZE, np.bool_)):
        assert truth.valid.all()
        assert (truth.field().grid[0] - identity_grid(SIZE)).abs().max() < 1e-6


def test_a_shift_by_hand() -> None:
    # Image 1 shows at x + 3 what image 0 shows at x; its last column is not known.
    known = np.ones((4, 8), np.bool_)
    known[:, 7] = False
    there, back = homography_truth(np.array([[1.0, 0, 3], [0, 1, 0], [0, 0, 1]]), known)
    assert there.xy[2, 1].tolist() == [4.0, 2.0]
    assert back.xy[2, 4].tolist() == [1.0, 2.0]
    assert there.valid[0].tolist() == [True] * 5 + [False] * 3
    assert back.valid[0].tolist() == [False] * 3 + [True] * 4 + [False]
    assert np.isnan(there.xy[~there.valid]).all()
    assert there.fg.all()
    assert (back.fg == known).all()


def test_both_fields_are_the_map_where_it_stays_inside(photo_folder: Path) -> None:
    data = _source(photo_folder, displacement=60.0)
    at = pixel_grid(SIZE).double().numpy()
    for index in range(len(data)):
        pair = data.pair(index)
        for truth, H in zip(pair.truths, (pair.homography, np.linalg.inv(pair.homography)), strict=True):
            seen = np.hstack((at, np.ones((len(at), 1)))) @ H.T
            xy = seen[:, :2] / seen[:, 2:]
            valid = truth.valid.reshape(-1)
            assert valid.sum() > 1000
            assert np.abs(truth.xy.reshape(-1, 2) - xy)[valid].max() < 1e-4
            expected = inside(torch.from_numpy(xy), SIZE).numpy() & (seen[:, 2] > 0) & truth.fg.reshape(-1)
            assert (valid == expected).all()
        assert pair.truths[0].fg.all()


def test_pixels_follow_the_fields(photo_folder: Path) -> None:
    data = _source(photo_folder, photometry=False)
    for index in range(len(data)):
        pair = data.pair(index)
        sample: Any = pair.sample()
        fields = (sample.dense0, sample.dense1)
        images = (sample.image0.pixels, sample.image1.pixels)
        for side, field in enumerate(fields):
            warped = warp_maps(images[1 - side][None], field.grid.nan_to_num(9.0))[0]
            inner = torch.from_numpy(pair.truths[side].interior)
            assert inner.sum() > 1000
            error, plain = (
                (images[side] - other)[:, inner].abs().mean() for other in (warped, images[1 - side])
            )
            assert error < 0.3 * plain


def test_where_the_photo_ends_nothing_is_known(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (160, 120), (255, 255, 255)).save(tmp_path / "white.png")
    data = _source(tmp_path, count=20, displacement=60.0, photometry=False)
    beyond = 0
    for index in range(len(data)):
        sample: Any = data[index]
        white = sample.image1.pixels.amin(dim=0) == 1
        # Half a pixel of the border is mixed with black.
        assert (white <= sample.mask1).all()
        assert (white | ~sample.mask1).float().mean() > 0.97
        assert not (sample.dense1.confidence[0] == 1)[~sample.mask1].any()
        beyond += int((~sample.mask1).sum())
    assert beyond > 1000


def test_photometry_keeps_the_map_and_treats_each_image_in_its_own_way(photo_folder: Path) -> None:
    plain, developed = _source(photo_folder, photometry=False), _source(photo_folder)
    gains: list[float] = []
    for index in range(4):
        samples: list[Any] = [plain[index], developed[index]]
        one, other = samples
        assert torch.equal(one.homography, other.homography)
        gains += [
            float(other.image0.pixels.mean() / one.image0.pixels.mean()),
            float(other.image1.pixels.mean() / one.image1.pixels.mean()),
        ]
    assert len({round(gain, 3) for gain in gains}) == 8


def test_a_sample_holds_together(photo_folder: Path) -> None:
    data = _source(photo_folder)
    samples: list[Any] = [data[index] for index in range(len(data))]
    assert {sample.facts["photo"] for sample in samples} == {"a.jpg", "more/b.png"}
    assert len({sample.name for sample in samples}) == len(samples)
    for sample in samples:
        assert sample.image0.size == sample.image1.size == SIZE
        assert sample.image0.pixels.is_contiguous()
        assert float(sample.facts["overlap0"]) == pytest.approx(
            float(sample.dense0.confidence.mean()), abs=1e-4
        )


def test_invalid_settings_raise(photo_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a folder with photos"):
        _source(tmp_path)
    with pytest.raises(ConfigError, match="a displacement in"):
        _source(photo_folder, displacement=128.0)
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(DataError, match=r"a\.jpg"):
        _source(tmp_path)[0]
