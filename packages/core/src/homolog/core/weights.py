"""Read weight files safely, and load them into networks strictly.

Files are safetensors, or pickles read with `weights_only=True`, so a file never runs code. A state
dict has to fit its network exactly. `homolog.zoo.sources` fetches weight files.
"""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from homolog.core.errors import WeightsError, did_you_mean

SHOW = 5
"""How many keys of a kind an error lists; a network has hundreds."""


def load_state(path: Path, *, key: str | None = None) -> dict[str, Tensor]:
    """Read a state dict from safetensors or from a pickle of tensors.

    Args:
        path: a `.safetensors` file, or any other ending for `torch.save`.
        key: the entry that holds the state dict, in a file that keeps more beside it (DISK's `extractor`).

    Raises:
        WeightsError: missing, damaged, truncated, or something else than a state dict of tensors.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: expected a weight file, but there is none; check the path")
    state = _read(path)
    if key is not None and isinstance(state, Mapping):
        if key not in state:
            raise WeightsError(
                f"{path}: expected an entry {key}{did_you_mean(key, map(str, state), show=SHOW)}"
            )
        state = state[key]
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path}: expected a mapping from names to tensors, got {type(state).__name__}")
    others = [
        f"{name} ({type(value).__name__})" for name, value in state.items() if not isinstance(value, Tensor)
    ]
    if others:
        raise WeightsError(
            f"{path}: expected a mapping from names to tensors, got {_listed('other entries', others)}; "
            "if one of them is the state dict, name it as the key"
        )
    return {str(name): value for name, value in state.items()}


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            # torch warns of pickle protocols that it reads all the same, or refuses with an error.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: expected tensors only, got a damaged pickle or one that runs code; it was not opened further"
        ) from error
    except Exception as error:  # a damaged file makes either reader fail in a dozen ways
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(
            f"{path}: expected a whole weight file, got a damaged one ({reason}); fetch it again"
        ) from error


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


def _listed(what: str, keys: list[str]) -> str:
    more = f" and {len(keys) - SHOW} more" if len(keys) > SHOW else ""
    return f"{len(keys)} {what} ({', '.join(keys[:SHOW])}{more})" if keys else ""
