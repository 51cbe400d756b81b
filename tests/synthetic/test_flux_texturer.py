"""FLUX with two ControlNets, real pipeline and loading code, on tiny networks with random weights."""

import importlib
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from homolog.core.errors import ConfigError, MissingDependencyError, WeightsError
from homolog.synthetic.texturing.flux import Control, FluxTexturer
from homolog.synthetic.texturing.texturers import Conditioning

# diffusers warns of an import of its own.
pytestmark = pytest.mark.filterwarnings("ignore:.*FluxPosEmbed.*:FutureWarning")

_SIZE = 48
_TRANSFORMER: dict[str, Any] = {
    "in_channels": 16, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 16, "num_attention_heads": 2,
    "joint_attention_dim": 32, "pooled_projection_dim": 32, "guidance_embeds": True, "axes_dims_rope": [4, 4, 8],
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders as diffusers writes them: `model`, `edges`, `depth`, `union`."""
    transformers: Any = pytest.importorskip("transformers", reason="pip install homolog-synthetic[flux]")
    diffusers: Any = importlib.import_module("diffusers")
    root = tmp_path_factory.mktemp("flux")
    torch.manual_seed(0)
    pipeline = diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=diffusers.AutoencoderKL(
            sample_size=32, in_channels=3, out_channels=3, block_out_channels=(8,) * 4, layers_per_block=1,
            latent_channels=4, norm_num_groups=1, use_quant_conv=False, use_post_quant_conv=False,
            shift_factor=0.0609, scaling_factor=1.5035, down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        ),
        transformer=diffusers.FluxTransformer2DModel(**_TRANSFORMER),
        **_text_encoders(transformers),
    )  # fmt: skip
    pipeline.save_pretrained(root / "model")
    for name, modes in (("edges", None), ("depth", None), ("union", 3)):
        net = diffusers.FluxControlNetModel(**_TRANSFORMER, num_mode=modes)
        # Fresh ControlNets end in zeros, so that they change nothing.
        for block in (*net.controlnet_blocks, *net.controlnet_single_blocks, net.controlnet_x_embedder):
            torch.nn.init.normal_(block.weight, std=0.3)
        net.save_pretrained(root / name)
    return root


def _text_encoders(transformers: Any) -> dict[str, Any]:
    clip = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=40, hidden_size=32, intermediate_size=37, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=77, projection_dim=32, bos_token_id=0, eos_token_id=1, pad_token_id=1,
        )
    )  # fmt: skip
    t5 = transformers.T5EncoderModel(
        transformers.T5Config(vocab_size=40, d_model=32, d_kv=8, d_ff=37, num_layers=1, num_heads=4)
    )
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *letters[:10], *(f"{letter}</w>" for letter in letters)]
    tokenizer = transformers.CLIPTokenizer(
        vocab={token: index for index, token in enumerate(vocabulary)}, merges=[], model_max_length=77
    )
    pieces = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", -9.0),
        ("▁", -2.0),
        *((letter, -3.0) for letter in letters),
    ]
    return {
        "text_encoder": clip,
        "tokenizer": tokenizer,
        "text_encoder_2": t5,
        "tokenizer_2": transformers.T5Tokenizer(vocab=pieces, extra_ids=0),
    }


def _texturer(model: Path, **changes: Any) -> FluxTexturer:
    arguments: dict[str, Any] = {
        "checkpoint": model / "model", "controlnets": [model / "edges", model / "depth"], "steps": 2, "longer_side": _SIZE,
        "tokens": 16, "device": "cpu", "dtype": "float32",
    }  # fmt: skip
    return FluxTexturer(**{**arguments, **changes})


@pytest.mark.slow
@pytest.mark.parametrize("nets", [["edges", "depth"], ["union"]])
def test_equal_seeds_give_equal_pictures_and_every_control_counts(
    model: Path, nets: list[str], conditioning: Conditioning
) -> None:
    folders = [model / name for name in nets]
    modes = {"edges": 0, "depth": 2}

    def made(seed: int = 1, prompt: str = "a bed", **scales: float) -> np.ndarray:
        controls = {
            name: Control(scale=scales.get(name, 1.0), end=1.0, mode=modes[name] if len(nets) == 1 else None)
            for name in modes
        }
        texturer = _texturer(model, controlnets=folders, **controls)
        return texturer.retexture(conditioning, prompt=prompt, seed=seed)

    first = made()
    assert first.shape == (_SIZE, _SIZE, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(made(), first)
    assert not np.array_equal(made(seed=2), first)
    assert not np.array_equal(made(prompt="a cab"), first)
    # A map that is left out by mistake would change nothing when its scale does.
    assert not np.array_equal(made(edges=0.0), first)
    assert not np.array_equal(made(depth=0.0), first)


@pytest.mark.slow
def test_a_larger_picture_is_made_and_brought_to_the_size_of_the_view(
    model: Path, conditioning: Conditioning
) -> None:
    picture = _texturer(model, longer_side=64).retexture(conditioning, prompt="a bed", seed=1)
    assert picture.shape == (_SIZE, _SIZE, 3)


@pytest.mark.slow
def test_a_finished_picture_is_kept_and_not_made_again(
    model: Path, conditioning: Conditioning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _texturer(model, cache=tmp_path).retexture(conditioning, prompt="a bed", seed=1)
    (file,) = tmp_path.rglob("*.png")
    again = _texturer(model, cache=tmp_path)
    monkeypatch.setattr(FluxTexturer, "_loaded", lambda self: pytest.fail("read the weights again"))
    assert np.array_equal(again.retexture(conditioning, prompt="a bed", seed=1), first)
    monkeypatch.undo()
    again.retexture(conditioning, prompt="a bed", seed=2)
    again.retexture(conditioning, prompt="a cab", seed=1)
    assert len(list(tmp_path.rglob("*.png"))) == 3
    file.write_bytes(file.read_bytes()[:40])
    assert np.array_equal(again.retexture(conditioning, prompt="a bed", seed=1), first)


@pytest.mark.slow
def test_weights_that_are_missing_are_an_error_and_not_random(
    model: Path, conditioning: Conditioning, tmp_path: Path
) -> None:
    broken = tmp_path / "net"
    broken.mkdir()
    config = json.loads((model / "edges" / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config))
    name = "diffusion_pytorch_model.safetensors"
    state = load_file(model / "edges" / name)
    state.pop("x_embedder.weight")
    save_file(state, broken / name, metadata={"format": "pt"})
    texturer = _texturer(model, controlnets=[broken, model / "depth"])
    with pytest.raises(WeightsError, match=r"1 are missing, such as x_embedder\.weight") as caught:
        texturer.retexture(conditioning, prompt="a bed", seed=1)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_folder_with_another_network_is_refused_at_once(model: Path) -> None:
    with pytest.raises(WeightsError, match=r"FluxControlNet\.\.\., got AutoencoderKL"):
        _texturer(model, controlnets=[model / "model" / "vae", model / "depth"])


def _claim(folder: Path) -> None:
    """Make a folder say that it holds everything."""
    (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    (folder / "config.json").write_text('{"_class_name": "FluxControlNetModel"}')


def test_a_folder_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"model_index\.json"):
        FluxTexturer(checkpoint=tmp_path, controlnets=[tmp_path, tmp_path])


def test_a_union_needs_the_numbers_of_its_maps(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"edges\.mode"):
        FluxTexturer(checkpoint=tmp_path, controlnets=[tmp_path])


def test_nothing_is_read_before_the_first_picture_and_a_copy_leaves_networks_behind(tmp_path: Path) -> None:
    _claim(tmp_path)
    texturer = FluxTexturer(checkpoint=tmp_path, controlnets=[tmp_path, tmp_path])
    texturer._pipeline = lambda: None  # cannot be pickled
    assert pickle.loads(pickle.dumps(texturer))._pipeline is None


def test_without_diffusers_the_message_says_what_to_install(
    tmp_path: Path, conditioning: Conditioning, monkeypatch: pytest.MonkeyPatch
) -> None:
    _claim(tmp_path)
    texturer = FluxTexturer(checkpoint=tmp_path, controlnets=[tmp_path, tmp_path], longer_side=32)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingDependencyError, match=r"homolog-synthetic\[flux\]"):
        texturer.retexture(conditioning, prompt="", seed=0)
