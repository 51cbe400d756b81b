"""Hand a trained matcher on: its parts as weight files, and the words that make `homolog match` read them."""

import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from homolog.core.atomic import atomic, write_bytes
from homolog.core.errors import ConfigError

WORDS = "overrides.txt"


def export(
    matcher: nn.Module, parts: Sequence[str], folder: Path, *, name: str, settings: Sequence[str]
) -> None:
    """Write one safetensors file for each part, and `overrides.txt`.

    Args:
        matcher: what was trained.
        parts: paths of parts, such as `backbone.fusion`; their `state_dict` is what the setting
            `backbone.fusion.checkpoint` reads.
        folder: where to; files that are there are replaced one by one, each whole.
        name: of the product.
        settings: of the product, besides its weights.

    Raises:
        ConfigError: no such part.
        DataError: the folder cannot be written to.
    """
    words = [f"matcher={name}", *settings]
    for part in parts:
        path = folder / f"{part}.safetensors"
        state = part_of(matcher, part).state_dict()
        with atomic(path) as temporary:
            # Each on its own: tied weights would share memory, which safetensors does not write.
            save_file(
                {
                    key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
                    for key, tensor in state.items()
                },
                temporary,
            )
        words.append(f"{part}.checkpoint={_quoted(str(path.resolve()))}")
    write_bytes(folder / WORDS, ("\n".join(shlex.quote(word) for word in words) + "\n").encode())


def part_of(matcher: nn.Module, part: str) -> nn.Module:
    """Return a part by its path.

    Raises:
        ConfigError: there is none.
    """
    try:
        return matcher.get_submodule(part)
    except AttributeError as error:
        names = ", ".join(name for name, _ in matcher.named_children())
        raise ConfigError(
            f"parts: the matcher has no {part} ({error}); on the highest level there are {names}"
        ) from error


def check_exported(learning: Iterable[str], parts: Sequence[str], stage: str) -> None:
    """Refuse to learn what would be lost.

    Raises:
        ConfigError: a parameter that lies in no exported part.
    """
    for name in learning:
        if not name.startswith(tuple(f"{part}." for part in parts)):
            raise ConfigError(
                f"stage {stage}: {name} would learn but is in none of the parts {', '.join(parts)}, which are "
                "exported; add its part to parts, or leave it out of trainable"
            )


def _quoted(path: str) -> str:
    """Return a path as a value in Hydra's grammar."""
    if re.fullmatch(r"[\w./:-]+", path):
        return path
    escaped = path.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
