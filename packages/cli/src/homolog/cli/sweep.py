"""The story of `homolog sweep`: every matcher on every task, each pair of them a cell of its own."""

import argparse
import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from homolog.cli.cell import Cell, finished, record_failure, run_cell
from homolog.cli.loading import loading
from homolog.cli.notes import say
from homolog.cli.outcome import FINE, INTERRUPTED, SOME_FAILED
from homolog.cli.report.tables import print_leaderboard, read_results
from homolog.core.errors import ConfigError
from homolog.zoo.build import build
from homolog.zoo.compose import compose, one_line
from homolog.zoo.task import split_settings


def run(arguments: argparse.Namespace) -> int:
    """Run all cells that have no result yet.

    Args:
        arguments: as `homolog.cli.main` parses them.

    Returns:
        The exit code: 0 when every cell has scores, 1 when some failed.

    Raises:
        ConfigError: a setting that does not exist; nothing has been run.
    """
    of_launcher = [
        word for word in arguments.settings if word.lstrip("+").startswith(("launcher=", "launcher."))
    ]
    settings = [word for word in arguments.settings if word not in of_launcher]
    cells = make_cells(settings, arguments)
    launcher = make_launcher(of_launcher, arguments.configs)
    if arguments.again:
        for cell in cells:
            (cell.folder / "result.json").unlink(missing_ok=True)
    there = sum(finished(cell.folder) is not None for cell in cells)
    say(f"{len(cells)} cells, {there} of them have a result in {arguments.out}")
    try:
        _run_all(launcher, cells)
    except KeyboardInterrupt:
        done = sum(finished(cell.folder) is not None for cell in cells)
        say(
            f"homolog: interrupted; {done} of {len(cells)} cells are done; the same command goes on from here"
        )
        return INTERRUPTED
    results = read_results([cell.folder for cell in cells])
    print_leaderboard(results)
    say(f"homolog report {arguments.out} --open shows pictures, curves and every protocol")
    return FINE if all(result["status"] == "done" for result in results) else SOME_FAILED


def make_cells(settings: Sequence[str], arguments: argparse.Namespace) -> list[Cell]:
    """Return a cell for each combination of the settings' values, as Hydra's multirun makes them.

    Args:
        settings: `matcher=mini,xfeat task=spair,tss head.window=3,7`.
        arguments: the options that all cells share.

    Raises:
        ConfigError: a setting that cannot be read, or one that some combination does not have.
    """
    cells: list[Cell] = []
    for combination in combinations(settings):
        of_matcher, of_task = split_settings(combination, arguments.configs)
        for entry, words in (("match", of_matcher), ("evaluate", of_task)):
            compose(entry, words, configs=arguments.configs)
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
        cells.append(_in_folder(cell, arguments.out))
    if len({cell.folder for cell in cells}) < len(cells):
        raise ConfigError("expected each combination once; leave repeated values out")
    return cells


def combinations(settings: Sequence[str]) -> list[list[str]]:
    """Expand values with commas, the first setting varying slowest.

    >>> combinations(["matcher=mini,xfeat", "task=tss", "head.window=3,7"])[1]
    ['matcher=mini', 'task=tss', 'head.window=7']
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(settings))
    except HydraException as error:
        raise ConfigError(f"cannot read the settings {' '.join(settings)}: {one_line(error)}") from error
    choices: list[list[str]] = []
    for text, override in zip(settings, parsed, strict=True):
        if not override.is_sweep_override():
            choices.append([text])
            continue
        key = override.get_key_element()
        choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
    return [list(combination) for combination in itertools.product(*choices)]


def make_launcher(settings: Sequence[str], configs: Path | None) -> Any:
    """Build the launcher of settings such as `launcher=joblib launcher.jobs=4`.

    Raises:
        ConfigError: no such launcher or setting.
        MissingDependencyError: its package is not installed.
    """
    chosen = [
        word.replace("launcher=", "launcher@_global_=", 1)
        for word in settings
        if word.startswith("launcher=")
    ]
    others = [word.replace("launcher.", "", 1) for word in settings if not word.startswith("launcher=")]
    return build(compose("sweep", [*chosen, *others], configs=configs))


def attempt(cell: Cell) -> dict[str, Any]:
    """Run a cell; whatever goes wrong becomes its result, and the other cells go on."""
    try:
        with loading():
            return run_cell(cell)
    except Exception as error:  # noqa: BLE001 - one cell must not end the others; its reason is kept
        return record_failure(cell, error)


def _run_all(launcher: Any, cells: Sequence[Cell]) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        all_cells = bar.add_task("cells", total=len(cells))
        for result in launcher(attempt, cells):
            bar.advance(all_cells)
            if result["status"] != "done":
                bar.console.print(
                    f"{result['matcher']} on {result['task']}: {result['reason']}",
                    markup=False,
                    soft_wrap=True,
                )


def _in_folder(cell: Cell, out: Path) -> Cell:
    name = "__".join(re.sub(r"[^\w.=-]+", "_", title) for title in (cell.matcher_name, cell.task_name))
    return replace(cell, folder=out / name)
