"""Rotary positions and the decoder, each on its own."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from homolog.backbones.vggt.dpt import DPT, Fusion, inverse_log, one_plus_exp
from homolog.backbones.vggt.layers import Rotation, patch_rotation
from homolog.core.errors import ConfigError, ShapeError

CPU = torch.device("cpu")


def rotation(**settings: Any) -> Rotation:
    given: dict[str, Any] = {"rows": 2, "columns": 3, "specials": 1, "views": 2}
    given |= {"head_width": 8, "base": 100.0, "device": CPU}
    return patch_rotation(**(given | settings))


def test_rotation_by_hand():
    # Width 8: per axis four channels, two frequencies: 100^0 and 100^-0.5 = 0.1.
    table = rotation()
    assert table.cos.shape == (14, 2, 2)
    # Token 0 is special; token 6 is the last patch of view 0, at y = 2, x = 3.
    assert table.sin[0].abs().max() == 0
    expected = torch.tensor([[2.0, 0.2], [3.0, 0.3]])
    torch.testing.assert_close(table.sin[6], expected.sin())
    torch.testing.assert_close(table.cos[6], expected.cos())
    torch.testing.assert_close(table.cos[:7], table.cos[7:], rtol=0, atol=0)


def test_rotated_products_depend_on_the_offset_between_patches_alone():
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 16, generator=generator)
    table = rotation(rows=6, columns=6, specials=0, views=1, head_width=16)
    turned_q, turned_k = (table.apply(x.expand(1, 1, 36, 16)) for x in (q, k))
    products = (turned_q @ turned_k.transpose(2, 3))[0, 0].unflatten(0, (6, 6)).unflatten(2, (6, 6))
    # From (1, 1) to (3, 2), and from (2, 4) to (4, 5): two rows down, one column right.
    torch.testing.assert_close(products[1, 1, 3, 2], products[2, 4, 4, 5])
    assert (products[1, 1, 3, 2] - products[1, 1, 2, 3]).abs() > 1e-3


def test_rotation_is_float32_whatever_the_default():
    with torch.autocast("cpu", torch.bfloat16):
        table = rotation()
    assert table.cos.dtype == table.sin.dtype == torch.float32


def test_activations_by_hand():
    assert inverse_log(torch.tensor([-1.0, 0, 1])).tolist() == pytest.approx([1 - math.e, 0, math.e - 1])
    assert one_plus_exp(torch.tensor([0.0])).tolist() == [2]


def test_convolving_before_enlarging_changes_nothing():
    torch.manual_seed(0)
    stage = Fusion(8, skip=True)
    x, skip = torch.randn(2, 1, 8, 4, 5)
    plain = stage.out_conv(
        F.interpolate(
            stage.resConfUnit2(x + stage.resConfUnit1(skip)),
            size=(9, 11),
            mode="bilinear",
            align_corners=True,
        )
    )
    torch.testing.assert_close(stage(x, skip, (9, 11)), plain)


def test_decoder_positions_match_the_formula():
    torch.manual_seed(0)
    decoder = DPT(inputs=8, outputs=2, channels=[8], scales=[1], width=16)
    height, width = 28, 56
    diagonal = math.hypot(1, 2)
    expected = torch.empty(8, 2, 4)
    for row in range(2):
        for column in range(4):
            x = (2 / diagonal) * (3 / 4) * (-1 + 2 * column / 3)
            y = (1 / diagonal) * (1 / 2) * (-1 + 2 * row)
            parts = [f(p * 100 ** (-j / 2)) for p in (x, y) for f in (math.sin, math.cos) for j in range(2)]
            expected[:, row, column] = 0.1 * torch.tensor(parts)
    found = decoder._mark(torch.zeros(1, 8, 2, 4), (height, width))
    torch.testing.assert_close(found[0], expected)


@pytest.mark.parametrize(("channels", "scales"), [([8], [1]), ([8, 16, 16], [2, 1, 0.5])])
def test_decoder_takes_any_number_of_levels_and_activations(channels, scales):
    torch.manual_seed(0)
    decoder = DPT(
        inputs=12,
        outputs=3,
        channels=channels,
        scales=scales,
        width=16,
        hidden=8,
        activation=torch.tanh,
        score_activation=torch.sigmoid,
    )
    maps = [torch.randn(2, 2, 12, 3, 5) for _ in channels]
    values, scores = decoder(maps, (42, 70))
    assert values.shape == (2, 2, 2, 42, 70)
    assert scores.shape == (2, 2, 42, 70)
    assert values.abs().max() <= 1
    assert 0 <= scores.min() <= scores.max() <= 1
    values.sum().backward()
    assert all(p.grad is not None for p in decoder.projects.parameters())


def test_decoder_does_not_change_its_input():
    torch.manual_seed(0)
    decoder = DPT(inputs=8, outputs=2, channels=[8], scales=[1], width=16)
    map_ = torch.randn(1, 2, 8, 3, 3)
    before = map_.clone()
    with torch.inference_mode():
        decoder([map_], (42, 42))
    assert torch.equal(map_, before)


def test_decoder_that_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="one scale per level"):
        DPT(inputs=8, outputs=2, channels=[8, 8], scales=[1])
    with pytest.raises(ConfigError, match="in fours"):
        DPT(inputs=8, outputs=2, channels=[6], scales=[1])
    with pytest.raises(ShapeError, match="expected 1 maps, got 2"):
        DPT(inputs=8, outputs=2, channels=[8], scales=[1], width=16).raw(
            [torch.zeros(1, 1, 8, 2, 2)] * 2, (28, 28)
        )
