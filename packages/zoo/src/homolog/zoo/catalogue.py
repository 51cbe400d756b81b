"""The catalogue of products: one record for each YAML of a matcher, backbone, detector or head.

The folder listing is the registry. Nothing is built and torch is not imported: the weights are found
by their nodes in the composed configuration, nested parts included.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import yaml

from homolog.core.errors import ConfigError, did_you_mean
from homolog.zoo.compose import compose, configs_folder, one_line
from homolog.zoo.renamed import new_target
from homolog.zoo.sources import SOURCES, Whereabouts, where

KINDS = ("matcher", "backbone", "detector", "head")
"""The folders of products, in the order in which people ask for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What is known of a product without building it.

    Attributes:
        kind: one of `KINDS`.
        name: as in `matcher=NAME`.
        description: the first comment of its YAML.
        licences: of its weights, each once.
        size: bytes of its weights, as far as they are known; each file counted once.
        size_complete: False when a file's size is not known before it is fetched.
        status: `here`, `downloadable`, `missing: pip install X`, `none needed`, `damaged: homolog weights
            verify NAME`, `untrained` when some part has no weights (`checkpoint: null`), or `broken: WHY`
            for a YAML that does not compose or describes its weights wrongly.
    """

    kind: str
    name: str
    description: str
    licences: tuple[str, ...]
    size: int
    size_complete: bool
    status: str


def list_products(configs: Path | None = None) -> list[Product]:
    """Return all products, by kind and then by name.

    Args:
        configs: another configs folder; None takes the one that came with homolog.

    Raises:
        ConfigError: there is no configs folder.
    """
    folder = configs_folder(configs)
    files = [file for kind in KINDS for file in sorted((folder / kind).glob("*.yaml"))]
    return [_product(file, folder) for file in files]


def list_tasks(configs: Path | None = None) -> list[tuple[str, str]]:
    """Return the name and the description of each task, by name."""
    return _described("task", configs)


def list_recipes(configs: Path | None = None) -> list[tuple[str, str]]:
    """Return the name and the description of each training recipe, by name."""
    return _described("recipe", configs)


def _described(kind: str, configs: Path | None) -> list[tuple[str, str]]:
    files = sorted((configs_folder(configs) / kind).glob("*.yaml"))
    return [(file.stem, _description(file)) for file in files]


def _product(file: Path, folder: Path) -> Product:
    try:
        config = _composed(file, folder)
        nodes, problem = _weight_nodes(config), "untrained" if untrained(config) else None
    except ConfigError as error:
        nodes, problem = [], f"broken: {error}"
    sizes = [node.get("size") for node in nodes]
    return Product(
        kind=file.parent.name,
        name=file.stem,
        description=_description(file),
        licences=tuple(dict.fromkeys(str(node["licence"]) for node in nodes)),
        size=sum(size for size in sizes if size),
        size_complete=None not in sizes,
        status=problem or _status(nodes, f"{file.parent.name}/{file.stem}"),
    )


def weight_nodes(file: Path, folder: Path) -> list[dict[str, Any]]:
    """Return the `checkpoint` nodes of a product's composed configuration, each once.

    Args:
        file: the product's YAML.
        folder: the configs folder that it lies in.

    Raises:
        ConfigError: the YAML does not compose, or describes its weights wrongly.
    """
    return _weight_nodes(_composed(file, folder))


def untrained(config: Any, name: str = "") -> list[str]:
    """Return the names of the parts of a composed configuration that have no weights (`checkpoint: null`).

    Args:
        config: as `homolog.zoo.compose.compose` returns it.
        name: of the part that this is; empty for the whole.

    Returns:
        Dotted names, such as `head`; a matcher's own is `matcher`.
    """
    if isinstance(config, list):
        return [part for index, below in enumerate(config) for part in untrained(below, f"{name}.{index}")]
    if not isinstance(config, dict):
        return []
    lacking = [key for key, value in config.items() if str(key).endswith("checkpoint") and value is None]
    found = [name or "matcher"] * len(lacking)
    return found + [
        part for key, below in config.items() for part in untrained(below, f"{name}.{key}".lstrip("."))
    ]


def _weight_nodes(config: Any) -> list[dict[str, Any]]:
    nodes = list(_weights(config))
    for node in nodes:
        _check(node)
    return list({repr(sorted(node.items())): node for node in nodes}.values())


def _composed(file: Path, folder: Path) -> Any:
    kind, name = file.parent.name, file.stem
    if kind == "matcher":
        return compose("match", [f"matcher={name}"], configs=folder)
    try:
        plain: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: expected YAML, got {one_line(error)}") from error
    # Composing takes a tenth of a second; a file without a defaults list is what it would become.
    if isinstance(plain, dict) and "defaults" not in plain:
        return plain
    return compose(f"{kind}/{name}", configs=folder)


def _description(file: Path) -> str:
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        text = line.removeprefix("#").strip()
        if line.startswith("#") and not text.startswith("@package"):
            return text
    return ""


def _weights(node: Any) -> Iterator[dict[str, Any]]:
    # A node with a licence is a source of weights; no other node has one.
    if isinstance(node, dict):
        if "_target_" in node and "licence" in node:
            yield node
        for below in node.values():
            yield from _weights(below)
    elif isinstance(node, list):
        for below in node:
            yield from _weights(below)


def _check(node: dict[str, Any]) -> None:
    target = str(node["_target_"])
    if target not in SOURCES:
        new = new_target(target)
        hint = f"; it is now called {new}" if new else did_you_mean(target, SOURCES)
        raise ConfigError(f"{target} is not a source of weights{hint}")
    try:
        signature(SOURCES[target]).bind(**{name: node[name] for name in node if name != "_target_"})
    except TypeError as error:
        raise ConfigError(f"{target}: {error}") from error


def _status(nodes: list[dict[str, Any]], name: str) -> str:
    if not nodes:
        return "none needed"
    states = [where(node) for node in nodes]
    missing = [
        str(node["distribution"])
        for node, state in zip(nodes, states, strict=True)
        if state is Whereabouts.MISSING_PACKAGE
    ]
    if missing:
        return f"missing: pip install {' '.join(dict.fromkeys(missing))}"
    if Whereabouts.DAMAGED in states:
        return f"damaged: homolog weights verify {name}"
    return str(Whereabouts.DOWNLOADABLE if Whereabouts.DOWNLOADABLE in states else Whereabouts.HERE)
