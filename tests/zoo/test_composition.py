"""Composition is the product: every backbone with every head that can read it, at tiny size, from YAML alone."""

from pathlib import Path

import pytest
import torch
import yaml
from skimage import data

from homolog.core.errors import HomologError
from homolog.core.image import Image, crop
from homolog.core.io import as_image
from homolog.core.protocols import Matcher
from homolog.zoo import load_matcher
from homolog.zoo.build import build, resolved
from homolog.zoo.compose import compose

ROOT = Path(__file__).parents[2]
BACKBONES = sorted(path.stem for path in (ROOT / "configs/backbone").glob("*.yaml"))
ON_ANY_MAP = ("nearest", "nearest_ratio", "dual_softmax")
SUPERPOINT = ("detector.checkpoint=null", "detector.channels=[8,8,16,16,32]", "detector.descriptor_dim=16")
DINO = "{embed_dim:32,depth:2,num_heads:2,img_size:64}"


@pytest.fixture(scope="module")
def photos() -> tuple[Image, Image]:
    photo = as_image(data.astronaut())
    return crop(photo, x=150, y=60, size=(96, 128)), crop(photo, x=166, y=68, size=(112, 128))


def tiny(kind: str, name: str) -> list[str]:
    """What makes a part tiny and its weights random."""
    path = ROOT / "tests/tiny" / kind / f"{name}.yaml"
    return [f"{kind}.{setting}" for setting in yaml.safe_load(path.read_text())] if path.exists() else []


def loaded(*settings: str) -> Matcher:
    torch.manual_seed(0)
    return load_matcher(settings[0], *settings[1:], device="cpu")


def check(matcher: Matcher, photos: tuple[Image, Image], *, transfers: bool = True) -> None:
    """A composed matcher answers in the two ways of all matchers, inside the photos."""
    found = matcher.match(*photos)
    matches = found.matches()
    for xy, photo in ((matches.xy0, photos[0]), (matches.xy1, photos[1])):
        inner = photo.xy_from_original(xy)
        assert (inner >= -0.5).all()
        assert (inner <= torch.tensor(photo.size).flip(0)).all()
    assert found.can_transfer == transfers
    if transfers:
        moved = found.transfer(photos[0].xy_to_original(torch.tensor([[20.0, 30.0], [60.0, 70.0]])))
        assert moved.xy.isfinite().all()
        assert ((moved.confidence >= 0) & (moved.confidence <= 1)).all()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_with_every_head_that_reads_any_map(backbone: str, photos: tuple[Image, Image]):
    settings = (f"backbone={backbone}", *tiny("backbone", backbone), "resize=96", "enlarge=false")
    config = compose("match", ["matcher=dinov2_nn", *settings, "descriptor_map=x"])
    map_ = list(build(resolved(config)["backbone"]).channels)[-1]
    for head in ON_ANY_MAP:
        matcher = loaded("dinov2_nn", *settings, f"descriptor_map={map_}", f"head={head}")
        check(matcher, photos, transfers=head.startswith("nearest"))


@pytest.mark.parametrize(
    ("settings", "transfers"),
    [
        (("mini_dense",), True),
        (("mini_dense", "passes=mean"), True),
        (("mini_semidense",), True),
        (("mini_semidense", "head.depth=0", "head.window=1"), True),
        (("mini_fusion",), True),
        (("mini_fusion", "descriptor_map=semantic"), True),
        (("mini_fusion", "backbone.fusion.residual=sequential", "backbone.fusion.align=coarse"), True),
        (("mini_omniglue",), False),
        (("mini_omniglue", "~backbone", "head.guidance=none"), False),
        (("xfeat", "head=mini_guided_matcher", "head.guidance=none"), False),
        (
            (
                "superpoint_mnn",
                *SUPERPOINT,
                "head=mini_guided_matcher",
                "head.guidance=none",
                "head.input_dim=16",
            ),
            False,
        ),
    ],
)
def test_the_heads_that_learn_on_the_bundled_features(
    settings: tuple[str, ...], transfers: bool, photos: tuple[Image, Image]
):
    check(
        loaded(*settings, *(() if "mini_dense" in settings else ("resize=128",))),
        photos,
        transfers=transfers,
    )


def test_dinov3_in_the_place_of_the_semantic_part_of_a_fusion(photos: tuple[Image, Image]):
    part = "backbone.backbone.parts.semantic"
    matcher = loaded(
        "mini_fusion",
        f"backbone@{part}=dinov3_s",
        "backbone.fusion.high=semantic.block.1",
        "backbone.fusion.high_channels=32",
        *(f"{part}.checkpoint=null", f"{part}.blocks=[1]", f"{part}.architecture={DINO}", "resize=128"),
    )
    check(matcher, photos)


@pytest.mark.parametrize(
    ("matcher", "backbone", "settings"),
    [
        ("dift_published", "dift", ("canvas.side=128",)),
        ("sd_dino_published", "sd_dino", ("canvas.side=128", "frame.side=112")),
        *(
            ("dinov2_published", "dinov2_b", ("canvas.side=84", "frame.side=84", f"read_out={path.stem}"))
            for path in sorted((ROOT / "configs/read_out").glob("*.yaml"))
        ),
    ],
)
def test_every_read_out_of_others_reads_a_backbone_in_its_square(
    matcher: str, backbone: str, settings: tuple[str, ...], photos: tuple[Image, Image]
):
    found = loaded(matcher, *tiny("backbone", backbone), *settings).match(*photos)
    moved = found.transfer(photos[0].xy_to_original(torch.tensor([[20.0, 30.0], [60.0, 70.0]])))
    assert moved.xy.isfinite().all()
    assert moved.confidence.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("mini_dense", "backbone=dinov2_s", *tiny("backbone", "dinov2_s")), "sees both images together"),
        (("mini_dense", "head=nearest"), "expects a dense head"),
        (("mini", "head=mini_coarse_to_fine"), "no feature map named coarse"),
        (
            ("superpoint_mnn", *tiny("detector", "superpoint"), "head=mini_coarse_to_fine"),
            "no feature map named coarse",
        ),
        (("mini_fusion", "backbone.fusion.high=semantic.blocks.6"), "no feature map named semantic.blocks.6"),
        (("mini", "head=mini_guided_matcher"), ""),
        (("mini", "descriptor_map=nothing"), "the backbone has no map nothing"),
        (("xfeat_lighterglue", "detector=lattice"), ""),
    ],
)
def test_an_impossible_combination_is_an_error_with_the_reason(
    settings: tuple[str, ...], said: str, photos: tuple[Image, Image]
):
    with pytest.raises(HomologError) as caught:
        loaded(*settings).match(*photos).matches()
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert len(message) > 20
