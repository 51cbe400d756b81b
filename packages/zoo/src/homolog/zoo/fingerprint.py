"""The fingerprint of a configured matcher: one hash of everything that determines its features.

Together with the pixels of an image it is the key of the feature cache on disk. Two runs share cached
features exactly when networks, settings, weights and code are the same.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, cast

from homolog.core.atomic import file_hash
from homolog.core.cache import content_key
from homolog.zoo.build import build, resolved
from homolog.zoo.sources import recorded_hash

AFTER_EXTRACTION = frozenset({"head", "memory", "batch_size", "passes", "spacing", "cycle", "follow"})
"""Settings of a matcher, or of a matcher that is a part of it, that do not affect its features."""


def extraction_fingerprint(config: Mapping[str, Any]) -> str | None:
    """Hash everything that determines the features of a composed matcher.

    Weights are represented by the hashes of their files, code of homolog by its text, and libraries by
    their versions.

    Args:
        config: as `homolog.zoo.compose.compose` returns it; its weight files are fetched if necessary.

    Returns:
        The hash, or None when some part has random weights (`checkpoint: null`), whose features differ
        each time it is built.

    Raises:
        WeightsError: a weight file cannot be obtained.
    """
    deciding = _until_extraction(resolved(config))
    try:
        content = _with_weight_hashes(deciding)
    except _RandomWeightsError:
        return None
    return content_key(json.dumps(content, sort_keys=True), *_code(deciding))


def _until_extraction(matcher: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _until_extraction(cast(dict[str, Any], node)) if _is_matcher(node) else node
        for name, node in matcher.items()
        if name not in AFTER_EXTRACTION
    }


def _is_matcher(node: Any) -> bool:
    return isinstance(node, dict) and str(node.get("_target_", "")).startswith("homolog.matchers.")


def _code(node: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text hashes of homolog's code below a node, and the versions of the libraries it needs.

    Versions of homolog are not enough: in a checkout the code changes without its version.
    """
    for portion in sorted({"homolog.core", *_portions(node)}):
        folder = Path(str(import_module(portion).__file__)).parent
        for file in sorted(folder.rglob("*.py")):
            yield f"{portion}/{file.relative_to(folder)} {hashlib.blake2b(file.read_bytes()).hexdigest()}"
        for requirement in metadata.requires(portion.replace(".", "-")) or []:
            yield _installed(re.split(r"[^\w.-]", requirement)[0])


def _portions(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        branch = cast(dict[str, Any], node)
        target = str(branch.get("_target_", ""))
        if target.startswith("homolog.") and not _obtains_weights(branch):
            yield ".".join(target.split(".")[:2])
        node = list(branch.values())
    if isinstance(node, list):
        for below in cast(list[Any], node):
            yield from _portions(below)


def _installed(distribution: str) -> str:
    try:
        return f"{distribution} {metadata.version(distribution)}"
    except metadata.PackageNotFoundError:
        return distribution  # an extra that is not installed


def _obtains_weights(node: Mapping[str, Any]) -> bool:
    return "_target_" in node and "licence" in node


class _RandomWeightsError(Exception):
    """Some part has no checkpoint."""


def _with_weight_hashes(node: Any, name: str = "") -> Any:
    if isinstance(node, dict):
        branch = cast(dict[str, Any], node)
        if _obtains_weights(branch):
            return branch.get("sha256") or _hash(Path(build(branch)))
        return {key: _with_weight_hashes(below, key) for key, below in branch.items()}
    if isinstance(node, list):
        return [_with_weight_hashes(below) for below in cast(list[Any], node)]
    if name.endswith("checkpoint"):
        if node is None:
            raise _RandomWeightsError
        return _hash(Path(node))
    return node


def _hash(path: Path) -> Any:
    if path.is_dir():
        files = {file.relative_to(path): file for file in sorted(path.rglob("*")) if file.is_file()}
        # Hidden files are records and locks, ours and those of huggingface_hub.
        return {
            str(name): _hash(file)
            for name, file in files.items()
            if not any(part.startswith(".") for part in name.parts)
        }
    return (recorded_hash(path) or file_hash(path)) if path.is_file() else str(path)
