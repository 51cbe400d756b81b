"""The coordinate convention across the whole language: one dot, followed through everything."""

from collections.abc import Callable
from pathlib import Path

import kornia
import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from homolog.core.camera import Camera
from homolog.core.coords import (
    identity_grid,
    normalised_to_pixel,
    pixel_grid,
    pixel_to_normalised,
    resize_pixel,
)
from homolog.core.dense import DenseField
from homolog.core.features import Features
from homolog.core.image import Image, crop, fit, pad, resize
from homolog.core.io import read_image, read_matches, write_image, write_matches
from homolog.core.keypoints import Keypoints, Matches
from homolog.core.sampling import sample_points, warp_maps

X, Y = 61, 37
"""The pixel of the file on which the dot lies: column 61, row 37, counted from 0."""

SIZE = (96, 128)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A photo of a dot, as any program would write it."""
    distance = (pixel_grid(SIZE) - torch.tensor([X, Y])).square().sum(dim=1)
    write_image(tmp_path / "dot.png", torch.exp(-distance / 18).reshape(1, *SIZE).expand(3, -1, -1))
    return tmp_path / "dot.png"


def _found(image: Image) -> Tensor:
    """The centre of the dot, in pixels of the image it is looked for in."""
    weight = image.pixels[0].flatten()
    return (pixel_grid(image.size) * weight[:, None]).sum(dim=0) / weight.sum()


VARIANTS: dict[str, Callable[[Image], Image]] = {
    "as it is": lambda image: image,
    "half": lambda image: resize(image, (48, 64)),
    "uneven": lambda image: resize(image, (70, 150)),
    "cropped": lambda image: crop(image, x=30, y=20, size=(50, 70)),
    "padded": lambda image: pad(image, (130, 131)),
    "cropped, fitted, padded": lambda image: pad(
        fit(crop(image, x=20, y=10, size=(70, 90)), longer_side=140, multiple=14, enlarge=True), (160, 170)
    ),
}


@pytest.fixture(params=list(VARIANTS.values()), ids=list(VARIANTS))
def seen(request: pytest.FixtureRequest, file: Path) -> Image:
    """The photo as one network or another would be given it."""
    return request.param(read_image(file))


def test_integer_pixels_are_centres_in_a_file(file: Path) -> None:
    with PIL.Image.open(file) as image:
        assert image.getpixel((X, Y)) == (255, 255, 255)
    assert torch.allclose(_found(read_image(file)), torch.tensor([X, Y]).float(), atol=1e-2)


def test_a_keypoint_of_any_variant_is_a_pixel_of_the_file(seen: Image) -> None:
    keypoints = Keypoints(xy=_found(seen)[None], score=torch.ones(1))
    # 0.1: what torch's antialiasing may move an edge by (a twentieth of a pixel of the halved image).
    assert torch.allclose(seen.xy_to_original(keypoints.xy), torch.tensor([[X, Y]]).float(), atol=0.1)


def test_a_feature_map_is_read_where_the_dot_is(seen: Image) -> None:
    # A map of patches of 2: the mean of each patch, which lives at the centre of its four pixels.
    size = (seen.size[0] // 2 * 2, seen.size[1] // 2 * 2)
    image = crop(seen, x=0, y=0, size=size)
    map_ = F.avg_pool2d(image.pixels[None], 2)[:, None]
    features = Features(maps={"mean": map_}, image_size=image.size)
    place = image.xy_from_original(torch.tensor([[X, Y]]).float())
    around = place + torch.tensor([[-4.0, 0], [4, 0], [0, -4], [0, 4]])
    left, right, above, below = features.at("mean", around)[:, 0].tolist()
    here = features.at("mean", place)[0, 0].item()
    # On the dot the map is largest, and it falls off equally to both sides; half a cell off, it would not.
    assert here > max(left, right, above, below)
    assert abs(left - right) < 0.05 * here
    assert abs(above - below) < 0.05 * here


def test_matches_between_two_variants_are_pixels_of_the_files(file: Path, tmp_path: Path) -> None:
    image = read_image(file)
    one, two = VARIANTS["half"](image), VARIANTS["cropped, fitted, padded"](image)
    matches = Matches(xy0=_found(one)[None], xy1=_found(two)[None], score=torch.ones(1))
    write_matches(tmp_path / "m.npz", matches.moved(one.xy_to_original, two.xy_to_original))
    back = read_matches(tmp_path / "m.npz")
    assert torch.allclose(back.xy0, torch.tensor([[X, Y]]).float(), atol=0.1)
    assert torch.allclose(back.xy1, torch.tensor([[X, Y]]).float(), atol=0.1)


def test_a_dense_field_between_two_variants_carries_the_dot(file: Path) -> None:
    image = read_image(file)
    query, reference = VARIANTS["half"](image), VARIANTS["cropped"](image)
    # The true field on the query: each of its pixels, through the file, into the reference.
    places = reference.xy_from_original(query.xy_to_original(pixel_grid(query.size)))
    grid = pixel_to_normalised(places, reference.size).T.reshape(1, 2, *query.size)
    field = DenseField(grid=grid, confidence=torch.ones(1, *query.size))

    point = query.xy_from_original(torch.tensor([[[X, Y]]]).float())
    moved = field.transfer(point, query_size=query.size, reference_size=reference.size).xy
    assert torch.allclose(reference.xy_to_original(moved), torch.tensor([[[X, Y]]]).float(), atol=1e-3)

    warped = Image(pixels=field.warp(reference.pixels[None])[0])
    assert torch.allclose(_found(warped), _found(query), atol=0.1)


def test_the_camera_of_any_variant_sees_the_dot_where_it_is(seen: Image) -> None:
    camera = Camera(K=torch.tensor([[100.0, 0, 63.5], [0, 100, 47.5], [0, 0, 1]]))
    point = camera.rays(torch.tensor([float(X), float(Y)])) * 7.0  # a point in space that shows as the dot
    assert torch.allclose(camera.resampled(seen.to_original).project(point), _found(seen), atol=0.1)


# --- the neighbours' conventions ------------------------------------------------------------------


def test_torch_interpolate_and_grid_sample_speak_our_convention() -> None:
    image = torch.rand(1, 3, 9, 13)
    resized = F.interpolate(image, size=(20, 31), mode="bilinear", align_corners=False)
    assert torch.allclose(
        warp_maps(image, identity_grid((20, 31))[None], padding="border"), resized, atol=1e-5
    )


def test_pillow_resizes_by_our_convention(file: Path) -> None:
    with PIL.Image.open(file) as image:
        small = np.asarray(image.resize((50, 60), PIL.Image.Resampling.BILINEAR), dtype=np.float32) / 255
    found = _found(Image(pixels=torch.from_numpy(small).permute(2, 0, 1)))
    expected = resize_pixel(torch.tensor([X, Y]).float(), SIZE, (60, 50))
    assert torch.allclose(found, expected, atol=0.05)


def test_the_centre_of_an_image_is_normalised_zero_and_the_principal_point_255_5() -> None:
    assert normalised_to_pixel(torch.zeros(2), (512, 512)).tolist() == [255.5, 255.5]
    assert identity_grid((512, 512)).mean().abs() < 1e-6


def test_corner_conventions_differ_by_half_a_pixel_and_agree_once_normalised() -> None:
    # Others (RoMa, TAP-Vid, COLMAP) give the top-left corner of the image the coordinate 0.
    theirs = torch.tensor([10.0, 20.0])
    ours = theirs - 0.5
    width_height = torch.tensor([128.0, 96.0])
    assert torch.allclose(pixel_to_normalised(ours, SIZE), 2 * theirs / width_height - 1)


def test_kornia_normalises_by_another_convention_so_it_must_not_be_used_for_that() -> None:
    xy = torch.tensor([[0.0, 0.0]])
    theirs = kornia.geometry.normalize_pixel_coordinates(xy, 96, 128)
    assert theirs.tolist() == [[-1.0, -1.0]]
    assert not torch.allclose(theirs, pixel_to_normalised(xy, SIZE))


def test_patches_of_14_have_their_centres_at_6_5() -> None:
    cells, size = (3, 4), (42, 56)
    assert resize_pixel(torch.zeros(2), cells, size).tolist() == [6.5, 6.5]
    ramp = pixel_grid(size).T.reshape(1, 2, *size)
    patches = F.avg_pool2d(ramp, 14).flatten(2)[0].T
    assert torch.allclose(resize_pixel(pixel_grid(cells), cells, size), patches)
    at = pixel_to_normalised(pixel_grid(cells), cells)[None]
    assert torch.allclose(sample_points(ramp, at)[0], patches, atol=1e-4)
