"""`homolog match` with DINOv2, DIFT and VGGT: tiny random checkpoints in the official format, loaded as any other.

The products are those of `configs/matcher`; a file is given as `backbone.checkpoint=FILE` or placed
where the error message says, and sizes are settings.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from safetensors.torch import load_file, save_file
from torch import Tensor

from homolog.zoo import load_matcher

GOLDENS = Path(__file__).parents[1] / "goldens"
CPU = ("--device", "cpu")
HEIGHT, WIDTH = 192, 208
"""Of the photos."""

KINDS = {
    "dinov2, Meta's pth": ("dinov2_pretrain.pth", "dinov2_nn"),
    "dinov2, timm's safetensors": ("dinov2.safetensors", "dinov2_nn"),
    "dift": ("stable-diffusion", "dift_nn"),
    "dift, geometric": ("stable-diffusion", "dift_geometric_nn"),
    "vggt, model.pt": ("model.pt", "vggt_nn"),
    "vggt, model.safetensors": ("model.safetensors", "vggt_nn"),
}
"""File or folder, and matcher, of each checkpoint."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Official:
    """A tiny checkpoint, and the settings that go with it."""

    path: Path
    matcher: str
    sizes: tuple[str, ...]  # make the network as small as the checkpoint
    cell: float  # side of a cell of the described map, in pixels of the photos

    @property
    def settings(self) -> tuple[str, ...]:
        """All settings, the checkpoint among them."""
        return self.with_weights(self.path)

    def with_weights(self, path: Path) -> tuple[str, ...]:
        """The same settings with another checkpoint."""
        return f"matcher={self.matcher}", *self.sizes, f"backbone.checkpoint={path}"


def dinov2_state(*, width: int = 32, depth: int = 2, side: int = 4, seed: int = 0) -> dict[str, Tensor]:
    """Return random tensors under the names of Meta's `dinov2_vitb14_pretrain.pth`; `side` is in patches."""
    linear = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
    linear |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
    layers: dict[str, tuple[int, ...]] = {f"{name}.weight": shape for name, shape in linear.items()}
    layers |= {f"{name}.bias": shape[:1] for name, shape in linear.items()}
    vectors = ("norm1.weight", "norm1.bias", "ls1.gamma", "norm2.weight", "norm2.bias", "ls2.gamma")
    layers |= dict.fromkeys(vectors, (width,))
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + side * side, width),
        "mask_token": (1, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
        **{f"blocks.{index}.{name}": shape for index in range(depth) for name, shape in layers.items()},
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    generator = torch.Generator().manual_seed(seed)
    return {key: torch.randn(shape, generator=generator) * 0.1 for key, shape in shapes.items()}


def vggt_sizes() -> tuple[str, ...]:
    """Return the settings that make a VGGT as small as the official one in the goldens."""
    config = json.loads((GOLDENS / "vggt_tiny.json").read_text())["config"]
    names = {
        "embed_dim": "width",
        "depth": "depth",
        "num_heads": "attention_heads",
        "num_register_tokens": "registers",
        "vit_depth": "encoder_depth",
        "vit_heads": "encoder_attention_heads",
        "vit_img_size": "encoder_image_size",
        "taps": "decoder_taps",
    }
    sizes = ",".join(f"{ours}:{config[theirs]}".replace(" ", "") for theirs, ours in names.items())
    architecture = f"{{_target_:homolog.backbones.vggt.aggregator.Architecture,{sizes}}}"
    return f"backbone.architecture={architecture}", "backbone.taps=[2]", "resize=112"


def write_diffusers(folder: Path, **unet: Any) -> None:
    """Write a tiny Stable Diffusion as diffusers writes it on the hub, with an encoded null prompt."""
    torch.manual_seed(0)
    UNet2DConditionModel(**{**UNET, **unet}).save_pretrained(folder / "unet")
    AutoencoderKL(**VAE).save_pretrained(folder / "vae")
    DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").save_pretrained(
        folder / "scheduler"
    )
    (folder / "prompt").mkdir()
    generator = torch.Generator().manual_seed(1)
    save_file({"embedding": torch.randn(1, 77, 24, generator=generator)}, folder / "prompt/null.safetensors")


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Official]:
    """Every checkpoint, by what it is."""
    folder = tmp_path_factory.mktemp("official")
    meta = dinov2_state()
    timm = {key: value for key, value in meta.items() if key != "mask_token"}
    torch.save(meta, folder / "dinov2_pretrain.pth")
    save_file(timm, folder / "dinov2.safetensors")
    vggt = load_file(GOLDENS / "vggt_tiny.safetensors")
    published = {key.removeprefix("w."): value for key, value in vggt.items() if key.startswith("w.")}
    torch.save(published, folder / "model.pt")
    save_file(published, folder / "model.safetensors")
    write_diffusers(folder / "stable-diffusion")

    architecture = "backbone.architecture={embed_dim:32,depth:2,num_heads:2,img_size:56}"
    dinov2 = architecture, "backbone.blocks=[1]", "resize=112"
    dift = "backbone.ensemble=1", "resize=128"
    sizes = {"dinov2_nn": dinov2, "dift_nn": dift, "dift_geometric_nn": dift, "vggt_nn": vggt_sizes()}
    return {
        kind: Official(
            path=folder / name,
            matcher=matcher,
            sizes=sizes[matcher],
            cell=WIDTH / (16 if matcher == "dift_geometric_nn" else 8),
        )
        for kind, (name, matcher) in KINDS.items()
    }


@pytest.fixture(params=KINDS)
def checkpoint(request: pytest.FixtureRequest, official: Mapping[str, Official]) -> Official:
    """Each checkpoint in turn."""
    return official[request.param]


def test_a_pair_is_matched_inside_of_both_photos(homolog, photos: Path, checkpoint: Official):
    said = homolog("match", photos / "a.png", photos / "b.png", *checkpoint.settings, *CPU)
    assert (said.code, said.err) == (0, "")
    names = sorted(path.name for path in Path("homolog-results/a__b").iterdir())
    assert names == ["matches.npz", "matches.png", "transfer.png"]
    with np.load("homolog-results/a__b/matches.npz", allow_pickle=False) as found:
        assert len(found["xy0"]) >= 8
        for xy in (found["xy0"], found["xy1"]):
            assert ((xy >= 0) & (xy <= (WIDTH - 1, HEIGHT - 1))).all()
        assert (np.diff(found["score"]) <= 0).all()
        assert (np.abs(found["score"]) <= 1 + 1e-6).all()


def test_a_photo_is_found_in_itself_where_it_is(photos: Path, checkpoint: Official):
    matcher = load_matcher(checkpoint.matcher, *checkpoint.settings[1:], device="cpu")
    found = matcher.match(photos / "a.png", photos / "a.png")
    matches = found.matches()
    assert len(matches) >= 50
    astray = (matches.xy1 - matches.xy0).norm(dim=1)
    assert (astray < 0.1 * checkpoint.cell).float().mean() > 0.9
    there = found.transfer(matches.xy0)
    astray = (there.xy - matches.xy0).norm(dim=1)
    assert (astray < 0.5 * checkpoint.cell).float().mean() > 0.9
    assert ((there.confidence >= 0) & (there.confidence <= 1)).all()


def test_other_weights_in_the_same_file_give_other_matches(homolog, photos: Path, official, tmp_path: Path):
    first = official["dinov2, Meta's pth"]
    path = tmp_path / "weights.pth"
    scores: list[np.ndarray] = []
    for seed in (0, 1):
        torch.save(dinov2_state(seed=seed), path)
        words = ("match", photos / "a.png", photos / "b.png", *first.with_weights(path), *CPU)
        assert homolog(*words).code == 0
        with np.load("homolog-results/a__b/matches.npz", allow_pickle=False) as found:
            scores.append(found["score"])
    assert not np.array_equal(scores[0], scores[1])


@pytest.mark.parametrize("kind", ["dinov2, timm's safetensors", "dift", "vggt, model.safetensors"])
def test_without_a_network_it_says_where_a_file_goes_and_takes_it_there(
    homolog, photos: Path, official, kind: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOMOLOG_OFFLINE", "1")
    checkpoint, placed = official[kind], 0
    without = "match", photos / "a.png", photos / "b.png", *checkpoint.settings[:-1], *CPU
    while (said := homolog(*without)).code == 2:
        (line,) = said.err.splitlines()
        assert not Path("homolog-results").exists()
        assert placed or list(Path().iterdir()) == []
        # The prompt is the last to be asked for; the command that encodes it needs the text encoder.
        named = re.search(
            r"expected the weight file (\S+), but .* place it there by hand", line
        ) or re.search(r"error: (\S+): no embedding", line)
        source = checkpoint.path
        if named and not source.is_file():
            source = source / "/".join(Path(named[1]).parts[-2:])
        assert named, line
        Path(named[1]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, named[1])
        placed += 1
        assert placed <= 6, line
    assert said.code == 0
    assert Path("homolog-results/a__b/matches.npz").is_file()


class Runs:
    """Leaves a trace when it is unpickled by whoever runs what a pickle says."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[Path], object], tuple[Path]]:
        return Path.touch, (self.trace,)


def refused(homolog: Callable[..., Any], photos: Path, *settings: str) -> str:
    said = homolog("match", photos / "a.png", photos / "b.png", *settings, *CPU)
    assert said.code == 2
    (line,) = said.err.splitlines()
    assert line.startswith("homolog: error: ")
    assert said.out == ""
    assert list(Path().iterdir()) == []
    return line


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_refused(homolog, photos: Path, official, kind: str, tmp_path: Path):
    checkpoint: Official = official[kind]
    broken = tmp_path / checkpoint.path.name
    file = broken
    if checkpoint.path.is_dir():
        shutil.copytree(checkpoint.path, broken)
        file = broken / "unet/diffusion_pytorch_model.safetensors"
    else:
        shutil.copy(checkpoint.path, broken)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    line = refused(homolog, photos, *checkpoint.with_weights(broken))
    assert f"{file}: expected " in line
    assert "damaged" in line


def test_weights_of_another_size_or_network_are_refused_with_their_keys(
    homolog, photos: Path, official, tmp_path: Path
):
    dinov2, vggt = official["dinov2, Meta's pth"], official["vggt, model.pt"]

    wide = tmp_path / "wide.pth"
    torch.save(dinov2_state(width=48, depth=3), wide)
    line = refused(homolog, photos, *dinov2.with_weights(wide))
    assert "14 unexpected (blocks.2.attn.proj.bias" in line
    assert "mismatched (blocks.0.attn.proj.bias [48] for [32]" in line

    line = refused(homolog, photos, *dinov2.with_weights(vggt.path))
    assert "missing (blocks.0.attn.proj.bias" in line
    assert "unexpected (aggregator.camera_token" in line

    line = refused(homolog, photos, *vggt.with_weights(dinov2.path))
    assert "missing (aggregator.camera_token" in line
    assert "unexpected (blocks.0.attn.proj.bias" in line


def test_a_unet_of_another_size_than_its_config_is_refused_with_its_keys(
    homolog, photos: Path, official, tmp_path: Path
):
    dift = official["dift"]
    write_diffusers(tmp_path / "wide", block_out_channels=(8, 16, 24, 32), attention_head_dim=(1, 2, 3, 4))
    name = "unet/diffusion_pytorch_model.safetensors"
    mixed = shutil.copytree(dift.path, tmp_path / "mixed")
    shutil.copy(tmp_path / "wide" / name, mixed / name)
    line = refused(homolog, photos, *dift.with_weights(mixed))
    assert f"{mixed / name}: unet: the weights do not fit: " in line
    assert re.search(r"mismatched \(down_blocks\.3\.\S+ \[32.*\] for \[24", line)


@pytest.mark.parametrize("kind", ["dinov2", "vggt", "cleandift"])
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_code_in_a_pickle_is_not_run(homolog, photos: Path, official, kind: str, ending: str, tmp_path: Path):
    trace, evil = tmp_path / "trace", tmp_path / f"evil.{ending}"
    torch.save({**dinov2_state(), "more": Runs(trace)}, evil)
    settings = {
        "dinov2": official["dinov2, Meta's pth"].with_weights(evil),
        "vggt": official["vggt, model.pt"].with_weights(evil),
        "cleandift": (*official["dift"].settings, "backbone=cleandift", f"backbone.unet_checkpoint={evil}"),
    }[kind]
    line = refused(homolog, photos, *settings)
    assert f"{evil}: expected " in line
    assert ("runs code" if ending == "pth" else "damaged") in line
    assert not trace.exists()
    with evil.open("rb") as file:
        torch.load(file, weights_only=False)
    assert trace.exists(), "nothing was proved: the pickle holds no code"


def test_a_file_in_place_of_a_folder_is_refused(homolog, photos: Path, official):
    single = official["dinov2, Meta's pth"].path
    line = refused(homolog, photos, *official["dift"].with_weights(single))
    assert "give a folder with unet/, vae/ and scheduler/" in line
