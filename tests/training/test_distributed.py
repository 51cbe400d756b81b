"""Resuming, several processes and sharded training give the weights of one uninterrupted process."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from homolog.core.errors import ConfigError
from homolog.training.checkpoints import SafetensorsCheckpointIO
from homolog.training.distributed import shard
from homolog.training.trainer import fit
from homolog.training.validation import Validation

SCRIPT = """
import importlib.util, sys, time
from pathlib import Path
from homolog.training.trainer import fit

def loaded(path):
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

shared, test, out, mode = loaded(sys.argv[1]), loaded(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]

if __name__ == "__main__":
    if mode == "slow":
        # Time to be killed in, after a checkpoint and between two.
        recipe = test.watched(shared.recipe_of_two_stages, shared.Shifts)
        fit(recipe, shared.tiny_dense(), out, device="cpu", progress=lambda *step: time.sleep(0.4))
    else:
        for name, strategy in (("ddp", "ddp"), ("fsdp", "fsdp"), ("resumed", "fsdp")):
            recipe = test.distributed(2, shared.recipe_of_two_stages, strategy=strategy)
            resume = name == "resumed"
            fit(recipe, shared.tiny_dense(), out / name, resume=resume, device="cpu")
"""


def watched(make_recipe, shifts):
    """The two stages, with a validation after each step."""
    return make_recipe(validation=Validation(source=lambda: shifts(3, seed=9), pairs=3, every=1))


def distributed(processes, make_recipe, strategy="auto", **changes):
    """One step and then three, with four pairs distributed among the processes."""
    stage = replace(make_recipe().stages["second"], batch=4 // processes, clip=0.5, warmup=0)
    stages = {"one": replace(stage, steps=1), "three": replace(stage, steps=3)}
    return make_recipe(stages=stages, trainer={"strategy": strategy, "devices": processes}, **changes)


@pytest.fixture
def process(tmp_path):
    """Starts a training in its own process."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    shared = Path(__file__).with_name("conftest.py")

    def start(out, mode):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        words = [sys.executable, *map(str, (script, shared, __file__, out)), mode]
        return subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)

    return start


@pytest.fixture(autouse=True)
def _one_thread():
    """As in the processes, so that sums have the same order here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ended(process):
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-3000:]


@pytest.mark.slow
def test_a_killed_and_resumed_training_gives_the_same_weights_as_an_uninterrupted_one(
    tmp_path, process, make_matcher, make_recipe, shifts
):
    running = process(tmp_path / "run", "slow")
    checkpoint = tmp_path / "run/second/last.safetensors"
    deadline = time.monotonic() + 200
    while not checkpoint.is_file() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert checkpoint.is_file()
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert running.returncode == -signal.SIGKILL
    assert not (tmp_path / "run/second/finished.json").exists()
    # This process only knows what the killed one left on disk.
    fit(watched(make_recipe, shifts), make_matcher(), tmp_path / "run", resume=True, device="cpu")
    # The uninterrupted one has no validation, the other validates after each step.
    fit(make_recipe(), make_matcher(), tmp_path / "whole", device="cpu")
    for stage in ("first", "second"):
        for part in ("backbone", "head"):
            one, other = (
                load_file(tmp_path / run / stage / f"{part}.safetensors") for run in ("whole", "run")
            )
            assert one.keys() == other.keys()
            assert all(torch.equal(one[name], other[name]) for name in one)


class StoppedError(Exception):
    """Ends a training from outside."""


@pytest.mark.slow
def test_two_processes_with_half_a_batch_each_match_one_process_with_all_of_it(
    tmp_path, process, make_matcher, make_recipe
):
    """Replicated (DDP) and sharded weights (FSDP), from the start and from a checkpoint of one process."""

    def stop(stage, step, *rest):
        if (stage, step) == ("three", 2):
            raise StoppedError

    recipe = distributed(1, make_recipe)
    begun = replace(recipe, checkpoint_every=1)
    with pytest.raises(StoppedError):
        fit(begun, make_matcher(), tmp_path / "resumed", device="cpu", progress=stop)
    ended(process(tmp_path, "together"))
    fit(recipe, make_matcher(), tmp_path / "alone", device="cpu")
    for other in ("ddp", "fsdp", "resumed"):
        assert_same_training(tmp_path / "alone", tmp_path / other)
        state = SafetensorsCheckpointIO().load_checkpoint(tmp_path / other / "three/last.safetensors")[
            "state_dict"
        ]
        for part in ("backbone", "head"):
            exported = load_file(tmp_path / other / f"three/{part}.safetensors")
            assert all(torch.equal(exported[name], state[f"matcher.{part}.{name}"]) for name in exported)


def assert_same_training(alone, together):
    """Compare several processes with one process on the same pairs."""
    (one, last), (one2, last2) = (
        [
            SafetensorsCheckpointIO().load_checkpoint(path / name / "last.safetensors")
            for name in ("one", "three")
        ]
        for path in (alone, together)
    )
    # After one step of AdamW, the first moment is a tenth of the gradient.
    states = [each["optimizer_states"][0]["state"] for each in (one, one2)]
    assert states[0].keys() == states[1].keys()
    gradient, gradient2 = (
        torch.cat([state[key]["exp_avg"].flatten() for key in sorted(state)]) for state in states
    )
    assert gradient.abs().max() > 0
    # Only the order of float32 sums differs: relative to the largest gradient.
    assert (gradient - gradient2).abs().max() <= 1e-5 * gradient.abs().max()
    assert last["global_step"] == last2["global_step"] == 3
    assert last["state_dict"].keys() == last2["state_dict"].keys()
    # AdamW divides by the size of the gradient, so where that is rounding, a step (1e-3) may differ.
    weights, weights2 = (
        torch.cat([value.flatten() for value in each["state_dict"].values()]) for each in (last, last2)
    )
    assert (weights - weights2).abs().mean() <= 1e-6


@pytest.fixture
def mesh(tmp_path):
    """A mesh of one process."""
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


def test_trainable_weights_are_sharded_and_frozen_ones_are_not(mesh):
    module = Stack(nn.Linear(3, 3))
    module.blocks[0].requires_grad_(False)
    module.blocks[1].bias.requires_grad_(False)
    x = torch.rand(2, 3)
    expected = module(x)
    shard(module, mesh)
    assert torch.equal(module(x), expected)
    shared = {name for name, parameter in module.named_parameters() if isinstance(parameter, DTensor)}
    assert shared == {"first.weight", "first.bias", "blocks.1.weight", "blocks.2.weight", "blocks.2.bias"}
    # Outside of its forward pass, a block is not gathered.
    together = [type(block.weight) for block in module.blocks]
    assert together == [nn.Parameter, DTensor, DTensor]


def test_a_block_that_hides_its_tensors_is_rejected(mesh):
    module = Stack(Hiding())
    shard(module, mesh)
    with pytest.raises(
        TypeError, match=r"Hiding: expected tensors .* got Found; return a tensor, or train with"
    ):
        module(torch.rand(2, 3))


def test_the_best_weights_cannot_be_exported_while_sharded(tmp_path, make_matcher, make_recipe, shifts):
    validation = Validation(source=lambda: shifts(3), keep_best=True)
    recipe = replace(make_recipe(validation=validation), trainer={"strategy": "fsdp"})
    with pytest.raises(
        ConfigError, match=r"keep_best: .* set validation.keep_best=false or trainer.strategy=ddp"
    ):
        fit(recipe, make_matcher(), tmp_path / "run", device="cpu")
