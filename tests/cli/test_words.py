"""The command line: help, commands, and which words are settings."""

import subprocess
import sys
from pathlib import Path

import pytest

from homolog.cli.words import parse

COMMANDS = ("match", "features", "heatmap", "list", "weights", "cache")


def test_help_teaches_with_examples_and_the_exit_codes(homolog):
    said = homolog("--help")
    assert said.code == 0
    for command in COMMANDS:
        assert command in said.out
    said = homolog("match", "--help")
    for word in (
        "--demo",
        "--pairs",
        "matcher=xfeat_lighterglue",
        "matches.npz",
        "exit code: 0 all fine",
        "xy0 [M 2]",
    ):
        assert word in said.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_of_the_help_is_understood(homolog, command: str, tmp_path: Path):
    told = homolog(command, "--help").out
    examples = [
        line.split("   ")[0].split() for line in told.splitlines() if line.startswith(f"  homolog {command}")
    ]
    assert examples
    for words in examples:
        assert parse(words[1:]).command == command


def test_help_needs_nothing_heavy():
    heavy = {"torch", "numpy", "matplotlib", "hydra", "rich", "PIL", "poselib"}
    code = f"import sys; from homolog.cli.main import main; main(['--help']); sys.exit(bool({heavy} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("mach",), "homolog: error: no command 'mach'; did you mean match?"),
        (("list", "more"), "homolog list: error: expected options only, got 'more'"),
        (("weights", "fetch"), "homolog weights: error: expected what to fetch"),
    ],
)
def test_wrong_commands_are_one_line(homolog, words: tuple[str, ...], expected: str):
    said = homolog(*words)
    assert said.code == 2
    (line,) = said.err.splitlines()
    assert line.startswith(expected)


def test_a_photo_in_the_place_of_the_command_is_understood(homolog):
    Path("a.jpg").touch()
    assert (
        homolog("a.jpg", "b.jpg").err
        == "homolog: error: no command 'a.jpg'; did you mean homolog match a.jpg?\n"
    )


def test_without_words_the_help_is_shown(homolog):
    said = homolog()
    assert said.code == 2
    assert "examples:" in said.out


def test_settings_may_stand_anywhere_and_photos_keep_their_order():
    arguments = parse(
        ["match", "resize=5", "a.jpg", "--limit", "3", "+head.x=1", "b.jpg", "~head.y", "x@y=z"]
    )
    assert arguments.settings == ["resize=5", "+head.x=1", "~head.y", "x@y=z"]
    assert arguments.photos == [Path("a.jpg"), Path("b.jpg")]
    assert arguments.limit == 3


def test_an_existing_file_with_an_equals_sign_is_a_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("a=1.jpg").touch()
    arguments = parse(["match", "a=1.jpg", "b=2.jpg"])
    assert arguments.photos == [Path("a=1.jpg")]
    assert arguments.settings == ["b=2.jpg"]
