"""The package: its README, its public names, and what importing it costs."""

import doctest
import re
import subprocess
import sys
from pathlib import Path

import homolog.training

README = Path(__file__).parents[2] / "packages/training/README.md"


def test_the_example_of_the_readme_prints_what_it_shows():
    outcome = doctest.testfile(str(README), module_relative=False)
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_every_public_name_exists_and_every_public_function_is_in_the_readme():
    documented = set(re.findall(r"`(\w+)`", README.read_text(encoding="utf-8")))
    for name in vars(homolog.training)["__all__"]:
        assert getattr(homolog.training, name).__name__ == name
        if name.endswith(("_loss", "_l2", "_error", "_rate", "_confusion", "_truth")):
            assert name in documented


def test_importing_the_package_or_its_losses_does_not_import_lightning():
    # Losses are functions of tensors: they are tested and used without a trainer.
    program = (
        "import sys, homolog.training; print('torch' in sys.modules)\n"
        "from homolog.training.losses import dense, matcha, semidense, sparse, vggt\n"
        "print('lightning' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
