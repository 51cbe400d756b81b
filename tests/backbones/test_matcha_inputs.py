"""What MATCHA's release gives to its two backbones: the numbers of the official code, and what differs from DIFT."""

import json
import math
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from homolog.backbones.dift import Dift, seeded_noise
from homolog.backbones.dinov2 import Dino
from homolog.core.errors import ConfigError

TINY = {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 56}


@pytest.fixture(scope="module")
def golden(goldens: Path) -> dict[str, Any]:
    return json.loads((goldens / "matcha_fusion.json").read_text())


def test_golden_dino_of_an_image_of_odd_size(goldens: Path, golden: dict[str, Any], tmp_path: Path):
    ruled = runpy.run_path(str(Path(__file__).parents[1] / "heads/test_matcha_golden.py"))["ruled"]
    state = {key: ruled(golden["seed"], key, shape) for key, shape in golden["dino_shapes"].items()}
    torch.save(state, tmp_path / "dinov2_vitl14_pretrain.pth")
    case, tensors = golden["cases"]["dino"], load_file(goldens / "matcha_fusion.safetensors")
    dino = Dino(
        "vit_large_patch14_dinov2",
        tmp_path / "dinov2_vitl14_pretrain.pth",
        blocks=[case["depth"] - 1],
        normalise=False,
        positions="meta",
        round_up=True,
        architecture={"depth": case["depth"]},
    )
    with torch.no_grad():
        found = dino(tensors["dino.in.image"][:, None])
    assert found.image_size == tuple(case["image"])
    (map_,) = found.maps.values()
    wanted = tensors["dino.out.map"]
    assert map_.shape[-2:] == tuple(case["grid"])
    # The unit norm is the fusion's.
    assert (F.normalize(map_[:, 0], dim=1) - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def dino(**changes: Any) -> Dino:
    torch.manual_seed(0)
    return Dino("vit_small_patch14_dinov2", None, blocks=[1], architecture=TINY, **changes)


def image(height: int, width: int) -> Tensor:
    return torch.rand(1, 1, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_at_the_size_of_training_metas_positions_are_those_of_timm():
    images = image(56, 56)
    with torch.no_grad():
        one, other = (dino(positions=positions)(images)["block.1"] for positions in ("timm", "meta"))
        assert torch.equal(one, other)
        images = image(56, 84)
        one, other = (dino(positions=positions)(images)["block.1"] for positions in ("timm", "meta"))
    assert one.shape == other.shape
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("size", [(1, 14), (15, 27), (56, 57)])
def test_rounding_up_takes_any_size(size: tuple[int, int]):
    with torch.no_grad():
        found = dino(round_up=True)(image(*size))
    assert found.image_size == size
    assert found["block.1"].shape[-2:] == (math.ceil(size[0] / 14), math.ceil(size[1] / 14))


def test_rounding_up_leaves_a_size_that_fits_as_it_is():
    images = image(28, 42)
    with torch.no_grad():
        assert torch.equal(dino(round_up=True)(images)["block.1"], dino()(images)["block.1"])


def test_without_normalisation_an_image_is_what_a_normalised_one_becomes():
    images = image(28, 42)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    seen = (images - mean[:, None, None]) / std[:, None, None]
    with torch.no_grad():
        torch.testing.assert_close(dino(normalise=False)(seen)["block.1"], dino()(images)["block.1"])


@pytest.mark.parametrize("model", ["vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3"])
def test_metas_positions_are_for_models_without_registers(model: str):
    with pytest.raises(ConfigError, match="without registers"):
        Dino(model, None, blocks=[0], positions="meta", architecture={**TINY, "img_size": 112})


SMALL: dict[str, Any] = {
    "unet": {
        "sample_size": 16,
        "block_out_channels": [8, 16, 24, 24],
        "cross_attention_dim": 24,
        "attention_head_dim": [1, 2, 3, 3],
        "norm_num_groups": 4,
        "use_linear_projection": True,
    },
    "vae": {
        "block_out_channels": [8, 8, 16, 16],
        "norm_num_groups": 4,
        "layers_per_block": 2,
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
    },
}
MAPS = {"high": {"block": 1, "timestep": 261}, "low": {"block": 2, "timestep": 1}}


def dift(**changes: Any) -> Dift:
    torch.manual_seed(0)
    return Dift(None, MAPS, ensemble=2, architecture=SMALL, **changes)


def test_the_image_encoder_gets_the_range_that_it_is_given():
    images = image(64, 96)[0]
    noise = seeded_noise(images, seed=0, members=2, channels=4, size=(8, 12))
    with torch.no_grad():
        found = dift(image_range=[0, 1]).extract(images, noise)
        # From 0.5 to 1, so that the usual range brings them back to 0 to 1.
        usual = dift().extract((images + 1) / 2, noise)
        other = dift().extract(images, noise)
    for name, map_ in found.items():
        assert (map_ - usual[name]).abs().max() < 0.01 * (map_ - other[name]).abs().max()


@pytest.mark.parametrize("wrong", [[1, -1], [0, 0], [0], [0, 1, 2]])
def test_an_image_range_of_anything_but_two_rising_values_is_refused(wrong: list[int]):
    with pytest.raises(ConfigError, match="two rising values"):
        dift(image_range=wrong)


@pytest.mark.parametrize("size", [(32, 96), (96, 160)])
def test_maps_of_sides_in_multiples_of_32_have_a_16th_and_an_8th_of_the_size(size: tuple[int, int]):
    with torch.no_grad():
        found = dift(multiple=32)(image(*size))
    assert found["dift.high"].shape[-2:] == (size[0] // 16, size[1] // 16)
    assert found["dift.low"].shape[-2:] == (size[0] // 8, size[1] // 8)
