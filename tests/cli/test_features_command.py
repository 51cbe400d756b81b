"""`homolog features`: features as colours, for any backbone."""

from pathlib import Path

import PIL.Image
import pytest
import torch

PICTURE = Path("homolog-results/features.png")


def test_the_same_photos_give_the_same_picture(homolog, photos: Path):
    same = photos / "again.png"
    same.write_bytes((photos / "a.png").read_bytes())
    words = ("backbone=efficientnet_lite0", "--device", "cpu", "--resize", "128")
    said = homolog("features", photos / "a.png", same, *words, "--map", "blocks.2")
    assert said.code == 0
    assert said.out.startswith(
        "blocks.2: similar colours are similar features, across the 2 photos; 3 of 40 components"
    )
    first = PICTURE.read_bytes()
    with PIL.Image.open(PICTURE) as picture:
        assert min(picture.size) > 700
    assert homolog("features", photos / "a.png", same, *words, "--map", "blocks.2").code == 0
    assert PICTURE.read_bytes() == first


@pytest.mark.parametrize(
    ("backbone", "name"), [("small", "coarse"), ("mini", "coarse"), ("xfeat", "descriptor")]
)
def test_the_map_with_the_most_channels_is_taken(homolog, photos: Path, backbone: str, name: str):
    said = homolog("features", photos / "a.png", f"backbone={backbone}", "--device", "cpu", "--resize", "128")
    assert said.out.startswith(f"{name}: similar colours are similar features")


def test_the_last_map_is_taken_and_settings_reach_the_backbone(homolog, photos: Path):
    photo = (photos / "a.png", "backbone=efficientnet_lite0", "--device", "cpu", "--resize", "96")
    assert homolog("features", *photo).out.startswith("blocks.4: ")
    assert homolog("features", *photo, "backbone.maps=[blocks.1,blocks.6]").out.startswith("blocks.6: ")


def test_a_joint_backbone_sees_all_photos_as_one_scene(homolog, photos: Path):
    odd = photos / "odd.png"
    PIL.Image.open(photos / "b.png").crop((0, 0, 120, 190)).save(odd)
    torch.manual_seed(0)
    said = homolog(
        "features", photos / "a.png", odd, "backbone=vggt_mini", "--device", "cpu", "--resize", "96"
    )
    assert said.code == 0
    assert "untrained: backbone" in said.err
    assert "across the 2 photos" in said.out


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("a.png",), 2, "homolog: error: expected photos and one backbone=NAME"),
        (("backbone=mini",), 2, "homolog: error: expected photos and one backbone=NAME"),
        (("a.png", "backbone=mni"), 2, "homolog: error: no backbone named 'mni'; did you mean mini?"),
        (
            ("a.png", "backbone=efficientnet_lite0", "--map", "block.2", "--device", "cpu"),
            2,
            "homolog: error: the backbone has no map block.2; did you mean blocks.2?",
        ),
        (("none.png", "backbone=efficientnet_lite0"), 3, "homolog: error: none.png: expected an image file"),
    ],
)
def test_wrong_use_is_one_line_and_leaves_nothing(homolog, photos: Path, words, code: int, expected: str):
    said = homolog("features", *(photos / word if word == "a.png" else word for word in words))
    assert said.code == code
    (line,) = said.err.splitlines()
    assert line.startswith(expected)
    assert not PICTURE.parent.exists()
