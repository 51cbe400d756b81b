"""Every stage against the official classes, and proof that a typical mistake would show."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from homolog.backbones.vggt import aggregator, dpt, layers
from homolog.backbones.vggt.backbone import VGGT

# Eight times the natural float32 noise, a quarter of the smallest mistake that was measured.
TOLERANCE = 2e-5
Stages = Callable[[VGGT, Tensor], dict[str, Tensor]]


def differences(golden: Any, model: VGGT, stages: Stages, case: str) -> dict[str, float]:
    """Return max|a - b| / max|b| of every tensor that the golden file has for a case."""
    found = stages(model, golden.images(case))
    expected = golden.outputs(case)
    # Ours has the class token's position inside the token.
    token = golden.weights["aggregator.patch_embed.cls_token"]
    positions = found["vit_pos_embed"]
    found["vit_pos_embed"] = torch.cat((positions[:, :1] - token, positions[:, 1:]), dim=1)
    assert expected, f"the golden file has no outputs for {case}"
    assert expected.keys() <= found.keys()
    for name, value in expected.items():
        assert found[name].shape == value.shape, name
        assert found[name].dtype == value.dtype, name
    return {name: float((found[name] - b).abs().max() / b.abs().max()) for name, b in expected.items()}


def test_every_stage_of_every_case_matches_the_golden(golden, assemble, stages):
    model = assemble(golden)
    assert golden.cases
    for case in golden.cases:
        off = {
            name: value
            for name, value in differences(golden, model, stages, case).items()
            if not value <= TOLERANCE
        }
        assert not off, f"{case}: {off}"


def test_returned_features_match_the_golden(golden, assemble):
    model = assemble(golden)
    depth, specials = golden.architecture.depth, golden.architecture.specials
    for case in golden.cases:
        with torch.inference_mode():
            features = model(golden.images(case))
        for index in range(depth):
            expected = golden.outputs(case)[f"block.{index}"][:, :, specials:]
            rows = golden.images(case).shape[3] // golden.architecture.patch
            expected = expected.unflatten(2, (rows, -1)).permute(0, 1, 4, 2, 3)
            assert (features[f"block.{index}"] - expected).abs().max() <= TOLERANCE * expected.abs().max()


def set_epsilon(modules: nn.Module | None, names: tuple[str, ...], epsilon: float) -> None:
    assert modules is not None
    for name, module in modules.named_modules():
        if isinstance(module, nn.LayerNorm) and name.rsplit(".", 1)[-1] in names:
            module.eps = epsilon


def encoder_epsilon(model: VGGT, _: pytest.MonkeyPatch) -> None:
    set_epsilon(model.aggregator.patch_embed, ("norm1", "norm2", "norm"), 1e-5)


def block_epsilon(model: VGGT, _: pytest.MonkeyPatch) -> None:
    for blocks in (model.aggregator.frame_blocks, model.aggregator.global_blocks):
        set_epsilon(blocks, ("norm1", "norm2"), 1e-6)


def query_epsilon(model: VGGT, _: pytest.MonkeyPatch) -> None:
    for blocks in (model.aggregator.frame_blocks, model.aggregator.global_blocks):
        set_epsilon(blocks, ("q_norm", "k_norm"), 1e-6)


def camera_token_epsilon(model: VGGT, _: pytest.MonkeyPatch) -> None:
    set_epsilon(model.camera_head, ("token_norm",), 1e-6)


def decoder_epsilon(model: VGGT, _: pytest.MonkeyPatch) -> None:
    set_epsilon(model.depth_head, ("norm",), 1e-6)


def tanh_gelu(model: VGGT, _: pytest.MonkeyPatch) -> None:
    for module in model.modules():
        if isinstance(module, nn.GELU):
            module.approximate = "tanh"


def textbook_residual_unit(_: VGGT, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        dpt.ResidualUnit, "forward", lambda unit, x: x + unit.conv2(unit.conv1(x.relu()).relu())
    )


def swapped_slots(model: VGGT, _: pytest.MonkeyPatch) -> None:
    model.aggregator.camera_token.data = model.aggregator.camera_token.flip(1)
    model.aggregator.register_token.data = model.aggregator.register_token.flip(1)


def columns_before_rows(_: VGGT, monkeypatch: pytest.MonkeyPatch) -> None:
    def swapped(**settings: Any) -> layers.Rotation:
        return layers.Rotation(*(table.flip(1) for table in layers.patch_rotation(**settings)))

    monkeypatch.setattr(aggregator, "patch_rotation", swapped)


def interleaved_pairs(_: VGGT, monkeypatch: pytest.MonkeyPatch) -> None:
    def neighbours(rotation: layers.Rotation, x: Tensor) -> Tensor:
        a, b = x.unflatten(-1, (2, -1, 2)).unbind(-1)
        cos, sin = rotation
        return torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-1).flatten(-3)

    monkeypatch.setattr(layers.Rotation, "apply", neighbours)


def positions_from_zero(_: VGGT, monkeypatch: pytest.MonkeyPatch) -> None:
    def from_zero(**settings: Any) -> layers.Rotation:
        specials, views = settings.pop("specials"), settings.pop("views")
        cos, sin = layers.patch_rotation(**settings, specials=0, views=1)
        angle = torch.atan2(sin, cos) - torch.atan2(sin[:1], cos[:1])
        angle = torch.cat((angle.new_zeros(specials, *angle.shape[1:]), angle)).repeat(views, 1, 1)
        return layers.Rotation(angle.cos(), angle.sin())

    monkeypatch.setattr(aggregator, "patch_rotation", from_zero)


def centres_moved(_: VGGT, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        dpt, "resize", lambda x, size: F.interpolate(x, size=size, mode="bilinear", align_corners=False)
    )


def no_decoder_positions(model: VGGT, _: pytest.MonkeyPatch) -> None:
    assert model.depth_head is not None
    model.depth_head.position_weight = 0.0


@pytest.mark.parametrize(
    "mistake",
    [
        encoder_epsilon,
        block_epsilon,
        query_epsilon,
        camera_token_epsilon,
        decoder_epsilon,
        tanh_gelu,
        textbook_residual_unit,
        swapped_slots,
        columns_before_rows,
        interleaved_pairs,
        positions_from_zero,
        centres_moved,
        no_decoder_positions,
    ],
)
def test_golden_shows_the_mistake(mistake, tiny, assemble, stages, monkeypatch):
    model = assemble(tiny)
    mistake(model, monkeypatch)
    worst = max(max(differences(tiny, model, stages, case).values()) for case in tiny.cases)
    assert worst > 2 * TOLERANCE
