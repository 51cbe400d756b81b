"""Compose a configuration: find `configs/`, apply the user's overrides, explain what is wrong with them.

Hydra does the composing. Its errors are rewritten into one line that lists the valid names. Its global
state is restored afterwards, so homolog also works inside another Hydra application.
"""

import difflib
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.version import VersionBase
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from homolog.core.errors import ConfigError, did_you_mean
from homolog.zoo.renamed import CHOICES, SETTINGS, setting_renamed

PARTS = ("backbone", "detector", "fusion", "head")
"""Groups whose files stand for a part of a product, so that a plain word is always the name of one."""


def compose(entry: str, overrides: Sequence[str] = (), *, configs: Path | None = None) -> dict[str, Any]:
    """Read a configuration and apply overrides to it.

    Args:
        entry: path of a YAML inside the configs folder, without its ending: `match`, `backbone/xfeat`.
        overrides: in Hydra's grammar: `matcher=xfeat` chooses a file of a group, `head.window=7`
            sets a value. A part of a part may be written as `points.head=nearest`, which Hydra calls
            `head@points.head=nearest`.
        configs: another configs folder; None takes the one that came with homolog.

    Returns:
        The configuration as plain values, with interpolations not resolved yet; nothing is built.

    Raises:
        ConfigError: no configs folder, or an override of something that does not exist or was renamed.
    """
    folder = configs_folder(configs)
    overrides = [_with_package(override, folder) for override in overrides]
    with _own_hydra(folder):
        try:
            return _plain(hydra.compose(entry, overrides=overrides))
        except MissingConfigException as error:
            raise ConfigError(_wrong_choice(error, folder)) from error
        except OverrideParseException as error:
            raise ConfigError(
                f"cannot read the setting {error.override!r}; write key=value, lists as key=[1,2], "
                "and quote a value that holds spaces or brackets"
            ) from error
        except yaml.YAMLError as error:
            raise ConfigError(f"{folder}: expected YAML, got {one_line(error)}") from error
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise ConfigError(_wrong_setting(error, entry, overrides, folder)) from error


def configs_folder(configs: Path | None = None) -> Path:
    """Return the folder with the YAML files of all products.

    The checkout's own folder takes precedence over an installed copy, because an editable install of
    the umbrella package copies it only once.

    Args:
        configs: a folder to use instead.

    Raises:
        ConfigError: there is none, or `configs` is not a configs folder.
    """
    if configs is not None:
        if not (configs / "match.yaml").is_file():
            raise ConfigError(f"{configs}: expected a configs folder with a match.yaml; got none")
        return configs.resolve()
    for folder in _candidates():
        if (folder / "match.yaml").is_file():
            return folder
    raise ConfigError(
        "the configurations of the products are not installed; run: pip install homolog, or pass configs="
    )


def one_line(error: BaseException) -> str:
    """Return the message of an error of another library on a single line."""
    return " ".join(str(error).split()) or type(error).__name__


def _candidates() -> Iterator[Path]:
    packages = [parent for parent in Path(__file__).resolve().parents if parent.name == "packages"]
    yield from (parent.parent / "configs" for parent in packages)
    import homolog

    yield from (Path(portion) / "configs" for portion in homolog.__path__)


@contextmanager
def _own_hydra(folder: Path) -> Generator[None]:
    theirs, their_base = GlobalHydra.instance(), VersionBase.instance()
    GlobalHydra.set_instance(_fresh(GlobalHydra))
    VersionBase.set_instance(_fresh(VersionBase))
    try:
        job_name = str(JobRuntime.instance().get("name"))
        with hydra.initialize_config_dir(str(folder), job_name=job_name, version_base="1.3"):
            yield
    finally:
        GlobalHydra.set_instance(theirs)
        VersionBase.set_instance(their_base)


def _fresh(singleton: Any) -> Any:
    # Calling the class would return its one instance.
    new = object.__new__(singleton)
    new.__init__()
    return new


def _with_package(override: str, folder: Path) -> str:
    """Return `points.head=nearest` as `head@points.head=nearest`, and other overrides as they are.

    Otherwise Hydra would set the part to a string, the name of a file or a misspelt one.
    """
    key, _, value = override.partition("=")
    above, _, group = key.rpartition(".")
    known = (folder / group / f"{value}.yaml").is_file() or f"{group}/{value}" in CHOICES
    chosen = known or (group in PARTS and re.fullmatch(r"\w+", value) and value != "null")
    return f"{group}@{key}={value}" if chosen and re.fullmatch(r"\w+(\.\w+)*", above) else override


def _plain(config: object) -> dict[str, Any]:
    return {
        str(key): value for key, value in cast("dict[object, Any]", OmegaConf.to_container(config)).items()
    }


def _wrong_choice(error: MissingConfigException, folder: Path) -> str:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    if not group:
        return f"{folder}: no configuration {name}; {one_line(error)}"
    if new := CHOICES.get(f"{group}/{name}"):
        return f"{group}={name} is now called {new.replace('/', '=')}"
    return f"no {group} named {name!r}{did_you_mean(name, error.options or [])}"


def _wrong_setting(error: Exception, entry: str, overrides: Sequence[str], folder: Path) -> str:
    text = one_line(error)
    if text.startswith(("Ambiguous value", "Sweep")):
        return (
            f"expected one value in each of {' '.join(overrides)}; write a list as key=[1,2], quote a comma"
        )
    named = re.search(r"Could not (?:override|delete from config\.) '([^']+)'", text)
    if named is None:
        return f"cannot apply the settings {' '.join(overrides)}: {text}"
    keys = [override.lstrip("+~").split("=")[0] for override in overrides]
    if named.group(1) not in keys:
        return text
    # Hydra chooses files first and then sets values in order: those before the failing one are valid.
    wrong = keys.index(named.group(1))
    later = [override for override, key in zip(overrides, keys, strict=True) if (folder / key).is_dir()]
    others = [*overrides[:wrong], *(choice for choice in later if choice in overrides[wrong + 1 :])]
    try:
        plain = _plain(hydra.compose(entry, overrides=others))
    except MissingConfigException as another:
        return _wrong_choice(another, folder)
    except (HydraException, OmegaConfBaseException, ValueError) as another:
        return _wrong_setting(another, entry, others, folder)
    key = getattr(error.__cause__, "full_key", None) or named.group(1)
    level, names = _deepest_level(plain, key)
    if message := setting_renamed(key, names):
        return message
    defaults = _defaults(folder / f"{entry}.yaml")
    meant = _meant((named.group(1), key), plain, list(defaults))
    hint = f"did you mean {' or '.join(meant)}? " if meant else ""
    if level:
        return f"no setting {key}; {hint}{level} has: {', '.join(names)}"
    # The user may think of another product than the default.
    unchosen = [
        f"; {group}={name} is the default, {group}=NAME chooses another"
        for group, name in defaults.items()
        if group not in keys
    ]
    return "".join(
        [f"no setting {key}; {hint}this configuration has: {', '.join([*defaults, *names])}", *unchosen]
    )


def _defaults(file: Path) -> dict[str, str]:
    """Return the choices that an entry makes unless the user does, by group."""
    loaded: Any = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    choices = [choice for choice in loaded.get("defaults", []) if isinstance(choice, dict)]
    return {str(group): str(name) for choice in choices for group, name in choice.items()}


def _meant(written: Sequence[str], plain: dict[str, Any], groups: Sequence[str]) -> list[str]:
    """Return settings that the user may mean: of the same name in a part, else one that is spelled alike."""
    paths, key = list(_paths(plain)), written[-1]
    for name in (*written, *SETTINGS.get(key, ())):
        inside = [path for path in paths if path.endswith(f".{name}")]
        if inside:
            depth = min(path.count(".") for path in inside)
            return [path for path in inside if path.count(".") == depth]
    return difflib.get_close_matches(key, [*paths, *groups], n=1)


def _deepest_level(plain: dict[str, Any], key: str) -> tuple[str, list[str]]:
    level, node = "", plain
    for part in key.split("."):
        below = node.get(part)
        if not isinstance(below, dict):
            break
        level, node = f"{level}.{part}".lstrip("."), below
    return level, sorted(name for name in node if not name.startswith("_"))


def _paths(node: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for name, below in node.items():
            yield f"{prefix}{name}"
            yield from _paths(below, f"{prefix}{name}.")
