"""Where the weight files that a configuration names are; told quickly, without torch and the network."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from homolog.core.errors import ConfigError
from homolog.core.fetch import fetched_path, find_fetched
from homolog.core.hub import find_folder
from homolog.core.packaged import find_packaged


class Whereabouts(StrEnum):
    """Where a weight file is, as far as can be told without the network."""

    HERE = "here"
    DOWNLOADABLE = "downloadable"
    DAMAGED = "damaged"  # something lies there, but its size is wrong
    MISSING_PACKAGE = "missing package"


def where(node: Mapping[str, Any]) -> Whereabouts:
    """Tell where the file of a configuration's `checkpoint` node is.

    Args:
        node: `_target_`, which names `packaged` or `fetch` of `homolog.core.weights` or
            `homolog.core.hub.fetch_folder`, and its arguments.

    Raises:
        ConfigError: the node names something else.
    """
    target = str(node.get("_target_"))
    if target == "homolog.core.weights.fetch":
        found = find_fetched(url=node["url"], sha256=node.get("sha256"), size=node.get("size"))
        lies_there = fetched_path(url=node["url"], sha256=node.get("sha256")).is_file()
        return _told(found, lies_there, otherwise=Whereabouts.DOWNLOADABLE)
    if target == "homolog.core.hub.fetch_folder":
        found = find_folder(repository=node["repository"], revision=node["revision"], files=node["files"])
        return Whereabouts.HERE if found else Whereabouts.DOWNLOADABLE
    if target == "homolog.core.weights.packaged":
        found = find_packaged(module=node["module"], file=node["file"], size=node["size"])
        lies_there = find_packaged(module=node["module"], file=node["file"], size=None) is not None
        return _told(found, lies_there, otherwise=Whereabouts.MISSING_PACKAGE)
    raise ConfigError(f"expected a checkpoint node that packages or fetches a file, got {target}")


def _told(found: Path | None, lies_there: bool, *, otherwise: Whereabouts) -> Whereabouts:
    if found:
        return Whereabouts.HERE
    return Whereabouts.DAMAGED if lies_there else otherwise
