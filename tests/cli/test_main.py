"""The command line of `homolog`: help, commands, settings and argument files."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from homolog.cli.commands._shared import split_photos
from homolog.cli.main import COMMANDS, parse, read_argument_files


def test_help_lists_every_command_with_examples(homolog):
    answer = homolog("--help")
    assert answer.code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in answer.out
    assert answer.out.count("\n  homolog ") >= 10


def test_help_of_match_names_options_files_and_exit_codes(homolog):
    shown = homolog("match", "--help").out
    for word in ("--demo", "--max-matches", "matches.npz", "xy0 [M 2]", "exit codes: 0 success"):
        assert word in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_of_the_help_can_be_parsed(homolog, command: str, tmp_path: Path):
    Path("experiments/0001_vggt_prior").mkdir(parents=True)
    Path("experiments/0001_vggt_prior/overrides.txt").write_text("recipe=mini_dense\n")
    shown = homolog(command, "--help").out
    examples = [
        line.split("   ")[0].split() for line in shown.splitlines() if line.startswith(f"  homolog {command}")
    ]
    assert examples
    for words in examples:
        assert parse(words[1:]).command == command


def test_help_imports_nothing_heavy():
    heavy = {"torch", "numpy", "matplotlib", "hydra", "rich", "PIL", "poselib"}
    code = f"import sys; from homolog.cli.main import main; main(['--help']); sys.exit(bool({heavy} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("mach",), "homolog: error: no command 'mach'; did you mean match?"),
        (("--verison",), "homolog: error: no option '--verison'"),
        (("list", "more"), "homolog list: error: unexpected argument 'more'"),
        (("weights", "fetch"), "homolog: error: expected what to fetch"),
        (("match", "--limit", "5"), "homolog match: error: --limit is now --max-matches"),
        (("evaluate", "--again"), "homolog evaluate: error: --again is now --overwrite"),
        (("sweep", "--again"), "homolog sweep: error: --again is now --overwrite"),
        (("generate", "video", "--as=tapvid"), "homolog generate: error: --as is now --format"),
        (("generate", "video", "--force"), "homolog generate: error: --force is now --overwrite"),
    ],
)
def test_wrong_commands_and_options_are_one_line(homolog, words: tuple[str, ...], expected: str):
    answer = homolog(*words)
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert line.startswith(expected)


def test_renamed_options_exist():
    for command in COMMANDS:
        module = importlib.import_module(f"homolog.cli.commands.{command}")
        needed = ("video",) if command == "generate" else ()
        values = {"--max-matches": ("3",), "--image-format": ("png",), "--format": ("spair",)}
        for new in getattr(module, "RENAMED", {}).values():
            parse([command, *needed, new, *values.get(new, ())])


def test_a_photo_in_place_of_the_command_suggests_match(homolog):
    Path("a.jpg").touch()
    assert (
        homolog("a.jpg", "b.jpg").err
        == "homolog: error: no command 'a.jpg'; did you mean homolog match a.jpg?\n"
    )


def test_without_arguments_the_help_is_shown(homolog):
    answer = homolog()
    assert answer.code == 2
    assert "examples:" in answer.out


def test_settings_may_appear_anywhere_and_photos_keep_their_order():
    arguments = parse(
        ["match", "resize=5", "a.jpg", "--max-matches", "3", "+head.x=1", "b.jpg", "~head.y", "x@y=z"]
    )
    photos, settings = split_photos(arguments.words)
    assert settings == ["resize=5", "+head.x=1", "~head.y", "x@y=z"]
    assert photos == [Path("a.jpg"), Path("b.jpg")]
    assert arguments.max_matches == 3


def test_an_existing_file_with_an_equals_sign_is_a_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("a=1.jpg").touch()
    assert split_photos(["a=1.jpg", "b=2.jpg"]) == ([Path("a=1.jpg")], ["b=2.jpg"])


def test_arguments_come_from_files_and_photos_may_begin_with_an_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("words.txt").write_text("a=1  # one\n'b=[1, 2]'\n")
    Path("@odd.jpg").touch()
    words = read_argument_files(["match", "@words.txt", "@odd.jpg"])
    assert words == ["match", "a=1", "b=[1, 2]", "@odd.jpg"]


@pytest.mark.parametrize(
    ("words", "module", "extra"),
    [
        (("train", "recipe=mini_dense", "--out", "x"), "homolog.training", "train"),
        (("generate", "video"), "homolog.synthetic", "synthetic"),
        (("data", "verify", "."), "homolog.synthetic", "synthetic"),
    ],
)
def test_a_missing_extra_names_its_pip_line(
    homolog, words, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
):
    for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    answer = homolog(*words)
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert line.endswith(f"needs the package homolog[{extra}]; run: pip install 'homolog[{extra}]'")
    assert list(Path().iterdir()) == []
