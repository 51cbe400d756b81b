"""Files of a training: checkpoints, exported weights, and the folder that holds them."""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from lightning.fabric.plugins import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from homolog.core.atomic import atomic, write_bytes, write_json
from homolog.core.errors import ConfigError, DataError, WeightsError

HEADER = "homolog.checkpoint"
"""Key of the JSON in the file's header."""

_TENSOR, _TUPLE, _PAIRS, _PATH = "$tensor", "$tuple", "$pairs", "$path"
_PLAIN = (str, bool, int, float, type(None))


class SafetensorsCheckpointIO(CheckpointIO):
    """Stores Lightning's checkpoints as safetensors: tensors as tensors, the rest as JSON in the header.

    Lightning's own checkpoints are pickles, which run code when they are loaded. Files are written atomically.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint: weights, optimiser state, random states and counters.

        Raises:
            TypeError: a value that is neither a tensor nor plain data.
            DataError: the file cannot be written.
        """
        del storage_options
        tensors: dict[str, Tensor] = {}
        tree = _flatten(checkpoint, "", tensors)
        with atomic(Path(path)) as temporary:
            save_file(_unshared(tensors), temporary, metadata={HEADER: json.dumps(tree)})

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint that `save_checkpoint` wrote.

        Args:
            path: the file.
            map_location: device of the tensors; None is the CPU. Functions and dicts are ignored.
            weights_only: ignored; always true.

        Raises:
            WeightsError: the file is missing, damaged or not a checkpoint.
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
            return cast(dict[str, Any], _unflatten(json.loads(header[HEADER]), tensors))
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise WeightsError(
                f"{path}: expected a checkpoint of homolog train, got another or a damaged file ({error})"
            ) from error

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove the file if it exists."""
        Path(path).unlink(missing_ok=True)


def _flatten(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        key = f"{name or 'value'}~{len(tensors)}" if name in tensors or not name else name
        tensors[key] = value
        return {_TENSOR: key}
    if isinstance(value, Mapping):
        items = [(key, _flatten(each, f"{name}/{key}", tensors)) for key, each in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in items):
            return dict(items)
        return {_PAIRS: [[_flatten(key, name, tensors), each] for key, each in items]}
    if isinstance(value, list | tuple):
        found = [_flatten(each, f"{name}/{index}", tensors) for index, each in enumerate(value)]
        return found if isinstance(value, list) else {_TUPLE: found}
    if isinstance(value, Path):
        return {_PATH: str(value)}
    # Exact types only: a NumPy float or an enumeration would not come back as the same type.
    if type(value) in _PLAIN:
        return value
    raise TypeError(f"checkpoint: expected tensors and plain values, got {type(value).__name__} at {name}")


def _unflatten(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unflatten(each, tensors) for each in cast(list[Any], value)]
    if not isinstance(value, dict):
        return value
    branch = cast(dict[str, Any], value)
    if len(branch) == 1:
        (key, inner), *_ = branch.items()
        if key == _TENSOR:
            return tensors[inner]
        if key == _TUPLE:
            return tuple(_unflatten(each, tensors) for each in inner)
        if key == _PAIRS:
            return {_unflatten(name, tensors): _unflatten(each, tensors) for name, each in inner}
        if key == _PATH:
            return Path(inner)
    return {name: _unflatten(each, tensors) for name, each in branch.items()}


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors that share no memory, as safetensors requires."""
    seen: set[int] = set()
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        place = plain.untyped_storage().data_ptr()
        whole = plain.untyped_storage().nbytes() == plain.nbytes
        found[name] = plain if whole and place not in seen else plain.clone()
        seen.add(place)
    return found


OVERRIDES = "overrides.txt"


def export(
    matcher: nn.Module, parts: Sequence[str], folder: Path, *, name: str, settings: Sequence[str]
) -> None:
    """Write one safetensors file for each part, and `overrides.txt`.

    Args:
        matcher: the trained matcher.
        parts: paths of parts, such as `backbone.fusion`; the setting `backbone.fusion.checkpoint` reads their
            `state_dict`.
        folder: where to write; existing files are replaced atomically.
        name: name of the product.
        settings: settings of the product besides its weights.

    Raises:
        ConfigError: an unknown part.
        DataError: the folder cannot be written to.
    """
    overrides = [f"matcher={name}", *settings]
    for part in parts:
        path = folder / f"{part}.safetensors"
        state = part_of(matcher, part).state_dict()
        with atomic(path) as temporary:
            # Cloned: safetensors does not write tied weights, which share memory.
            save_file(
                {
                    key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
                    for key, tensor in state.items()
                },
                temporary,
            )
        overrides.append(f"{part}.checkpoint={_quoted(str(path.resolve()))}")
    write_bytes(folder / OVERRIDES, ("\n".join(shlex.quote(each) for each in overrides) + "\n").encode())


def part_of(matcher: nn.Module, part: str) -> nn.Module:
    """Return a part of the matcher by its path.

    Raises:
        ConfigError: the part does not exist.
    """
    try:
        return matcher.get_submodule(part)
    except AttributeError as error:
        names = ", ".join(name for name, _ in matcher.named_children())
        raise ConfigError(f"parts: the matcher has no {part} ({error}); its parts are {names}") from error


def check_exported(trainable: Iterable[str], parts: Sequence[str], stage: str) -> None:
    """Check that every trainable parameter is exported.

    Raises:
        ConfigError: a trainable parameter in no exported part.
    """
    for name in trainable:
        if not name.startswith(tuple(f"{part}." for part in parts)):
            raise ConfigError(
                f"stage {stage}: {name} would be trained but is in none of the exported parts "
                f"{', '.join(parts)}; add its part to parts, or leave it out of trainable"
            )


def _quoted(path: str) -> str:
    """Return a path quoted for Hydra."""
    if re.fullmatch(r"[\w./:-]+", path):
        return path
    escaped = path.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


RECORD, FINISHED, CHECKPOINT = "training.json", "finished.json", "last.safetensors"
"""File names: the record of the training, the mark of a finished stage, the last checkpoint of a stage."""

MAY_CHANGE = frozenset({"trainer", "loggers", "checkpoint_every", "log_every", "validation"})
"""Settings that may differ when a training is resumed: they do not affect the weights."""

_SHOWN = 4


class TrainingFolder:
    """The folder of a training: a record, and a folder for each stage."""

    def __init__(self, path: Path) -> None:
        """Set the path; nothing is read or written yet."""
        self.path = path

    def stage(self, name: str) -> Path:
        """Return the folder of a stage."""
        return self.path / name

    def checkpoint(self, name: str) -> Path:
        """Return the path of a stage's checkpoint, which may not exist."""
        return self.stage(name) / CHECKPOINT

    def is_finished(self, name: str) -> bool:
        """Return whether a stage was completed and exported."""
        return (self.stage(name) / FINISHED).is_file()

    def finished(self) -> list[str]:
        """Return the finished stages in the order of their recipe.

        Raises:
            DataError: the folder has no record of a training.
        """
        return [name for name in self._read()["stages"] if self.is_finished(name)]

    def begin(self, record: Mapping[str, Any], stages: Sequence[str], *, resume: bool) -> None:
        """Write the record of a new training, or check that an existing one has the same recipe.

        Args:
            record: `config`, which is compared when resuming, and facts for the reader.
            stages: names of all stages of the recipe, in order.
            resume: resume the training in this folder, if there is one.

        Raises:
            ConfigError: the folder holds a training and `resume` is False, or a training of another recipe.
        """
        if not (self.path / RECORD).is_file():
            write_json(self.path / RECORD, {**record, "stages": list(stages)})
            return
        if not resume:
            raise ConfigError(
                f"{self.path}: the folder already holds a training; resume it with --resume, or choose another --out"
            )
        differences = list(_differences(self._read()["config"], record["config"]))
        if differences:
            more = f" and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
            raise ConfigError(
                f"{self.path}: this training has another recipe: {', '.join(differences[:_SHOWN])}{more}; "
                "resume with the same settings, or choose another --out"
            )

    def _read(self) -> dict[str, Any]:
        path = self.path / RECORD
        try:
            return cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: expected the record of a training ({error}); check the folder"
            ) from error


def _differences(recorded: Any, wanted: Any, name: str = "") -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(wanted, dict):
        before, now = cast(dict[str, Any], recorded), cast(dict[str, Any], wanted)
        for key in sorted({*before, *now}):
            path = f"{name}.{key}" if name else key
            if path in MAY_CHANGE:
                continue
            if key not in before or key not in now:
                yield f"{path} is {'new' if key in now else 'gone'}"
            else:
                yield from _differences(before[key], now[key], path)
    elif recorded != wanted:
        yield f"{name} was {recorded} and is {wanted}"
