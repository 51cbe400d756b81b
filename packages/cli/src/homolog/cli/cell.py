"""One cell of a table: one matcher on one task, from settings to `result.json`.

A cell owns a folder. What it writes there appears under its final name only when it is whole:

    result.json    scores, settings, where the numbers come from; or why there are none
    records.npz    the raw answers, from which every score can be computed again
    samples.npz    the scores of each sample
    partial-*.npz  while it runs: the answers so far, from which a killed run goes on
    examples/      pictures of good and bad samples
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from homolog.cli.provenance import command, commit, hardware, peak_memory, versions
from homolog.core.atomic import write_json
from homolog.core.errors import HomologError
from homolog.zoo.build import resolved
from homolog.zoo.compose import compose

FORMAT = 1
"""Of `result.json`; a reader refuses a newer one."""

PARTIAL_EVERY = 60.0
"""Seconds between two savings of the answers so far."""

Progress = Callable[[Iterable[Any], int, int], Iterable[Any]]
"""Shows how far the answers are: they, how many there are already, how many in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What to run, and where its results go; plain values, so that it can travel to another process.

    Attributes:
        matcher: settings of the matcher, its name among them: `("matcher=mini", "head.window=7")`.
        task: settings of the task, its name among them.
        folder: of its own.
        limit: take only the first so many samples.
        device: as for `homolog match`.
        cache: `full`, `half` or `off`: whether features are kept beyond the run.
        seed: of everything random.
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
        """The matcher as tables name it: with the settings that differ from its YAML."""
        return _title(self.matcher, "matcher", "mini")

    @property
    def task_name(self) -> str:
        """The task as tables name it; where its data lies does not count."""
        places = ("data.root=", "data.file=")
        return _title([word for word in self.task if not word.startswith(places)], "task", "")


def run_cell(cell: Cell, progress: Progress | None = None) -> dict[str, Any]:
    """Run one cell, or return its result if it is there already.

    Answers of an earlier run that was killed are taken up where they end.

    Args:
        cell: what to run.
        progress: shows how far it is.

    Returns:
        The content of `result.json`.

    Raises:
        HomologError: wrong settings, no data, a matcher that cannot do this task. Nothing but the
            answers so far is left in the folder.
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
    """Write a `result.json` that says why there are no scores.

    Returns:
        Its content.
    """
    reason = str(error) if isinstance(error, HomologError) else f"{type(error).__name__}: {error}"
    result = {**_head(cell), "status": "failed", "reason": " ".join(reason.split()), "kind": ""}
    write_json(cell.folder / "result.json", result)
    return result


def finished(folder: Path, identity: str | None = None) -> dict[str, Any] | None:
    """Return the result in a folder, if it is whole and of the same settings.

    Args:
        folder: of a cell.
        identity: hash of the settings; None takes any.
    """
    try:
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(result, dict) or result.get("status") != "done":
        return None
    return result if identity is None or result.get("identity") == identity else None


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
    cell: Cell, configs: Mapping[str, Mapping[str, Any]], identity: str, progress: Progress | None
) -> dict[str, Any]:
    import torch

    from homolog.cli.figures.samples import draw_examples
    from homolog.cli.kept_features import kept_features
    from homolog.evaluators.benchmark import Benchmark
    from homolog.evaluators.record import save_records
    from homolog.zoo.model import build_matcher
    from homolog.zoo.task import build_task

    torch.manual_seed(cell.seed)
    begin = time.perf_counter()
    task = cast(Benchmark, build_task(configs["task"]))
    matcher = build_matcher(configs["matcher"], device=cell.device, cache=kept_features(cell.cache))
    loaded = time.perf_counter()
    records = _answers(cell, task, matcher, identity, progress)
    answered = time.perf_counter()
    scored = task.score(records)
    result = {
        **_head(cell),
        "status": "done",
        "identity": identity,
        "kind": task.kind,
        "samples": len(records),
        "of": len(task),
        "headline": _headline(task.protocols[task.headline].name, scored[task.headline]),
        "protocols": {
            name: _protocol(task.protocols[name].name, outcome) for name, outcome in scored.items()
        },
        "seconds": {
            "load": round(loaded - begin, 3),
            "answers": round(sum(record.seconds for record in records), 3),
            "per_sample": _median([record.seconds for record in records]),
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


def _answers(cell: Cell, task: Any, matcher: Any, identity: str, progress: Progress | None) -> list[Any]:
    from homolog.evaluators.record import load_records, save_records

    partial = _partial(cell, identity)
    total = len(task) if cell.limit is None else min(cell.limit, len(task))
    records = load_records(partial) if partial.is_file() else []
    answers = task.answers(matcher, start=len(records), limit=cell.limit)
    shown = answers if progress is None else progress(answers, len(records), total)
    saved = time.monotonic()
    for record in shown:
        records.append(record)
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


def _headline(protocol: str, scored: Any) -> dict[str, Any] | None:
    return {"protocol": protocol, **_score(scored.scores[0])} if scored.scores else None


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
            # A slash would make a folder of it when the file is unpacked.
            members[f"{protocol}: {key}".replace("/", "|")] = np.asarray(values)
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **members)


def _number(value: float) -> float | None:
    # JSON has neither NaN nor infinity.
    return value if math.isfinite(value) else None


def _median(values: Sequence[float]) -> float | None:
    ordered = sorted(values)
    return round(ordered[len(ordered) // 2], 4) if ordered else None


def _title(settings: Sequence[str], group: str, default: str) -> str:
    name = next((word.partition("=")[2] for word in settings if word.startswith(f"{group}=")), default)
    others = [word for word in settings if not word.startswith(f"{group}=")]
    return " ".join([name, *others])
