"""A tiny official VGGT: its configuration, its weights, and every stage of ours under the official names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from homolog.backbones.vggt.backbone import HEADS, VGGT
from homolog.backbones.vggt.encoder import encode
from homolog.backbones.vggt.layers import Architecture


class Golden(NamedTuple):
    cases: list[str]
    architecture: Architecture
    weights: dict[str, Tensor]
    tensors: dict[str, Tensor]

    def images(self, case: str) -> Tensor:
        return self.tensors[f"in.{case}.images"]

    def outputs(self, case: str) -> dict[str, Tensor]:
        start = f"out.{case}."
        return {
            key.removeprefix(start): value for key, value in self.tensors.items() if key.startswith(start)
        }


@pytest.fixture(scope="session")
def golden(goldens: Path) -> Golden:
    """What the official classes computed, with the weights they had, wherever `--goldens` points."""
    return _read(goldens)


@pytest.fixture(scope="session")
def tiny() -> Golden:
    """The golden file of this repository, for tests that count on its sizes."""
    return _read(Path(__file__).parents[2] / "goldens")


@pytest.fixture(scope="session")
def official_file(tiny: Golden, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of `tiny` as the authors would publish them."""
    return _publish(tiny, tmp_path_factory.mktemp("official"))


@pytest.fixture
def build(tiny: Golden, official_file: Path) -> Callable[..., VGGT]:
    """Builds a VGGT from the official file; keywords go to its constructor."""

    def build(**settings: Any) -> VGGT:
        given: dict[str, Any] = {
            "taps": range(tiny.architecture.depth),
            "architecture": tiny.architecture,
            "checkpoint": official_file,
        } | settings
        return VGGT(**given)

    return build


@pytest.fixture
def assemble(tmp_path: Path) -> Callable[[Golden], VGGT]:
    """Builds the VGGT of a golden file, with every pair tapped and every head that its weights have."""

    def assemble(golden: Golden) -> VGGT:
        there = {key.split("_head.")[0] for key in golden.weights}
        return VGGT(
            taps=range(golden.architecture.depth),
            heads=[head for head in HEADS if head in there],
            architecture=golden.architecture,
            checkpoint=_publish(golden, tmp_path),
        )

    return assemble


@pytest.fixture
def stages() -> Callable[[VGGT, Tensor], dict[str, Tensor]]:
    """Computes every stage of a complete VGGT, under the names and in the shapes of the golden file."""
    return _stages


def _read(folder: Path) -> Golden:
    report = json.loads((folder / "vggt_tiny.json").read_text())
    tensors = load_file(folder / "vggt_tiny.safetensors")
    config, fixed = report["config"], report["config_fixed"]

    def mlp_ratio(block: str) -> float:
        weight = tensors.get(f"w.{block}.mlp.fc1.weight")  # upstream has ratios of its own per part
        return config["mlp_ratio"] if weight is None else weight.shape[0] / weight.shape[1]

    architecture = Architecture(
        width=config["embed_dim"],
        depth=config["depth"],
        attention_heads=config["num_heads"],
        registers=config["num_register_tokens"],
        mlp_ratio=mlp_ratio("aggregator.frame_blocks.0"),
        rope_base=config["rope_freq"],
        patch=config["patch_size"],
        encoder_depth=config["vit_depth"],
        encoder_attention_heads=config["vit_heads"],
        encoder_mlp_ratio=mlp_ratio("aggregator.patch_embed.blocks.0"),
        encoder_image_size=config["vit_img_size"],
        decoder_taps=tuple(config["taps"]),
        decoder_width=config["dpt_features"],
        decoder_channels=tuple(config["dpt_out_channels"]),
        decoder_hidden=fixed["dpt_head_features_2"],
        camera_depth=config["camera_trunk_depth"],
        camera_attention_heads=config["camera_heads"],
        camera_mlp_ratio=mlp_ratio("camera_head.trunk.0"),
        camera_iterations=config["camera_iters"],
    )
    weights = {key.removeprefix("w."): value for key, value in tensors.items() if key.startswith("w.")}
    return Golden(list(report["cases"]), architecture, weights, tensors)


def _publish(golden: Golden, folder: Path) -> Path:
    save_file(golden.weights, folder / "model.safetensors")
    return folder / "model.safetensors"


@torch.inference_mode()
def _stages(model: VGGT, images: Tensor) -> dict[str, Tensor]:
    size = int(images.shape[3]), int(images.shape[4])
    depth = model.architecture.depth
    _, tokens = model.aggregator.run(model.aggregator.embed(images), range(depth), range(depth))
    found = {f"block.{index}": value for index, value in tokens.items()}
    found["patch_tokens"] = encode(model.aggregator.patch_embed, images.flatten(0, 1))
    found["vit_pos_embed"] = _positions(model, size)
    geometry = model.geometry(images)
    if geometry.depth is not None and geometry.depth_score is not None:
        found |= {"depth": geometry.depth[..., None], "depth_conf": geometry.depth_score}
    if geometry.points is not None and geometry.points_score is not None:
        found |= {"world_points": geometry.points, "world_points_conf": geometry.points_score}
    if model.camera_head is not None:
        poses = model.camera_head(tokens[depth - 1][:, :, 0])
        found |= {f"pose_enc.{step}": pose for step, pose in enumerate(poses)}
    for name, head in (("depth_head", model.depth_head), ("point_head", model.point_head)):
        if head is not None:
            maps = [model._map(tokens[tap], size) for tap in model.architecture.decoder_taps]
            found[f"{name}.raw"] = head.raw(maps, size).flatten(0, 1)
            levels = head.levels([map_.flatten(0, 1) for map_ in maps], size)
            found |= {f"{name}.level.{index}": level for index, level in enumerate(levels)}
            found[f"{name}.fused_low"] = head.fuse(levels)
    return found


def _positions(model: VGGT, size: tuple[int, int]) -> Tensor:
    """Read the resized position grid off what timm adds to patches that are zero."""
    vit = model.aggregator.patch_embed
    assert isinstance(vit, VisionTransformer)
    rows, columns = (side // model.multiple for side in size)
    embedded = vit._pos_embed(torch.zeros(1, rows, columns, model.architecture.width))
    # The class token's position lives inside our class token; the test subtracts the official token.
    return torch.cat((embedded[:, :1], embedded[:, vit.num_prefix_tokens :]), dim=1)
