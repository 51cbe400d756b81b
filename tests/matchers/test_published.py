"""Read-outs of published evaluations: what networks see, where points are read, and where they land."""

from functools import partial
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from skimage import data
from torch import Tensor

from homolog.core.cache import FeatureCache
from homolog.core.errors import CapabilityError, ConfigError
from homolog.core.image import Image, crop
from homolog.core.io import as_image
from homolog.core.protocols import Correspondence, Matcher
from homolog.evaluators.image_sizes import Original, PaddedSquare, StretchedSquare
from homolog.evaluators.read_out import dift, distilldift, geoaware, visual_ai
from homolog.heads.read_out import matcha
from homolog.matchers.published import PublishedReadOut

XY = [[10.0, 20.0], [100.0, 60.0], [150.0, 99.0]]


@pytest.fixture(scope="module")
def photo() -> Image:
    return crop(as_image(data.astronaut()), x=150, y=60, size=(120, 160))


def given(place: list[Tensor]):
    """Return a read-out that writes down what it is asked and answers with the same points."""

    def read_out(map0: Tensor, map1: Tensor, xy0: Tensor, *, size0, size1) -> Tensor:
        place.append(xy0)
        place.append(torch.tensor([*size0, *size1]))
        return xy0

    return read_out


def reader(colours, read_out, *, canvas, frame, map_: str = "colour", **more: Any) -> PublishedReadOut:
    return PublishedReadOut(backbone=colours, map=map_, canvas=canvas, frame=frame, read_out=read_out, **more)


def test_points_are_read_in_the_frame_and_returned_in_pixels_of_the_file(tiny, photo):
    asked: list[Tensor] = []
    matcher = reader(tiny.Colours(), given(asked), canvas=PaddedSquare(side=64), frame=PaddedSquare(side=320))
    whole = Image(pixels=photo.pixels)
    found = matcher.match(whole, whole)
    moved = found.transfer(XY)
    # 160 x 120 in a square of 320: twice as large, 40 rows of black above.
    assert torch.equal(asked[0], 2 * torch.tensor(XY) + torch.tensor([0.0, 40.0]))
    assert asked[1].tolist() == [320, 320, 320, 320]
    torch.testing.assert_close(moved.xy, torch.tensor(XY))
    assert moved.confidence.tolist() == [1, 1, 1]


def test_a_crop_is_read_in_its_own_pixels_and_results_are_in_those_of_the_file(tiny, photo):
    asked: list[Tensor] = []
    matcher = reader(tiny.Colours(), given(asked), canvas=StretchedSquare(side=32), frame=Original())
    moved = matcher.match(photo, photo).transfer([[160.0, 70.0], [10.0, 10.0]])
    assert asked[0].tolist() == [[10.0, 10.0], [0.0, 0.0]]
    assert asked[1].tolist() == [120, 160, 120, 160]
    assert moved.xy.tolist() == [[160.0, 70.0], [150.0, 60.0]]
    assert moved.confidence.tolist() == [1, 0]


def test_without_a_frame_points_are_scaled_like_the_sides_of_the_image(tiny, photo):
    asked: list[Tensor] = []
    whole = Image(pixels=photo.pixels)  # 160 x 120
    stretched = reader(tiny.Colours(), given(asked), canvas=StretchedSquare(side=512), frame=None)
    moved = stretched.match(whole, whole).transfer(XY)
    torch.testing.assert_close(asked[0], torch.tensor(XY) * torch.tensor([512 / 160, 512 / 120]))
    assert asked[1].tolist() == [512, 512, 512, 512]
    torch.testing.assert_close(moved.xy, torch.tensor(XY))
    padded = reader(tiny.Colours(), given(asked), canvas=PaddedSquare(side=320), frame=None)
    padded.match(whole, whole).transfer(XY)
    torch.testing.assert_close(asked[2], 2 * torch.tensor(XY) + torch.tensor([0.0, 40.0]))


def test_the_canvas_is_the_image_scaled_by_pil_and_black_padding(tiny, photo):
    backbone = tiny.Colours(multiple=1)
    matcher = reader(backbone, given([]), canvas=PaddedSquare(side=80), frame=Original(), resample="lanczos")
    found = matcher.match(photo, photo)
    pixels = (photo.pixels.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    scaled = np.array(PIL.Image.fromarray(pixels).resize((80, 60), PIL.Image.Resampling.LANCZOS))
    expected = np.zeros((80, 80, 3), np.float32)
    expected[10:70] = scaled / np.float32(255)
    seen = found.maps[0].permute(1, 2, 0).numpy()  # the colours of single pixels
    np.testing.assert_allclose(seen, expected, atol=1e-7)


@pytest.mark.parametrize(
    ("read_out", "canvas", "frame", "near"),
    [
        (dift, StretchedSquare(side=80), Original(), 2.0),
        (partial(distilldift, soft=False), StretchedSquare(side=80), Original(), 2.0),
        (partial(geoaware, window=None), PaddedSquare(side=80), PaddedSquare(side=80), 4.1),
        (partial(matcha, window=0), StretchedSquare(side=80), None, 4.1),
        (
            partial(visual_ai, method="nn"),
            StretchedSquare(side=80),
            StretchedSquare(side=80),
            4.1,
        ),
    ],
)
def test_every_read_out_finds_a_scene_in_itself(tiny, scene, read_out, canvas, frame, near: float):
    matcher = reader(tiny.Colours(multiple=2), read_out, canvas=canvas, frame=frame)
    whole = scene((120, 160))
    moved = matcher.match(whole, whole).transfer(XY)
    assert (moved.xy - torch.tensor(XY)).abs().max() <= near


def test_asking_for_matches_is_an_error(tiny, photo):
    matcher = reader(tiny.Colours(), given([]), canvas=StretchedSquare(side=32), frame=Original())
    found = matcher.match(photo, photo)
    assert isinstance(matcher, Matcher)
    assert isinstance(found, Correspondence)
    with pytest.raises(CapabilityError, match="head nearest"):
        found.matches()


def test_each_image_is_extracted_once_and_a_joint_backbone_gets_pairs(tiny, photo, tmp_path):
    other = Image(pixels=photo.pixels.flip(2))
    alone, joint = tiny.Colours(), tiny.Colours(joint=True)
    canvas, frame = StretchedSquare(side=32), Original()
    matcher = reader(alone, given([]), canvas=canvas, frame=frame)
    matcher.use_cache(FeatureCache(tmp_path), "recipe")
    matcher.match(photo, other)
    matcher.match(other, photo)
    assert alone.seen == [(1, 1, 3, 32, 32)] * 2
    unused = tiny.Colours()
    again = reader(unused, given([]), canvas=canvas, frame=frame)
    again.use_cache(FeatureCache(tmp_path), "recipe")
    again.match(photo, other)
    assert unused.seen == []
    reader(joint, given([]), canvas=canvas, frame=frame).match(photo, other)
    assert joint.seen == [(1, 2, 3, 32, 32)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"map_": "color"}, "no map color; did you mean colour"),
        ({"canvas": StretchedSquare(side=30)}, "multiples of 4"),
        ({"resample": "nearest"}, "expected resample to be one of bilinear, bicubic, lanczos, got .nearest."),
    ],
)
def test_parts_that_do_not_fit_are_errors(tiny, changed, said):
    settings: dict[str, Any] = {"canvas": StretchedSquare(side=32), "frame": Original(), **changed}
    with pytest.raises(ConfigError, match=said):
        reader(tiny.Colours(), given([]), **settings)


def test_geoaware_requires_squares():
    with pytest.raises(ValueError, match="equal squares"):
        geoaware(
            torch.ones(2, 3, 3),
            torch.ones(2, 3, 3),
            torch.zeros(1, 2),
            size0=(8, 9),
            size1=(8, 9),
            window=None,
        )
