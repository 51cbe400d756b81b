"""Sizes at which networks see images."""

import pytest
import torch

from homolog.core.errors import ConfigError
from homolog.matchers.fitting import Fitting


def test_alone_an_image_keeps_its_aspect_up_to_the_multiple(scene):
    assert Fitting(multiple=1).alone(scene((33, 47))).size == (33, 47)
    assert Fitting(multiple=8, resize=64).alone(scene((50, 128))).size == (24, 64)
    assert Fitting(multiple=8, resize=64).alone(scene((20, 40))).size == (24, 40)
    assert Fitting(multiple=8, resize=64, enlarge=True).alone(scene((20, 40))).size == (32, 64)


def test_together_two_images_get_one_size_halfway_in_either_order(scene):
    fitting = Fitting(multiple=8, resize=64)
    wide, tall = scene((50, 128)), scene((128, 50))  # 24 x 64 and 64 x 24 alone
    assert [image.size for image in fitting.together(wide, tall)] == [(48, 48)] * 2  # 44 rounds up
    assert [image.size for image in fitting.together(tall, wide)] == [(48, 48)] * 2


def test_both_keep_the_way_back_to_their_originals(scene):
    wide, tall = scene((50, 128)), scene((128, 50))
    for given, fitted in zip((wide, tall), Fitting(multiple=8, resize=64).together(wide, tall), strict=True):
        corner = fitted.xy_to_original(torch.tensor([[-0.5, -0.5], [47.5, 47.5]]))
        height, width = given.size
        torch.testing.assert_close(corner, torch.tensor([[-0.5, -0.5], [width - 0.5, height - 0.5]]))


def test_a_longest_side_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="resize of at least 1 pixel or null, got 0"):
        Fitting(multiple=8, resize=0)
