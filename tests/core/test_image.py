"""Images: their checks and digests, and that points found after any chain of operations are points of the file."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from homolog.core.coords import (
    compose_affines,
    pixel_grid,
    pixel_to_normalised,
    resize_affine,
    shift_affine,
)
from homolog.core.errors import ShapeError
from homolog.core.image import Image, check_multiple, crop, fit, fitted_size, pad, resize
from homolog.core.sampling import sample_points


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "pixels",
    [
        torch.zeros(4, 8, 8),
        torch.zeros(8, 8, 3),
        torch.zeros(1, 3, 8, 8),
        torch.zeros(3, 0, 8),
        torch.zeros(3, 8, 8, dtype=torch.uint8),
    ],
    ids=["rgba", "channels last", "batch", "empty", "uint8"],
)
def test_other_tensors_than_rgb_are_an_error_that_names_the_image(pixels: Tensor) -> None:
    with pytest.raises(
        ShapeError, match=r"a\.jpg: expected RGB pixels \[3 H W\] in floating point, got .*as_image"
    ):
        Image(pixels=pixels, name="a.jpg")


def test_the_size_is_height_then_width() -> None:
    assert Image(pixels=torch.zeros(3, 4, 9)).size == (4, 9)


@given(x=st.floats(-500, 500), y=st.floats(-500, 500), left=st.floats(-50, 50), top=st.floats(-50, 50))
def test_to_the_original_and_back_is_the_same_point(x: float, y: float, left: float, top: float) -> None:
    frame = compose_affines(shift_affine(left, top), resize_affine((300, 200), (90, 120)))
    image = Image(pixels=torch.zeros(3, 90, 120), to_original=frame)
    xy = torch.tensor([[x, y]], dtype=torch.float64)
    assert torch.allclose(image.xy_from_original(image.xy_to_original(xy)), xy, atol=1e-9)


def test_the_digest_depends_on_the_pixels_alone() -> None:
    pixels = torch.rand(3, 6, 8)
    image = Image(pixels=pixels, name="a.jpg")
    assert (
        image.digest()
        == Image(pixels=pixels.clone(), to_original=shift_affine(1.0, 2.0), name="b.jpg").digest()
    )
    changed = pixels.clone()
    changed[1, 2, 3] += 1e-6
    assert image.digest() != Image(pixels=changed).digest()


def test_the_digest_depends_on_the_shape_and_not_on_strides() -> None:
    flat = torch.rand(3 * 48)
    assert Image(pixels=flat.reshape(3, 6, 8)).digest() != Image(pixels=flat.reshape(3, 8, 6)).digest()
    pixels = torch.rand(3, 6, 8)
    assert (
        Image(pixels=pixels).digest()
        == Image(pixels=pixels.permute(1, 2, 0).contiguous().permute(2, 0, 1)).digest()
    )


# --- resize, fit, pad and crop ---------------------------------------------------------------------

SIDE = 400


def _coordinates(height: int, width: int) -> Image:
    """An image that shows at every pixel where it is: red = x / 400, green = y / 400."""
    xy = pixel_grid((height, width)).T.reshape(2, height, width) / SIDE
    return Image(pixels=torch.cat((xy, torch.ones(1, height, width))))


def _dot(height: int, width: int, xy: Tensor, spread: float = 3.0) -> Image:
    distance = (pixel_grid((height, width)) - xy).square().sum(dim=1)
    return Image(pixels=torch.exp(-distance / (2 * spread**2)).reshape(1, height, width).expand(3, -1, -1))


def _centroid(image: Image) -> Tensor:
    weight = image.pixels[0].flatten().double()
    return (pixel_grid(image.size).double() * weight[:, None]).sum(dim=0) / weight.sum()


@st.composite
def chains(draw: st.DrawFn, image: Image, point: Tensor, *, reduce: bool) -> tuple[Image, float]:
    """Apply up to five operations which keep the surroundings of a point of the original in view.

    Returns the result, and by how many pixels of the original torch's antialiasing may have moved things:
    its sampled triangle is off centre by up to a twentieth of a target pixel at each reduction.
    """
    moved = 0.0
    for _ in range(draw(st.integers(1, 5))):
        height, width = image.size
        x, y = image.xy_from_original(point).tolist()
        operation = draw(
            st.sampled_from(["resize", "fit", "pad", "crop"] if reduce else ["enlarge", "pad", "crop"])
        )
        if operation == "enlarge":
            image = resize(image, (height + draw(st.integers(0, 60)), width + draw(st.integers(0, 60))))
        elif operation == "resize":
            image = resize(image, (draw(st.integers(60, 200)), draw(st.integers(60, 200))))
        elif operation == "fit":
            image = fit(
                image,
                longer_side=draw(st.integers(90, 220)),
                multiple=draw(st.sampled_from([1, 8, 14])),
                enlarge=True,
            )
        elif operation == "pad":
            image = pad(image, (height + draw(st.integers(0, 30)), width + draw(st.integers(0, 30))))
        else:
            left, top = draw(st.integers(0, max(0, int(x) - 30))), draw(st.integers(0, max(0, int(y) - 30)))
            right = draw(st.integers(min(width, int(x) + 31), width))
            bottom = draw(st.integers(min(height, int(y) + 31), height))
            image = crop(image, x=left, y=top, size=(bottom - top, right - left))
        if operation in {"resize", "fit"}:
            moved += 0.05 * float(image.to_original[:, :2].abs().max())
    return image, moved


@given(data=st.data())
def test_after_any_enlarging_chain_the_pixels_are_exactly_where_the_affine_map_leads(
    data: st.DataObject,
) -> None:
    # Enlarging is linear interpolation, so an image of coordinates stays one.
    point = torch.tensor([90.0, 70.0])
    image, _ = data.draw(chains(_coordinates(150, 200), point, reduce=False))
    here = image.xy_from_original(point)
    seen = sample_points(image.pixels[None], pixel_to_normalised(here, image.size)[None, None])[0, 0]
    assert (seen[:2] * SIDE - point).abs().max() < 1e-3


@given(data=st.data())
def test_a_dot_found_after_any_chain_is_the_dot_of_the_file(data: st.DataObject) -> None:
    point = torch.tensor([data.draw(st.floats(80, 110)), data.draw(st.floats(60, 80))])
    image, moved = data.draw(chains(_dot(150, 200, point), point, reduce=True))
    assert (image.xy_to_original(_centroid(image)) - point).abs().max() < 0.01 + moved


@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    to_height=st.integers(1, 60),
    to_width=st.integers(1, 60),
)
def test_resize_gives_exactly_the_size_and_an_affine_map_that_spans_the_file(
    height: int, width: int, to_height: int, to_width: int
) -> None:
    image = resize(Image(pixels=torch.rand(3, height, width)), (to_height, to_width))
    assert image.size == (to_height, to_width)
    corners = torch.tensor([[-0.5, -0.5], [to_width - 0.5, to_height - 0.5]], dtype=torch.float64)
    expected = torch.tensor([[-0.5, -0.5], [width - 0.5, height - 0.5]], dtype=torch.float64)
    assert torch.allclose(image.xy_to_original(corners), expected, atol=1e-9)
    assert image.pixels.min() >= 0
    assert image.pixels.max() <= 1


def test_resize_to_its_own_size_is_the_image_itself() -> None:
    image = Image(pixels=torch.rand(3, 9, 7))
    assert resize(image, (9, 7)) is image


def test_reducing_averages_instead_of_skipping_pixels() -> None:
    checkers = (torch.arange(64)[:, None] + torch.arange(64)) % 2
    image = Image(pixels=checkers.float().expand(3, 64, 64))
    assert (resize(image, (16, 16)).pixels - 0.5).abs().max() < 0.05


def test_images_are_not_changed_in_place() -> None:
    pixels = torch.rand(3, 20, 30)
    image, before = Image(pixels=pixels, name="a.jpg"), pixels.clone()
    for result in (resize(image, (10, 10)), pad(image, (40, 40)), crop(image, x=1, y=2, size=(5, 5))):
        assert result.name == "a.jpg"
    assert torch.equal(pixels, before)
    assert torch.equal(image.to_original, torch.eye(2, 3, dtype=torch.float64))


def test_pad_extends_right_and_bottom_with_the_value() -> None:
    image = Image(pixels=torch.rand(3, 2, 3))
    padded = pad(image, (4, 5), value=0.25)
    assert torch.equal(padded.pixels[:, :2, :3], image.pixels)
    assert (padded.pixels[:, 2:] == 0.25).all()
    assert (padded.pixels[:, :, 3:] == 0.25).all()
    assert torch.equal(padded.to_original, image.to_original)


def test_crop_returns_the_rectangle() -> None:
    image = Image(pixels=torch.rand(3, 6, 8))
    cut = crop(image, x=3, y=1, size=(2, 4))
    assert torch.equal(cut.pixels, image.pixels[:, 1:3, 3:7])
    assert cut.xy_to_original(torch.tensor([0.0, 0.0])).tolist() == [3.0, 1.0]


@given(
    height=st.integers(1, 5000),
    width=st.integers(1, 5000),
    longer_side=st.none() | st.integers(1, 2000),
    multiple=st.sampled_from([1, 8, 14, 32]),
    enlarge=st.booleans(),
)
def test_fitted_sizes_are_multiples_near_the_bound(
    height: int, width: int, longer_side: int | None, multiple: int, enlarge: bool
) -> None:
    fitted = fitted_size((height, width), longer_side=longer_side, multiple=multiple, enlarge=enlarge)
    assert all(side % multiple == 0 and side > 0 for side in fitted)
    if longer_side is not None:
        assert max(fitted) <= max(multiple, longer_side + multiple / 2)
    if longer_side is None or (max(height, width) <= longer_side and not enlarge):
        wanted = (height, width)
        assert all(
            abs(got - side) <= max(multiple / 2, multiple - side)
            for got, side in zip(fitted, wanted, strict=True)
        )


@pytest.mark.parametrize("multiple", [1, 14])
def test_fit_only_shrinks_by_default(multiple: int) -> None:
    image = Image(pixels=torch.rand(3, 28, 42))
    assert fit(image, longer_side=840, multiple=multiple).size == (28, 42)
    assert fit(image, longer_side=84, multiple=multiple, enlarge=True).size == (56, 84)


def test_impossible_sizes_are_errors() -> None:
    image = Image(pixels=torch.rand(3, 10, 12), name="a.jpg")
    with pytest.raises(ShapeError, match=r"a.jpg: expected a target size of at least 1 x 1, got \(0, 5\)"):
        resize(image, (0, 5))
    with pytest.raises(
        ShapeError, match=r"a.jpg: expected a padded size of at least \(10, 12\), got \(9, 20\)"
    ):
        pad(image, (9, 20))


@pytest.mark.parametrize(
    ("x", "y", "size"), [(-1, 0, (5, 5)), (0, 6, (5, 5)), (8, 0, (5, 5)), (0, 0, (0, 5))]
)
def test_a_crop_that_leaves_the_image_is_an_error(x: int, y: int, size: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match="expected a crop inside the image of"):
        crop(Image(pixels=torch.rand(3, 10, 12)), x=x, y=y, size=size)


def test_check_multiple_raises_for_other_sizes() -> None:
    check_multiple((28, 42), 14, name="net")
    for size in ((28, 43), (27, 42), (0, 14)):
        with pytest.raises(ShapeError, match="net: expected an image with sides in multiples of 14"):
            check_multiple(size, 14, name="net")
