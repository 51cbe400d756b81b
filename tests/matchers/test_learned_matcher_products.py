"""The products with learned matchers (OmniGlue, LightGlue), at tiny size: they compose, run and can be changed."""

from typing import Any

import pytest
import torch
from skimage import data

from homolog.core.errors import CapabilityError, ShapeError
from homolog.core.features import Features
from homolog.core.image import Image, crop
from homolog.core.io import as_image
from homolog.core.keypoints import Keypoints, Matches
from homolog.matchers.sparse import SparseCorrespondence, SparseMatcher
from homolog.zoo import load_matcher
from homolog.zoo.compose import compose

DINO = "{embed_dim:32,depth:2,num_heads:2,img_size:56}"
GUIDANCE = [
    "backbone.backbone.checkpoint=null",
    "backbone.backbone.blocks=[1]",
    f"backbone.backbone.architecture={DINO}",
    "backbone.resize=112",
]
SUPERPOINT = [
    "detector.checkpoint=null",
    "detector.channels=[8,8,16,16,32]",
    "detector.descriptor_dim=16",
    "detector.threshold=0.0",
    "detector.max_keypoints=40",
]
GLUE = ["head.input_dim=16", "head.width=16", "head.layers=2", "head.heads=2", "head.match_threshold=0.0"]
LONGEST = ["resize=200"]


def loaded(name: str, *settings: str) -> SparseMatcher:
    torch.manual_seed(0)
    matcher = load_matcher(name, *settings, device="cpu")
    assert isinstance(matcher, SparseMatcher)
    return matcher


@pytest.fixture(scope="module")
def pair() -> tuple[Image, Image]:
    photo = as_image(data.astronaut())
    return crop(photo, x=20, y=10, size=(300, 420)), crop(photo, x=60, y=40, size=(400, 360))


@pytest.fixture(scope="module")
def omniglue() -> SparseMatcher:
    return loaded("omniglue", *GUIDANCE, *SUPERPOINT, *GLUE, *LONGEST)


def check_indices(found: SparseCorrespondence) -> None:
    matches = found.matches()
    for side in (0, 1):
        keypoints, index = getattr(found, f"keypoints{side}"), getattr(matches, f"index{side}")
        assert torch.equal(keypoints[index], getattr(matches, f"xy{side}"))


class Recorder(torch.nn.Module):
    """Records the inputs of a head."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head = head
        self.given: list[tuple[Keypoints, Features]] = []

    def forward(
        self, keypoints0: Keypoints, keypoints1: Keypoints, features0: Features, features1: Features
    ) -> Matches:
        self.given = [(keypoints0, features0), (keypoints1, features1)]
        return self.head(keypoints0, keypoints1, features0, features1)


def test_the_head_gets_the_descriptors_of_the_detector_and_the_guidance_map(pair):
    matcher = loaded("omniglue", *GUIDANCE, *SUPERPOINT, *GLUE, *LONGEST)
    recorder = Recorder(matcher.head)
    matcher.head = recorder
    matcher.match(*pair).matches()
    assert len(recorder.given) == 2
    for keypoints, features in recorder.given:
        assert keypoints.descriptor is not None
        assert keypoints.descriptor.shape == (40, 16)
        torch.testing.assert_close(keypoints.descriptor.norm(dim=1), torch.ones(40))
        assert list(features.maps) == ["block.1"]
        # SuperPoint saw up to 200 pixels, DINO 112 of them; the map covers the larger image.
        assert max(features.image_size) > 112
        assert max(features["block.1"].shape[-2:]) == 8


def test_matches_are_keypoints_in_pixels_of_the_originals(omniglue, pair):
    correspondence = omniglue.match(*pair)
    found = correspondence.matches()
    assert 0 < len(found) <= 40
    check_indices(correspondence)
    assert (found.score > 0).all()
    assert (found.score <= 1 + 1e-5).all()
    for xy, corner, size in ((found.xy0, (20, 10), (420, 300)), (found.xy1, (60, 40), (360, 400))):
        inner = xy - torch.tensor(corner)
        assert (inner >= 0).all()
        assert (inner <= torch.tensor(size) - 1).all()


def test_matching_is_deterministic(omniglue, pair):
    first = omniglue.match(*pair).matches()
    omniglue.forget()
    again = omniglue.match(*pair).matches()
    assert torch.equal(first.xy0, again.xy0)
    assert torch.equal(first.score, again.score)


def test_an_image_without_keypoints_has_no_matches(pair):
    matcher = loaded("omniglue", *GUIDANCE, *SUPERPOINT, *GLUE, *LONGEST, "detector.threshold=1.0")
    assert len(matcher.match(*pair).matches()) == 0


def test_without_guidance_no_backbone_is_needed(pair):
    matcher = loaded("omniglue", "~backbone", "head.guidance=none", *SUPERPOINT, *GLUE, *LONGEST)
    assert matcher.backbone is None
    assert len(matcher.match(*pair).matches()) > 0


def test_the_error_for_guidance_without_a_backbone_says_what_to_do(pair):
    matcher = loaded("omniglue", "~backbone", *SUPERPOINT, *GLUE, *LONGEST)
    with pytest.raises(CapabilityError, match=r"give the matcher a backbone, or set head\.guidance=none"):
        matcher.match(*pair).matches()


def test_the_error_for_descriptors_of_another_length_says_what_to_do(pair):
    matcher = loaded("omniglue", *GUIDANCE, "detector=sift", *GLUE, *LONGEST)
    with pytest.raises(ShapeError, match="expected descriptors of length 16, got 128"):
        matcher.match(*pair).matches()


@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "xfeat"])
def test_another_backbone_can_guide(pair, backbone):
    map_ = {"efficientnet_lite0": "blocks.4", "xfeat": "descriptor"}[backbone]
    matcher = loaded("omniglue", f"backbone={backbone}", f"head.map={map_}", *SUPERPOINT, *GLUE, *LONGEST)
    assert len(matcher.match(*pair).matches()) > 0


def test_the_small_product_runs_on_packaged_weights(pair):
    matcher = loaded("mini_omniglue", "head.match_threshold=0.0", "resize=320")
    found = matcher.match(*pair).matches()
    assert len(found) > 0
    assert found.score.isfinite().all()


@pytest.mark.parametrize(
    ("product", "settings"),
    [
        ("superpoint", SUPERPOINT),
        ("disk", ["detector.checkpoint=null", "detector.descriptor_dim=16", "detector.max_keypoints=40"]),
        ("aliked", ["detector.checkpoint=null", "detector.variant=aliked-t16", "detector.max_keypoints=40"]),
        ("sift", ["detector.max_keypoints=40"]),
    ],
)
def test_lightglue_takes_the_keypoints_of_its_detector(pair, product, settings):
    sizes = {"aliked": 64, "sift": 128}
    small = [
        "head.checkpoint=null",
        "head.descriptor_dim=16",
        "head.layers=2",
        "head.heads=2",
        "head.match_threshold=0.0",
    ]
    matcher = loaded(
        f"lightglue_{product}", *settings, *small, f"head.input_dim={sizes.get(product, 16)}", *LONGEST
    )
    correspondence = matcher.match(*pair)
    found = correspondence.matches()
    check_indices(correspondence)
    assert len(found) <= 80
    assert found.score.isfinite().all()


@pytest.mark.parametrize(
    ("product", "length"), [("superpoint", 256), ("disk", 128), ("aliked", 128), ("sift", 128)]
)
def test_each_lightglue_is_configured_for_the_descriptors_of_its_detector(product, length):
    config = compose("match", [f"matcher=lightglue_{product}"])
    assert config["head"]["input_dim"] == length
    assert config["head"].get("scale_and_angle", False) == (product == "sift")
    # LightGlue for SuperPoint was trained on Magic Leap's descriptors; rpautrat's do not fit.
    assert product != "superpoint" or config["detector"]["sampling"] == "magicleap"
