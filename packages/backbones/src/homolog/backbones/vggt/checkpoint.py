"""Published VGGT weights into our network: which tensor goes where, and which stay out.

Our modules carry the published names, so a file differs from the network in five points only:
timm's names in the patch encoder, the class token's position, the semantic branch, the heads
and pairs that were not built, and another backbone in place of the encoder, which may bring weights of its own.
"""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from homolog.core.errors import WeightsError
from homolog.core.weights import load_state

ENCODER = "aggregator.patch_embed."
GUEST = f"{ENCODER}backbone."
BRANCH = "semantic."
# What a published file may hold for others: whole heads, whole blocks, and the token that served
# pretraining alone.
OPTIONAL = re.compile(
    r"(camera_head|depth_head|point_head|track_head)\.|"
    r"(aggregator|semantic)\.(frame|global)_blocks\.\d+\.|"
    r"aggregator\.patch_embed\.mask_token$"
)


def load_weights(network: nn.Module, path: Path) -> dict[str, int]:
    """Give a network the tensors of a file, without first making some and then copying over them.

    The network may live on the meta device: its parameters become the file's own tensors, which
    are converted one at a time where the network wants another dtype or layout.

    Args:
        network: a `VGGT`; untouched when the file does not fit.
        path: published keys, or those of `VGGT.state_dict()`.

    Returns:
        What stayed out: number of tensors by prefix, such as `{"track_head": 312}`.

    Raises:
        WeightsError: the file is damaged, or does not fit.
    """
    own = network.state_dict()
    tensors, left = match_keys(network, load_state(path), name=path.name)
    for key in tensors:
        tensors[key] = _as(own[key], tensors[key])
    network.load_state_dict(tensors, assign=True)
    return left


def match_keys(
    network: nn.Module, state: Mapping[str, Tensor], *, name: str
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Find for each tensor of a network the one that a file has for it.

    Args:
        network: a `VGGT`.
        state: what the file holds.
        name: of the file, for the message.

    Returns:
        Tensors under the network's names, and the number of those left over by prefix.

    Raises:
        WeightsError: missing, mismatched or unknown keys; all are counted, some are named.
    """
    own = network.state_dict()
    found, left = _assign(own, _as_timm(state))
    if not any(key.startswith(GUEST) for key in state):
        found |= {key: value for key, value in own.items() if key.startswith(GUEST)}
    shapes = {
        f"{key} {list(value.shape)} for {list(own[key].shape)}"
        for key, value in found.items()
        if value.shape != own[key].shape
    }
    faults = {
        "missing": own.keys() - found.keys(),
        "unexpected": {key for key in left if not _belongs_to_others(key, own)},
        "mismatched": shapes,
    }
    if any(faults.values()):
        listed = "; ".join(f"{len(keys)} {what} ({_some(keys)})" for what, keys in faults.items() if keys)
        raise WeightsError(
            f"{name}: the weights do not fit this VGGT: {listed}; check its architecture and its heads"
        )
    return found, dict(Counter(_prefix(key) for key in sorted(left)))


def _as_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the encoder's tensors; a state that timm wrote itself stays as it is."""
    state = dict(state)
    registers = state.pop(f"{ENCODER}register_tokens", None)
    if registers is None:
        return state
    state[f"{ENCODER}reg_token"] = registers
    # timm's `no_embed_class` has no position for the class token: it moves into the token.
    positions, token = state.get(f"{ENCODER}pos_embed"), state.get(f"{ENCODER}cls_token")
    if positions is not None and token is not None:
        state[f"{ENCODER}cls_token"] = token + positions[:, :1]
        state[f"{ENCODER}pos_embed"] = positions[:, 1:].contiguous()
    return state


def _assign(own: Mapping[str, Tensor], state: dict[str, Tensor]) -> tuple[dict[str, Tensor], set[str]]:
    found: dict[str, Tensor] = {}
    used: set[str] = set()
    for key in own:
        source = key
        if key.startswith(BRANCH) and key not in state:
            # A published file knows no branch: it starts as a copy of the pairs it replaces.
            source = key.replace(BRANCH, "aggregator.", 1)
        if source in state:
            # Two parameters on the same memory would train each other.
            shared = source != key and source in own
            found[key] = state[source].clone() if shared else state[source]
            used.add(source)
    return found, state.keys() - used


def _belongs_to_others(key: str, own: Mapping[str, Tensor]) -> bool:
    """Tell whether a key is part of something that was not built at all."""
    part = OPTIONAL.match(key)
    return part is not None and not any(name.startswith(part[0]) for name in own)


def _as(like: Tensor, value: Tensor) -> Tensor:
    if value.ndim == 4 and like.is_contiguous(memory_format=torch.channels_last):
        return value.to(like.dtype).contiguous(memory_format=torch.channels_last)
    return value.to(like.dtype)


def _prefix(key: str) -> str:
    parts = key.split(".")
    return ".".join(parts[:-1][:3]) if parts[0] in ("aggregator", "semantic") else parts[0]


def _some(keys: set[str], show: int = 4) -> str:
    names = sorted(keys)
    return ", ".join(names[:show]) + (f" and {len(names) - show} more" if len(names) > show else "")
