"""DINOv2 and DINOv3: both checkpoint formats, and what is read."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor

from homolog.backbones.dinov2 import Dino
from homolog.core.errors import ConfigError, WeightsError

CONFIGS = [
    path
    for path in sorted((Path(__file__).parents[2] / "configs/backbone").glob("dinov[23]_*.yaml"))
    if "homolog.backbones.dinov2.Dino" in path.read_text()  # others wrap one of these
]
TINY = {"embed_dim": 32, "depth": 3, "num_heads": 2}
DINOV2 = [
    "vit_small_patch14_dinov2",
    "vit_small_patch14_reg4_dinov2",
    "vit_giant_patch14_dinov2",
    "vit_giant_patch14_reg4_dinov2",
]
DINOV3 = ["vit_small_patch16_dinov3_qkvb", "vit_base_patch16_dinov3", "vit_huge_plus_patch16_dinov3"]


def architecture(model: str) -> dict[str, Any]:
    return {**TINY, "img_size": 64 if "dinov3" in model else 56}


def source(model: str) -> Any:
    """A whole timm model whose every tensor is random: fresh layer scales and biases would hide mistakes."""
    network: Any = timm.create_model(
        model, pretrained=False, num_classes=0, dynamic_img_size=True, **architecture(model)
    )
    generator = torch.Generator().manual_seed(3)
    for value in network.state_dict().values():
        value.copy_(torch.randn(value.shape, generator=generator) * 0.3)
    return network.eval()


def expected(network: Any, images: Tensor) -> list[Tensor]:
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.no_grad():
        return network.forward_intermediates(
            (images - mean) / std, indices=[0, 1, 2], norm=True, intermediates_only=True
        )


def rectangle(model: str) -> Tensor:
    patch = 16 if "dinov3" in model else 14
    return torch.rand(2, 3, 3 * patch, 5 * patch, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("model", DINOV2 + DINOV3)
def test_timms_file_gives_the_features_of_the_model_it_was_saved_from(model: str, tmp_path: Path) -> None:
    network, images = source(model), rectangle(model)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    dino = Dino(model, tmp_path / "model.safetensors", blocks=[2, 0], architecture=architecture(model))
    features = dino(images[None])
    first, _, last = expected(network, images)
    assert list(features.maps) == ["block.0", "block.2"]
    torch.testing.assert_close(features["block.0"][0], first)
    torch.testing.assert_close(features["block.2"][0], last)
    assert features["block.2"].shape == (1, 2, 32, 3, 5)


def meta_state(network: Any, model: str) -> dict[str, Tensor]:
    """Random tensors under the names and in the shapes of Meta's files."""
    generator = torch.Generator().manual_seed(5)
    named: dict[str, Tensor] = {"mask_token": torch.zeros(1, 32)}
    for key, value in network.state_dict().items():
        name = key.replace("reg_token", "register_tokens")
        if "giant" in model:
            name = name.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3")
        shape = (1, 17, 32) if key == "pos_embed" else tuple(value.shape)
        named[name] = torch.randn(shape, generator=generator) * 0.3
    return named


@pytest.mark.parametrize("model", DINOV2)
def test_metas_file_gives_the_features_that_timms_own_conversion_gives(model: str, tmp_path: Path) -> None:
    network, images = source(model), rectangle(model)
    state = meta_state(network, model)
    torch.save(state, tmp_path / "dinov2_pretrain.pth")
    converted: dict[str, Tensor] = checkpoint_filter_fn(dict(state), network)
    network.load_state_dict(converted)
    dino = Dino(model, tmp_path / "dinov2_pretrain.pth", blocks=[2], architecture=architecture(model))
    torch.testing.assert_close(dino(images[None])["block.2"][0], expected(network, images)[-1])


def test_the_last_normed_block_is_what_dino_calls_its_features(tmp_path: Path) -> None:
    model = "vit_small_patch14_reg4_dinov2"
    network, images = source(model), rectangle(model)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    dino = Dino(model, tmp_path / "model.safetensors", blocks=[2], architecture=architecture(model))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        tokens = network.forward_features((images - mean[:, None, None]) / std[:, None, None])[:, 5:]
    found = dino(images[None])["block.2"][0].flatten(2).mT
    torch.testing.assert_close(found, tokens)


def test_without_norm_the_tokens_are_as_the_block_leaves_them() -> None:
    model = "vit_small_patch14_dinov2"
    torch.manual_seed(0)
    raw = Dino(model, None, blocks=[1], norm=False, architecture=architecture(model))
    torch.manual_seed(0)
    normed = Dino(model, None, blocks=[1], norm=True, architecture=architecture(model))
    images = rectangle(model)[None]
    tokens = raw(images)["block.1"].movedim(2, -1)
    torch.testing.assert_close(normed.network.norm(tokens).movedim(-1, 2), normed(images)["block.1"])


def test_nothing_behind_the_last_block_is_kept() -> None:
    model = "vit_small_patch14_dinov2"
    dino = Dino(model, None, blocks=[0, 1], architecture=architecture(model))
    assert len(dino.network.blocks) == 2
    dino(rectangle(model)[None])["block.1"].square().sum().backward()
    assert all(parameter.grad is not None for parameter in dino.parameters())


def test_weights_of_another_size_are_refused_with_the_keys(tmp_path: Path) -> None:
    model = "vit_small_patch14_dinov2"
    save_file(source(model).state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"missing \(blocks\.3.*"):
        Dino(
            model,
            tmp_path / "model.safetensors",
            blocks=[0],
            architecture={**architecture(model), "depth": 4},
        )
    with pytest.raises(WeightsError, match=r"missing .*reg_token"):
        Dino(
            "vit_small_patch14_reg4_dinov2",
            tmp_path / "model.safetensors",
            blocks=[0],
            architecture=architecture(model),
        )


@pytest.mark.parametrize(
    ("model", "blocks", "message"),
    [
        ("vit_small_patch14_dino2", [0], "did you mean"),
        ("vit_small_patch14_dinov2", [3], "0 to 2"),
        ("vit_small_patch14_dinov2", [], "0 to 2"),
    ],
)
def test_what_does_not_exist_is_refused(model: str, blocks: list[int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Dino(model, None, blocks=blocks, architecture=architecture(model))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_each_yaml_reads_the_last_block_of_a_model_whose_weights_timm_lists(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    with torch.device("meta"):
        dino = Dino(config["model"], None, blocks=config["blocks"])
        whole: Any = timm.create_model(config["model"], num_classes=0)
    assert config["blocks"] == [len(whole.blocks) - 1]
    (channels,) = dino.channels.values()
    assert f"{channels}-d" in path.read_text().splitlines()[0]
    listed = timm.list_pretrained(f"{config['model']}.*")
    assert config["checkpoint"]["url"].split("/timm/")[1].split("/")[0] in listed
