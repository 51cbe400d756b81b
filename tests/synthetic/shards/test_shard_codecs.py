"""Arrays as image files: what the numbers mean, how exact they are, what is refused."""

import io

import numpy as np
import PIL.Image
import pytest
import torch

from homolog.core.coords import identity_grid, normalised_to_pixel
from homolog.core.dense import DenseField
from homolog.core.errors import ConfigError, DataError, ShapeError
from homolog.synthetic.shards.codecs import (
    decode_depth,
    decode_grid,
    decode_image,
    decode_mask,
    decode_uint16,
    encode_depth,
    encode_grid,
    encode_image,
    encode_mask,
    encode_uint16,
)


def field_of(x: float, y: float, size: tuple[int, int], confidence: float = 1) -> DenseField:
    """One cell that looks at a pixel position."""
    height, width = size
    grid = torch.tensor([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dtype=torch.float64)
    return DenseField(
        grid=grid.float().reshape(1, 2, 1, 1), confidence=torch.full((1, 1, 1), float(confidence))
    )


def test_grids_count_64ths_of_a_pixel_from_the_edge_of_the_image_with_x_above_y():
    assert encode_grid(field_of(0, 0, (20, 10)), (20, 10)).tolist() == [[32], [32]]
    assert encode_grid(field_of(-0.5, 3.25, (20, 10)), (20, 10)).tolist() == [[0], [240]]
    assert encode_grid(field_of(9.5, 19.5, (20, 10)), (20, 10)).tolist() == [[640], [1280]]


@pytest.mark.parametrize(
    ("x", "y", "confidence"), [(-0.6, 3, 1), (3, 19.6, 1), (3, 3, 0), (np.nan, np.nan, 0)]
)
def test_pixels_that_point_outside_or_nowhere_are_unknown(x: float, y: float, confidence: float):
    numbers = encode_grid(field_of(x, y, (20, 10), confidence), (20, 10))
    assert numbers.tolist() == [[65535], [65535]]
    back = decode_grid(numbers, (20, 10), step=1 / 64, name="grid")
    assert back.confidence.item() == 0
    assert back.grid.isnan().all()


@pytest.mark.parametrize("reference", [(33, 57), (1023, 1023), (1, 1)])
def test_a_grid_is_restored_to_within_half_a_step(reference: tuple[int, int]):
    random = np.random.default_rng(0)
    grid = torch.from_numpy(random.uniform(-1, 1, (1, 2, 40, 50)).astype(np.float32))
    known = torch.from_numpy((random.random((1, 40, 50)) < 0.5).astype(np.float32))
    numbers = encode_grid(DenseField(grid=grid, confidence=known), reference)
    assert numbers.shape == (80, 50)
    back = decode_grid(numbers, reference, step=1 / 64, name="grid")
    assert torch.equal(back.confidence, known)
    off = [
        normalised_to_pixel(each.permute(0, 2, 3, 1)[known > 0].double(), reference)
        for each in (grid, back.grid)
    ]
    # Half a 64th, and the rounding of float32 in the normalised grid.
    assert (off[0] - off[1]).abs().max() <= 1 / 128 + 2e-4
    assert (off[0] - off[1]).norm(dim=-1).max() <= 0.0115


def test_a_reference_too_large_for_16_bits_is_refused():
    field = DenseField(grid=identity_grid((4, 4))[None], confidence=torch.ones(1, 4, 4))
    with pytest.raises(ConfigError, match=r"at most 1023 pixels a side.*got 8 x 1024"):
        encode_grid(field, (8, 1024))


def test_a_predicted_field_is_refused():
    field = DenseField(grid=identity_grid((4, 4))[None], confidence=torch.full((1, 4, 4), 0.5))
    with pytest.raises(ShapeError, match="confidence 0 or 1"):
        encode_grid(field, (4, 4))


def test_positions_outside_the_image_are_damage():
    with pytest.raises(DataError, match=r"grid01\.png: expected positions in an image of 20 x 10"):
        decode_grid(np.array([[641], [0]], np.uint16), (20, 10), step=1 / 64, name="grid01.png")
    with pytest.raises(DataError, match="outside or half known"):
        decode_grid(np.array([[65535], [0]], np.uint16), (20, 10), step=1 / 64, name="g")
    with pytest.raises(DataError, match="x above y, got 3 rows"):
        decode_grid(np.zeros((3, 1), np.uint16), (20, 10), step=1 / 64, name="g")


def test_a_depth_is_restored_to_within_half_its_scale():
    depth = torch.from_numpy(np.random.default_rng(0).uniform(0.01, 80, (9, 7)))
    depth[0, 0], depth[1, 1] = torch.nan, torch.inf
    numbers, scale = encode_depth(depth.float())
    assert scale == pytest.approx(float(depth[depth.isfinite()].max()) / 65534)
    assert (numbers == 65535).sum() == 2
    back = decode_depth(numbers, scale)
    assert back[0, 0].isnan()
    assert back[1, 1].isnan()
    known = depth.isfinite()
    assert (back.double() - depth)[known].abs().max() <= scale * 0.5 + 80 * 2**-23


def test_a_depth_map_without_values_is_unknown_everywhere():
    numbers, scale = encode_depth(torch.full((2, 3), torch.nan))
    assert (numbers == 65535).all()
    assert scale == 1
    assert decode_depth(numbers, scale).isnan().all()


def test_a_negative_depth_is_refused():
    with pytest.raises(ShapeError, match="above 0"):
        encode_depth(torch.tensor([[1.0, -2.0]]))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (40, 1), (33, 50)])
def test_pillow_reads_our_16_bit_png(shape: tuple[int, int]):
    values = np.random.default_rng(1).integers(0, 65536, shape, dtype=np.uint16)
    content = encode_uint16(values)
    image = PIL.Image.open(io.BytesIO(content))
    image.load()  # Pillow checks every CRC
    assert image.size == shape[::-1]
    assert np.array_equal(np.asarray(image), values)
    assert np.array_equal(decode_uint16(content, "a.png"), values)


def test_an_8_bit_or_damaged_png_is_refused():
    packed = io.BytesIO()
    PIL.Image.new("L", (3, 3)).save(packed, "png")
    with pytest.raises(DataError, match=r"a\.png: expected a gray PNG of 16 bits, got uint8"):
        decode_uint16(packed.getvalue(), "a.png")
    with pytest.raises(DataError, match=r"a\.png: expected a JPEG or PNG, got a damaged file"):
        decode_uint16(encode_uint16(np.zeros((9, 9), np.uint16))[:50], "a.png")


def test_png_is_lossless_and_jpeg_nearly():
    random = np.random.default_rng(2)
    smooth = torch.from_numpy(np.kron(random.integers(0, 256, (3, 4, 5)), np.ones((8, 8)))).float() / 255
    assert torch.equal(decode_image(encode_image(smooth, "png"), "a"), smooth)
    assert (decode_image(encode_image(smooth, "jpg"), "a") - smooth).abs().mean() < 0.06
    mask = torch.from_numpy(random.random((13, 21)) < 0.5)
    assert torch.equal(decode_mask(encode_mask(mask), "a"), mask)
    with pytest.raises(DataError, match="one bit per pixel"):
        decode_mask(encode_image(smooth, "png"), "a")
    with pytest.raises(DataError, match="expected a JPEG or PNG"):
        decode_image(b"GIF89a", "a")
