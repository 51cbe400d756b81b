"""The 3D prior: its truth, its losses worked out by hand, and what a backbone learns from them."""

import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from homolog.backbones.vggt.camera_head import Geometry
from homolog.core.camera import Camera, RelativePose
from homolog.core.errors import CapabilityError, ConfigError
from homolog.core.image import Image
from homolog.core.samples import PairSample
from homolog.training.batch import collate, swapped
from homolog.training.data import SparseSource
from homolog.training.losses.vggt import camera_loss, trusted_error
from homolog.training.objectives.base import Objective, Step
from homolog.training.objectives.geometry import GeometryObjective, quaternion, scene_truth
from homolog.training.stage import freeze

SIZE = (8, 8)

HEADS = (
    "backbone.heads=[camera,depth,point]",
    "backbone.architecture.decoder_taps=[0,0,1,1]",  # the decoder has four levels
    "backbone.architecture.decoder_width=8",
    "backbone.architecture.decoder_channels=[8,8,8,8]",
)


def turned(degrees, axis=1):
    a, b = [index for index in range(3) if index != axis]
    R = torch.eye(3)
    R[a, a] = R[b, b] = math.cos(math.radians(degrees))
    R[a, b], R[b, a] = -math.sin(math.radians(degrees)), math.sin(math.radians(degrees))
    return R


def scene(*, depth=4.0, t=(2.0, 0.0, 0.0), focal=(4.0, 8.0), degrees=30.0, seed=0):
    """A wall in front of either camera."""
    K = torch.tensor([[focal[0], 0, 3.5], [0, focal[1], 3.5], [0, 0, 1]])
    noise = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(seed))
    return PairSample(
        image0=Image(pixels=noise[0]),
        image1=Image(pixels=noise[1]),
        camera0=Camera(K=K),
        camera1=Camera(K=K),
        pose=RelativePose(R=turned(degrees), t=torch.tensor(t)),
        depth0=torch.full(SIZE, depth),
        depth1=torch.full(SIZE, 1.5 * depth),
    )


def step(*wanted):
    return Step(wanted=wanted, generator=torch.Generator().manual_seed(0), options={})


def test_the_camera_loss_is_half_the_square_of_small_errors_and_the_amount_of_large_ones():
    truth = torch.zeros(2, 2, 9)
    found = truth.clone()
    found[0, 0, 0], found[0, 0, 6] = 0.05, -0.5
    truth[1, 1] = torch.nan
    found[1, 0, 3] = 0.3
    # 0.05^2 / 2 and 0.1 (0.5 - 0.05), over two views; 0.1 (0.3 - 0.05) over the one that is known.
    expected = torch.tensor([(0.00125 + 0.045) / 2, 0.025])
    torch.testing.assert_close(camera_loss(found, truth), expected)
    known = torch.tensor([[False, True], [True, True]])
    torch.testing.assert_close(camera_loss(found, truth, known), torch.tensor([0.0, 0.025]))


def depth_loss(depth, score, truth, **options):
    return trusted_error(depth[..., None], score, truth[..., None], **options)


def test_errors_and_slopes_of_depth_are_weighed_by_a_trust_that_earns_its_logarithm():
    truth = torch.tensor([[[[1.0, 2.0, torch.nan]]]])
    depth, score = torch.tensor([[[[1.5, 1.0, 7.0]]]]), torch.tensor([[[[2.0, 4.0, 9.0]]]])
    # Off by 0.5 and -1: (2 0.5 + 4 1) / 2 - 0.2 (log 2 + log 4) / 2; one slope, off by -1.5, at trust 2.
    plain = 2.5 - 0.2 * math.log(8) / 2
    assert depth_loss(depth, score, truth, gradient=0.0).tolist() == pytest.approx([plain])
    assert depth_loss(depth, score, truth).tolist() == pytest.approx([plain + 3.0])
    assert depth_loss(depth, score, truth, alpha=0.0, gradient=0.5).tolist() == pytest.approx([4.0])
    assert depth_loss(depth, score, truth * torch.nan).tolist() == [0.0]


def test_points_are_off_by_their_distance_and_unknown_when_one_coordinate_is():
    truth = torch.zeros(1, 1, 1, 3, 3)
    truth[..., 2, 1] = torch.nan
    points = torch.zeros(1, 1, 1, 3, 3)
    points[0, 0, 0, 0] = torch.tensor([3.0, 0.0, 4.0])
    points[0, 0, 0, 1] = torch.tensor([0.0, 12.0, 4.0])
    score = torch.tensor([[[[2.0, 1.0, 5.0]]]])
    plain = (2 * 5 + 160**0.5) / 2 - 0.2 * math.log(2) / 2
    assert trusted_error(points, score, truth, gradient=0.0).tolist() == pytest.approx([plain])
    # One slope, (3, -12, 0), at trust 2.
    assert trusted_error(points, score, truth).tolist() == pytest.approx([plain + 2 * 153**0.5])


def test_points_of_both_views_lie_in_the_frame_of_the_first_where_the_cameras_see_them():
    sample = scene()
    assert sample.depth0 is not None
    assert sample.pose is not None
    assert sample.camera1 is not None
    truth = scene_truth(collate([sample], size=SIZE))
    unit = sample.depth0[0, 0] / truth.depth[0, 0, 0, 0]
    points = truth.points[0] * unit
    assert points.norm(dim=-1).mean().item() == pytest.approx(unit.item(), rel=1e-5)
    torch.testing.assert_close(points[0, ..., 2], sample.depth0)
    in_second = sample.pose.apply(points[1].reshape(-1, 3))
    torch.testing.assert_close(in_second[:, 2].view(SIZE), sample.depth1)
    seen_at = in_second @ sample.camera1.K.T
    expected = torch.tensor([[x, y] for y in range(8) for x in range(8)], dtype=torch.float32)
    torch.testing.assert_close(seen_at[:, :2] / seen_at[:, 2:], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_gradients_of_both_are_finite_whatever_is_unknown(dtype):
    depth = torch.ones(2, 2, 3, 4, dtype=dtype, requires_grad=True)
    truth = torch.full((2, 2, 3, 4), torch.nan)
    truth[0, :, :2] = 2.0
    cameras = torch.full((2, 2, 9), torch.nan)
    cameras[0] = 2.0
    losses = depth_loss(depth, depth + 1, truth), camera_loss(depth.flatten(2)[..., :9], cameras)
    for loss in losses:
        assert loss.dtype == torch.float32
        (gradient,) = torch.autograd.grad(loss.sum(), depth)
        assert gradient.isfinite().all()
        assert gradient[0].abs().sum() > 0
        assert (gradient[1] == 0).all()


@pytest.mark.parametrize(("degrees", "axis"), [(0, 0), (180, 0), (180, 1), (90, 2), (-120, 1), (179.9, 2)])
def test_a_quaternion_is_the_rotation_that_it_was_made_of(degrees, axis):
    found = quaternion(turned(degrees, axis).double())
    half = math.radians(degrees) / 2
    # Rows and columns of `turned` in ascending order: about y it turns the other way.
    expected = [0.0, 0.0, 0.0, math.cos(half)]
    expected[axis] = math.sin(half) * (-1 if axis == 1 else 1)
    assert found.norm().item() == pytest.approx(1)
    assert abs(float(found @ torch.tensor(expected, dtype=torch.float64))) == pytest.approx(1)
    assert found[3] >= 0


def test_lengths_are_in_units_of_the_mean_distance_of_all_points_from_the_first_camera():
    sample = scene(degrees=0.0, t=(0.0, 0.0, 0.0), depth=4.0)
    truth = scene_truth(collate([sample], size=SIZE))
    rays = [math.sqrt(((x - 3.5) / 4) ** 2 + ((y - 3.5) / 8) ** 2 + 1) for y in range(8) for x in range(8)]
    unit = (4 + 6) / 2 * sum(rays) / 64
    assert truth.depth[0, 0].unique().tolist() == pytest.approx([4 / unit])
    assert truth.depth[0, 1].unique().tolist() == pytest.approx([6 / unit])
    larger = replace(scene(t=(20.0, 0.0, 0.0), depth=40.0), camera0=sample.camera0, camera1=sample.camera1)
    for one, other in zip(
        *(scene_truth(collate([each], size=SIZE)) for each in (scene(), larger)), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("change", [lambda sample: sample, swapped])
def test_what_vggt_says_in_these_numbers_is_read_back_as_the_cameras_that_made_them(change):
    sample = change(scene())
    truth = scene_truth(collate([sample], size=SIZE))
    said = Geometry(image_size=SIZE, pose=truth.pose)
    pose = said.relative_pose(0, 0, 1)
    torch.testing.assert_close(pose.R, sample.pose.R.double(), atol=1e-6, rtol=0)
    turned_to = pose.t / pose.t.norm()
    torch.testing.assert_close(turned_to, sample.pose.t.double() / sample.pose.t.norm(), atol=1e-6, rtol=0)
    for view, camera in enumerate((sample.camera0, sample.camera1)):
        torch.testing.assert_close(said.camera(0, view).K.float(), camera.K, atol=1e-4, rtol=0)


def test_a_stretched_image_has_another_field_of_view_in_pixels_and_the_same_in_degrees():
    one, other = (scene_truth(collate([scene()], size=size)) for size in (SIZE, (16, 24)))
    assert other.depth.shape == (1, 2, 16, 24)
    # The mean over more pixels of the same wall is a little different.
    torch.testing.assert_close(one.pose[..., 3:], other.pose[..., 3:])
    torch.testing.assert_close(one.pose[..., :3], other.pose[..., :3], rtol=0.02, atol=0)


@pytest.mark.parametrize("missing", ["depth0", "depth1", "camera0", "pose"])
def test_a_pair_that_lacks_something_is_unknown(missing):
    truth = scene_truth(collate([scene(), replace(scene(), **{missing: None})], size=SIZE))
    assert truth.depth[0].isfinite().all()
    assert truth.pose[0].isfinite().all()
    assert truth.depth[1].isnan().all()
    assert truth.pose[1].isnan().all()
    nowhere = replace(scene(), depth0=torch.full(SIZE, torch.nan), depth1=torch.full(SIZE, torch.nan))
    assert scene_truth(collate([nowhere], size=SIZE)).pose.isnan().all()


def test_heads_and_pairs_of_the_backbone_learn_and_pairs_without_truth_add_nothing(make_matcher):
    matcher, objective = make_matcher(*HEADS), GeometryObjective()
    assert isinstance(objective, Objective)
    freeze(matcher, ["backbone.*"])
    pairs = [scene(), replace(scene(), pose=None)]
    terms = objective(matcher, collate(pairs, size=SIZE), step(*objective.terms))
    alone = objective(matcher, collate(pairs[:1], size=SIZE), step(*objective.terms))
    for name, value in terms.items():
        assert value.item() == pytest.approx(alone[name].item() / 2, rel=1e-5)
    assert set(objective(matcher, collate(pairs, size=SIZE), step("depth"))) == {"depth"}
    torch.stack(list(terms.values())).sum().backward()
    learning = {
        name.split(".")[1]
        for name, parameter in matcher.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }
    assert learning == {"aggregator", "camera_head", "depth_head", "point_head"}


def test_geometry_falls_into_place_with_training(make_matcher):
    matcher, objective = make_matcher(*HEADS), GeometryObjective()
    freeze(matcher, ["backbone.*"])
    batch = collate([scene(), scene(degrees=-40.0, t=(0.0, 1.0, 1.0), seed=1)], size=SIZE)
    optimiser = torch.optim.AdamW(matcher.backbone.parameters(), lr=3e-3)
    seen = []
    for _ in range(80):
        terms = objective(matcher, batch, step(*objective.terms))
        optimiser.zero_grad()
        (5 * terms["camera"] + terms["depth"] + terms["points"]).backward()
        optimiser.step()
        seen.append({name: value.item() for name, value in terms.items()})
    for name in ("camera", "points"):
        assert seen[-1][name] < 0.3 * seen[0][name], name
    assert seen[-1]["depth"] < 0 < seen[0]["depth"]  # trust has been earned


def test_a_backbone_without_geometry_or_a_head_says_what_to_take(make_matcher):
    batch = collate([scene()], size=SIZE)
    with pytest.raises(CapabilityError, match=r"add it to backbone\.heads"):
        GeometryObjective()(make_matcher("backbone.heads=[camera]"), batch, step("depth"))
    matcher = make_matcher()
    matcher.backbone = torch.nn.Identity()
    with pytest.raises(CapabilityError, match="such as vggt_mini"):
        GeometryObjective()(matcher, batch, step("depth"))


def test_what_the_prior_leaves_is_read_by_the_matcher_and_by_its_branch(make_matcher, tmp_path):
    prior = make_matcher(*HEADS)
    file = tmp_path / "backbone.safetensors"
    save_file({key: value.contiguous() for key, value in prior.backbone.state_dict().items()}, file)
    plain = make_matcher(f"backbone.checkpoint={file}", seed=1)
    for key, value in plain.backbone.state_dict().items():
        assert torch.equal(value, prior.backbone.state_dict()[key]), key
    branch = make_matcher(f"backbone.checkpoint={file}", "backbone.shared=1", seed=1)
    published = prior.backbone.state_dict()
    semantic = {
        key: value for key, value in branch.backbone.state_dict().items() if key.startswith("semantic.")
    }
    assert semantic
    for key, value in semantic.items():
        assert torch.equal(value, published[key.replace("semantic.", "aggregator.", 1)]), key


def test_a_sparse_source_shows_keypoints_and_masks_and_no_dense_truth(shifts):
    whole = shifts(count=3, size=16)
    source = SparseSource(whole)
    assert len(source) == 3
    sample = replace(whole[1], mask0=torch.ones(16, 16, dtype=torch.bool))
    hidden = SparseSource([sample])[0]
    for name in ("dense0", "dense1", "depth0", "depth1", "pose", "homography"):
        assert getattr(hidden, name) is None
    for name in ("xy0", "xy1", "mask0", "category", "name"):
        assert getattr(hidden, name) is getattr(sample, name)
    assert torch.equal(source[1].image0.pixels, whole[1].image0.pixels)


def test_a_recipe_hides_the_dense_truth_of_the_sources_that_it_calls_sparse(make_recipe):
    recipe = make_recipe(sparse=["shifts"])
    assert recipe.sources_of("first")["shifts"][0].dense0 is None
    assert make_recipe().sources_of("first")["shifts"][0].dense0 is not None
    with pytest.raises(ConfigError, match="sparse: no source shift"):
        make_recipe(sparse=["shift"])
