"""Asking for a dense correspondence: which pixels, and what the record says of them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from homolog.core.coords import identity_grid
from homolog.core.dense import DenseField, Transfer
from homolog.core.errors import ConfigError, ShapeError
from homolog.core.image import Image, crop
from homolog.core.keypoints import Matches
from homolog.core.protocols import ImageLike, Points
from homolog.core.samples import PairSample
from homolog.evaluators.benchmark import Predictor
from homolog.evaluators.predictors import DensePredictor

SIZE0, SIZE1 = (12, 16), (20, 30)


@dataclass
class Shifted:
    """Everything is (2, 1) pixels further; asked points are counted."""

    off: tuple[float, float] = (2.0, 1.0)
    asked: list[int] = field(default_factory=list)
    can_transfer: bool = True

    def match(self, image0: ImageLike, image1: ImageLike) -> "Shifted":
        return self

    def transfer(self, xy0: Points) -> Transfer:
        assert isinstance(xy0, Tensor)
        self.asked.append(len(xy0))
        return Transfer(xy0 + torch.tensor(self.off), torch.linspace(0, 1, len(xy0)))

    def matches(self, limit: int | None = None) -> Matches:
        raise AssertionError("nobody should ask")


def shifted_field(confidence: Tensor | None = None) -> DenseField:
    """The truth: image 0 lies (2, 1) pixels into image 1."""
    x, y = torch.meshgrid(torch.arange(SIZE0[1]), torch.arange(SIZE0[0]), indexing="xy")
    grid = torch.stack(((2 * (x + 2) + 1) / SIZE1[1] - 1, (2 * (y + 1) + 1) / SIZE1[0] - 1))
    return DenseField(grid=grid[None], confidence=torch.ones(1, *SIZE0) if confidence is None else confidence)


def ramp(size: tuple[int, int]) -> Image:
    """Red grows by 1 / width per pixel, so that a wrong place has the wrong colour."""
    x, y = (identity_grid(size) + 1) / 2
    return Image(pixels=torch.stack((x, y, torch.full(size, 0.5))))


def pair(**truth: Any) -> PairSample:
    given: dict[str, Any] = {"dense0": shifted_field(), **truth}
    return PairSample(image0=ramp(SIZE0), image1=ramp(SIZE1), name="pair", category="cat", **given)


def test_it_is_a_predictor():
    assert isinstance(DensePredictor(stride=1), Predictor)


def test_a_perfect_answer_has_no_errors():
    record = DensePredictor(stride=1)(Shifted(), pair())
    assert record.category == "cat"
    assert (record["size0"].tolist(), record["size1"].tolist()) == ([12, 16], [20, 30])
    assert len(record["xy0"]) == 12 * 16
    assert record["xy0"][:17].tolist() == [*([x, 0] for x in range(16)), [0, 1]]
    np.testing.assert_allclose(record["xy1"], record["xy0"] + [2, 1], atol=1e-5)
    np.testing.assert_allclose(record["predicted"], record["xy1"], atol=1e-5)
    np.testing.assert_allclose(record["warp_error"], 0, atol=1e-10)
    assert record["visible"].all()


def test_the_warp_error_is_the_squared_difference_of_the_colours_of_image_1():
    # Half a pixel too far to the right: red is 0.5 / 30 more there, away from the border.
    record = DensePredictor(stride=1)(Shifted(off=(2.5, 1.0)), pair())
    np.testing.assert_allclose(record["warp_error"], (0.5 / 30) ** 2, rtol=1e-3)


def test_places_beyond_image_1_are_black():
    record = DensePredictor(stride=1)(Shifted(off=(100.0, 1.0)), pair())
    x, y = record["xy1"].T
    colour = ((x + 0.5) / 30) ** 2 + ((y + 0.5) / 20) ** 2 + 0.25
    np.testing.assert_allclose(record["warp_error"], colour, rtol=1e-4)


def test_the_lattice_takes_every_stride_th_pixel_and_asks_in_chunks():
    matcher = Shifted()
    record = DensePredictor(stride=4, chunk=5)(matcher, pair())
    assert record["xy0"].tolist() == [[x, y] for y in (1, 5, 9) for x in (1, 5, 9, 13)]
    assert matcher.asked == [5, 5, 2]
    assert record.facts["lattice"] == "every 4 px"


def test_only_the_known_foreground_is_asked_for():
    known = torch.ones(1, *SIZE0)
    known[0, :, :8] = 0
    mask = torch.zeros(SIZE0, dtype=torch.bool)
    mask[3] = True
    matcher = Shifted()
    record = DensePredictor(stride=1)(matcher, pair(dense0=shifted_field(known), mask0=mask))
    assert record["xy0"].tolist() == [[x, 3] for x in range(8, 16)]
    assert matcher.asked == [8]


def test_what_is_unknown_does_not_reach_its_neighbours():
    """Official flow files hold huge numbers or NaN where nothing is known."""
    truth = shifted_field()
    grid, known = truth.grid.clone(), torch.ones(1, *SIZE0)
    grid[:, :, 5, 5], known[:, 5, 5] = torch.nan, 0
    grid[:, :, 7, 7], known[:, 7, 7] = 1e9, 0
    record = DensePredictor(stride=1)(Shifted(), pair(dense0=DenseField(grid=grid, confidence=known)))
    assert len(record["xy0"]) == 12 * 16 - 2
    np.testing.assert_allclose(record["xy1"], record["xy0"] + [2, 1], atol=1e-5)


def test_a_field_of_lower_resolution_is_read_between_its_cells():
    whole = shifted_field()
    halved = DenseField(
        grid=torch.nn.functional.avg_pool2d(whole.grid, 2),
        confidence=torch.nn.functional.avg_pool2d(whole.confidence[:, None], 2)[:, 0],
    )
    record = DensePredictor(stride=1)(Shifted(), pair(dense0=halved))
    assert len(record["xy0"]) == 12 * 16
    np.testing.assert_allclose(record["xy1"], record["xy0"] + [2, 1], atol=1e-4)


def test_a_pair_without_any_known_pixel_gives_an_empty_record():
    matcher = Shifted()
    record = DensePredictor(stride=1)(matcher, pair(mask0=torch.zeros(SIZE0, dtype=torch.bool)))
    assert record["predicted"].shape == (0, 2)
    assert record["warp_error"].shape == (0,)


def test_an_image_that_is_a_crop_answers_in_pixels_of_its_original():
    whole = Image(pixels=torch.nn.functional.pad(ramp(SIZE1).pixels, (7, 0, 3, 0)))
    part = crop(whole, x=7, y=3, size=SIZE1)
    sample = PairSample(image0=ramp(SIZE0), image1=part, dense0=shifted_field(), name="crop")
    record = DensePredictor(stride=1)(Shifted(off=(9.0, 4.0)), sample)
    np.testing.assert_allclose(record["xy1"], record["xy0"] + [9, 4], atol=1e-5)
    np.testing.assert_allclose(record["warp_error"], 0, atol=1e-10)


def test_what_has_no_dense_truth_is_refused():
    with pytest.raises(ConfigError, match="expected a pair with a dense truth"):
        DensePredictor(stride=1)(Shifted(), pair(dense0=None))
    with pytest.raises(ShapeError, match="a mask of the size of image 0"):
        DensePredictor(stride=1)(Shifted(), pair(mask0=torch.ones(3, 3, dtype=torch.bool)))
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        DensePredictor(stride=0)
