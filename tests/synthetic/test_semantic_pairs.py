"""Pairs end to end: reproducible, consistent, and as configured."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from homolog.core.coords import pixel_to_normalised
from homolog.core.errors import ConfigError, DataError
from homolog.synthetic.category import categories, topology
from homolog.synthetic.seeds import Factor, Seeds, Split
from homolog.synthetic.semantic_pairs import SemanticPairs


def test_each_factor_draws_from_a_stream_of_its_own() -> None:
    seeds = Seeds(seed=3, split=Split.trn, index=7)
    firsts = [seeds.generator(factor, member).random() for factor in Factor for member in (0, 1)]
    assert len(set(firsts)) == len(firsts)
    assert seeds.generator(Factor.pose).random() == seeds.generator(Factor.pose).random()


@pytest.mark.parametrize("seed", [0, 3, 2**32 - 1, 2**32, 2**100 + 7, 2**140 + 1])
@pytest.mark.parametrize("index", [0, 12345, 2**33])
def test_streams_are_those_of_numpys_seed_sequence(seed: int, index: int) -> None:
    for factor, member in ((Factor.choice, 0), (Factor.layout, 17), (Factor.queries, 2**40)):
        made = Seeds(seed=seed, split=Split.test, index=index).generator(factor, member)
        key = (int(Split.test), index, int(factor), member)
        assert made.bit_generator.state == np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)).state


@pytest.mark.parametrize("name", categories())
def test_a_sample_holds_together(name: str) -> None:
    data = SemanticPairs(count=3, size=96, seed=11, names=[name])
    for index in range(len(data)):
        pair = data.pair(index)
        sample: Any = pair.sample()
        assert sample.category == name
        for image in (sample.image0, sample.image1):
            assert image.pixels.shape == (3, 96, 96)
            assert 0 <= image.pixels.min() < image.pixels.max() <= 1
        known = sample.dense0.confidence[0] == 1
        assert known.sum() > 40
        assert torch.isfinite(sample.dense0.grid[0][:, known]).all()
        assert torch.isnan(sample.dense0.grid[0][:, ~known]).all()
        assert sample.dense0.grid[0][:, known].abs().max() <= 1
        assert (known <= sample.mask0).all()
        rows, columns = sample.mask0.nonzero().T
        x, y, width, height = sample.box0.tolist()
        assert (x, x + width) == (columns.min() - 0.5, columns.max() + 0.5)
        assert (y, y + height) == (rows.min() - 0.5, rows.max() + 0.5)
        truth = pair.truths[0]
        exact = pixel_to_normalised(torch.from_numpy(truth.xy).double(), (96, 96)).permute(2, 0, 1)
        assert (sample.dense0.grid[0] - exact)[:, known].abs().max() < 2e-7
        assert (truth.interior <= truth.valid).all()
        assert (truth.valid <= truth.covisible).all()
        assert (truth.covisible <= truth.fg).all()


@pytest.mark.parametrize("name", categories())
def test_dense_truth_carries_keypoints_to_keypoints(name: str) -> None:
    data = SemanticPairs(count=12, size=128, seed=21, names=[name], occluders=0.0)
    near: list[bool] = []
    for index in range(len(data)):
        pair = data.pair(index)
        grid = pair.truths[0].xy
        both = pair.landmarks[0].visible & pair.landmarks[1].visible
        shared = topology(name)
        parts = shared.part[shared.landmark_face][both]
        for xy0, xy1, part in zip(pair.landmarks[0].xy[both], pair.landmarks[1].xy[both], parts, strict=True):
            column, row = np.rint(xy0).astype(int).clip(1, 126)
            # A keypoint lies up to half a pixel beside a centre: as far off as the labels of neighbours differ.
            around = grid[row - 1 : row + 2, column - 1 : column + 2].reshape(-1, 2)
            reach = np.nanmax(np.linalg.norm(around - grid[row, column], axis=1), initial=0)
            if reach > 0 and pair.views[0].part[row, column] == part:
                near.append(bool(np.linalg.norm(grid[row, column] - xy1) <= reach + 0.2))
    assert len(near) >= 8
    assert np.mean(near) > 0.85


def test_backgrounds_come_from_photos_if_given(tmp_path: Path) -> None:
    PILImage.new("RGB", (90, 70), (255, 0, 0)).save(tmp_path / "red.png")
    pair = SemanticPairs(count=1, size=64, seed=2, photos=tmp_path, photometry=False, occluders=0.0).pair(0)
    behind = pair.pictures[0][~pair.views[0].shows(0) & (pair.views[0].object < 0)]
    assert (behind == (255, 0, 0)).all(axis=1).mean() > 0.9


def test_invalid_settings_raise(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="turn in"):
        SemanticPairs(count=1, turn=200.0)
    with pytest.raises(DataError, match="expected photos"):
        SemanticPairs(count=1, photos=tmp_path)
