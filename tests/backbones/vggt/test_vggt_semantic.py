"""The semantic branch: what is shared, what learns, and what a saved branch comes back as."""

import pytest
import torch
from safetensors.torch import save_file

from homolog.backbones.vggt.layers import Block


@pytest.fixture
def images(tiny):
    patch = tiny.architecture.patch
    return torch.rand(1, 2, 3, 3 * patch, 2 * patch, generator=torch.Generator().manual_seed(1))


def perturb(branch):
    with torch.no_grad():
        for parameter in branch.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("shared", [0, 1, 3])
def test_untrained_branch_gives_the_published_features(build, images, shared):
    with torch.inference_mode():
        expected, found = build()(images), build(shared=shared)(images)
    for name in expected.maps:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=0)


def test_only_the_branch_learns(build, images):
    model = build(shared=2, heads=["depth", "camera"])
    features = model(images)
    assert not features["block.1"].requires_grad
    features["block.3"].square().mean().backward()
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning == {name for name, _ in model.named_parameters() if name.startswith("semantic.")}
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == learning


def test_frozen_part_keeps_no_graph(build, images):
    model = build(shared=2)
    tracked = []
    for block in model.aggregator.modules():
        if isinstance(block, Block):
            block.register_forward_hook(lambda _, __, out: tracked.append(out.requires_grad))
    model(images.requires_grad_())
    assert tracked == [False] * 4


def test_gradient_checkpointing_changes_nothing_in_the_branch(build, images):
    gradients = []
    for checkpointing in (False, True):
        model = build(shared=2, gradient_checkpointing=checkpointing).train()
        with torch.inference_mode():
            model(images)
        model(images)["block.3"].square().mean().backward()
        gradients.append([parameter.grad for parameter in model.semantic.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain)


def test_tuning_the_branch_moves_features_and_leaves_geometry(build, images):
    model = build(shared=1, heads=["depth", "camera"])
    with torch.inference_mode():
        before = model.features_and_geometry(images)
    perturb(model.semantic)
    with torch.inference_mode():
        after = model.features_and_geometry(images)
        alone = model.geometry(images)
    torch.testing.assert_close(after[0]["block.0"], before[0]["block.0"], rtol=0, atol=0)
    assert (after[0]["block.3"] - before[0]["block.3"]).abs().max() > 0.01
    for scene in (after[1], alone):
        torch.testing.assert_close(scene.depth, before[1].depth, rtol=0, atol=0)
        torch.testing.assert_close(scene.pose, before[1].pose, rtol=0, atol=0)


def test_branch_owns_its_memory(build):
    model = build(shared=1, heads=["depth"])
    places = [parameter.data_ptr() for parameter in model.parameters()]
    assert len(set(places)) == len(places)


def test_without_heads_the_later_pairs_exist_once(tiny, build):
    model = build(shared=1)
    assert list(model.aggregator.frame_blocks) == ["0"]
    assert list(model.semantic.global_blocks) == ["1", "2", "3"]


def test_shared_pairs_run_once_for_features_and_geometry(build, images):
    model = build(shared=2, heads=["depth"])
    runs = []
    for block in model.modules():
        if isinstance(block, Block):
            block.register_forward_hook(lambda *_: runs.append(1))
    model.features_and_geometry(images)
    assert len(runs) == 2 * (2 + 2 + 2)


def test_saved_branch_comes_back(build, images, tmp_path):
    model = build(shared=1)
    perturb(model.semantic)
    save_file(
        {key: value.contiguous() for key, value in model.state_dict().items()}, tmp_path / "own.safetensors"
    )
    with torch.inference_mode():
        expected, found = model(images), build(shared=1, checkpoint=tmp_path / "own.safetensors")(images)
    torch.testing.assert_close(found["block.3"], expected["block.3"], rtol=0, atol=0)


def test_tuned_branch_beside_published_keys_is_the_one_that_loads(tiny, build, images, tmp_path):
    model = build(shared=1)
    perturb(model.semantic)
    branch = {key: value.contiguous() for key, value in model.state_dict().items() if "semantic" in key}
    save_file(tiny.weights | branch, tmp_path / "both.safetensors")
    with torch.inference_mode():
        expected, found = model(images), build(shared=1, checkpoint=tmp_path / "both.safetensors")(images)
        published = build(checkpoint=tmp_path / "both.safetensors")
    torch.testing.assert_close(found["block.3"], expected["block.3"], rtol=0, atol=0)
    assert published.left_out["semantic.frame_blocks.1"] > 0
