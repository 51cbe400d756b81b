"""Every wheel installs and imports alone, away from the checkout, with only what it declares."""

import json
import os
import re
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PORTIONS = sorted(path.parent.name for path in (ROOT / "packages").glob("*/pyproject.toml"))

IMPORT_EVERYTHING = textwrap.dedent("""
    import importlib, json, pkgutil, sys

    import homolog

    outcome = {"homes": sorted(homolog.__path__), "imported": [], "lacking": {}, "failed": {}}

    def note(name):
        outcome["failed"].setdefault(name, repr(sys.exc_info()[1]))

    def load(name):
        try:
            importlib.import_module(name)
        except Exception as error:
            if type(error).__name__ == "MissingDependencyError":
                outcome["lacking"][name] = str(error)
            else:
                outcome["failed"][name] = repr(error)
            return
        outcome["imported"].append(name)

    modules = pkgutil.walk_packages(homolog.__path__, "homolog.", onerror=note)
    for name in sorted({module.name for module in modules}):
        if not name.endswith("__main__"):
            load(name)
    print(json.dumps(outcome))
""")


def _run(*command: str | Path, cwd: Path) -> str:
    # Neither the checkout's environment nor its interpreter settings may leak into the new ones.
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    ended = subprocess.run(
        list(map(str, command)), cwd=cwd, env=kept, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, f"{' '.join(map(str, command))}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of all distributions."""
    folder = tmp_path_factory.mktemp("wheels")
    _run("uv", "build", "--quiet", "--wheel", "--all-packages", "--out-dir", folder, cwd=ROOT)
    return folder


@pytest.fixture(scope="module")
def constraints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The versions that the workspace is tested with."""
    pinned = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]
    path = tmp_path_factory.mktemp("constraints") / "constraints.txt"
    path.write_text("\n".join(pinned["constraint-dependencies"]))
    return path


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that each test brings to what one wheel declares; what two of them share is compiled once."""
    folder = tmp_path_factory.mktemp("environment")
    _run("uv", "venv", "--quiet", "--python", sys.executable, folder, cwd=folder)
    return folder


def _wheel(wheels: Path, distribution: str) -> Path:
    (path,) = wheels.glob(f"{distribution.replace('-', '_')}-[0-9]*.whl")
    return path


def _import_alone(wheel: Path, constraints: Path, environment: Path, empty: Path) -> dict[str, Any]:
    """Have nothing but one wheel and what it asks for, and import all that came with it, in an empty folder."""
    python = environment / "bin" / "python"
    _run(
        *("uv", "pip", "install", "--quiet", "--exact", "--python", python, "--constraint", constraints),
        *("--find-links", wheel.parent, wheel),
        cwd=empty,
    )
    outcome: dict[str, Any] = json.loads(_run(python, "-c", IMPORT_EVERYTHING, cwd=empty))
    assert list(empty.iterdir()) == []  # importing writes nothing
    assert all(Path(home).is_relative_to(environment) for home in outcome["homes"])
    return outcome


def _modules(portion: str) -> set[str]:
    source = ROOT / "packages" / portion / "src"
    names = {".".join(path.relative_to(source).with_suffix("").parts) for path in source.rglob("*.py")}
    return {name.removesuffix(".__init__") for name in names if not name.endswith("__main__")}


def _pip_lines(portion: str) -> set[str]:
    """What a user may be told to install for a part that needs an extra: the extra, or what it holds."""
    project = tomllib.loads((ROOT / "packages" / portion / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    extras: dict[str, list[str]] = project.get("optional-dependencies", {})
    held = {re.split(r"[\[<>=!~ ]", line)[0] for lines in extras.values() for line in lines}
    return {f"pip install {name}" for name in held | {f"homolog-{portion}[{extra}]" for extra in extras}}


@pytest.mark.parametrize("portion", PORTIONS)
def test_a_wheel_holds_its_own_portion_only(wheels: Path, portion: str) -> None:
    with zipfile.ZipFile(_wheel(wheels, f"homolog-{portion}")) as wheel:
        names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    source = ROOT / "packages" / portion / "src"
    assert all(name.startswith(f"homolog/{portion}/") for name in names)
    assert {f"homolog/{portion}/__init__.py", f"homolog/{portion}/py.typed"} <= set(names)
    python = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == python


def test_the_umbrella_holds_the_configuration_and_no_code(wheels: Path) -> None:
    with zipfile.ZipFile(_wheel(wheels, "homolog")) as wheel:
        names = [name for name in wheel.namelist() if ".dist-info/" not in name]
        assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())
    expected = {
        f"homolog/configs/{path.relative_to(ROOT / 'configs').as_posix()}"
        for path in (ROOT / "configs").rglob("*.yaml")
    }
    assert set(names) == expected
    assert "homolog/configs/match.yaml" in names


@pytest.mark.parametrize("portion", PORTIONS)
def test_a_wheel_imports_alone_with_its_declared_dependencies(
    wheels: Path, constraints: Path, environment: Path, tmp_path: Path, portion: str
) -> None:
    outcome = _import_alone(_wheel(wheels, f"homolog-{portion}"), constraints, environment, tmp_path)
    assert outcome["failed"] == {}
    lacking = {
        name: text for name, text in outcome["lacking"].items() if name.startswith(f"homolog.{portion}")
    }
    # What an extra brings may be missing, if the error says which pip line brings it.
    told = {
        line for text in lacking.values() for line in re.findall(r"pip install \S+", text.replace("'", ""))
    }
    assert told <= _pip_lines(portion)
    assert all("pip install" in text for text in lacking.values())
    assert _modules(portion) == {
        name for name in (*outcome["imported"], *lacking) if f"{name}.".startswith(f"homolog.{portion}.")
    }


OPTIONAL = {"synthetic", "training"}
"""Portions that only an extra brings."""


@pytest.mark.parametrize("extra", ["", "[all]"])
def test_the_umbrella_brings_matching_and_evaluation_and_with_all_everything(
    wheels: Path, constraints: Path, environment: Path, tmp_path: Path, extra: str
) -> None:
    wheel = _wheel(wheels, "homolog")
    outcome = _import_alone(wheel.with_name(wheel.name + extra), constraints, environment, tmp_path)
    assert outcome["failed"] == {}
    brought = {name.split(".")[1] for name in (*outcome["imported"], *outcome["lacking"]) if "." in name}
    assert brought == set(PORTIONS) - (set() if extra else OPTIONAL)
    expected = {module for portion in brought for module in _modules(portion)}
    assert expected <= {*outcome["imported"], *outcome["lacking"]}
    command = environment / "bin" / "homolog"
    assert "match" in _run(command, "--help", cwd=tmp_path)
    if not extra:
        for words in (("generate", "semantic"), ("train", "recipe=mini_dense", "--out", "runs")):
            ended = subprocess.run(
                [command, *words], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert ended.returncode == 2
            assert "pip install 'homolog[" in ended.stderr
        _match_without_network(command, tmp_path)


def _match_without_network(command: Path, folder: Path) -> None:
    """Match two photos where the weights of the default matcher are not installed and cannot be downloaded."""
    photo = np.asarray(data.astronaut())[:256, :256]
    for name, shown in (("a.png", photo[:224, :224]), ("b.png", photo[16:240, 8:232])):
        Image.fromarray(shown).save(folder / name)
    settings = {"HOMOLOG_OFFLINE": "1", "HOMOLOG_CACHE": str(folder / "cache")}
    words = [command, "match", "a.png", "b.png"]
    ended = subprocess.run(
        words, cwd=folder, env=os.environ | settings, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.endswith("or use matcher=mini, which downloads nothing")
    ended = subprocess.run(
        [*words, "matcher=mini"],
        cwd=folder,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "1 of 1 pairs matched" in ended.stdout
