"""What learns, shared out among processes, behind the same checkpoints as any other training."""

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


class Sharded(DDPStrategy):
    """Fully sharded data parallelism (torch's `fully_shard`) as Lightning's strategy, on GPUs and on CPUs.

    A process keeps its share of the weights that learn, of their gradients and of the optimiser's moments. A block
    (a member of an `nn.ModuleList`) is put together when it runs, all that is in no block for the whole step.
    Frozen weights are whole everywhere: they need no gradients and no moments, and a process that finds their maps
    in a cache does not have to wait for the others. So are single numbers that learn, which nobody can share.

    A checkpoint holds whole weights and moments, so that it does not matter how many processes wrote it or read it.
    The module is changed in place and stays so: train a copy, and read what it learnt from the checkpoint.
    """

    def configure_ddp(self) -> None:
        """Share the module out; Lightning makes the optimiser from what is there afterwards."""
        module = self.lightning_module
        if module is None:
            raise RuntimeError("expected to be set up by a Trainer")
        for each in (*module.parameters(), *module.buffers()):
            each.data = each.data.contiguous()  # weights of convolutions may lie otherwise, which is refused
            dist.broadcast(each.data, 0)
        self.model = module
        shard(module, init_device_mesh(self.root_device.type, (self.world_size,)))

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return whole weights."""
        return _whole(super().lightning_module_state_dict())

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """Return whole moments."""
        return _whole(super().optimizer_state(optimizer))

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Share out the moments of a checkpoint."""
        super().load_optimizer_state_dict(checkpoint)
        for optimizer in self.optimizers:
            for parameter, state in cast(Any, optimizer).state.items():
                if isinstance(parameter, DTensor):
                    state.update({name: _shared_as(parameter, value) for name, value in state.items()})


def shard(module: nn.Module, mesh: DeviceMesh) -> None:
    """Share out, in place, the parameters of a module that require a gradient.

    Args:
        module: called as a whole, or else its parameters are not together.
        mesh: of all processes, one-dimensional.
    """
    numbers = {each for each in module.parameters() if each.requires_grad and not each.ndim}
    whole = numbers | {each for each in module.parameters() if not each.requires_grad}
    for block in _blocks(module):
        fully_shard(block, mesh=mesh, ignored_params=whole)
        block.register_forward_hook(_check_output)
    fully_shard(module, mesh=mesh, ignored_params=whole, reshard_after_forward=True)
    for number in numbers:
        number.register_post_accumulate_grad_hook(_averaged)


def _blocks(module: nn.Module) -> list[nn.Module]:
    """Return the members of outermost lists that learn."""
    found: list[nn.Module] = []
    for child in module.children():
        members = list(child) if isinstance(child, nn.ModuleList) else []
        found += [each for each in members if any(part.requires_grad for part in each.parameters())]
        found += [] if members else _blocks(child)
    return found


def _averaged(parameter: Tensor) -> None:
    """Give all processes the mean of their gradients."""
    if parameter.grad is not None:
        dist.all_reduce(parameter.grad)
        parameter.grad /= dist.get_world_size()


def _check_output(block: nn.Module, inputs: Any, output: Any) -> None:
    """Refuse an output in which torch finds no tensors: it would compute gradients from weights that are gone."""
    del inputs
    if not any(isinstance(leaf, Tensor) for leaf in tree_leaves(output)):
        raise TypeError(
            f"{type(block).__name__}: expected tensors from a block whose weights are shared out, got "
            f"{type(output).__name__}; return a tensor, or train with trainer.strategy=ddp"
        )


def _whole(tree: dict[str, Any]) -> dict[str, Any]:
    # One after the other, in the order that all processes have; each is on the CPU before the next.
    return tree_map_only(DTensor, lambda share: share.full_tensor().cpu(), tree)


def _shared_as(parameter: DTensor, value: Any) -> Any:
    if not isinstance(value, Tensor) or value.shape != parameter.shape:  # the number of steps
        return value
    return distribute_tensor(value, parameter.device_mesh, parameter.placements)
