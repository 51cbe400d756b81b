"""Images and samples: what they refuse, what their frames and digests say."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from homolog.core.coords import compose_affines, resize_affine, shift_affine
from homolog.core.errors import ShapeError
from homolog.core.image import Image
from homolog.core.samples import PairSample, VideoSample
from homolog.core.tracks import Tracks


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
def test_what_is_no_rgb_tensor_is_refused_by_name(pixels: Tensor) -> None:
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


def test_the_digest_follows_the_pixels_alone() -> None:
    pixels = torch.rand(3, 6, 8)
    image = Image(pixels=pixels, name="a.jpg")
    assert (
        image.digest()
        == Image(pixels=pixels.clone(), to_original=shift_affine(1.0, 2.0), name="b.jpg").digest()
    )
    changed = pixels.clone()
    changed[1, 2, 3] += 1e-6
    assert image.digest() != Image(pixels=changed).digest()


def test_the_digest_tells_shapes_apart_and_does_not_mind_strides() -> None:
    flat = torch.rand(3 * 48)
    assert Image(pixels=flat.reshape(3, 6, 8)).digest() != Image(pixels=flat.reshape(3, 8, 6)).digest()
    pixels = torch.rand(3, 6, 8)
    assert (
        Image(pixels=pixels).digest()
        == Image(pixels=pixels.permute(1, 2, 0).contiguous().permute(2, 0, 1)).digest()
    )


def _image() -> Image:
    return Image(pixels=torch.zeros(3, 8, 8))


def test_a_pair_needs_points_in_both_images_or_in_neither() -> None:
    PairSample(image0=_image(), image1=_image())
    PairSample(image0=_image(), image1=_image(), xy0=torch.zeros(3, 2), xy1=torch.zeros(3, 2))
    with pytest.raises(ShapeError, match="p1: expected points in both images or in neither"):
        PairSample(image0=_image(), image1=_image(), xy0=torch.zeros(3, 2), name="p1")


@pytest.mark.usefixtures("unchecked")
def test_a_pair_needs_as_many_points_here_as_there() -> None:
    with pytest.raises(ShapeError, match=r"expected as many points in image 1 as in image 0 \(3\)"):
        PairSample(image0=_image(), image1=_image(), xy0=torch.zeros(3, 2), xy1=torch.zeros(4, 2))


@pytest.mark.usefixtures("unchecked")
def test_a_group_of_points_needs_a_flag_for_each() -> None:
    flags, xy = torch.tensor([True, False, True]), torch.zeros(3, 2)
    PairSample(image0=_image(), image1=_image(), xy0=xy, xy1=xy, groups={"aware": flags})
    with pytest.raises(ShapeError, match=r"one flag per point \(3\) in the group aware"):
        PairSample(image0=_image(), image1=_image(), xy0=xy, xy1=xy, groups={"aware": flags[:2]})
    with pytest.raises(ShapeError, match=r"one flag per point \(0\)"):
        PairSample(image0=_image(), image1=_image(), groups={"aware": flags})


def test_pairs_do_not_share_their_facts() -> None:
    PairSample(image0=_image(), image1=_image()).facts["viewpoint"] = "small"
    assert PairSample(image0=_image(), image1=_image()).facts == {}


def test_a_video_needs_tracks_over_all_its_frames() -> None:
    tracks = Tracks(
        xy=torch.zeros(2, 3, 2),
        visible=torch.ones(2, 3, dtype=torch.bool),
        query_frame=torch.zeros(2, dtype=torch.long),
    )
    VideoSample(frames=[_image()] * 3, tracks=tracks)
    with pytest.raises(ShapeError, match="v1: expected tracks over 2 frames, got 3"):
        VideoSample(frames=[_image()] * 2, tracks=tracks, name="v1")
