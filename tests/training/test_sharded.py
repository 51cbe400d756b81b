"""Sharing weights out: what is shared, what is not, and what is refused."""

from dataclasses import dataclass, replace

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from homolog.core.errors import ConfigError
from homolog.training.fit import fit
from homolog.training.sharded import shard
from homolog.training.validation import Validation


@pytest.fixture
def mesh(tmp_path):
    """One process that thinks it is all of them."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


@dataclass
class Found:
    """Hides a tensor from torch."""

    values: torch.Tensor


class Hiding(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, x):
        return Found(self.inner(x))


class Stack(nn.Module):
    def __init__(self, last):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.blocks = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3), last])

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return x


def test_what_learns_is_shared_and_what_is_frozen_stays_whole(mesh):
    module = Stack(nn.Linear(3, 3))
    module.blocks[0].requires_grad_(False)
    module.blocks[1].bias.requires_grad_(False)
    x = torch.rand(2, 3)
    expected = module(x)
    shard(module, mesh)
    assert torch.equal(module(x), expected)
    shared = {name for name, parameter in module.named_parameters() if isinstance(parameter, DTensor)}
    assert shared == {"first.weight", "first.bias", "blocks.1.weight", "blocks.2.weight", "blocks.2.bias"}
    # Of a block that rests, no weights are together.
    together = [type(block.weight) for block in module.blocks]
    assert together == [nn.Parameter, DTensor, DTensor]


def test_a_block_that_hides_its_tensors_is_refused(mesh):
    module = Stack(Hiding())
    shard(module, mesh)
    with pytest.raises(
        TypeError, match=r"Hiding: expected tensors .* got Found; return a tensor, or train with"
    ):
        module(torch.rand(2, 3))


def test_the_best_weights_cannot_be_kept_of_weights_that_are_shared_out(
    tmp_path, make_matcher, make_recipe, shifts
):
    validation = Validation(source=lambda: shifts(3), keep_best=True)
    recipe = replace(make_recipe(validation=validation), trainer={"strategy": "fsdp"})
    with pytest.raises(
        ConfigError, match=r"keep_best: .* set validation.keep_best=false or trainer.strategy=ddp"
    ):
        fit(recipe, make_matcher(), tmp_path / "run", device="cpu")
