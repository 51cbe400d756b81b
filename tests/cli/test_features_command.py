"""`homolog features`: principal components as colours, for any backbone."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from homolog.cli.board import CAPTION
from homolog.cli.commands.features import SIDE
from homolog.cli.page import GAP
from homolog.cli.principal_colours import principal_colours
from homolog.cli.sheet import HEADER, MARGIN

PICTURE = Path("homolog-results/features.png")


def stretched(values: np.ndarray) -> np.ndarray:
    low, high = np.quantile(values, (0.01, 0.99), axis=1, method="nearest")[..., None]
    return np.clip((values - low) / (high - low), 0, 1)


def test_colours_are_the_principal_components_of_all_maps_together():
    torch.manual_seed(0)
    mixing = torch.randn(6, 6) * torch.tensor([5.0, 3, 2, 0.5, 0.3, 0.1])
    maps = [torch.einsum("cd,dhw->chw", mixing, torch.randn(6, *size)) for size in ((8, 9), (12, 5))]
    found = principal_colours(maps)
    cells = torch.cat([map_.flatten(1) for map_ in maps], dim=1).double().numpy()
    centred = cells - cells.mean(axis=1, keepdims=True)
    directions, lengths, _ = np.linalg.svd(centred, full_matrices=False)
    for component in range(3):
        direction = directions[:, component]
        direction = direction * np.sign(direction[np.abs(direction).argmax()])
        expected = stretched((direction @ centred)[None])[0]
        rgb = torch.cat([map_[component].flatten() for map_ in found.maps]).numpy()
        np.testing.assert_allclose(rgb, expected, atol=1e-5)
    assert found.explained == pytest.approx((lengths[:3] ** 2).sum() / (lengths**2).sum())
    assert [map_.shape for map_ in found.maps] == [(3, 8, 9), (3, 12, 5)]


def test_the_sign_follows_the_largest_entry_whatever_the_solver_returns():
    # The first channel varies most, and alone: red rises with it; turned round, it falls.
    ramp = torch.linspace(-1, 1, 100).view(1, 10, 10)
    rest = torch.zeros(3, 10, 10)
    red = principal_colours([torch.cat((ramp, rest))]).maps[0][0].flatten()
    assert (red.diff() >= 0).all()
    opposite = principal_colours([torch.cat((-ramp, 0.5 * ramp, rest))]).maps[0][0].flatten()
    assert (opposite.diff() <= 0).all()


def test_what_does_not_vary_stays_in_the_middle_and_one_channel_is_gray():
    torch.manual_seed(1)
    assert (principal_colours([torch.full((5, 4, 4), 2.5)]).maps[0] == 0.5).all()
    (gray,) = principal_colours([torch.randn(1, 6, 6)]).maps
    assert torch.equal(gray[0], gray[1])
    assert torch.equal(gray[0], gray[2])
    (two,) = principal_colours([torch.randn(2, 6, 6)]).maps
    assert (two[2] == 0.5).all()
    assert two[1].std() > 0.1


def test_every_photo_stands_beside_its_features(homolog, photos: Path):
    same = photos / "again.png"
    same.write_bytes((photos / "a.png").read_bytes())
    words = ("backbone=efficientnet_lite0", "--device", "cpu", "--resize", "128")
    said = homolog("features", photos / "a.png", same, *words, "--map", "blocks.2")
    assert said.code == 0
    assert said.out.startswith(
        "blocks.2: similar colours are similar features, across the 2 photos; 3 of 40 components"
    )
    first = PICTURE.read_bytes()
    picture = np.asarray(PIL.Image.open(PICTURE)).astype(int)
    height = SIDE * 192 // 208
    top, left = HEADER + CAPTION, MARGIN + SIDE + GAP
    upper = picture[top : top + height, left : left + SIDE]
    lower = picture[top + height + GAP + CAPTION :][:height, left : left + SIDE]
    # One photo twice has the same colours twice, and they are no photo: each cell is of one colour.
    np.testing.assert_array_equal(upper, lower)
    cell = height // 15
    assert upper.std() > 30
    assert np.ptp(upper[3 * cell + 8 : 4 * cell - 8, 3 * cell + 12 : 4 * cell - 12], axis=(0, 1)).max() == 0
    assert homolog("features", photos / "a.png", same, *words, "--map", "blocks.2").code == 0
    assert PICTURE.read_bytes() == first


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
