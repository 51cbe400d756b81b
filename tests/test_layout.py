"""The shape of the repository: what no single package can promise for itself."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import homolog

ROOT = Path(__file__).parents[1]
WEIGHTS = "packages/zoo/src/homolog/zoo/weights/"
PACKAGES = sorted(path.parent for path in (ROOT / "packages").glob("*/pyproject.toml"))
SOURCES = sorted((ROOT / "packages").glob("*/src/**/*.py"))
CODE = SOURCES + sorted((ROOT / "experiments").rglob("*.py"))


def _project(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _root() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _requirements(project: dict[str, Any]) -> list[str]:
    extras: dict[str, list[str]] = project.get("optional-dependencies", {})
    return [*project.get("dependencies", []), *(line for lines in extras.values() for line in lines)]


def _tracked() -> list[str]:
    """Every file that is in git or would be, were it added."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def _calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a file, with the dotted name of what is called."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


# --- packages -----------------------------------------------------------------------------------


def test_there_are_packages_and_sources_to_look_at() -> None:
    assert len(PACKAGES) >= 6
    assert len(SOURCES) > 30


def test_homolog_is_a_namespace_that_every_package_extends() -> None:
    assert getattr(homolog, "__file__", None) is None
    portions = {Path(portion).resolve() for portion in homolog.__path__}
    assert {package / "src" / "homolog" for package in PACKAGES} <= portions


def test_no_package_closes_the_namespace() -> None:
    # One homolog/__init__.py would hide every other package.
    assert list(ROOT.glob("packages/*/src/homolog/__init__.py")) == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_package_is_complete(package: Path) -> None:
    portion = package / "src" / "homolog" / package.name
    assert _project(package)["name"] == f"homolog-{package.name}"
    assert (package / "README.md").read_text(encoding="utf-8").startswith(f"# homolog-{package.name}\n")
    assert (portion / "__init__.py").is_file()
    assert (portion / "py.typed").is_file()
    assert [path.name for path in (package / "src" / "homolog").iterdir() if path.name != "__pycache__"] == [
        package.name
    ]


@pytest.mark.parametrize("folder", [ROOT, *PACKAGES], ids=lambda path: path.name)
def test_all_distributions_have_one_version_and_pin_their_siblings_to_it(folder: Path) -> None:
    version = _project(ROOT)["version"]
    assert _project(folder)["version"] == version
    for requirement in _requirements(_project(folder)):
        if requirement.startswith("homolog"):
            assert re.fullmatch(rf"homolog-[a-z]+(\[[a-z,]+\])?=={re.escape(version)}", requirement), (
                requirement
            )


def test_the_workspace_and_the_import_star_know_every_package() -> None:
    tool = _root()["tool"]
    packages = {f"homolog-{package.name}" for package in PACKAGES}
    assert set(tool["uv"]["sources"]) == packages | {"homolog", "homolog-goldens"}
    assert set(tool["importlinter"]["root_packages"]) == {f"homolog.{package.name}" for package in PACKAGES}


def test_only_the_application_depends_on_other_packages_than_core() -> None:
    for folder in PACKAGES:
        names = {re.split(r"[\[=]", line)[0] for line in _requirements(_project(folder))}
        siblings = {name for name in names if name.startswith("homolog-")}
        allowed = {"homolog-core"}
        if folder.name == "cli":
            allowed |= {"homolog-data", "homolog-evaluators", "homolog-zoo"}
        assert siblings <= allowed, folder.name


# --- code ---------------------------------------------------------------------------------------


def test_only_one_file_calls_grid_sample() -> None:
    callers = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        for name, _ in _calls(path)
        if name.rsplit(".", 1)[-1] == "grid_sample"
    }
    assert callers == {"packages/core/src/homolog/core/sampling.py"}


def test_pickles_are_opened_for_tensors_only() -> None:
    for path in CODE:
        for name, call in _calls(path):
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            place = f"{path.relative_to(ROOT)}:{call.lineno}"
            assert name not in {"pickle.load", "pickle.loads", "joblib.load", "torch.hub.load"}, place
            if name == "torch.load":
                assert given.get("weights_only") == "True", place
            if name in {"np.load", "numpy.load"}:
                assert given.get("allow_pickle", "False") == "False", place


def test_nothing_imports_pickle_functions_under_another_name() -> None:
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                assert not names & {"pickle.load", "pickle.loads", "torch.load", "joblib.load"}, path


def test_importing_chooses_nothing_for_the_whole_process() -> None:
    # Threads, dtypes, determinism and the environment belong to whoever runs the program.
    forbidden = re.compile(
        r"torch\.(set_|use_deterministic)|os\.(environ\.(update|setdefault)|putenv)|random\.seed"
    )
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for statement in tree.body:
            if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                calls = [ast.unparse(node.func) for node in ast.walk(statement) if isinstance(node, ast.Call)]
                assert not [call for call in calls if forbidden.match(call)], path


# --- files --------------------------------------------------------------------------------------


def test_the_lock_file_is_not_tracked() -> None:
    assert "uv.lock" not in _tracked()


def test_no_tracked_file_names_a_package_registry_or_the_workplace() -> None:
    # The names are put together here, so that this file does not contain them.
    hosts = [
        ("py" + "pi", "org"),
        ("files", "python" + "hosted", "org"),
        ("download", "pytorch", "org"),
        ("proxy", "golang", "org"),
    ]
    names = [re.escape(".".join(host)) for host in hosts] + [r"\.\./" + "shared", r"\.\./\." + "library"]
    names.append(r"(?<![\w.~-])/work/" + r"(main|shared|\.library)")
    forbidden = re.compile("|".join(names))
    found: list[str] = []
    for name in _tracked():
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {match[0]}" for match in [forbidden.search(text)] if match]
    assert found == []


def test_no_tracked_file_is_large() -> None:
    # Golden files are as large as their makers made them.
    files = {
        name: (ROOT / name).stat().st_size for name in _tracked() if not name.startswith("tests/goldens/")
    }
    weights = {name for name in files if name.startswith(WEIGHTS)}
    assert [name for name, size in files.items() if size > 1_000_000 and name not in weights] == []
    assert 0 < sum(files[name] for name in weights) <= 10_000_000


def test_the_files_of_tests_have_names_of_their_own() -> None:
    # Without our settings, as with `pytest --goldens DIR` on a DIR elsewhere, pytest imports them by name.
    names = [Path(name).name for name in _tracked() if re.search(r"^tests/.*/?test_[^/]*\.py$", name)]
    assert len(names) > 50
    assert [name for name in set(names) if names.count(name) > 1] == []
