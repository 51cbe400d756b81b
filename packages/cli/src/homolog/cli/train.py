"""The story of `homolog train`: a recipe, a matcher, and the stages between them."""

import argparse
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from homolog.cli.loading import loading
from homolog.cli.notes import say
from homolog.cli.outcome import FINE, INTERRUPTED, SOME_FAILED
from homolog.cli.provenance import PACKAGES, command, commit, hardware, versions
from homolog.core.errors import ConfigError, did_you_mean
from homolog.zoo.build import build, resolved
from homolog.zoo.compose import compose, configs_folder

SHOWN_EVERY = 0.5
"""Seconds between two looks at the losses; on a GPU, each look waits for it."""


def run(arguments: argparse.Namespace) -> int:
    """Train what the command line asks for.

    Args:
        arguments: as `homolog.cli.main` parses them.

    Returns:
        The exit code.

    Raises:
        HomologError: a recipe, a matcher or data that is not there or does not fit.
    """
    config = composed(arguments.settings, arguments.configs)
    matcher_words = (f"matcher={config['matcher']}", *config["settings"])
    matcher_config = compose("match", matcher_words, configs=arguments.configs)
    fit = build({"_target_": "homolog.training.trainer.fit", "_partial_": True})
    with loading():
        import torch

        torch.manual_seed(config["seed"])  # of weights that begin as random numbers
        from homolog.training.module import TrainingError

        matcher = build(matcher_config)
        recipe = build(config)
    try:
        with _shown() as progress:
            folders: list[Path] = fit(
                recipe=recipe,
                matcher=matcher,
                out=arguments.out,
                config={**config, "product": resolved(matcher_config)},
                facts=_facts(),
                stages=arguments.stages,
                start=arguments.start,
                resume=arguments.resume,
                device=arguments.device,
                workers=arguments.workers,
                progress=progress,
            )
    except KeyboardInterrupt:
        say("homolog: interrupted; the same command with --resume goes on from the last checkpoint")
        return INTERRUPTED
    except TrainingError as error:
        say(f"homolog: error: {error}")
        return SOME_FAILED
    if folders:  # of several processes, one says it
        print(f"trained: {', '.join(str(folder) for folder in folders)}")
        say(f"homolog match a.jpg b.jpg @{folders[-1]}/overrides.txt uses the weights")
    return FINE


def composed(words: Sequence[str], configs: Path | None) -> dict[str, Any]:
    """Compose a recipe.

    Args:
        words: settings of the recipe; those that begin with `matcher.` go to the matcher.
        configs: another configs folder.

    Returns:
        Plain values; the words of the matcher are among its `settings`.

    Raises:
        ConfigError: no recipe, or a setting that does not exist.
    """
    names = sorted(file.stem for file in (configs_folder(configs) / "recipe").glob("*.yaml"))
    if not any(word.startswith("recipe=") for word in words):
        raise ConfigError(f"expected a recipe, as recipe=NAME{did_you_mean('', names)}")
    of_matcher = [word for word in words if _of_matcher(word)]
    product = [word.removeprefix("matcher=") for word in words if word.startswith("matcher=")]
    others = [word for word in words if word not in of_matcher and not word.startswith("matcher=")]
    config = resolved(compose("train", others, configs=configs))
    config["settings"] = [*config["settings"], *(word.replace("matcher.", "", 1) for word in of_matcher)]
    if product:
        config["matcher"] = product[-1]
    return config


def _of_matcher(word: str) -> bool:
    return word.lstrip("+~").startswith("matcher.")


def _facts() -> dict[str, Any]:
    return {
        "command": command(),
        "commit": commit(),
        "versions": versions((*PACKAGES, "homolog-training", "lightning")),
        "hardware": hardware(),
    }


@contextmanager
def _shown() -> Generator[Any]:
    """Give what shows the steps and the losses on a terminal, and a line now and then elsewhere."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
    console = Console(stderr=True)
    bar = Progress(*columns, console=console, transient=True)
    tasks: dict[str, Any] = {}
    last = 0.0

    def show(stage: str, step: int, steps: int, values: Mapping[str, Any]) -> None:
        nonlocal last
        if stage not in tasks:
            if console.is_terminal and not tasks:
                bar.start()
            tasks[stage] = bar.add_task(stage, total=steps, losses="")
        now = time.perf_counter()
        if now - last >= SHOWN_EVERY or step == steps:
            last = now
            bar.update(tasks[stage], completed=step, losses=_told(values))
        if step == steps:
            say(f"{stage}: {steps} steps, {_told(values)}")

    try:
        yield show
    finally:
        if tasks and console.is_terminal:
            bar.stop()
        sys.stderr.flush()


def _told(values: Mapping[str, Any]) -> str:
    losses = {name.removeprefix("terms/"): value for name, value in values.items() if name != "learning_rate"}
    return ", ".join(f"{name.replace('_', ' ')} {float(value):.4g}" for name, value in losses.items())
