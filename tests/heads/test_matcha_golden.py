"""MATCHA's released fusion network and read-outs: the numbers of the official inference code."""

import json
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from homolog.core.errors import ShapeError, WeightsError
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints
from homolog.heads.matcha_fusion import MatchaFusion
from homolog.heads.nearest import Nearest
from homolog.heads.read_out import matcha, matcha_keypoints

OUTPUTS = {"unified_semantic": "unified_semantic_mode"}
"""Names of maps that the golden calls otherwise."""

Golden = dict[str, Any]


@pytest.fixture(scope="module")
def golden(goldens: Path) -> Golden:
    return json.loads((goldens / "matcha_fusion.json").read_text())


@pytest.fixture(scope="module")
def tensors(goldens: Path) -> dict[str, Tensor]:
    return load_file(goldens / "matcha_fusion.safetensors")


def check(found: Tensor, wanted: Tensor, *, tolerance: float = 1e-5) -> None:
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() <= tolerance * wanted.abs().max()


def tiny(golden: Golden, checkpoint: Path | None, **changes: Any) -> MatchaFusion:
    sizes = golden["cases"]["tiny"]["arguments"]
    arguments: dict[str, Any] = {
        "high": "c",
        "low": "f",
        "other": "d",
        "high_channels": sizes["ft_dim_c"],
        "low_channels": sizes["ft_dim_f"],
        "other_channels": golden["cases"]["tiny"]["dino_channels"],
        "width": sizes["hidden_dim"],
        "depth": sizes["dec_depth"],
        "heads": sizes["dec_num_heads"],
        "patch": sizes["patch_size"],
        "mlp_ratio": sizes["mlp_ratio"],
        "head_width": sizes["head_width"],
        "semantic_channels": sizes["out_dim_c"],
        "geometric_channels": sizes["out_dim_f"],
        "heatmap": True,
    }
    return MatchaFusion(**{**arguments, **changes}, checkpoint=checkpoint).eval()


def official(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = "tiny.weights."
    return {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, Tensor]) -> Path:
    path = tmp_path_factory.mktemp("matcha") / "matcha_pretrained.pth"
    torch.save(official(tensors), path)
    return path


def features(tensors: dict[str, Tensor], case: str) -> Features:
    names = {"c": "feat_c", "f": "feat_f", "d": "dino"}
    maps = {name: tensors[f"{case}.in.{key}"][:, None] for name, key in names.items()}
    height, width = maps["f"].shape[-2:]
    return Features(maps=maps, image_size=(8 * height, 8 * width))


def check_outputs(found: Features, tensors: dict[str, Tensor], case: str) -> None:
    compared = 0
    for name, map_ in found.maps.items():
        wanted = tensors.get(f"{case}.out.{OUTPUTS.get(name, name)}")
        if wanted is not None:
            check(map_[:, 0], wanted)
            compared += 1
    assert compared == len([key for key in tensors if key.startswith(f"{case}.out.")])


def test_golden_every_output_of_the_narrow_network(
    golden: Golden, tensors: dict[str, Tensor], checkpoint: Path
):
    network = tiny(golden, checkpoint)
    with torch.no_grad():
        found = network(features(tensors, "tiny"))
    assert {name: map_.shape[2] for name, map_ in found.maps.items()} == network.channels
    check_outputs(found, tensors, "tiny")


def test_golden_every_stage_of_the_narrow_network(
    golden: Golden, tensors: dict[str, Tensor], checkpoint: Path
):
    network = tiny(golden, checkpoint)
    seen: dict[str, Tensor] = {}

    def keep(*names: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: Any) -> None:
            seen.update(zip(names, output if len(names) > 1 else (output,), strict=True))

        return hook

    blocks = cast("list[Any]", list(network.dec_blocks))
    for name in ("attnx", "attny", "cross_attnx", "cross_attny", "mlpx", "mlpy"):
        getattr(blocks[0], name).register_forward_hook(keep(f"block0.{name}"))
    for index, block in enumerate(blocks):
        block.register_forward_hook(keep(f"block{index}.f", f"block{index}.c"))
    for stream in "cf":
        getattr(network, f"patch_embed_{stream}").register_forward_hook(keep(f"tokens_{stream}"))
        getattr(network, f"dec_norm_{stream}").register_forward_hook(keep(f"normed_{stream}"))
    with torch.no_grad():
        network(features(tensors, "tiny"))
    stages = {key.removeprefix("tiny.stage."): key for key in tensors if key.startswith("tiny.stage.")}
    assert seen.keys() == stages.keys()
    for name, key in stages.items():
        check(seen[name], tensors[key], tolerance=3e-5)


def uniform(seed: int, key: str, count: int) -> np.ndarray:
    """Numbers in [-1, 1) that depend on a key and a seed only; see `rule` in the golden."""
    with np.errstate(over="ignore"):

        def mix(z: np.ndarray) -> np.ndarray:
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            return z ^ (z >> np.uint64(31))

        base = mix(np.array([seed * 2**32 + zlib.crc32(key.encode())], dtype=np.uint64))
        steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        return 2 * ((mix(base + steps) >> np.uint64(40)) / 2**24) - 1


def ruled(seed: int, key: str, shape: list[int]) -> Tensor:
    """A weight by the rule of the golden."""
    ending = key.rsplit(".", 1)[-1]
    known = {"running_var": (1.0, 0.5), "running_mean": (0.0, 0.3), "gamma": (0.5, 0.25), "bias": (0.0, 0.1)}
    if ending in known:
        offset, scale = known[ending]
    elif ending in ("cls_token", "pos_embed", "mask_token"):
        offset, scale = 0.0, 0.5
    elif len(shape) == 1:
        offset, scale = 1.0, 0.2
    else:
        offset, scale = 0.0, math.sqrt(3 / math.prod(shape[1:]))
        scale *= 0.1 if key.startswith("patch_embed_") else 1
    values = offset + scale * uniform(seed, key, math.prod(shape))
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


NEEDED = ("patch_embed_", "dec_blocks.", "dec_norm_", "fusion_", "heatmap_head.")


def test_golden_the_released_sizes_are_the_defaults(
    golden: Golden, tensors: dict[str, Tensor], tmp_path: Path
):
    state = {
        key: torch.zeros(()) if key.endswith("num_batches_tracked") else ruled(golden["seed"], key, shape)
        for key, shape in golden["official_shapes"].items()
        # The large unused parts are not worth filling: only that they are dropped is shown.
        if key.startswith(NEEDED) or math.prod(shape) <= 1024
    }
    for key, wanted in golden["cases"]["full"]["check_of_rule"].items():
        assert state[key].flatten()[:3].tolist() == wanted["first"]
        assert state[key].double().sum().item() == pytest.approx(wanted["sum64"], rel=1e-9)
    save_file(state, tmp_path / "matcha.safetensors")
    network = MatchaFusion(
        high="c", low="f", other="d", heatmap=True, checkpoint=tmp_path / "matcha.safetensors"
    )
    with torch.no_grad():
        found = network.eval()(features(tensors, "full"))
    assert (found["unified"].shape[2], found["unified_semantic"].shape[2]) == (1024, 1280)
    check_outputs(found, tensors, "full")


def test_golden_every_official_key_is_used_or_dropped_by_name(golden: Golden):
    with torch.device("meta"):
        network = MatchaFusion(high="c", low="f", other="d", heatmap=True)
    own = {key: list(value.shape) for key, value in network.state_dict().items()}
    used = {key: shape for key, shape in golden["official_shapes"].items() if key.startswith(NEEDED)}
    assert own == used
    assert len(golden["official_shapes"]) == 432


def test_golden_light_is_the_same_network_without_dino(
    golden: Golden, tensors: dict[str, Tensor], checkpoint: Path
):
    network = tiny(golden, checkpoint, other=None, heatmap=False)
    given = features(tensors, "tiny").select(["c", "f"])
    with torch.no_grad():
        found = network(given)
    assert list(found.maps) == ["semantic", "geometric", "geometric_raw", "joint"]
    check(found["joint"][:, 0], tensors["tiny.out.joint"])


def test_golden_views_are_fused_by_themselves(golden: Golden, tensors: dict[str, Tensor], checkpoint: Path):
    given = features(tensors, "tiny")
    views = Features(
        maps={name: map_.transpose(0, 1) for name, map_ in given.maps.items()}, image_size=given.image_size
    )
    with torch.no_grad():
        found = tiny(golden, checkpoint)(views)
    check(found["unified"][0], tensors["tiny.out.unified"])


def test_golden_file_with_a_level_more_and_unused_parts_is_loaded(
    golden: Golden, tensors: dict[str, Tensor], tmp_path: Path
):
    unused = {
        f"{part}.x": torch.zeros(2)
        for part in (
            "keypoint_encoder",
            "keypoint_head",
            "fine_matcher",
            "corr_model",
            "dift.model.unet",
            "dinov2",
        )
    }
    counters = {"fusion_c.0.layer.1.num_batches_tracked": torch.tensor(7)}
    path = tmp_path / "matcha.pth"
    torch.save({"state_dict": official(tensors) | unused | counters, "epoch": 210}, path)
    network = tiny(golden, path, heatmap=False)
    for key, value in network.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(value, official(tensors)[key])


@pytest.mark.parametrize("change", ["missing", "unknown", "other shape", "nested elsewhere"])
def test_golden_file_that_does_not_fit_is_refused(
    golden: Golden, tensors: dict[str, Tensor], tmp_path: Path, change: str
):
    state: dict[str, Any] = official(tensors)
    match change:
        case "missing":
            del state["dec_blocks.1.normx1.weight"]
            message = "1 missing .dec_blocks.1.normx1.weight"
        case "unknown":
            state["dec_blocks.3.normx1.weight"] = torch.ones(16)
            message = "1 unexpected .dec_blocks.3.normx1.weight"
        case "other shape":
            state["fusion_f.2.bias"] = torch.ones(9)
            message = "1 mismatched .fusion_f.2.bias"
        case _:
            state = {"model": state}
            message = "other entries"
    path = tmp_path / "matcha.pth"
    torch.save(state, path)
    with pytest.raises(WeightsError, match=message):
        tiny(golden, path)


@pytest.mark.parametrize("grid", [(7, 12), (8, 11)])
def test_golden_network_refuses_odd_grids_as_the_official_one_does(golden: Golden, grid: tuple[int, int]):
    height, width = grid
    maps = {
        "c": torch.rand(1, 1, 12, 4, 6),
        "f": torch.rand(1, 1, 10, height, width),
        "d": torch.rand(1, 1, 32, 5, 7),
    }
    with pytest.raises(ShapeError, match="multiples of 16"):
        tiny(golden, None)(Features(maps=maps, image_size=(8 * height, 8 * width)))


def read(tensors: dict[str, Tensor], start: str, window: int | None) -> Tensor:
    """Points of the golden, transferred through images with cells of 8 pixels; in cells."""
    source, target = tensors[f"read.in.{start}src"], tensors[f"read.in.{start}trg"]
    side = 8 * source.shape[1]
    inside = torch.tensor([3.0, 7.9])  # anywhere in the cell
    xy0 = tensors["read.in.cells"].float() * 8 + inside
    return matcha(source, target, xy0, size0=(side, side), size1=(side, side), window=window) / 8


@pytest.mark.parametrize(
    ("start", "window", "wanted"),
    [
        ("", 3, "soft"),
        ("", 7, "soft_window7"),
        ("", None, "soft_whole_map"),
        ("low_", 3, "low_soft"),
    ],
)
def test_golden_transfer(tensors: dict[str, Tensor], start: str, window: int | None, wanted: str):
    found = read(tensors, start, window)
    assert (found - tensors[f"read.out.{wanted}"]).abs().max() <= 1e-4


def test_golden_maps_are_read_at_the_best_cell(tensors: dict[str, Tensor]):
    """By brute force: the golden holds zeros for `hard`, which no reading of its maps explains."""
    assert not tensors["read.out.hard"].any()
    source, target, cells = (tensors[f"read.in.{name}"] for name in ("src", "trg", "cells"))
    best = (source[:, cells[:, 1], cells[:, 0]].T @ target.flatten(1)).argmax(dim=1)
    assert torch.equal(read(tensors, "", 0), torch.stack((best % 10, best // 10), dim=1).float())


@pytest.mark.parametrize(("window", "wanted"), [(15, "soft_window7"), (None, "soft_whole_map")])
def test_golden_transfer_by_the_head(tensors: dict[str, Tensor], window: int | None, wanted: str):
    head = Nearest(window=window, source="cell", read_out="matcha")
    features0, features1 = (
        Features(maps={"map": tensors[f"read.in.{side}"][None, None]}, image_size=(80, 80))
        for side in ("src", "trg")
    )
    xy0 = tensors["read.in.cells"].float() * 8 + 5
    moved = head.transfer(xy0, features0, features1)
    assert (moved.xy / 8 - tensors[f"read.out.{wanted}"]).abs().max() <= 1e-4
    found = head.find(head.describe(xy0, features0), features1)
    assert torch.equal(found.xy, moved.xy)


def test_golden_descriptors_of_keypoints(golden: Golden, tensors: dict[str, Tensor]):
    height, width = golden["cases"]["sample"]["image"]
    map_, xy = tensors["sample.in.map"], tensors["sample.in.xy"]
    wanted = tensors["sample.out.descriptors"].T
    check(matcha_keypoints(map_[0], xy, size=(height, width)), wanted)
    features = Features(maps={"map": map_[:, None]}, image_size=(height, width))
    # The other side has the wanted descriptors, one to a cell: each keypoint has to find its own with cosine 1.
    cells = wanted.T.reshape(1, 1, -1, 4, 5)
    corners = torch.cartesian_prod(torch.arange(4.0), torch.arange(5.0)).flip(1)
    matches = Nearest(source="cell", read_out="matcha")(
        Keypoints(xy=xy, score=torch.ones(len(xy))),
        Keypoints(xy=corners, score=torch.ones(len(xy))),
        features,
        Features(maps={"map": cells}, image_size=(4, 5)),
    )
    assert matches.index0 is not None
    assert matches.index0.tolist() == list(range(len(xy)))
    torch.testing.assert_close(matches.score, torch.ones(len(xy)))
