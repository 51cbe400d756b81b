"""Samples check that their parts fit together."""

import pytest
import torch

from homolog.core.errors import ShapeError
from homolog.core.image import Image
from homolog.core.samples import PairSample, VideoSample
from homolog.core.tracks import Tracks


def _image() -> Image:
    return Image(pixels=torch.zeros(3, 8, 8))


def test_a_pair_needs_points_in_both_images_or_in_neither() -> None:
    PairSample(image0=_image(), image1=_image())
    PairSample(image0=_image(), image1=_image(), xy0=torch.zeros(3, 2), xy1=torch.zeros(3, 2))
    with pytest.raises(ShapeError, match="p1: expected points in both images or in neither"):
        PairSample(image0=_image(), image1=_image(), xy0=torch.zeros(3, 2), name="p1")


@pytest.mark.usefixtures("unchecked")
def test_a_pair_needs_equally_many_points_in_both_images() -> None:
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
