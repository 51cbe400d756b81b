"""Images of every format become upright RGB in [0, 1], bad input gives a one-line error, matches read back."""

import io
import logging
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from homolog.core.errors import DataError
from homolog.core.image import Image
from homolog.core.io import MAXIMUM_PIXELS, as_image, read_image, read_matches, write_image, write_matches
from homolog.core.keypoints import Matches

H, W = 20, 30
ORIENTATION = 0x0112


def _scene() -> np.ndarray:
    """A smooth image (so that JPEG keeps it) which looks different in every orientation."""
    y, x = np.mgrid[:H, :W]
    return (
        np.stack((x * 255 / (W - 1), y * 255 / (H - 1), np.full((H, W), 40.0)), axis=2)
        .round()
        .astype(np.uint8)
    )


def _gray() -> np.ndarray:
    return np.linspace(0, 255, H * W).reshape(H, W).round().astype(np.uint8)


def _expected(array: np.ndarray) -> torch.Tensor:
    values = array.astype(np.float64) / (
        65535 if array.dtype == np.uint16 else 255 if array.dtype == np.uint8 else 1
    )
    if values.ndim == 2:
        values = np.repeat(values[..., None], 3, axis=2)
    return torch.from_numpy(values.transpose(2, 0, 1)).float()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(array: np.ndarray, *, extra: bytes = b"", size: tuple[int, int] | None = None) -> bytes:
    """Write a PNG by hand, for what Pillow cannot write: 16-bit colour, and headers that lie."""
    height, width = size or array.shape[:2]
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[1 if array.ndim == 2 else array.shape[2]]
    rows = b"".join(b"\0" + row.astype(array.dtype.newbyteorder(">")).tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, array.itemsize * 8, colour, 0, 0, 0)
    parts = (_chunk(b"IHDR", header), extra, _chunk(b"IDAT", zlib.compress(rows)), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _read(path: Path, image: PIL.Image.Image | np.ndarray, **options: Any) -> torch.Tensor:
    """Save an image and read its pixels back."""
    image = PIL.Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(path, **options)
    return read_image(path).pixels


# --- what arrives -------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".png", ".bmp", ".ppm", ".tif", ".tiff"])
@pytest.mark.parametrize("read", [read_image, lambda path: as_image(str(path))], ids=["path", "text"])
def test_lossless_rgb_arrives_exactly(tmp_path: Path, ending: str, read: Callable[[Path], Image]) -> None:
    path = tmp_path / f"a{ending}"
    PIL.Image.fromarray(_scene()).save(path)
    image = read(path)
    assert image.pixels.dtype == torch.float32
    assert torch.equal(image.pixels, _expected(_scene()))
    assert image.size == (H, W)
    assert image.name == str(path)
    assert torch.equal(image.to_original, torch.eye(2, 3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.jpg", {"quality": 95}, 0.06),
        ("a.webp", {"quality": 95}, 0.06),
        ("a.webp", {"lossless": True}, 0),
        ("damaged_metadata.jpg", {"exif": b"Exif\0\0II*\0\x08\0\0\0\x05\0garbage", "quality": 98}, 0.05),
        ("content_not_ending.jpg", {"format": "PNG"}, 0),
    ],
)
def test_rgb_arrives_as_exactly_as_its_format_allows(
    tmp_path: Path, name: str, options: dict[str, Any], tolerance: float
) -> None:
    pixels = _read(tmp_path / name, _scene(), **options)
    assert (pixels - _expected(_scene())).abs().max() <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", [".png", ".tif", ".webp", ".jpg"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, ending: str) -> None:
    # The EXIF standard: which corner of the upright scene the first row and column of the file show.
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }
    stored = np.ascontiguousarray(undo[orientation](_scene()))
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / f"a{ending}"
    options: dict[str, Any] = {".webp": {"lossless": True}, ".jpg": {"quality": 98, "subsampling": 0}}.get(
        ending, {}
    )
    PIL.Image.fromarray(stored).save(path, exif=exif, **options)
    image = read_image(path)
    assert image.size == (H, W)
    tolerance = 0.03 if ending == ".jpg" else 0.0
    assert (image.pixels - _expected(_scene())).abs().max() <= tolerance


def test_orientation_is_applied_to_16_bit_gray_and_to_pil_images(tmp_path: Path) -> None:
    deep = (np.arange(H * W, dtype=np.uint16) * 100).reshape(H, W)
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = 6
    PIL.Image.fromarray(np.ascontiguousarray(np.rot90(deep))).save(tmp_path / "a.png", exif=exif)
    assert torch.equal(read_image(tmp_path / "a.png").pixels, _expected(deep))
    with PIL.Image.open(tmp_path / "a.png") as opened:
        assert torch.equal(as_image(opened).pixels, _expected(deep))


def test_palette_arrives_as_its_colours(tmp_path: Path) -> None:
    image = PIL.Image.fromarray(np.arange(H * W, dtype=np.uint8).reshape(H, W) % 3, "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    assert torch.equal(_read(tmp_path / "a.png", image), _expected(np.asarray(image.convert("RGB"))))


@pytest.mark.parametrize("ending", [".png", ".gif"])
def test_transparent_palette_entry_is_white(tmp_path: Path, ending: str) -> None:
    indices = np.zeros((H, W), np.uint8)
    indices[:, :10] = 1
    image = PIL.Image.fromarray(indices, "P")
    image.putpalette([200, 0, 0, 0, 0, 100])
    pixels = _read(tmp_path / f"a{ending}", image, transparency=1)
    assert torch.equal(pixels[:, 5, 5], torch.ones(3))
    assert torch.allclose(pixels[:, 5, 20], torch.tensor([200 / 255, 0, 0]))


def test_palette_with_graded_transparency_is_blended_with_white(tmp_path: Path) -> None:
    image = PIL.Image.fromarray(np.zeros((H, W), np.uint8), "P")
    image.putpalette([0, 0, 0])
    pixels = _read(tmp_path / "a.png", image, transparency=bytes([51]))
    assert torch.allclose(pixels, torch.tensor(0.8), atol=1 / 255)


@pytest.mark.parametrize("alpha", [0, 51, 255])
@pytest.mark.parametrize(("mode", "colours"), [("RGBA", _scene()), ("LA", _gray())])
def test_alpha_is_blended_with_white(tmp_path: Path, mode: str, colours: np.ndarray, alpha: int) -> None:
    image = PIL.Image.fromarray(np.dstack((colours, np.full((H, W), alpha, np.uint8))), mode)
    opacity = alpha / 255
    expected = _expected(colours) * opacity + (1 - opacity)
    assert (_read(tmp_path / "a.png", image) - expected).abs().max() <= 1 / 255


def test_rgb_with_a_transparent_colour_shows_it_white(tmp_path: Path) -> None:
    scene = _scene()
    scene[3, 4] = (1, 2, 3)
    pixels = _read(tmp_path / "a.png", scene, transparency=(1, 2, 3))
    scene[3, 4] = 255
    assert torch.equal(pixels, _expected(scene))


@pytest.mark.parametrize("ending", [".png", ".tif", ".jpg", ".gif"])
def test_gray_arrives_as_three_equal_channels(tmp_path: Path, ending: str) -> None:
    pixels = _read(tmp_path / f"a{ending}", _gray(), quality=100)
    assert torch.equal(pixels[0], pixels[1])
    assert torch.equal(pixels[0], pixels[2])
    assert (pixels - _expected(_gray())).abs().max() <= (0.02 if ending == ".jpg" else 0)


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_16_bit_gray_keeps_its_depth(tmp_path: Path, ending: str) -> None:
    deep = np.linspace(0, 65535, H * W).round().astype(np.uint16).reshape(H, W)
    assert torch.equal(_read(tmp_path / f"a{ending}", deep), _expected(deep))


def test_big_endian_16_bit_tiff_keeps_its_depth(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, H * W).round().astype(np.uint16).reshape(H, W)
    data = deep.astype(">u2").tobytes()
    tags = [(256, 3, W), (257, 3, H), (258, 3, 16), (259, 3, 1), (262, 3, 1)]
    tags += [(273, 4, 8), (277, 3, 1), (278, 3, H), (279, 4, len(data))]
    entries = b"".join(
        struct.pack(">HHI", tag, kind, 1)
        + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
        for tag, kind, value in tags
    )
    directory = struct.pack(">H", len(tags)) + entries + struct.pack(">I", 0)
    (tmp_path / "a.tif").write_bytes(struct.pack(">2sHI", b"MM", 42, 8 + len(data)) + data + directory)
    assert torch.equal(read_image(tmp_path / "a.tif").pixels, _expected(deep))


def test_16_bit_gray_with_a_transparent_value_shows_it_white(tmp_path: Path) -> None:
    deep = (np.arange(H * W, dtype=np.uint16) * 100).reshape(H, W)
    (tmp_path / "a.png").write_bytes(_png(deep, extra=_chunk(b"tRNS", struct.pack(">H", 700))))
    expected = _expected(deep)
    expected[:, 0, 7] = 1
    assert torch.equal(read_image(tmp_path / "a.png").pixels, expected)


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_arrives_to_8_bits(tmp_path: Path, channels: int) -> None:
    deep = np.full((H, W, channels), 65535, np.uint16)
    deep[..., :3] = _scene().astype(np.uint16) * 257
    (tmp_path / "a.png").write_bytes(_png(deep))
    assert (read_image(tmp_path / "a.png").pixels - _expected(_scene())).abs().max() <= 1 / 255


def test_float_tiff_arrives_exactly(tmp_path: Path) -> None:
    values = np.linspace(0, 1, H * W, dtype=np.float32).reshape(H, W)
    assert torch.equal(_read(tmp_path / "a.tif", values), _expected(values))


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_1_bit_arrives_as_black_and_white(tmp_path: Path, ending: str) -> None:
    bits = _gray() > 100
    assert torch.equal(_read(tmp_path / f"a{ending}", bits), _expected(bits.astype(np.uint8) * 255))


@pytest.mark.parametrize(
    ("cmyk", "rgb"),
    [
        ((0, 0, 0, 0), (1, 1, 1)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((255, 0, 0, 0), (0, 1, 1)),
        ((0, 255, 255, 0), (1, 0, 0)),
    ],
)
@pytest.mark.parametrize("ending", [".jpg", ".tif"])
def test_cmyk_arrives_as_the_right_colour(
    tmp_path: Path, cmyk: tuple[int, ...], rgb: tuple[int, ...], ending: str
) -> None:
    pixels = _read(tmp_path / f"a{ending}", PIL.Image.new("CMYK", (W, H), cmyk))
    assert (pixels - torch.tensor(rgb)[:, None, None]).abs().max() < 0.03


def test_lab_tiff_arrives_as_rgb(tmp_path: Path) -> None:
    white = PIL.Image.new("LAB", (W, H), (255, 128, 128))
    assert _read(tmp_path / "a.tif", white).min() > 0.97


@pytest.mark.parametrize("ending", [".gif", ".webp", ".png", ".tif"])
def test_of_several_frames_the_first_is_used_and_logged(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    red, blue = PIL.Image.new("RGB", (W, H), (255, 0, 0)), PIL.Image.new("RGB", (W, H), (0, 0, 255))
    options: dict[str, Any] = {".webp": {"lossless": True}}.get(ending, {})
    path = tmp_path / f"a{ending}"
    red.save(path, save_all=True, append_images=[blue, red], **options)
    with caplog.at_level(logging.WARNING, logger="homolog"):
        pixels = read_image(path).pixels
    assert torch.equal(pixels, _expected(np.asarray(red)))
    (record,) = caplog.records
    assert record.getMessage() == f"{path}: has 3 frames; the first is used"


@pytest.mark.parametrize(
    "options",
    [{}, {"format": "MPO", "save_all": True, "append_images": [PIL.Image.fromarray(_scene())]}],
    ids=["still image", "phone photo with a depth map"],
)
def test_one_photo_logs_nothing(
    tmp_path: Path, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert _read(tmp_path / "a.jpg", _scene(), **options).shape == (3, H, W)
    assert not caplog.records


def test_reading_closes_the_file(tmp_path: Path) -> None:
    PIL.Image.fromarray(_scene()).save(
        tmp_path / "a.gif", save_all=True, append_images=[PIL.Image.new("RGB", (W, H))]
    )
    (tmp_path / "b.jpg").write_text("text")
    before = len(list(Path("/proc/self/fd").iterdir()))
    read_image(tmp_path / "a.gif")
    with pytest.raises(DataError):
        read_image(tmp_path / "b.jpg")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# --- arrays and PIL images ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_arrays_are_used_unchanged(dtype: type) -> None:
    array = (_scene() / 255).astype(dtype)
    assert torch.allclose(as_image(array).pixels, _expected(_scene()), atol=1e-3)


def test_uint8_arrays_are_scaled_and_gray_ones_repeated() -> None:
    assert torch.equal(as_image(_scene()).pixels, _expected(_scene()))
    assert torch.equal(as_image(_gray()).pixels, _expected(_gray()))


def test_an_image_is_returned_as_it_is() -> None:
    image = Image(pixels=torch.rand(3, H, W))
    assert as_image(image) is image


def test_the_array_is_copied() -> None:
    array = (_scene() / 255).astype(np.float32)
    image = as_image(array)
    array[:] = 0
    assert image.pixels.max() == 1


# --- what does not ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


def _truncated(form: str) -> bytes:
    whole = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(whole, form)
    return whole.getvalue()[: len(whole.getvalue()) // 2]


def _bomb() -> bytes:
    return _png(np.zeros((4, 4), np.uint8), size=(60_000, 60_000))


def _just_too_large() -> bytes:
    side = int(MAXIMUM_PIXELS**0.5) + 2
    return _png(np.zeros((4, 4), np.uint8), size=(side, side))


def _text_bomb() -> bytes:
    return _png(_gray(), extra=_chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * (1 << 22))))


def _saved(image: PIL.Image.Image, form: str) -> bytes:
    content = io.BytesIO()
    image.save(content, form)
    return content.getvalue()


BAD = {
    "empty": (b"", "got an empty file; copy it again"),
    "text": (b"dear reader\n" * 50, "expected an image, got a file of another kind; check its content"),
    "html": (b"<html><body>Not found</body></html>", "got a file of another kind"),
    "truncated jpeg": (_truncated("JPEG"), "expected a whole image, got a damaged or truncated file"),
    "truncated png": (_truncated("PNG"), "expected a whole image, got a damaged or truncated file"),
    "truncated webp": (_truncated("WEBP"), "got a"),
    "truncated gif": (_truncated("GIF"), "expected a whole image, got a damaged or truncated file"),
    "truncated tiff": (_truncated("TIFF"), "got a"),
    "header only": (_truncated("JPEG")[:20], "got a"),
    "one pixel": (_saved(PIL.Image.new("RGB", (1, 1)), "PNG"), "at least 8 x 8 pixels, got 1 x 1"),
    "thin": (_saved(PIL.Image.new("RGB", (500, 7)), "PNG"), "at least 8 x 8 pixels, got 500 x 7"),
    "bomb": (_bomb(), "expected at most 150,000,000 pixels, got far more; scale it down first"),
    "too large": (_just_too_large(), "expected at most 150,000,000 pixels, got 150,"),
    "text bomb": (_text_bomb(), "got a damaged or truncated file"),
    "float tiff out of range": (
        _saved(PIL.Image.fromarray(np.full((H, W), 200, np.float32)), "TIFF"),
        "expected floats in [0, 1], got 200 to 200; scale them first",
    ),
    "nan tiff": (
        _saved(PIL.Image.fromarray(np.full((H, W), np.nan, np.float32)), "TIFF"),
        "expected finite values, got NaN or infinity; replace them first",
    ),
    "32-bit tiff": (
        _saved(PIL.Image.fromarray(np.full((H, W), 70_000, np.int32)), "TIFF"),
        "expected gray values from 0 to 65535, got 70000 to 70000",
    ),
}


def _assert_is_a_short_letter(error: DataError, name: str) -> None:
    text = str(error)
    assert "\n" not in text
    assert text.startswith(f"{name}: expected ")
    assert "; " in text  # what to do


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_gets_one_line_that_names_it(tmp_path: Path, case: str) -> None:
    content, excerpt = BAD[case]
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_image(path)
    _assert_is_a_short_letter(caught.value, str(path))
    assert excerpt in str(caught.value)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
@given(data=st.data())
def test_a_damaged_file_is_read_or_a_data_error(scratch: Path, form: str, data: st.DataObject) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    content = bytearray(_saved(PIL.Image.fromarray(noise), form))
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[at] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    path = scratch / "photo"
    try:
        path.write_bytes(content)
        image = read_image(path)
    except DataError as error:
        _assert_is_a_short_letter(error, str(path))
    else:
        assert image.pixels.min() >= 0
        assert image.pixels.max() <= 1


@pytest.mark.parametrize(
    ("name", "excerpt"),
    [
        ("none.jpg", "no such file; check the path"),
        ("a.jpg/b.jpg", "no such file; check the path"),
        ("x" * 300, "got a path that cannot be opened"),
        ("null\0byte.jpg", "got a path that cannot be opened"),
        (".", "got a folder; name a file in it"),
    ],
    ids=["missing", "through a file", "too long", "null byte", "folder"],
)
def test_a_path_without_an_image_is_named(tmp_path: Path, name: str, excerpt: str) -> None:
    (tmp_path / "a.jpg").write_text("x")
    with pytest.raises(DataError, match=excerpt) as caught:
        read_image(tmp_path / name)
    _assert_is_a_short_letter(caught.value, str(tmp_path / name))


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    PIL.Image.fromarray(_scene()).save(path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    # Root may read everything, so taking the permission away would prove nothing.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match="may not be read; check its owner and mode") as caught:
        read_image(path)
    _assert_is_a_short_letter(caught.value, str(path))


def test_a_name_with_a_line_break_still_gets_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / "two\nlines.jpg")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("array", "excerpt"),
    [
        (np.full((H, W, 3), np.nan), "expected finite values, got NaN or infinity"),
        (np.full((H, W), np.inf, np.float32), "expected finite values, got NaN or infinity"),
        (np.full((H, W, 3), 255.0), "expected floats in [0, 1], got 255 to 255; scale them first"),
        (np.full((H, W, 3), -0.1), "expected floats in [0, 1], got -0.1"),
        (np.zeros((3, H, W), np.uint8), "expected [H W 3] or [H W], got [3, 20, 30]; put the channels last"),
        (np.zeros((H, W, 4), np.uint8), "expected [H W 3] or [H W], got [20, 30, 4]"),
        (np.zeros((1, H, W, 3), np.uint8), "expected [H W 3] or [H W], got [1, 20, 30, 3]"),
        (np.zeros(5, np.uint8), "expected [H W 3] or [H W], got [5]"),
        (np.zeros((H, W, 3), np.uint16), "expected uint8, or floats in [0, 1], got uint16; convert it"),
        (np.zeros((H, W, 3), bool), "expected uint8, or floats in [0, 1], got bool; convert it"),
        (np.zeros((H, W, 3), object), "expected uint8, or floats in [0, 1], got object; convert it"),
        (np.zeros((0, 0, 3), np.uint8), "expected at least 8 x 8 pixels, got 0 x 0"),
        (np.zeros((1, 1, 3), np.uint8), "expected at least 8 x 8 pixels, got 1 x 1"),
    ],
    ids=str,
)
def test_a_bad_array_gets_one_line(array: np.ndarray, excerpt: str) -> None:
    with pytest.raises(DataError) as caught:
        as_image(array)
    _assert_is_a_short_letter(caught.value, "the array")
    assert excerpt in str(caught.value)


def test_a_closed_pil_image_is_an_error(tmp_path: Path) -> None:
    PIL.Image.fromarray(_scene()).save(tmp_path / "a.png")
    image = PIL.Image.open(tmp_path / "a.png")
    image.close()
    with pytest.raises(DataError, match="the PIL image: expected a whole image"):
        as_image(image)


@pytest.mark.usefixtures("unchecked")
def test_an_object_of_another_type_is_an_error() -> None:
    with pytest.raises(
        DataError, match="expected a path, a PIL image, an array or an Image, got Tensor; convert it"
    ):
        as_image(torch.zeros(3, H, W))  # type: ignore[arg-type]


# --- writing images -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".png", ".PNG", ".bmp", ".tif"])
def test_an_image_reads_back_to_the_nearest_of_256_levels(tmp_path: Path, ending: str) -> None:
    pixels = torch.rand(3, 11, 17, generator=torch.Generator().manual_seed(0))
    write_image(tmp_path / f"a{ending}", pixels)
    back = read_image(tmp_path / f"a{ending}").pixels
    assert (back - pixels).abs().max() <= 0.5 / 255 + 1e-6


def test_values_beyond_the_range_are_clamped(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", torch.tensor([-1.0, 2.0, 0.5])[:, None, None].expand(3, 8, 8))
    assert torch.allclose(read_image(tmp_path / "a.png").pixels[:, 0, 0], torch.tensor([0, 1, 128 / 255]))


@pytest.mark.parametrize("name", ["a", "a.xyz", "a.json"])
def test_an_unknown_image_ending_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"expected the ending of an image format, got .*; use \.png"):
        write_image(tmp_path / name, torch.zeros(3, 8, 8))
    assert list(tmp_path.iterdir()) == []


# --- writing and reading matches ------------------------------------------------------------------------------------


def _matches(count: int = 5) -> Matches:
    generator = torch.Generator().manual_seed(count)
    return Matches(
        xy0=torch.rand(count, 2, generator=generator) * 100,
        xy1=torch.rand(count, 2, generator=generator) * 100,
        score=torch.rand(count, generator=generator),
    )


@given(count=st.integers(0, 50))
def test_matches_read_back_exactly(tmp_path_factory: pytest.TempPathFactory, count: int) -> None:
    path = tmp_path_factory.mktemp("matches") / "matches.npz"
    matches = _matches(count)
    write_matches(path, matches)
    back = read_matches(path)
    for name in ("xy0", "xy1", "score"):
        assert torch.equal(getattr(back, name), getattr(matches, name))


def test_indices_read_back_and_files_without_them_are_read(tmp_path: Path) -> None:
    plain = _matches()
    index0, index1 = torch.tensor([4, 0, 2, 2, 9]), torch.tensor([1, 2, 3, 4, 5])
    write_matches(tmp_path / "m.npz", replace(plain, index0=index0, index1=index1))
    back = read_matches(tmp_path / "m.npz")
    assert back.index0 is not None
    assert back.index1 is not None
    assert torch.equal(back.index0, index0)
    assert torch.equal(back.index1, index1)
    write_matches(tmp_path / "old.npz", plain)
    assert read_matches(tmp_path / "old.npz").index0 is None


def test_the_npz_has_the_documented_keys_and_needs_no_pickle(tmp_path: Path) -> None:
    write_matches(tmp_path / "m.npz", _matches(), extra={"inlier": np.ones(5, bool)})
    with np.load(tmp_path / "m.npz", allow_pickle=False) as archive:
        assert {name: archive[name].dtype.name for name in archive} == {
            "xy0": "float32",
            "xy1": "float32",
            "score": "float32",
            "inlier": "bool",
        }


def test_an_array_of_objects_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_matches(tmp_path / "m.npz", _matches(), extra={"names": np.array([{}], object)})
    assert list(tmp_path.iterdir()) == []


def test_reading_a_missing_file_of_matches_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"m\.npz: expected matches written by homolog match, but there is no"
    ):
        read_matches(tmp_path / "m.npz")


def _bare_array() -> bytes:
    content = io.BytesIO()
    np.save(content, np.zeros(3))
    return content.getvalue()


@pytest.mark.parametrize("content", [b"", b"text", b"PK\3\4 but no archive", _bare_array()])
def test_reading_another_file_says_what_was_expected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"expected an npz with xy0 \[M 2\]") as caught:
        read_matches(tmp_path / "m.npz")
    assert "\n" not in str(caught.value)


def test_reading_a_truncated_archive_says_what_was_expected(tmp_path: Path) -> None:
    write_matches(tmp_path / "m.npz", _matches(1000))
    whole = (tmp_path / "m.npz").read_bytes()
    for end in range(0, len(whole), 97):
        (tmp_path / "m.npz").write_bytes(whole[:end])
        with pytest.raises(DataError, match="expected an npz"):
            read_matches(tmp_path / "m.npz")


RIGHT = {"xy0": np.zeros((3, 2)), "xy1": np.zeros((3, 2)), "score": np.zeros(3)}


@pytest.mark.parametrize(
    "change",
    [
        {"score": None},
        {"xy1": np.zeros((4, 2))},
        {"xy0": np.zeros((3, 3)), "xy1": np.zeros((3, 3))},
        {"score": np.zeros((3, 1))},
        {"index0": np.zeros(3)},
        {"index0": np.zeros(4), "index1": np.zeros(4)},
        {"xy0": np.array(["a"] * 3)},
        {"xy0": np.array([None] * 3)},
    ],
    ids=["no score", "lengths", "columns", "2-d score", "one index", "lengths of indices", "text", "pickled"],
)
def test_reading_other_arrays_says_what_was_expected(
    tmp_path: Path, change: dict[str, np.ndarray | None]
) -> None:
    arrays = {name: array for name, array in {**RIGHT, **change}.items() if array is not None}
    np.savez(tmp_path / "m.npz", allow_pickle=True, **arrays)
    with pytest.raises(DataError, match="expected an npz with"):
        read_matches(tmp_path / "m.npz")
