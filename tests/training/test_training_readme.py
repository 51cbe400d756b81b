"""The README of the package: its example runs, and it leaves no loss, truth or measure out."""

import ast
import doctest
import re
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "packages" / "training"


def test_the_example_of_the_readme_says_what_it_prints():
    outcome = doctest.testfile(str(PACKAGE / "README.md"), module_relative=False)
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_every_loss_and_measure_stands_in_the_readme():
    told = set(re.findall(r"`(\w+)`", (PACKAGE / "README.md").read_text(encoding="utf-8")))
    for folder in ("losses", "measures"):
        for path in (PACKAGE / "src" / "homolog" / "training" / folder).glob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
            public = [name for name in functions if re.search(r"_(loss|l2|rate|confusion)$", name)]
            assert set(public) <= told, path.name


def test_no_loss_imports_lightning():
    # Losses are functions of tensors: they are read, tested and used without a trainer.
    for path in (PACKAGE / "src" / "homolog" / "training").glob("losses/*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = [
            alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        ]
        imported += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert not [name for name in imported if name.split(".")[0] in {"lightning", "pytorch_lightning"}]
        own = [name for name in imported if name.startswith("homolog.")]
        assert all(name.startswith(("homolog.core", "homolog.training")) for name in own)
