"""Load a task by its name; every matcher can be evaluated on it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from homolog.core.errors import ConfigError, did_you_mean
from homolog.core.protocols import Task
from homolog.zoo.build import build
from homolog.zoo.compose import compose, configs_folder

GROUPS = frozenset({"task", "data", "protocol"})
"""Folders of `configs/` whose files make up a task."""


def load_task(name: str, *overrides: str, configs: Path | None = None) -> Task:
    """Compose and build a task; its lists are read now, its images when they are needed.

    Args:
        name: a file of `configs/task/`; `homolog list` shows them.
        overrides: settings as on the command line: `"data.root=/data/SPair-71k"`.
        configs: another configs folder; None takes the one that came with homolog.

    Raises:
        ConfigError: a name or a setting that does not exist.
        DataError: the data is not there; the message says how to obtain it.
    """
    return build_task(compose("evaluate", (f"task={name}", *overrides), configs=configs))


def build_task(config: Mapping[str, Any]) -> Task:
    """Build the task of a composed configuration.

    Raises:
        ConfigError: the configuration is not that of a task.
        DataError: the data is not there.
    """
    built = build(config)
    if not isinstance(built, Task):
        raise ConfigError(f"expected the configuration of a task, got one of {type(built).__name__}")
    return built


def split_settings(settings: Sequence[str], configs: Path | None = None) -> tuple[list[str], list[str]]:
    """Separate the settings of the matcher from those of the task.

    Both are composed separately, so that `head.window=7` means the same as in `homolog match`. A setting
    belongs to the task when its first component is a part of the task.

    Args:
        settings: `key=value`, `task=NAME` among them.
        configs: another configs folder.

    Returns:
        The settings of the matcher and those of the task.

    Raises:
        ConfigError: no task, or one that does not exist.
    """
    names = sorted(file.stem for file in (configs_folder(configs) / "task").glob("*.yaml"))
    chosen = [setting for setting in settings if setting.startswith("task=")]
    if not chosen:
        raise ConfigError(f"expected a task, as task=NAME{did_you_mean('', names)}")
    parts = GROUPS | set(compose("evaluate", chosen, configs=configs))
    of_task = [setting for setting in settings if _first_component(setting) in parts]
    return [setting for setting in settings if setting not in of_task], of_task


def _first_component(setting: str) -> str:
    found = re.match(r"[+~]{0,2}([A-Za-z_]\w*)", setting)
    return found[1] if found else ""
