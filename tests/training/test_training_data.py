"""Batches, and which sample comes when."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch

from homolog.core.camera import RelativePose
from homolog.core.coords import identity_grid
from homolog.core.dense import DenseField
from homolog.core.errors import ConfigError
from homolog.core.image import Image
from homolog.core.samples import PairSample
from homolog.training.batch import collate, known_points, swapped
from homolog.training.data import Mixture


def test_keypoints_and_fields_follow_the_images_to_another_size(shifts):
    sample = shifts(size=32)[3]
    batch = collate([sample], size=(64, 16))
    assert batch.images.shape == (1, 2, 3, 64, 16)
    # The centre of a pixel at x of 32 lies at (x + 0.5) / 2 - 0.5 of 16.
    assert torch.allclose(batch.xy0[0, :, 0], (sample.xy0[:, 0] + 0.5) / 2 - 0.5)
    assert torch.allclose(batch.xy0[0, :, 1], (sample.xy0[:, 1] + 0.5) * 2 - 0.5)
    # Every label of the batch is one of the sample: nothing was interpolated.
    given = {tuple(place) for place in sample.dense0.grid.flatten(2)[0].T.tolist()}
    assert {tuple(place) for place in batch.field0.grid.flatten(2)[0].T.tolist()} <= given


def test_unknown_pixels_stay_unknown(shifts):
    sample = shifts(size=32)[0]
    grid, confidence = sample.dense0.grid.clone(), sample.dense0.confidence.clone()
    grid[:, :, :16], confidence[:, :16] = torch.nan, 0
    batch = collate([replace(sample, dense0=DenseField(grid=grid, confidence=confidence))], size=(16, 16))
    assert batch.field0.grid[:, :, :8].isnan().all()
    assert (batch.field0.confidence[:, :8] == 0).all()
    assert batch.field0.grid[:, :, 8:].isfinite().all()


def test_pairs_with_different_labels_fit_in_one_batch(shifts):
    with_all = shifts(size=16)[0]
    image = Image(pixels=torch.zeros(3, 16, 16))
    with_none = PairSample(image0=image, image1=image, name="none")
    hidden = replace(with_all, visible=torch.tensor([True, False, True, False, False]))
    batch = collate([with_all, with_none, hidden], size=(16, 16))
    assert batch.visible.sum(dim=1).tolist() == [5, 0, 2]
    assert torch.equal(batch.xy1[2, :2], with_all.xy1[[0, 2]])
    assert (batch.field0.confidence[1] == 0).all()
    assert batch.mask0.all()
    assert len(batch) == 3
    assert batch.samples[0].dense0 is None


def test_masks_are_read_at_the_nearest_pixel():
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[:4] = True
    image = Image(pixels=torch.zeros(3, 8, 8))
    batch = collate([PairSample(image0=image, image1=image, mask0=mask)], size=(4, 4))
    assert batch.mask0[0].tolist() == [[True] * 4] * 2 + [[False] * 4] * 2
    assert batch.mask1.all()


def test_swapping_exchanges_all_labels(shifts):
    sample = replace(shifts(size=16)[1], pose=RelativePose(R=torch.eye(3), t=torch.tensor([1.0, 2.0, 3.0])))
    other = swapped(sample)
    assert other.image0 is sample.image1
    assert other.dense1 is sample.dense0
    assert other.xy0 is sample.xy1
    assert torch.allclose(other.homography @ sample.homography, torch.eye(3))
    assert other.pose is not None
    assert other.pose.t.tolist() == [-1, -2, -3]
    back = swapped(other)
    assert torch.equal(back.image0.pixels, sample.image0.pixels)


def test_points_are_drawn_only_where_the_label_is_known(shifts):
    sample = shifts(size=16)[2]
    image = Image(pixels=torch.zeros(3, 16, 16))
    batch = collate([sample, PairSample(image0=image, image1=image)], size=(16, 16))
    xy0, xy1, valid = known_points(batch, count=50, generator=torch.Generator().manual_seed(0))
    assert valid[0].all()
    assert not valid[1].any()
    move = sample.xy1[0] - sample.xy0[0]
    assert torch.allclose(xy1[0] - xy0[0], move.expand(50, 2), atol=1e-4)
    inside = identity_grid((16, 16)).new_tensor([15.0, 15.0])
    assert ((xy1[0] > -0.51) & (xy1[0] < inside + 0.51)).all()


def mixed(shifts, weights, **settings):
    plain: dict[str, Any] = {"count": 400, "seed": 5, **settings}
    return Mixture({name: shifts(20) for name in "abc"}, weights, **plain)


def test_sources_are_drawn_by_weight(shifts):
    found = Counter(mixed(shifts, {"a": 1, "b": 3}).place(index)[0] for index in range(400))
    assert 70 <= found["a"] <= 130  # 100 expected, standard deviation 8.7
    assert set(found) == {"a", "b"}


def test_sample_n_does_not_depend_on_earlier_calls(shifts):
    one, other = mixed(shifts, {"a": 1, "b": 1}, swap=0.5), mixed(shifts, {"a": 1, "b": 1}, swap=0.5)
    forward = [one[index] for index in range(60)]
    backward = [other[index] for index in reversed(range(60))][::-1]
    for first, second in zip(forward, backward, strict=True):
        assert torch.equal(first.image0.pixels, second.image0.pixels)


def test_another_seed_gives_another_order(shifts):
    places = [[mixed(shifts, {"a": 1}, seed=seed).place(index) for index in range(20)] for seed in (1, 2)]
    assert places[0] != places[1]


def test_a_single_source_is_traversed_before_it_repeats(shifts):
    mixture = mixed(shifts, {"a": 1})
    first = [mixture.place(index)[1] for index in range(20)]
    second = [mixture.place(index)[1] for index in range(20, 40)]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_turns_follow_the_weights_batch_by_batch(shifts):
    mixture = mixed(shifts, {"a": 1, "b": 3}, cycle=True, group=2)
    names = [mixture.place(index)[0] for index in range(16)]
    assert names[::2] == names[1::2]
    assert Counter(names[:8]) == {"a": 2, "b": 6}
    seen = [mixture.place(index) for index in range(80) if mixture.place(index)[0] == "b"]
    assert len(set(seen[:20])) == 20


def test_images_are_swapped_with_the_given_probability(shifts):
    plain, mixture = shifts(20), mixed(shifts, {"a": 1}, swap=0.25)
    swapped = 0
    for index in range(200):
        place = mixture.place(index)[1]
        swapped += not torch.equal(mixture[index].image0.pixels, plain[place].image0.pixels)
    assert 30 <= swapped <= 70


def test_a_source_of_weight_0_need_not_exist(shifts):
    alone = Mixture({"a": shifts(20)}, {"a": 1, "absent": 0}, count=20, seed=0)
    assert {alone.place(number)[0] for number in range(20)} == {"a"}


@pytest.mark.parametrize("weights", [{}, {"a": 0}, {"a": -1, "b": 2}, {"d": 1}])
def test_invalid_weights_are_rejected(weights, shifts):
    with pytest.raises(ConfigError):
        mixed(shifts, weights)


def test_an_empty_source_and_a_number_too_far_are_refused(shifts):
    with pytest.raises(ConfigError, match="source a"):
        Mixture({"a": shifts(0)}, {"a": 1}, count=3, seed=0)
    with pytest.raises(IndexError):
        mixed(shifts, {"a": 1})[400]
