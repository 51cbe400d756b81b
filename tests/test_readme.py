"""What the README shows works: its Python runs, its commands run, its links lead somewhere."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from homolog.cli.main import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the README assumes it: a.jpg, b.jpg, photos/ and a pair list."""
    from PIL import Image
    from skimage import data

    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    photo = Image.fromarray(data.astronaut())
    photo.save("a.jpg")
    photo.rotate(5).resize((400, 400)).save("b.jpg")
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(name, tmp_path / "photos" / name)
    (tmp_path / "pairs.txt").write_text("a.jpg b.jpg\n")
    return tmp_path


def test_the_python_of_the_readme_runs(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for code in _blocks("python"):
        exec(compile(code, "README.md", "exec"), {})
    assert "matches; the best pair is" in capsys.readouterr().out


def _commands(block: str) -> list[str]:
    lines = [line.split("  #")[0].strip() for line in block.splitlines()]
    return [line.split("uv run homolog ", 1)[1] for line in lines if "uv run homolog " in line]


@pytest.mark.parametrize("block", [block for block in _blocks("sh") if "--demo" not in block])
def test_the_commands_of_the_readme_run_one_after_the_other(block: str, photos: Path) -> None:
    for command in _commands(block):
        assert main(shlex.split(command)) == 0, command


def test_the_readme_begins_with_the_demo_and_the_tests() -> None:
    assert "match --demo" in _commands(_blocks("sh")[0])
    assert "uv run pytest" in _blocks("sh")[0]


def test_every_link_and_picture_of_the_readme_is_there() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_package_stands_in_the_table() -> None:
    for folder in sorted((ROOT / "packages").iterdir()):
        assert f"`homolog-{folder.name}`" in README
