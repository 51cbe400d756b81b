"""The dense grid head: what it reads, which way its fields point, and what learns."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from homolog.backbones.vggt.backbone import VGGT
from homolog.backbones.vggt.dpt import Decoder
from homolog.backbones.vggt.layers import Architecture
from homolog.core.coords import Size, identity_grid
from homolog.core.errors import ConfigError, ShapeError, WeightsError
from homolog.core.features import Features
from homolog.core.protocols import DenseHead
from homolog.heads.dense_grid import DenseGrid

TINY = Architecture(
    width=16,
    depth=4,
    attention_heads=2,
    patch=14,
    encoder_depth=1,
    encoder_attention_heads=2,
    encoder_image_size=56,
    decoder_taps=(0, 1, 2, 3),
)
SIZE: Size = (30, 44)


class Written(nn.Module):
    """A decoder that finds its values written on the map; its last convolution passes them through."""

    inputs, levels = 3, 1

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(3, 3, 1)

    def forward(self, maps, image_size):
        return maps[0]


def written(x: Tensor, y: Tensor, score: Tensor) -> Features:
    """Features of one pair whose only map holds these values, each [2 H W] for the two views."""
    return Features(maps={"raw": torch.stack((x, y, score), dim=1)[None]}, image_size=SIZE)


def decoder(**settings: Any) -> Decoder:
    given: dict[str, Any] = {
        "inputs": 32,
        "outputs": 3,
        "channels": (8, 8, 8, 8),
        "width": 8,
        "hidden": 8,
    } | settings
    return Decoder(**given)


def tiny(*, shared: int | None = None, **settings: Any) -> tuple[VGGT, DenseGrid]:
    torch.manual_seed(0)
    backbone = VGGT(taps=range(4), shared=shared, architecture=TINY)
    return backbone, DenseGrid(decoder=decoder(), **settings)


def images(*size: int, batch: int = 1) -> Tensor:
    return torch.rand(batch, 2, 3, *size, generator=torch.Generator().manual_seed(1))


def loud(head: DenseGrid) -> DenseGrid:
    """Give the last convolution weights of ordinary size, so that what came before shows."""
    nn.init.normal_(head.decoder.last.weight, std=0.3, generator=torch.Generator().manual_seed(2))
    return head


# --- direction ------------------------------------------------------------------------------------


def test_each_field_lives_on_its_view_and_points_to_the_other():
    # The scene stands 6 px further right and 4 px further down in view 1 than in view 0.
    photo = torch.rand(1, 3, SIZE[0] + 4, SIZE[1] + 6, generator=torch.Generator().manual_seed(0))
    view0, view1 = photo[:, :, 4:, 6:], photo[:, :, :-4, :-6]
    x, y = identity_grid(SIZE)
    right, down = 2 * 6 / SIZE[1], 2 * 4 / SIZE[0]
    features = written(
        torch.stack((x + right, x - right)), torch.stack((y + down, y - down)), torch.zeros(2, *SIZE)
    )
    field0, field1 = DenseGrid(decoder=Written(), clamp=False)(features)

    torch.testing.assert_close(field0.warp(view1)[..., :-4, :-6], view0[..., :-4, :-6])
    torch.testing.assert_close(field1.warp(view0)[..., 4:, 6:], view1[..., 4:, 6:])
    moved = field0.transfer(torch.tensor([[[10.0, 20.0]]]), query_size=SIZE, reference_size=SIZE)
    torch.testing.assert_close(moved.xy, torch.tensor([[[16.0, 24.0]]]), atol=1e-4, rtol=0)
    back = field1.transfer(moved.xy, query_size=SIZE, reference_size=SIZE)
    torch.testing.assert_close(back.xy, torch.tensor([[[10.0, 20.0]]]), atol=1e-4, rtol=0)


def test_x_y_and_score_are_the_three_channels_in_that_order():
    x, y, score = torch.full((2, *SIZE), 0.5), torch.full((2, *SIZE), -0.25), torch.full((2, *SIZE), 2.0)
    field, _ = DenseGrid(decoder=Written())(written(x, y, score))
    assert field.grid[0, :, 0, 0].tolist() == [0.5, -0.25]
    torch.testing.assert_close(field.confidence, torch.full((1, *SIZE), 0.880797))  # 1 / (1 + exp(-2))


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "at_middle"),
    [
        ({}, [0.6, -3.0]),
        ({"activation": "tanh"}, [0.537050, -0.995055]),
        ({"coordinates": "offset"}, [0.6 + 1 / 44, -3.0 + 1 / 30]),
        # 2 tanh(0.6 / 2) and 2 tanh(-3 / 2)
        ({"coordinates": "offset", "activation": "tanh"}, [0.582626 + 1 / 44, -1.810297 + 1 / 30]),
    ],
)
def test_the_values_mean_what_the_options_say_in_training(settings, at_middle):
    x, y = torch.full((2, *SIZE), 0.6), torch.full((2, *SIZE), -3.0)
    head = DenseGrid(decoder=Written(), **settings).train()
    for field in head(written(x, y, torch.zeros(2, *SIZE))):
        # The cell right below the middle: its centre is half a cell of 2 / 44 by 2 / 30 off.
        torch.testing.assert_close(field.grid[0, :, 15, 22], torch.tensor(at_middle), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("clamp", "outermost"), [(True, [1.0, -1.0]), (False, [1.5, -3.0])])
def test_outside_of_training_grids_are_brought_into_the_stated_range_unless_told_otherwise(clamp, outermost):
    x, y = torch.full((2, *SIZE), 1.5), torch.full((2, *SIZE), -3.0)
    head = DenseGrid(decoder=Written(), clamp=clamp)
    for field in head.eval()(written(x, y, torch.zeros(2, *SIZE))):
        assert field.grid[0, :, 3, 7].tolist() == outermost
    for field in head.train()(written(x, y, torch.zeros(2, *SIZE))):
        assert field.grid[0, :, 3, 7].tolist() == [1.5, -3.0]


@pytest.mark.parametrize(("coordinates", "around"), [("absolute", 0.0), ("offset", 1.0)])
def test_an_untrained_head_starts_at_the_centre_or_the_same_place_with_confidence_one_half(
    coordinates, around
):
    backbone, head = tiny(coordinates=coordinates)
    for field in head(backbone(images(42, 56))):
        start = around * identity_grid((42, 56))
        assert 0 < (field.grid - start).abs().max() < 0.05
        assert 0 < (field.confidence - 0.5).abs().max() < 0.05


def test_chosen_maps_are_decoded_in_the_order_given():
    generator = torch.Generator().manual_seed(3)
    maps = {name: torch.randn(1, 2, 32, 2, 3, generator=generator) for name in "abcde"}
    torch.manual_seed(0)
    every, chosen = DenseGrid(decoder=decoder()), DenseGrid(decoder=decoder(), maps=["d", "b", "a", "c"])
    chosen.load_state_dict(loud(every).state_dict())

    def grid(head: DenseGrid, names: str) -> Tensor:
        return head(Features(maps={name: maps[name] for name in names}, image_size=(28, 42)))[0].grid

    torch.testing.assert_close(grid(chosen, "abcde"), grid(every, "dbac"), atol=1e-5, rtol=0)
    # A random decoder hands little on of its coarser levels; still a hundred times what is tolerated.
    assert (grid(chosen, "abcde") - grid(every, "abcd")).abs().max() > 1e-3


# --- shapes and precision -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(14, 14), (14, 56), (70, 42)])
@pytest.mark.parametrize("batch", [1, 3])
def test_fields_have_a_cell_per_pixel_for_every_pair(size, batch):
    backbone, head = tiny()
    for field in head(backbone(images(*size, batch=batch))):
        assert field.grid.shape == (batch, 2, *size)
        assert field.confidence.shape == (batch, *size)
        assert field.grid.isfinite().all()
        assert ((field.confidence > 0) & (field.confidence < 1)).all()


def test_a_pair_gets_the_same_fields_at_any_place_of_the_batch():
    backbone, head = tiny()
    loud(head)
    batch = images(28, 42, batch=3)
    whole = head(backbone(batch))
    for index in range(3):
        alone = head(backbone(batch[index : index + 1]))
        for one, all_ in zip(alone, whole, strict=True):
            torch.testing.assert_close(one.grid[0], all_.grid[index], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(one.confidence[0], all_.confidence[index], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("activation", ["linear", "tanh"])
def test_grid_and_confidence_are_float32_and_finer_than_bfloat16_under_autocast(activation):
    backbone, head = tiny(activation=activation)
    loud(head)
    exact = head(backbone(images(42, 56)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fast = head(backbone(images(42, 56)))
    for one, other in zip(exact, fast, strict=True):
        for value, wanted in ((other.grid, one.grid), (other.confidence, one.confidence)):
            assert value.dtype == torch.float32
            assert not torch.equal(value, value.bfloat16().float())
            assert (value - wanted).norm() < 0.1 * wanted.norm()


# --- learning -------------------------------------------------------------------------------------


def test_gradients_reach_the_branch_and_the_head_but_not_what_is_shared_and_frozen():
    backbone, head = tiny(shared=2)
    loud(head)
    fields = head.train()(backbone.train()(images(28, 42)))
    torch.stack([field.grid.square().mean() + field.confidence.mean() for field in fields]).sum().backward()
    reached = {
        name
        for part, network in (("backbone", backbone), ("head", head))
        for name, parameter in ((f"{part}.{n}", p) for n, p in network.named_parameters())
        if parameter.grad is not None and parameter.grad.abs().max() > 0
    }
    assert not [name for name in reached if name.startswith("backbone.aggregator.")]
    assert backbone.semantic is not None
    branch = {f"backbone.semantic.{name}" for name, _ in backbone.semantic.named_parameters()}
    own = {f"head.{name}" for name, _ in head.named_parameters()}
    assert branch | own == reached


def test_in_training_gradients_do_not_vanish_beyond_the_border():
    raw = torch.full((2, *SIZE), 1.7).requires_grad_()
    field, _ = DenseGrid(decoder=Written()).train()(written(raw, raw, raw))
    field.grid.sum().backward()
    assert raw.grad is not None
    assert torch.equal(raw.grad[0], torch.full(SIZE, 2.0))


def test_the_first_step_is_finite_and_small_on_features_of_any_size():
    _, head = tiny()
    maps = {f"block.{i}": 1e4 * torch.randn(1, 2, 32, 3, 4, generator=torch.Generator()) for i in range(4)}
    field0, field1 = head.train()(Features(maps=maps, image_size=(42, 56)))
    loss = field0.grid.square().mean() + field1.grid.square().mean()
    loss.backward()
    assert loss < 0.1
    norm = torch.stack([p.grad.norm() for p in head.parameters() if p.grad is not None]).norm()
    assert 0 < norm < 10


# --- weights and refusals -------------------------------------------------------------------------


def test_saved_weights_come_back(tmp_path: Path):
    backbone, head = tiny()
    loud(head)
    save_file({k: v.contiguous() for k, v in head.state_dict().items()}, tmp_path / "head.safetensors")
    again = DenseGrid(decoder=decoder(), checkpoint=tmp_path / "head.safetensors")
    features = backbone(images(28, 28))
    assert torch.equal(again.eval()(features)[1].grid, head.eval()(features)[1].grid)
    with pytest.raises(WeightsError, match="do not fit"):
        DenseGrid(decoder=decoder(width=16), checkpoint=tmp_path / "head.safetensors")


def backbone_of(channels: dict[str, int], *, joint: bool = True) -> Any:
    """What a head is told of a backbone."""
    return SimpleNamespace(
        multiple=14, joint=joint, channels=channels, forward=lambda _: None, __call__=lambda _: None
    )


FOUR = {"a": 32, "b": 32, "c": 32, "d": 32}


@pytest.mark.parametrize(
    ("backbone", "maps", "problem"),
    [
        (backbone_of(FOUR, joint=False), None, "sees both images together"),
        (backbone_of({"a": 32, "b": 32}), None, r"expected 4 maps, .* got a, b"),
        (backbone_of({**FOUR, "c": 48}), None, "expected maps of 32 channels, got c of 48"),
        (backbone_of(FOUR), ["a", "b", "c", "x"], "no map named x"),
    ],
)
def test_a_backbone_that_it_cannot_read_is_refused_in_one_sentence(unchecked, backbone, maps, problem):
    head = DenseGrid(decoder=decoder(), maps=maps)
    with pytest.raises(ConfigError, match=problem):
        head.check(backbone)


def test_backbones_that_it_can_read_are_accepted(unchecked):
    head = DenseGrid(decoder=decoder())
    assert isinstance(head, DenseHead)
    head.check(tiny()[0])
    head.check(backbone_of(FOUR))
    DenseGrid(decoder=decoder(), maps=["b", "d", "a", "c"]).check(backbone_of({**FOUR, "e": 7}))


@pytest.mark.parametrize(
    ("setting", "value", "problem"),
    [
        ("activation", "tan", "expected activation to be one of .*; did you mean tanh"),
        ("coordinates", "relative", "expected coordinates to be one of absolute, offset, got .relative"),
        ("decoder", decoder(outputs=4), r"decoder of 3 outputs .* got 4"),
    ],
)
def test_options_that_there_are_not_are_refused(unchecked, setting, value, problem):
    given: dict[str, Any] = {"decoder": decoder(), setting: value}
    with pytest.raises(ConfigError, match=problem):
        DenseGrid(**given)


def test_features_of_another_number_of_views_are_refused():
    features = Features(maps={"raw": torch.zeros(1, 1, 3, *SIZE)}, image_size=SIZE)
    with pytest.raises(ShapeError, match="2 views, got 1"):
        DenseGrid(decoder=Written())(features)
