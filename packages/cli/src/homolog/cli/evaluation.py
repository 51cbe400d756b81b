"""Evaluate one matcher on one task: a cell of the table, from its settings to `result.json`.

A cell owns a folder. Files appear under their final names only when they are complete:

    result.json    scores, settings, provenance; or the reason for a failure
    records.npz    the predictions, from which every score can be computed again
    samples.npz    the scores of each sample
    partial-*.npz  the predictions so far, from which an interrupted run resumes
    examples/      pictures of the best and worst samples
"""

import argparse
import hashlib
import itertools
import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from homolog.cli.commands._shared import feature_cache
from homolog.cli.console import ShowProgress, loading
from homolog.cli.provenance import command, commit, hardware, peak_memory, versions
from homolog.core.atomic import write_json
from homolog.core.errors import ConfigError, HomologError
from homolog.zoo.build import resolved
from homolog.zoo.compose import compose, one_line
from homolog.zoo.task import split_settings

FORMAT = 1
"""Version of `result.json`; a reader rejects newer ones."""

PARTIAL_EVERY = 60.0
"""Seconds between two saves of the predictions so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What to run and where the results go. Plain values only, so that it can be sent to another process.

    Attributes:
        matcher: settings of the matcher, including its name: `("matcher=xfeat", "head.window=7")`.
        task: settings of the task, including its name.
        folder: for the results; not shared with other cells.
        limit: evaluate only the first samples; None takes all.
        device: as in `homolog match`.
        cache: `full`, `half` or `off`, as in `homolog match`.
        seed: of all random numbers.
        configs: another configs folder.
    """

    matcher: tuple[str, ...]
    task: tuple[str, ...]
    folder: Path
    limit: int | None = None
    device: str = "auto"
    cache: str = "full"
    seed: int = 0
    configs: Path | None = None

    @property
    def matcher_name(self) -> str:
        """The name of the matcher in tables, with the settings that differ from its YAML."""
        return _title(self.matcher, "matcher", "small")

    @property
    def task_name(self) -> str:
        """The name of the task in tables; the path of its data is left out."""
        places = ("data.root=", "data.file=")
        return _title([word for word in self.task if not word.startswith(places)], "task", "")


def run_cell(cell: Cell, progress: ShowProgress | None = None) -> dict[str, Any]:
    """Run one cell, or return its result if it has been run before.

    An interrupted run resumes from its saved predictions.

    Args:
        cell: what to run.
        progress: receives the number of predicted samples and their total.

    Returns:
        The content of `result.json`.

    Raises:
        HomologError: wrong settings, no data, or a matcher that cannot do this task. Only the
            predictions so far are left in the folder.
    """
    configs = _compose(cell)
    identity = _identity(cell, configs)
    done = finished(cell.folder, identity)
    if done is not None:
        return done
    result = _run(cell, configs, identity, progress)
    write_json(cell.folder / "result.json", result)
    _partial(cell, identity).unlink(missing_ok=True)
    return result


def record_failure(cell: Cell, error: BaseException) -> dict[str, Any]:
    """Write a `result.json` with the reason for a failure, and return its content."""
    reason = str(error) if isinstance(error, HomologError) else f"{type(error).__name__}: {error}"
    result = {**_head(cell), "status": "failed", "reason": " ".join(reason.split()), "kind": ""}
    write_json(cell.folder / "result.json", result)
    return result


def finished(folder: Path, identity: str | None = None) -> dict[str, Any] | None:
    """Return the result in the folder of a cell if it is complete and of the same settings.

    Args:
        folder: of a cell.
        identity: hash of the settings; None accepts any.
    """
    try:
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(result, dict) or result.get("status") != "done":
        return None
    return result if identity is None or result.get("identity") == identity else None


def run_safely(cell: Cell) -> dict[str, Any]:
    """Run a cell of a sweep; an error becomes its result and does not stop the other cells."""
    try:
        return run_cell(cell)
    except Exception as error:  # noqa: BLE001 - the error of one cell is recorded
        return record_failure(cell, error)


def make_cells(settings: Sequence[str], arguments: argparse.Namespace) -> list[Cell]:
    """Return a cell for each combination of the values of the settings.

    Args:
        settings: `matcher=xfeat,dinov2_nn task=spair,tss head.window=3,7`.
        arguments: the options that all cells share: `out`, `limit`, `device`, `cache`, `seed`, `configs`.

    Raises:
        ConfigError: a setting that cannot be parsed, or that some combination does not have.
    """
    cells: list[Cell] = []
    for combination in combinations(settings):
        of_matcher, of_task = split_settings(combination, arguments.configs)
        cell = Cell(
            matcher=tuple(of_matcher),
            task=tuple(of_task),
            folder=Path(),
            limit=arguments.limit,
            device=arguments.device,
            cache=arguments.cache,
            seed=arguments.seed,
            configs=arguments.configs,
        )
        _compose(cell)
        titles = (cell.matcher_name, cell.task_name)
        name = "__".join(re.sub(r"[^\w.=-]+", "_", title) for title in titles)
        cells.append(replace(cell, folder=arguments.out / name))
    if len({cell.folder for cell in cells}) < len(cells):
        raise ConfigError("expected each combination once; remove repeated values")
    return cells


def combinations(settings: Sequence[str]) -> list[list[str]]:
    """Expand values with commas as Hydra's multirun does; the first setting varies slowest.

    >>> combinations(["matcher=xfeat,dinov2_nn", "task=tss", "head.window=3,7"])[1]
    ['matcher=xfeat', 'task=tss', 'head.window=7']
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(settings))
    except HydraException as error:
        raise ConfigError(f"cannot parse the settings {' '.join(settings)}: {one_line(error)}") from error
    choices: list[list[str]] = []
    for text, override in zip(settings, parsed, strict=True):
        if not override.is_sweep_override():
            choices.append([text])
            continue
        key = override.get_key_element()
        choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
    return [list(combination) for combination in itertools.product(*choices)]


def _compose(cell: Cell) -> dict[str, dict[str, Any]]:
    return {
        "matcher": compose("match", cell.matcher, configs=cell.configs),
        "task": compose("evaluate", cell.task, configs=cell.configs),
    }


def _identity(cell: Cell, configs: Mapping[str, Mapping[str, Any]]) -> str:
    deciding = {name: resolved(config) for name, config in configs.items()}
    content = {"format": FORMAT, "limit": cell.limit, "seed": cell.seed, **deciding, **versions()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _run(
    cell: Cell, configs: Mapping[str, Mapping[str, Any]], identity: str, progress: ShowProgress | None
) -> dict[str, Any]:
    begin = time.perf_counter()
    with loading():
        import torch

        from homolog.cli.figures.samples import draw_examples
        from homolog.evaluators.benchmark import Benchmark
        from homolog.evaluators.records import save_records
        from homolog.zoo.model import build_matcher
        from homolog.zoo.task import build_task

        torch.manual_seed(cell.seed)
        task = cast(Benchmark, build_task(configs["task"]))
        matcher = build_matcher(configs["matcher"], device=cell.device, cache=feature_cache(cell.cache))
    loaded = time.perf_counter()
    records = _predict(cell, task, matcher, identity, progress)
    answered = time.perf_counter()
    scored = task.score(records)
    seconds = sorted(record.seconds for record in records)
    headline = scored[task.headline].scores
    result = {
        **_head(cell),
        "status": "done",
        "identity": identity,
        "kind": task.kind,
        "samples": len(records),
        "of": len(task),
        "headline": {"protocol": task.protocols[task.headline].name, **_score(headline[0])}
        if headline
        else None,
        "protocols": {
            name: _protocol(task.protocols[name].name, outcome) for name, outcome in scored.items()
        },
        "seconds": {
            "load": round(loaded - begin, 3),
            "answers": round(sum(seconds), 3),
            "per_sample": round(seconds[len(seconds) // 2], 4) if seconds else None,
            "answers_with_reading": round(answered - loaded, 3),
            "score": round(time.perf_counter() - answered, 3),
        },
        "peak_memory_gb": _number(round(peak_memory(), 3)),
        "config": {name: resolved(config) for name, config in configs.items()},
    }
    save_records(cell.folder / "records.npz", records)
    _save_samples(cell.folder / "samples.npz", records, scored)
    result["examples"] = draw_examples(cell.folder / "examples", task, records, scored[task.headline])
    return result


def _predict(cell: Cell, task: Any, matcher: Any, identity: str, progress: ShowProgress | None) -> list[Any]:
    from homolog.evaluators.records import load_records, save_records

    partial = _partial(cell, identity)
    total = len(task) if cell.limit is None else min(cell.limit, len(task))
    records = load_records(partial) if partial.is_file() else []
    saved = time.monotonic()
    for record in task.answers(matcher, start=len(records), limit=cell.limit):
        records.append(record)
        if progress is not None:
            progress(len(records), total)
        if time.monotonic() - saved > PARTIAL_EVERY:
            save_records(partial, records)
            saved = time.monotonic()
    return records


def _partial(cell: Cell, identity: str) -> Path:
    return cell.folder / f"partial-{identity}.npz"


def _head(cell: Cell) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "matcher": cell.matcher_name,
        "task": cell.task_name,
        "settings": {"matcher": list(cell.matcher), "task": list(cell.task)},
        "limit": cell.limit,
        "seed": cell.seed,
        "device": cell.device,
        "command": command(),
        "commit": commit(),
        "versions": versions(),
        "hardware": hardware(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _protocol(name: str, scored: Any) -> dict[str, Any]:
    return {
        "name": name,
        "settings": dict(scored.settings),
        "scores": [_score(score) for score in scored.scores],
        "curves": {
            key: {
                "x": [_number(value) for value in curve.x.tolist()],
                "y": [_number(value) for value in curve.y.tolist()],
                "x_label": curve.x_label,
                "y_label": curve.y_label,
            }
            for key, curve in scored.curves.items()
        },
    }


def _score(score: Any) -> dict[str, Any]:
    return {**asdict(score), "value": _number(score.value)}


def _save_samples(path: Path, records: Sequence[Any], scored: Mapping[str, Any]) -> None:
    import numpy as np

    from homolog.core.atomic import atomic

    members = {"name": np.array([record.name for record in records], dtype=np.str_)}
    for protocol, outcome in scored.items():
        for key, values in outcome.per_sample.items():
            # A slash would create a folder when the file is unpacked.
            members[f"{protocol}: {key}".replace("/", "|")] = np.asarray(values)
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **members)


def _number(value: float) -> float | None:
    # JSON has no NaN and no infinity.
    return value if math.isfinite(value) else None


def _title(settings: Sequence[str], group: str, default: str) -> str:
    name = next((word.partition("=")[2] for word in settings if word.startswith(f"{group}=")), default)
    others = [word for word in settings if not word.startswith(f"{group}=")]
    return " ".join([name, *others])
