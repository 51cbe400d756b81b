"""VGGT as a backbone: contract, order of views, what runs, precision, geometry's cameras."""

import math
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from homolog.backbones.vggt import aggregator, layers
from homolog.backbones.vggt.backbone import VGGT
from homolog.backbones.vggt.camera_head import Geometry
from homolog.backbones.vggt.layers import Architecture, Block
from homolog.core.errors import CapabilityError, ConfigError, ShapeError
from homolog.core.features import Features
from homolog.core.protocols import Backbone


@pytest.fixture
def images(tiny):
    patch = tiny.architecture.patch
    return torch.rand(1, 2, 3, 3 * patch, 5 * patch, generator=torch.Generator().manual_seed(0))


def count_blocks(model):
    """Count how often blocks of the aggregator and of the branch run."""
    runs = []
    for module in model.modules():
        if isinstance(module, Block):
            module.register_forward_pre_hook(lambda *_: runs.append(1))
    return runs


def test_maps_have_the_promised_names_channels_and_sizes(build, images):
    model = build(taps=[3, 1])
    features = model(images)
    assert isinstance(model, Backbone)
    assert list(features.maps) == ["block.3", "block.1"] == list(model.channels)
    for name, map_ in features.maps.items():
        assert map_.shape == (1, 2, model.channels[name], 3, 5)
        assert map_.dtype == torch.float32
    assert features.image_size == tuple(images.shape[-2:])


def test_a_tap_does_not_depend_on_the_others(build, images):
    with torch.inference_mode():
        few, all_ = build(taps=[1])(images), build()(images)
    torch.testing.assert_close(few["block.1"], all_["block.1"], rtol=0, atol=0)


@pytest.mark.parametrize("heads", [[], ["depth", "camera"]])
def test_features_run_nothing_after_the_last_tap(build, images, heads):
    model = build(taps=[1], heads=heads)
    runs = count_blocks(model)
    model(images)
    assert len(runs) == 4
    assert heads or list(model.aggregator.frame_blocks) == ["0", "1"]


def test_features_and_geometry_cost_one_encoding(build, images):
    model = build(taps=[1], heads=["depth"])
    with torch.inference_mode():
        features, geometry = model(images), model.geometry(images)
        runs = count_blocks(model)
        both = model.features_and_geometry(images)
    assert len(runs) == 8
    torch.testing.assert_close(both[0]["block.1"], features["block.1"])
    torch.testing.assert_close(both[1].depth, geometry.depth)


def test_order_of_views_matters_in_one_pass_and_not_in_two(build, images):
    once, twice = build(), build(symmetric=True)
    with torch.inference_mode():
        a, b = once(images)["block.3"], once(images.flip(1))["block.3"].flip(1)
        assert (a - b).abs().max() > 0.05 * a.abs().max()
        torch.testing.assert_close(twice(images)["block.3"], (a + b) / 2)
        torch.testing.assert_close(twice(images.flip(1))["block.3"].flip(1), (a + b) / 2)


def test_two_passes_over_one_view_are_one(build, images):
    with torch.inference_mode():
        a, b = build()(images[:, :1]), build(symmetric=True)(images[:, :1])
    torch.testing.assert_close(a["block.0"], b["block.0"], rtol=0, atol=0)


def test_training_mode_gives_what_evaluation_gives_also_after_inference_mode(build, images):
    model = build().eval()
    with torch.inference_mode():
        expected = model(images)["block.3"].clone()
    found = build().train()(images)["block.3"]
    torch.testing.assert_close(found.detach(), expected)
    model.train()(images)["block.3"].square().mean().backward()
    assert all(p.grad is not None for p in model.aggregator.frame_blocks.parameters())


def test_gradient_checkpointing_changes_no_gradient(build, images):
    gradients = []
    for checkpointing in (False, True):
        model = build(gradient_checkpointing=checkpointing).train()
        model(images)["block.3"].square().mean().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_gradient_checkpointing_runs_blocks_again(build, images):
    model = build(gradient_checkpointing=True, taps=[1]).train()
    runs = count_blocks(model)
    model(images)["block.1"].sum().backward()
    assert len(runs) == 8


def test_bfloat16_weights_keep_float32_where_it_matters(tiny, build, images):
    exact = build(heads=["camera", "depth", "point"])
    rough = build(heads=["camera", "depth", "point"], dtype="bfloat16")
    with torch.inference_mode():
        (expected, scene), (found, other) = (m.features_and_geometry(images) for m in (exact, rough))
    for name, map_ in found.maps.items():
        assert map_.dtype == torch.float32
        error = (map_ - expected[name]).norm() / expected[name].norm()
        assert 1e-4 < error < 0.02, name
    for name in ("depth", "depth_score", "points", "points_score", "pose"):
        a, b = getattr(scene, name), getattr(other, name)
        assert b.dtype == torch.float32
        assert (a - b).norm() / a.norm() < 0.05, name
        # Values that bfloat16 could hold would mean that the last convolution ran in it.
        assert (b != b.to(torch.bfloat16)).float().mean() > 0.9, name
    assert {p.dtype for n, p in rough.named_parameters() if "norm" in n or "ls" in n or "token" in n} == {
        torch.float32
    }
    linear = [m for m in rough.aggregator.modules() if isinstance(m, nn.Linear)]
    assert {m.weight.dtype for m in linear} == {torch.bfloat16}


def test_autocast_leaves_positions_exact_and_outputs_float32(build, images):
    model = build(heads=["camera", "depth"])
    with torch.inference_mode():
        expected = model.features_and_geometry(images)
        with torch.autocast("cpu", torch.bfloat16):
            found = model.features_and_geometry(images)
            rotation = model.aggregator.embed(images).rotation
    plain = model.aggregator.embed(images).rotation
    torch.testing.assert_close(rotation.cos, plain.cos, rtol=0, atol=0)
    assert found[0]["block.3"].dtype == torch.float32
    assert found[1].depth.dtype == found[1].depth_score.dtype == torch.float32
    assert found[1].pose.dtype == torch.float32
    assert (found[1].pose != found[1].pose.bfloat16()).float().mean() > 0.9  # nor were the steps rounded
    error = (found[0]["block.3"] - expected[0]["block.3"]).norm() / expected[0]["block.3"].norm()
    assert error < 0.02


@pytest.mark.parametrize("shape", [(2, 3, 42, 70), (1, 2, 1, 42, 70)])
def test_images_of_another_shape_are_refused_also_without_type_checks(build, shape):
    with pytest.raises(ShapeError, match=r"expected images \[B V 3 H W\]"):
        build()._size(torch.rand(shape))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"taps": [4]}, "taps from 0 to 3"),
        ({"taps": []}, "taps"),
        ({"taps": [1, 1]}, "different taps"),
        ({"taps": [1], "shared": 2}, "shared"),
        ({"heads": ["dept"]}, "did you mean depth"),
        ({"heads": ["depth"], "frames_per_chunk": 0}, "frames_per_chunk of at least 1"),
    ],
)
def test_settings_that_do_not_exist_are_refused(build, settings, message):
    with pytest.raises(ConfigError, match=message):
        build(**settings)


@pytest.mark.parametrize(
    "sizes", [{"width": 30, "attention_heads": 4}, {"decoder_taps": (0, 30)}, {"encoder_image_size": 71}]
)
def test_sizes_that_no_network_has_are_refused(sizes):
    with pytest.raises(ConfigError):
        Architecture(**sizes)


def test_geometry_without_heads_is_refused_before_anything_runs(build, images):
    model = build()
    runs = count_blocks(model)
    for ask in (model.geometry, model.features_and_geometry):
        with pytest.raises(CapabilityError, match="without heads"):
            ask(images)
    assert not runs


def test_one_table_of_rotations_serves_all_pairs(build, images, monkeypatch):
    made = []

    def recorded(**sizes):
        made.append(layers.patch_rotation(**sizes))
        return made[-1]

    monkeypatch.setattr(aggregator, "patch_rotation", recorded)
    build(heads=["camera", "depth"], shared=1).features_and_geometry(images)
    assert len(made) == 1
    assert made[0].cos.dtype == made[0].sin.dtype == torch.float32


def test_each_part_has_its_own_mlp_ratio():
    model = VGGT(
        taps=[0],
        heads=["camera"],
        architecture=Architecture(
            width=32,
            depth=1,
            attention_heads=4,
            mlp_ratio=2,
            encoder_depth=1,
            encoder_attention_heads=4,
            encoder_mlp_ratio=3,
            encoder_image_size=28,
            decoder_taps=(0,),
            camera_depth=1,
            camera_attention_heads=4,
            camera_mlp_ratio=5,
        ),
    )
    shapes = {name: list(parameter.shape) for name, parameter in model.named_parameters()}
    assert shapes["aggregator.frame_blocks.0.mlp.fc1.weight"] == [2 * 32, 32]
    assert shapes["aggregator.patch_embed.blocks.0.mlp.fc1.weight"] == [3 * 32, 32]
    assert shapes["camera_head.trunk.0.mlp.fc1.weight"] == [5 * 64, 64]


def test_geometry_holds_only_what_was_asked_for(build, images):
    with torch.inference_mode():
        scene = build(heads=["point"]).geometry(images)
    assert scene.points.shape == (1, 2, *images.shape[-2:], 3)
    assert scene.depth is None
    with pytest.raises(CapabilityError, match=r"heads=\[camera\]"):
        scene.pose_of(0, 0)


def test_pose_encoding_reads_as_camera_and_motion():
    # A quarter turn about z, sent as twice the unit quaternion (x, y, z, w); 90 degrees of view upwards.
    turn = [0.0, 0.0, 2 * math.sin(math.pi / 4), 2 * math.cos(math.pi / 4)]
    first = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, math.pi / 2, math.pi / 3]
    second = [1.0, 2.0, 3.0, *turn, math.pi / 2, math.pi / 3]
    scene = Geometry(image_size=(28, 42), pose=torch.tensor([[first, second]]))
    K = scene.camera(0, 1).K
    assert K[1, 1] == pytest.approx(14)
    assert K[0, 0] == pytest.approx(21 / math.tan(math.pi / 6), rel=1e-6)
    assert K[:2, 2].tolist() == [20.5, 13.5]
    motion = scene.relative_pose(0, 0, 1)
    torch.testing.assert_close(
        motion.R, torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]).double(), atol=1e-6, rtol=0
    )
    assert motion.t.tolist() == [1, 2, 3]
    back = scene.relative_pose(0, 1, 0)
    torch.testing.assert_close(back.R, motion.R.T)


def test_random_start_gives_finite_features():
    model = VGGT(
        taps=[0, 1],
        architecture=Architecture(
            width=32,
            depth=2,
            attention_heads=4,
            encoder_depth=1,
            encoder_attention_heads=4,
            encoder_image_size=28,
            decoder_taps=(0, 1),
            decoder_channels=(16, 16),
        ),
    )
    assert all(map_.isfinite().all() for map_ in model(torch.rand(1, 2, 3, 28, 42)).maps.values())


class Colours(nn.Module):
    """A backbone of cells: the mean colour of each, and the negative of it."""

    joint = False

    def __init__(self, cell=14):
        super().__init__()
        self.multiple = self.cell = cell
        self.channels = {"mean": 3, "negative": 3}

    def forward(self, images):
        mean = nn.functional.avg_pool2d(images.flatten(0, 1), self.cell).unflatten(0, images.shape[:2])
        return Features(maps={"mean": mean, "negative": -mean}, image_size=tuple(images.shape[-2:]))


def with_backbone(**settings: Any) -> VGGT:
    torch.manual_seed(0)
    sizes = Architecture(
        width=32, depth=1, attention_heads=4, encoder_image_size=42, decoder_taps=(0,), decoder_channels=(16,)
    )
    given: dict[str, Any] = {"encoder": Colours(), "encoder_map": "mean", **settings}
    return VGGT(taps=[0], architecture=sizes, **given)


def test_another_backbone_takes_the_place_of_the_encoder(tmp_path, images):
    model = with_backbone()
    features = model(images)
    assert features["block.0"].shape == (1, 2, 64, images.shape[-2] // 14, images.shape[-1] // 14)
    assert not torch.equal(features["block.0"], with_backbone(encoder_map="negative")(images)["block.0"])
    # Where a patch is counts as well as what it shows.
    flat = model(torch.full_like(images, 0.5))["block.0"][0, 0].flatten(1)
    assert (flat - flat[:, :1]).norm(dim=0)[1:].min() > 0.1
    # It is part of what is kept, so that nothing which learnt is lost.
    save_file(model.state_dict(), tmp_path / "a.safetensors")
    again = with_backbone(checkpoint=tmp_path / "a.safetensors")
    assert torch.equal(again(images)["block.0"], features["block.0"])


def test_a_file_may_leave_a_encoders_own_weights_to_the_encoder(tmp_path, images):
    class Weighed(Colours):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor(2.0))

        def forward(self, images):
            found = super().forward(images)
            maps = {name: self.weight * map_ + map_**2 for name, map_ in found.maps.items()}
            return Features(maps=maps, image_size=found.image_size)

    model = with_backbone(encoder=Weighed())
    own = "aggregator.patch_embed.backbone.weight"
    save_file(model.state_dict(), tmp_path / "whole.safetensors")
    save_file(
        {key: value for key, value in model.state_dict().items() if key != own}, tmp_path / "a.safetensors"
    )
    with torch.no_grad():
        model.get_parameter(own).fill_(3.0)
    other = Weighed()
    with torch.no_grad():
        other.weight.fill_(3.0)
    # The encoder keeps its own weights, unless the file knows better.
    again = with_backbone(encoder=other, checkpoint=tmp_path / "a.safetensors")
    assert again.get_parameter(own).item() == 3.0
    assert torch.equal(again(images)["block.0"], model(images)["block.0"])
    whole = with_backbone(encoder=other, checkpoint=tmp_path / "whole.safetensors")
    assert whole.get_parameter(own).item() == 2.0


def test_positions_of_such_an_encoder_are_resampled_for_other_sizes():
    model = with_backbone()
    for size in ((42, 42), (28, 70)):
        assert model(torch.rand(1, 2, 3, *size))["block.0"].isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder_map": None}, "one of the encoder's maps mean, negative, got None; set encoder_map"),
        ({"encoder_map": "men"}, "one of the encoder's maps mean, negative, got men"),
    ],
)
def test_such_an_encoder_needs_a_map(settings, message):
    with pytest.raises(ConfigError, match=message):
        with_backbone(**settings)


def test_such_an_encoder_sees_each_image_alone_and_has_a_cell_for_each_patch(images):
    joint = Colours()
    joint.joint = True
    with pytest.raises(ConfigError, match="sees each image alone"):
        with_backbone(encoder=joint)
    with pytest.raises(
        ShapeError, match="2 x 3 cells from its encoder, one for each patch of 14 pixels, got 4 x 6"
    ):
        with_backbone(encoder=Colours(7))(torch.rand(1, 2, 3, 28, 42))
