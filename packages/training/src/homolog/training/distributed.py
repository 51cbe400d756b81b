"""Fully sharded training (FSDP) with the same checkpoints as any other training."""

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_leaves, tree_map_only


class ShardedStrategy(DDPStrategy):
    """Fully sharded data parallelism (torch's `fully_shard`) as a Lightning strategy, on GPUs and CPUs.

    Lightning's own FSDP strategy requires a GPU and resumes from pickles. Here trainable weights, their gradients
    and the optimiser's moments are sharded among processes. A block (a member of an `nn.ModuleList`) is gathered
    when it runs; parameters outside of blocks are gathered for the whole step. Frozen weights are not sharded:
    they have no gradients and no moments, and a process that finds their maps in a cache need not wait for the
    others. Trainable scalars cannot be sharded.

    Checkpoints hold full weights and moments, so any number of processes can read them. The module is sharded in
    place for good: train a copy, and load the trained weights from the checkpoint.
    """

    def configure_ddp(self) -> None:
        """Shard the module, before Lightning makes the optimiser."""
        module = self.lightning_module
        if module is None:
            raise RuntimeError("expected to be set up by a Trainer")
        for each in (*module.parameters(), *module.buffers()):
            each.data = each.data.contiguous()  # convolutions may be channels-last, which sharding rejects
            dist.broadcast(each.data, 0)
        self.model = module
        shard(module, init_device_mesh(self.root_device.type, (self.world_size,)))

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return the full weights."""
        return _gathered(super().lightning_module_state_dict())

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """Return the full moments."""
        return _gathered(super().optimizer_state(optimizer))

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Shard the moments of a checkpoint."""
        super().load_optimizer_state_dict(checkpoint)
        for optimizer in self.optimizers:
            for parameter, state in cast(Any, optimizer).state.items():
                if isinstance(parameter, DTensor):
                    state.update({name: _sharded_like(parameter, value) for name, value in state.items()})


def shard(module: nn.Module, mesh: DeviceMesh) -> None:
    """Shard the trainable parameters of a module, in place.

    Args:
        module: must be called as a whole, so that its parameters are gathered.
        mesh: one-dimensional mesh of all processes.
    """
    scalars = {each for each in module.parameters() if each.requires_grad and not each.ndim}
    ignored = scalars | {each for each in module.parameters() if not each.requires_grad}
    for block in _blocks(module):
        fully_shard(block, mesh=mesh, ignored_params=ignored)
        block.register_forward_hook(_check_output)
    fully_shard(module, mesh=mesh, ignored_params=ignored, reshard_after_forward=True)
    for scalar in scalars:
        scalar.register_post_accumulate_grad_hook(_averaged)


def _blocks(module: nn.Module) -> list[nn.Module]:
    """Return the trainable members of the outermost module lists."""
    found: list[nn.Module] = []
    for child in module.children():
        members = list(child) if isinstance(child, nn.ModuleList) else []
        found += [each for each in members if any(part.requires_grad for part in each.parameters())]
        found += [] if members else _blocks(child)
    return found


def _averaged(parameter: Tensor) -> None:
    """Average the gradient over all processes."""
    if parameter.grad is not None:
        dist.all_reduce(parameter.grad)
        parameter.grad /= dist.get_world_size()


def _check_output(block: nn.Module, inputs: Any, output: Any) -> None:
    """Check that torch finds tensors in an output: otherwise it would use freed weights in the backward pass."""
    del inputs
    if not any(isinstance(leaf, Tensor) for leaf in tree_leaves(output)):
        raise TypeError(
            f"{type(block).__name__}: expected tensors from a block whose weights are sharded, got "
            f"{type(output).__name__}; return a tensor, or train with trainer.strategy=ddp"
        )


def _gathered(tree: dict[str, Any]) -> dict[str, Any]:
    # One after the other, in the same order in all processes; each moves to the CPU before the next.
    return tree_map_only(DTensor, lambda shard: shard.full_tensor().cpu(), tree)


def _sharded_like(parameter: DTensor, value: Any) -> Any:
    if not isinstance(value, Tensor) or value.shape != parameter.shape:  # such as the number of steps
        return value
    return distribute_tensor(value, parameter.device_mesh, parameter.placements)
