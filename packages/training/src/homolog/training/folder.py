"""The folder of a training: which recipe it is of, and which of its stages are finished."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from homolog.core.atomic import write_json
from homolog.core.errors import ConfigError, DataError

RECORD, FINISHED, CHECKPOINT = "training.json", "finished.json", "last.safetensors"
"""Names of what is written: about the training, about a stage at its end, and every so many steps."""

BESIDE = frozenset({"trainer", "loggers", "checkpoint_every", "log_every", "validation"})
"""Settings that may change when a training is resumed: what is learnt does not depend on them."""

_SHOWN = 4


class TrainingFolder:
    """A folder with a record, and a folder below it for each stage."""

    def __init__(self, path: Path) -> None:
        """Name the folder; nothing is read or written yet."""
        self.path = path

    def stage(self, name: str) -> Path:
        """Return the folder of a stage."""
        return self.path / name

    def checkpoint(self, name: str) -> Path:
        """Return the path of a stage's checkpoint, which may not be there."""
        return self.stage(name) / CHECKPOINT

    def is_finished(self, name: str) -> bool:
        """Tell whether a stage came to its end and was exported."""
        return (self.stage(name) / FINISHED).is_file()

    def finished(self) -> list[str]:
        """Return the finished stages in the order of their recipe.

        Raises:
            DataError: no training was recorded here.
        """
        return [name for name in self._read()["stages"] if self.is_finished(name)]

    def begin(self, record: Mapping[str, Any], stages: Sequence[str], *, resume: bool) -> None:
        """Record a training, or check that the one which is here is the same.

        Args:
            record: `config`, compared when resuming, and facts for people.
            stages: names of all of the recipe, in order.
            resume: go on with a training that is here; without one, begin.

        Raises:
            ConfigError: a training is here that shall not be resumed, or one of another recipe.
        """
        if not (self.path / RECORD).is_file():
            write_json(self.path / RECORD, {**record, "stages": list(stages)})
            return
        if not resume:
            raise ConfigError(
                f"{self.path}: there is a training already; go on with it by --resume, or choose another --out"
            )
        differences = list(_differences(self._read()["config"], record["config"]))
        if differences:
            more = f" and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
            raise ConfigError(
                f"{self.path}: the training there has another recipe: {', '.join(differences[:_SHOWN])}{more}; "
                "resume with the same words, or choose another --out"
            )

    def _read(self) -> dict[str, Any]:
        path = self.path / RECORD
        try:
            return cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: expected the record of a training ({error}); check the folder"
            ) from error


def _differences(there: Any, wanted: Any, name: str = "") -> Iterator[str]:
    if isinstance(there, dict) and isinstance(wanted, dict):
        before, now = cast(dict[str, Any], there), cast(dict[str, Any], wanted)
        for key in sorted({*before, *now}):
            path = f"{name}.{key}" if name else key
            if path in BESIDE:
                continue
            if key not in before or key not in now:
                yield f"{path} is {'new' if key in now else 'gone'}"
            else:
                yield from _differences(before[key], now[key], path)
    elif there != wanted:
        yield f"{name} was {there} and is {wanted}"
