"""Labels as whole numbers: what they mean, how exact they are, what is refused."""

import io

import numpy as np
import PIL.Image
import pytest
import torch

from homolog.core.coords import identity_grid, normalised_to_pixel
from homolog.core.dense import DenseField
from homolog.core.errors import ConfigError, DataError, ShapeError
from homolog.synthetic.shards import depth_code, grid_code
from homolog.synthetic.shards.deep_png import decode_deep_png, encode_deep_png
from homolog.synthetic.shards.picture import decode_mask, decode_picture, encode_mask, encode_picture


def field_of(x: float, y: float, size: tuple[int, int], confidence: float = 1) -> DenseField:
    """One cell that looks at a pixel position."""
    height, width = size
    grid = torch.tensor([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dtype=torch.float64)
    return DenseField(
        grid=grid.float().reshape(1, 2, 1, 1), confidence=torch.full((1, 1, 1), float(confidence))
    )


def test_numbers_count_64ths_of_a_pixel_from_the_edge_of_the_image_and_x_lies_above_y():
    assert grid_code.encode_field(field_of(0, 0, (20, 10)), (20, 10)).tolist() == [[32], [32]]
    assert grid_code.encode_field(field_of(-0.5, 3.25, (20, 10)), (20, 10)).tolist() == [[0], [240]]
    assert grid_code.encode_field(field_of(9.5, 19.5, (20, 10)), (20, 10)).tolist() == [[640], [1280]]


@pytest.mark.parametrize(
    ("x", "y", "confidence"), [(-0.6, 3, 1), (3, 19.6, 1), (3, 3, 0), (np.nan, np.nan, 0)]
)
def test_what_looks_outside_or_nowhere_is_unknown(x: float, y: float, confidence: float):
    numbers = grid_code.encode_field(field_of(x, y, (20, 10), confidence), (20, 10))
    assert numbers.tolist() == [[65535], [65535]]
    back = grid_code.decode_field(numbers, (20, 10), step=1 / 64, name="grid")
    assert back.confidence.item() == 0
    assert back.grid.isnan().all()


@pytest.mark.parametrize("reference", [(33, 57), (1023, 1023), (1, 1)])
def test_a_field_comes_back_to_within_half_a_step(reference: tuple[int, int]):
    random = np.random.default_rng(0)
    grid = torch.from_numpy(random.uniform(-1, 1, (1, 2, 40, 50)).astype(np.float32))
    known = torch.from_numpy((random.random((1, 40, 50)) < 0.5).astype(np.float32))
    numbers = grid_code.encode_field(DenseField(grid=grid, confidence=known), reference)
    assert numbers.shape == (80, 50)
    back = grid_code.decode_field(numbers, reference, step=1 / 64, name="grid")
    assert torch.equal(back.confidence, known)
    off = [
        normalised_to_pixel(each.permute(0, 2, 3, 1)[known > 0].double(), reference)
        for each in (grid, back.grid)
    ]
    # Half a 64th, and the rounding of float32 in the normalised grid.
    assert (off[0] - off[1]).abs().max() <= 1 / 128 + 2e-4
    assert (off[0] - off[1]).norm(dim=-1).max() <= 0.0115


def test_a_reference_that_16_bits_do_not_reach_is_refused():
    field = DenseField(grid=identity_grid((4, 4))[None], confidence=torch.ones(1, 4, 4))
    with pytest.raises(ConfigError, match=r"at most 1023 pixels a side.*got 8 x 1024"):
        grid_code.encode_field(field, (8, 1024))


def test_a_prediction_is_no_truth():
    field = DenseField(grid=identity_grid((4, 4))[None], confidence=torch.full((1, 4, 4), 0.5))
    with pytest.raises(ShapeError, match="confidence 0 or 1"):
        grid_code.encode_field(field, (4, 4))


def test_numbers_that_lead_out_of_the_image_are_damage():
    with pytest.raises(DataError, match=r"grid01\.png: expected places in an image of 20 x 10"):
        grid_code.decode_field(np.array([[641], [0]], np.uint16), (20, 10), step=1 / 64, name="grid01.png")
    with pytest.raises(DataError, match="outside or half known"):
        grid_code.decode_field(np.array([[65535], [0]], np.uint16), (20, 10), step=1 / 64, name="g")
    with pytest.raises(DataError, match="x above y, got 3 rows"):
        grid_code.decode_field(np.zeros((3, 1), np.uint16), (20, 10), step=1 / 64, name="g")


def test_a_depth_comes_back_to_within_half_its_scale():
    depth = torch.from_numpy(np.random.default_rng(0).uniform(0.01, 80, (9, 7)))
    depth[0, 0], depth[1, 1] = torch.nan, torch.inf
    numbers, scale = depth_code.encode_depth(depth.float())
    assert scale == pytest.approx(float(depth[depth.isfinite()].max()) / 65534)
    assert (numbers == 65535).sum() == 2
    back = depth_code.decode_depth(numbers, scale)
    assert back[0, 0].isnan()
    assert back[1, 1].isnan()
    known = depth.isfinite()
    assert (back.double() - depth)[known].abs().max() <= scale * 0.5 + 80 * 2**-23


def test_a_depth_of_nothing_is_unknown_everywhere():
    numbers, scale = depth_code.encode_depth(torch.full((2, 3), torch.nan))
    assert (numbers == 65535).all()
    assert scale == 1
    assert depth_code.decode_depth(numbers, scale).isnan().all()


def test_a_depth_behind_the_camera_is_refused():
    with pytest.raises(ShapeError, match="above 0"):
        depth_code.encode_depth(torch.tensor([[1.0, -2.0]]))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (40, 1), (33, 50)])
def test_pillow_reads_the_deep_png_that_we_write(shape: tuple[int, int]):
    values = np.random.default_rng(1).integers(0, 65536, shape, dtype=np.uint16)
    content = encode_deep_png(values)
    image = PIL.Image.open(io.BytesIO(content))
    image.load()  # Pillow checks every CRC
    assert image.size == shape[::-1]
    assert np.array_equal(np.asarray(image), values)
    assert np.array_equal(decode_deep_png(content, "a.png"), values)


def test_another_png_is_no_label():
    packed = io.BytesIO()
    PIL.Image.new("L", (3, 3)).save(packed, "png")
    with pytest.raises(DataError, match=r"a\.png: expected a gray PNG of 16 bits, got uint8"):
        decode_deep_png(packed.getvalue(), "a.png")
    with pytest.raises(DataError, match=r"a\.png: expected a PNG, got a damaged one"):
        decode_deep_png(encode_deep_png(np.zeros((9, 9), np.uint16))[:50], "a.png")


def test_png_pictures_and_masks_lose_nothing_and_jpegs_little():
    random = np.random.default_rng(2)
    smooth = torch.from_numpy(np.kron(random.integers(0, 256, (3, 4, 5)), np.ones((8, 8)))).float() / 255
    assert torch.equal(decode_picture(encode_picture(smooth, "png"), "a"), smooth)
    assert (decode_picture(encode_picture(smooth, "jpg"), "a") - smooth).abs().mean() < 0.06
    mask = torch.from_numpy(random.random((13, 21)) < 0.5)
    assert torch.equal(decode_mask(encode_mask(mask), "a"), mask)
    with pytest.raises(DataError, match="one bit per pixel"):
        decode_mask(encode_picture(smooth, "png"), "a")
    with pytest.raises(DataError, match="expected a JPEG or PNG"):
        decode_picture(b"GIF89a", "a")
