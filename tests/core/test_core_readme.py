"""The README of the package: its example runs, and it leaves no word out."""

import doctest
import re
from pathlib import Path

README = Path(__file__).parents[2] / "packages" / "core" / "README.md"


def test_the_example_runs() -> None:
    outcome = doctest.testfile(str(README), module_relative=False)
    assert outcome.attempted > 8
    assert outcome.failed == 0


def test_every_module_is_mentioned() -> None:
    source = README.parent / "src" / "homolog" / "core"
    modules = {path.stem for path in source.glob("*.py")} - {"__init__"}
    assert modules <= set(re.findall(r"`(\w+)`", README.read_text(encoding="utf-8")))
