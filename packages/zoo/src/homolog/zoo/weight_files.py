"""Every weight file that some product names: where it comes from, where it is, who needs it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from homolog.core.errors import ConfigError, WeightsError, did_you_mean
from homolog.core.fetch import fetch, fetched_path, file_hash, recorded_hash
from homolog.core.hub import folder_path
from homolog.core.packaged import find_packaged
from homolog.core.whereabouts import Whereabouts, where
from homolog.zoo.build import build
from homolog.zoo.catalogue import KINDS, weight_nodes
from homolog.zoo.compose import configs_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFile:
    """One weight file, or one model of several files on the hub.

    Attributes:
        name: what people call it: the file's name, or the repository's.
        source: the URL, the package and the file in it, or repository and revision.
        origin: where people read about it.
        licence: of the weights.
        size: bytes, or None when not known before it is fetched.
        sha256: file to hash in hexadecimal; the hash is None where it is not known beforehand.
        whereabouts: whether it is here.
        path: where it is, or will be; None for a package that is not installed.
        needed_by: the products that name it, as `kind/name`.
        node: the configuration that obtains it.
    """

    name: str
    source: str
    origin: str
    licence: str
    size: int | None
    sha256: dict[str, str | None]
    whereabouts: Whereabouts
    path: Path | None
    needed_by: tuple[str, ...]
    node: dict[str, Any] = field(repr=False)


def list_weights(configs: Path | None = None) -> list[WeightFile]:
    """Return every weight file that some product names, by name; those of broken YAMLs are left out.

    Args:
        configs: another configs folder; None takes the one that came with homolog.

    Raises:
        ConfigError: there is no configs folder.
    """
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for product, node in _nodes(configs_folder(configs)):
        found.setdefault(_source(node), (node, []))[1].append(product)
    files = [_described(node, tuple(dict.fromkeys(products))) for node, products in found.values()]
    return sorted(files, key=lambda file: (file.name, file.source))


def choose_weights(name: str, files: list[WeightFile]) -> list[WeightFile]:
    """Return the files that a user means by a file's name, a product (`dinov2_s`, `backbone/dinov2_s`) or `all`.

    Raises:
        ConfigError: nothing is called that; the message says what is close.
    """
    if name == "all":
        return files
    chosen = [file for file in files if name == file.name or name in _names(file)]
    if not chosen:
        names = {file.name for file in files} | {called for file in files for called in _names(file)}
        raise ConfigError(f"no weights or product named {name}{did_you_mean(name, names)}")
    return chosen


def obtain(file: WeightFile, progress: Callable[[int, int | None], None] | None = None) -> Path:
    """Fetch a weight file if it is not here, check it, and return its path.

    Args:
        file: one of `list_weights`.
        progress: called with the bytes so far and in all, for files that come from one URL.

    Raises:
        WeightsError: it cannot be fetched or is another one; the message says what to do by hand.
        MissingDependencyError: it comes in a package that is not installed.
    """
    if file.node["_target_"] == "homolog.core.weights.fetch" and progress is not None:
        return fetch(
            **{name: value for name, value in file.node.items() if name != "_target_"}, progress=progress
        )
    return build(file.node)


def verify(file: WeightFile) -> str | None:
    """Hash a weight file that is here and compare, against what is known of it.

    Returns:
        None when it is what it should be, else what is wrong with it, or that nothing is known to
        compare with.
    """
    if file.path is None or file.whereabouts is not Whereabouts.HERE:
        return "not here"
    for name, expected in file.sha256.items():
        path = file.path / name if file.path.is_dir() else file.path
        try:
            got = file_hash(path)
        except OSError as error:
            return f"{path}: cannot read it ({error.strerror})"
        known = expected or recorded_hash(path.resolve())
        if known is None:
            return f"{path}: no hash on record to compare with; its SHA-256 is {got}"
        if got != known:
            return f"{path}: expected SHA-256 {known}, got {got}; remove it and fetch it again"
    try:
        obtain(file)
    except WeightsError as error:
        return str(error)
    return None


def _nodes(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in KINDS:
        for file in sorted((folder / kind).glob("*.yaml")):
            try:
                nodes = weight_nodes(file, folder)
            except ConfigError:
                continue  # `homolog list` shows it as broken
            for node in nodes:
                yield f"{kind}/{file.stem}", node


def _source(node: dict[str, Any]) -> str:
    if "distribution" in node:
        return f"{node['distribution']}: {node['file']}"
    if "repository" in node:
        return f"{node['repository']} at {node['revision']}"
    return str(node["url"])


def _described(node: dict[str, Any], products: tuple[str, ...]) -> WeightFile:
    path: Path | None
    if "distribution" in node:
        name = PurePosixPath(node["file"]).name
        path = find_packaged(module=node["module"], file=node["file"], size=node["size"])
        hashes = {name: node["sha256"]}
    elif "repository" in node:
        name = node["repository"].split("/")[-1]
        path = folder_path(repository=node["repository"], revision=node["revision"])
        hashes = dict(node["files"])
    else:
        path = fetched_path(url=node["url"], sha256=node.get("sha256"))
        # Hubs call most files model.safetensors; the repository tells them apart.
        parts = PurePosixPath(node["url"]).parts
        name = "/".join((parts[-4], parts[-1])) if "resolve" in parts[-3:-1] else parts[-1]
        hashes = {parts[-1]: node.get("sha256")}
    return WeightFile(
        name=name,
        source=_source(node),
        origin=node["origin"],
        licence=node["licence"],
        size=node.get("size"),
        sha256=hashes,
        whereabouts=where(node),
        path=path,
        needed_by=products,
        node=node,
    )


def _names(file: WeightFile) -> set[str]:
    return {name for product in file.needed_by for name in (product, product.split("/")[1])}
