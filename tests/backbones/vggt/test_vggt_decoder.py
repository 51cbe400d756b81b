"""The decoder that heads of other makes are handed: VGGT's own, without what VGGT reads into it."""

from typing import Any

import pytest
import torch
from torch import Tensor

from homolog.backbones.vggt.dpt import DPT, Decoder
from homolog.core.errors import ConfigError, ShapeError
from homolog.core.protocols import Decoder as DecoderProtocol

SMALL: dict[str, Any] = {"inputs": 12, "channels": (8, 8, 16, 16), "width": 16, "hidden": 8}


def maps_of(*size: int, views: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, views, 12, *size, generator=generator) for _ in range(4)]


def test_it_returns_what_the_proved_decoder_computes_before_its_activations():
    decoder, proved = Decoder(outputs=3, **SMALL), DPT(outputs=3, **SMALL)
    proved.load_state_dict(decoder.dpt.state_dict())
    maps = maps_of(3, 5)
    torch.testing.assert_close(decoder(maps, (42, 70)), proved.raw(maps, (42, 70)))


def test_it_says_what_a_head_has_to_know():
    decoder = Decoder(outputs=3, **SMALL)
    assert isinstance(decoder, DecoderProtocol)
    assert (decoder.inputs, decoder.levels, decoder.last.out_channels) == (12, 4, 3)
    with torch.no_grad():
        decoder.last.weight.zero_()
        assert decoder.last.bias is not None
        decoder.last.bias.copy_(torch.tensor([0.25, -2.0, 7.0]))
    raw = decoder(maps_of(2, 2), (28, 28))
    assert raw.shape == (1, 2, 3, 28, 28)
    assert torch.equal(raw[0, 0, :, 5, 9], torch.tensor([0.25, -2.0, 7.0]))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_values_are_float32_whatever_the_convolutions_and_autocast_compute_in(dtype):
    decoder = Decoder(outputs=3, dtype=dtype, **SMALL)
    exact = Decoder(outputs=3, **SMALL)
    exact.load_state_dict(decoder.state_dict())
    maps = maps_of(3, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        raw = decoder(maps, (48, 64))
    assert raw.dtype == torch.float32
    assert decoder.last.weight.dtype == torch.float32
    wanted = exact(maps, (48, 64))
    assert 0 < (raw - wanted).norm() < 0.05 * wanted.norm()


def test_the_number_of_images_at_once_changes_nothing():
    decoder = Decoder(outputs=3, frames_per_chunk=1, **SMALL)
    together = Decoder(outputs=3, frames_per_chunk=4, **SMALL)
    together.load_state_dict(decoder.state_dict())
    maps = maps_of(2, 3, views=4)
    torch.testing.assert_close(together(maps, (28, 42)), decoder(maps, (28, 42)))


def test_one_cell_is_enough():
    raw = Decoder(outputs=3, **SMALL)(maps_of(1, 1), (14, 14))
    assert raw.shape == (1, 2, 3, 14, 14)
    assert raw.isfinite().all()


def test_another_number_of_maps_is_refused():
    with pytest.raises(ShapeError, match="expected 4 maps, got 3"):
        Decoder(outputs=3, **SMALL)(maps_of(2, 2)[:3], (28, 28))


@pytest.mark.usefixtures("unchecked")
def test_a_dtype_that_there_is_not_is_refused():
    other: Any = "float16"
    with pytest.raises(ConfigError, match="no dtype named float16"):
        Decoder(outputs=3, dtype=other, **SMALL)
