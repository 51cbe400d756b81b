"""DIFT on a tiny Stable Diffusion, and the noise that belongs to an image."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from homolog.backbones.dift import Dift, seeded_noise
from homolog.backbones.dift_prompt import embedding_file
from homolog.core.errors import ConfigError, WeightsError
from homolog.zoo.build import build
from homolog.zoo.compose import compose


def test_noise_belongs_to_the_image_exactly() -> None:
    images = torch.rand(3, 3, 64, 128, generator=torch.Generator().manual_seed(2))

    def draw(images: Tensor, members: int, seed: int = 0) -> Tensor:
        noise = seeded_noise(images, seed=seed, members=members, channels=4, size=(8, 16))
        return torch.stack((noise.posterior, noise.diffusion))

    together = draw(images, 8)
    for index, image in enumerate(images):
        assert torch.equal(draw(image[None], 3)[:, 0], together[:, index, :3])
    assert not torch.equal(together[:, 0], together[:, 1])
    assert not torch.equal(together[:, :, 0], together[:, :, 1])
    assert not torch.equal(draw(images, 1, seed=1), together[:, :, :1])
    assert not torch.equal(together[0], together[1])
    assert together.dtype == torch.float32
    assert abs(together.mean().item()) < 0.02
    assert abs(together.std().item() - 1) < 0.02


UNET: dict[str, Any] = {
    "sample_size": 16,
    "block_out_channels": (8, 16, 24, 24),
    "cross_attention_dim": 24,
    "attention_head_dim": (1, 2, 3, 3),
    "norm_num_groups": 4,
    "use_linear_projection": True,
}
VAE: dict[str, Any] = {
    "block_out_channels": (8, 8, 16, 16),
    "norm_num_groups": 4,
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
HIGH, LOW = {"block": 1, "timestep": 261}, {"block": 2, "timestep": 0}


@pytest.fixture(scope="module")
def stock() -> tuple[UNet2DConditionModel, AutoencoderKL, DDIMScheduler]:
    torch.manual_seed(0)
    unet, vae = UNet2DConditionModel(**UNET), AutoencoderKL(**VAE)
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    return unet.eval(), vae.eval(), scheduler


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, stock: tuple[Any, Any, Any]) -> Path:
    """A checkpoint as diffusers itself writes it, with an embedding of the null prompt."""
    folder = tmp_path_factory.mktemp("dift")
    for part, name in zip(stock, ("unet", "vae", "scheduler"), strict=True):
        part.save_pretrained(folder / name)
    embedding_file(folder, "").parent.mkdir()
    generator = torch.Generator().manual_seed(1)
    save_file({"embedding": torch.randn(1, 7, 24, generator=generator)}, embedding_file(folder, ""))
    return folder


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(3, 3, 64, 128, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def copy(tmp_path: Path, folder: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def _count(module: nn.Module) -> list[int]:
    """Count how often a module runs, and on how many items."""
    runs: list[int] = []
    module.register_forward_hook(lambda _module, _inputs, output: runs.append(len(_first(output))))
    return runs


def _first(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


@pytest.mark.parametrize("size", [(64, 128), (136, 120)])
@pytest.mark.parametrize(
    "tap", [HIGH, LOW, {"block": 0, "timestep": 100, "layer": 1}, {"block": 3, "timestep": 5}]
)
def test_a_saved_checkpoint_gives_what_the_whole_stock_model_gives(
    folder: Path, stock: tuple[Any, Any, Any], size: tuple[int, int], tap: dict[str, int]
) -> None:
    unet, vae, scheduler = stock
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(3))
    dift = Dift(folder, {"map": tap}, ensemble=2, multiple=8)
    noise = seeded_noise(image, seed=0, members=2, channels=4, size=(size[0] // 8, size[1] // 8))
    members: list[Tensor] = []
    block = unet.up_blocks[tap["block"]]
    module = block if "layer" not in tap else block.resnets[tap["layer"]]
    handle = module.register_forward_hook(lambda _m, _i, output: members.append(output))
    timestep = torch.tensor([tap["timestep"]])
    context = load_file(embedding_file(folder, ""))["embedding"]
    with torch.no_grad():
        for member in range(2):
            seen = vae.encode(2 * image - 1).latent_dist
            latent = (seen.mean + seen.std * noise.posterior[:, member]) * vae.config.scaling_factor
            noisy = scheduler.add_noise(latent, noise.diffusion[:, member], timestep)
            unet(noisy, timestep, encoder_hidden_states=context)
    handle.remove()
    found = dift(image[None])["dift.map"][0]
    torch.testing.assert_close(found, torch.stack(members).mean(0), atol=2e-5, rtol=1e-4)


def test_decoder_and_later_blocks_are_not_kept(folder: Path) -> None:
    state = Dift(folder, {"high": HIGH}).state_dict()
    dropped = (
        "network.encoder.decoder",
        "network.encoder.post_quant",
        "network.unet.conv_out",
        "network.unet.conv_norm",
    )
    assert not [key for key in state if key.startswith(dropped)]
    assert {key.split("up_blocks.")[1][0] for key in state if "unet.up_blocks." in key} == {"0", "1"}


def test_older_names_of_the_autoencoders_attention_are_understood(
    folder: Path, copy: Path, images: Tensor
) -> None:
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    path = copy / "vae" / "diffusion_pytorch_model.safetensors"
    state: dict[str, Tensor] = {}
    for key, value in load_file(path).items():
        for new, name in old.items():
            key = key.replace(f".attentions.0.{new}.", f".attentions.0.{name}.")
        state[key] = value
    assert "encoder.mid_block.attentions.0.query.weight" in state
    save_file(state, path)
    maps = [
        Dift(path_, {"high": HIGH}, ensemble=1)(images[None, :1])["dift.high"] for path_ in (folder, copy)
    ]
    assert torch.equal(*maps)


def test_other_weights_of_the_unet_take_the_place_of_the_folders(
    folder: Path, tmp_path: Path, images: Tensor
) -> None:
    state = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    path = tmp_path / "cleandift.safetensors"
    save_file({key: value * 0.9 for key, value in state.items()}, path)
    plain, other = (
        Dift(folder, {"high": HIGH}, ensemble=1, unet_checkpoint=unet)(images[None, :1])["dift.high"]
        for unet in (None, path)
    )
    assert not torch.allclose(plain, other, atol=1e-3)


def test_a_feature_does_not_depend_on_batch_or_order(folder: Path, images: Tensor) -> None:
    dift = Dift(folder, {"high": HIGH, "low": LOW}, ensemble=3, chunk=2)
    alone = [dift(image[None, None]) for image in images]
    together = dift(images[None])
    reversed_ = dift(images.flip(0)[:, None])
    for name in dift.channels:
        for index, one in enumerate(alone):
            torch.testing.assert_close(together[name][0, index], one[name][0, 0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(reversed_[name][2 - index, 0], one[name][0, 0], atol=1e-5, rtol=1e-5)


def test_global_random_state_is_neither_read_nor_changed(folder: Path, images: Tensor) -> None:
    dift = Dift(folder, {"high": HIGH}, ensemble=2)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = dift(images[None, :1])["dift.high"]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(dift(images[None, :1])["dift.high"], first)


def test_an_image_is_encoded_once_whatever_is_read(folder: Path, images: Tensor) -> None:
    dift = Dift(folder, {"high": HIGH, "low": LOW}, ensemble=4)
    runs = _count(dift.network.encoder.encoder)
    dift(images[None])
    assert runs == [1, 1, 1]


def test_maps_of_one_timestep_share_a_pass(folder: Path, images: Tensor) -> None:
    dift = Dift(folder, {"high": HIGH, "low": {"block": 2, "timestep": 261}}, ensemble=4)
    runs = _count(dift.network.unet.conv_in)
    dift(images[None])
    assert runs == [8, 4]


def test_a_pass_ends_at_its_own_deepest_map(folder: Path, images: Tensor) -> None:
    dift = Dift(folder, {"high": HIGH, "low": LOW}, ensemble=4)
    passes, deep = _count(dift.network.unet.conv_in), _count(dift.network.unet.up_blocks[2])
    dift(images[None, :1])
    assert passes == [4, 4]
    assert deep == [4]


def test_a_map_is_the_same_beside_another_as_alone(folder: Path, images: Tensor) -> None:
    both = Dift(folder, {"high": HIGH, "low": LOW}, ensemble=2)(images[None, :1])
    for name, tap in {"high": HIGH, "low": LOW}.items():
        alone = Dift(folder, {name: tap}, ensemble=2)(images[None, :1])
        torch.testing.assert_close(both[f"dift.{name}"], alone[f"dift.{name}"], atol=1e-6, rtol=1e-5)


def test_no_hook_and_no_cut_stays_after_a_failed_pass(folder: Path, images: Tensor) -> None:
    dift = Dift(folder, {"high": HIGH, "low": LOW}, ensemble=1)
    before = dift(images[None, :1])["dift.low"]
    blocks = dift.network.unet.up_blocks
    with pytest.raises(RuntimeError):
        dift.network.read(torch.rand(1, 5, 8, 16), 261, dift.context, list(dift._taps.values())[:1])
    assert dift.network.unet.up_blocks is blocks
    assert all(not module._forward_hooks for module in dift.modules())
    assert torch.equal(dift(images[None, :1])["dift.low"], before)


def test_the_clean_variant_adds_no_noise(folder: Path, images: Tensor) -> None:
    def clean(**options: Any) -> Tensor:
        options = {"variant": "clean", "ensemble": 1, "posterior": "mode", **options}
        return Dift(folder, {"high": HIGH}, **options)(images[None, :1])["dift.high"]

    assert torch.equal(clean(seed=0), clean(seed=1))
    assert not torch.equal(clean(variant="noisy"), clean())
    assert not torch.equal(clean(posterior="sample"), clean())
    with pytest.raises(ConfigError, match="ensemble=1"):
        clean(ensemble=8)


def test_bfloat16_is_near_float32_and_meets_the_same_noise(folder: Path, images: Tensor) -> None:
    maps = {"high": HIGH, "low": LOW}
    wide = Dift(folder, maps, ensemble=2)(images[None, :1])
    narrow = Dift(folder, maps, ensemble=2, dtype="bfloat16")(images[None, :1])
    other = Dift(folder, maps, ensemble=2, seed=5)(images[None, :1])
    for name, map_ in wide.maps.items():
        assert narrow[name].dtype == torch.bfloat16
        distance = (narrow[name].float() - map_).norm() / map_.norm()
        assert distance < 0.03
        assert distance < 0.3 * (other[name] - map_).norm() / map_.norm()


def test_frozen_weights_take_no_gradient_and_others_do(images: Tensor) -> None:
    tiny = {"unet": UNET, "vae": VAE}
    frozen = Dift(None, {"high": HIGH}, ensemble=1, architecture=tiny)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    free = Dift(None, {"high": HIGH}, ensemble=1, architecture=tiny, frozen=False)
    free(images[None, :1])["dift.high"].square().sum().backward()
    assert free.network.unet.conv_in.weight.grad is not None


def test_the_prompt_changes_the_map_and_the_state(folder: Path, copy: Path, images: Tensor) -> None:
    save_file({"embedding": torch.ones(1, 7, 24)}, embedding_file(copy, "a cat"))
    null = Dift(folder, {"high": HIGH}, ensemble=1)
    cat = Dift(copy, {"high": HIGH}, ensemble=1, prompt="a cat")
    assert not torch.equal(null(images[None, :1])["dift.high"], cat(images[None, :1])["dift.high"])
    assert not torch.equal(null.state_dict()["context"], cat.state_dict()["context"])


def test_a_missing_embedding_says_how_to_make_it(folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"python -m homolog\.backbones\.dift_prompt .*--prompt 'a dog'"):
        Dift(folder, {"high": HIGH}, prompt="a dog")


def test_an_embedding_of_another_model_is_refused(copy: Path) -> None:
    save_file({"embedding": torch.ones(1, 7, 32)}, embedding_file(copy, ""))
    with pytest.raises(WeightsError, match="24 channels"):
        Dift(copy, {"high": HIGH})
    save_file({"something": torch.ones(1, 7, 24)}, embedding_file(copy, ""))
    with pytest.raises(WeightsError, match="embedding"):
        Dift(copy, {"high": HIGH})


@pytest.mark.parametrize(
    "missing",
    [
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "scheduler/scheduler_config.json",
    ],
)
def test_an_incomplete_folder_is_refused_by_the_name_of_what_is_missing(copy: Path, missing: str) -> None:
    (copy / missing).unlink()
    with pytest.raises(WeightsError, match=missing):
        Dift(copy, {"high": HIGH})


def test_weights_of_another_architecture_are_refused_with_the_keys(copy: Path) -> None:
    path = copy / "unet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "block_out_channels": [8, 16, 24, 32]}))
    with pytest.raises(WeightsError, match=r"mismatched .*down_blocks"):
        Dift(copy, {"high": HIGH})


def test_a_truncated_weight_file_is_refused(copy: Path) -> None:
    path = copy / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="damaged"):
        Dift(copy, {"high": HIGH})


@pytest.mark.parametrize(
    ("maps", "options", "message"),
    [
        ({}, {}, "at least one map"),
        ({"high": {"block": 4, "timestep": 0}}, {}, "up block of 0 to 3"),
        ({"high": {"block": 1}}, {}, "timestep: 261"),
        ({"high": {"block": 1, "timestep": 1000}}, {}, "0 to 999"),
        ({"high": {**HIGH, "layers": 1}}, {}, "expected the map high"),
        ({"high": HIGH}, {"multiple": 12}, "multiple of 8"),
        ({"high": HIGH}, {"ensemble": 0}, "at least 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(maps: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Dift(None, maps, architecture={"unet": UNET, "vae": VAE}, **options)


def test_a_layer_that_does_not_exist_is_refused(folder: Path, images: Tensor) -> None:
    with pytest.raises(ConfigError, match="layers 0 to 2"):
        Dift(folder, {"high": {**HIGH, "layer": 3}}, ensemble=1)(images[None, :1])


def test_the_yaml_takes_a_folder_on_disk(folder: Path, images: Tensor) -> None:
    config = compose("backbone/dift_uni", [f"backbone.checkpoint={folder}", "backbone.ensemble=2"])[
        "backbone"
    ]
    expected = Dift(folder, {"high": HIGH, "low": LOW}, ensemble=2)(images[None, :1])
    found = build(config)(images[None, :1])
    assert found.maps.keys() == {"dift.high", "dift.low"}
    for name, map_ in expected.maps.items():
        assert torch.equal(found[name], map_)
