"""Photos to match, and a command to call."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
import pytest
import skimage

from homolog.cli.main import main


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A textured photo, uint8 [H W 3]."""
    path = Path(skimage.__file__).parent / "data" / "astronaut.png"
    return np.asarray(PIL.Image.open(path).convert("RGB").resize((256, 256), PIL.Image.Resampling.LANCZOS))


@pytest.fixture
def photos(tmp_path: Path, photo: np.ndarray) -> Path:
    """A folder with three views of one scene, shifted against each other: a.png, b.png, c.png."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, x, y in (("a", 0, 0), ("b", 16, 8), ("c", 32, 24)):
        PIL.Image.fromarray(photo[y : y + 192, x : x + 208]).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def homolog(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Call the command in an empty folder, with an empty cache in `../cache`."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOMOLOG_CACHE", str(tmp_path / "cache"))

    def call(*words: str | Path) -> Said:
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Said(code, str(out), str(err))

    return call


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the pictures of `homolog match` by a few bytes, because drawing takes most of its time."""
    blank = {"matches.png": b"blank", "transfer.png": b"blank"}
    monkeypatch.setattr("homolog.cli.matching.draw_pictures", lambda page: blank)
