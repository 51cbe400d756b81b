"""Checkpoints of a training as one safetensors file: tensors as tensors, the rest as JSON in its header.

Lightning's own checkpoints are pickles, which run code when they are read. These are read as data only.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from lightning.fabric.plugins import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from homolog.core.atomic import atomic
from homolog.core.errors import WeightsError

HEADER = "homolog.checkpoint"
"""Key of the JSON in the file's header."""

_TENSOR, _TUPLE, _PAIRS, _PATH = "$tensor", "$tuple", "$pairs", "$path"
_PLAIN = (str, bool, int, float, type(None))


class CheckpointFiles(CheckpointIO):
    """Writes whatever tree of plain values and tensors Lightning hands over; a file is whole or not there."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint: weights, the optimiser's tensors, random states, counters.

        Raises:
            TypeError: a value that is neither a tensor nor plain; a pickle would be needed to keep it.
            DataError: the file cannot be written.
        """
        del storage_options
        tensors: dict[str, Tensor] = {}
        tree = _taken_apart(checkpoint, "", tensors)
        with atomic(Path(path)) as temporary:
            save_file(_apart(tensors), temporary, metadata={HEADER: json.dumps(tree)})

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint that `save_checkpoint` wrote.

        Args:
            path: the file.
            map_location: device of the tensors; None is the CPU. Functions and dicts are not taken.
            weights_only: is always so.

        Raises:
            WeightsError: no such file, a damaged one, or one of something else.
        """
        del weights_only
        if not Path(path).is_file():
            raise WeightsError(f"{path}: expected a checkpoint, but there is none; check the path")
        place = str(map_location) if isinstance(map_location, str | torch.device) else "cpu"
        try:
            with safe_open(str(path), framework="pt", device=place) as file:
                header = cast(Mapping[str, str], file.metadata() or {})
                names: list[str] = file.keys()
                tensors = {name: file.get_tensor(name) for name in names}
            return cast(dict[str, Any], _put_together(json.loads(header[HEADER]), tensors))
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise WeightsError(
                f"{path}: expected a checkpoint of homolog train, got another or a damaged file ({error})"
            ) from error

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove the file, if it is there."""
        Path(path).unlink(missing_ok=True)


def _taken_apart(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        key = f"{name or 'value'}~{len(tensors)}" if name in tensors or not name else name
        tensors[key] = value
        return {_TENSOR: key}
    if isinstance(value, Mapping):
        items = [(key, _taken_apart(each, f"{name}/{key}", tensors)) for key, each in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in items):
            return dict(items)
        return {_PAIRS: [[_taken_apart(key, name, tensors), each] for key, each in items]}
    if isinstance(value, list | tuple):
        found = [_taken_apart(each, f"{name}/{index}", tensors) for index, each in enumerate(value)]
        return found if isinstance(value, list) else {_TUPLE: found}
    if isinstance(value, Path):
        return {_PATH: str(value)}
    # Exactly these: a NumPy float or an enumeration would come back as something else.
    if type(value) in _PLAIN:
        return value
    raise TypeError(f"checkpoint: expected tensors and plain values, got {type(value).__name__} at {name}")


def _put_together(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_put_together(each, tensors) for each in cast(list[Any], value)]
    if not isinstance(value, dict):
        return value
    branch = cast(dict[str, Any], value)
    if len(branch) == 1:
        (key, inner), *_ = branch.items()
        if key == _TENSOR:
            return tensors[inner]
        if key == _TUPLE:
            return tuple(_put_together(each, tensors) for each in inner)
        if key == _PAIRS:
            return {_put_together(name, tensors): _put_together(each, tensors) for name, each in inner}
        if key == _PATH:
            return Path(inner)
    return {name: _put_together(each, tensors) for name, each in branch.items()}


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors that share no memory, as safetensors wants them."""
    seen: set[int] = set()
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        place = plain.untyped_storage().data_ptr()
        whole = plain.untyped_storage().nbytes() == plain.nbytes
        found[name] = plain if whole and place not in seen else plain.clone()
        seen.add(place)
    return found
