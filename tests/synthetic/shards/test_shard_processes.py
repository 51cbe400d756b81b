"""Shards by several processes: equal bytes, a kill, a disk that is full, a worker that fails."""

import functools
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from homolog.core.errors import DataError, HomologError
from homolog.synthetic.shards.reading import ShardedPairs
from homolog.synthetic.shards.writing import write_shards

pytestmark = pytest.mark.slow

# A module of its own: processes that start from nothing have to find the source by name. Run as a program, it can
# be killed and kept from writing without its caller.
PROGRAM = """
import functools, resource, sys, time
import numpy as np
import torch
from homolog.core.errors import DataError, HomologError
from homolog.core.image import Image
from homolog.core.samples import PairSample
from homolog.synthetic.shards.writing import write_shards


class Slow:
    def __init__(self, count, pause, fails):
        self.count, self.pause, self.fails = count, pause, fails

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index == self.fails:
            raise DataError("photo.jpg: expected a whole image, got half of one; copy it again")
        if index == self.fails - 100:
            import os
            os.kill(os.getpid(), 9)
        time.sleep(self.pause if index else 0)
        random = np.random.default_rng([3, index])
        image0, image1 = (Image(pixels=torch.from_numpy(random.random((3, 32, 32), np.float32))) for _ in range(2))
        # Sums of many terms: split among threads they would come out in another order.
        many = torch.from_numpy(random.random((400, 400), np.float32))
        points = (many @ many)[:4, :2] + many.sum()
        return PairSample(image0=image0, image1=image1, xy0=points, xy1=points, name=str(index))


if __name__ == "__main__":
    folder, workers, pause, limit = sys.argv[1:]
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    make = functools.partial(Slow, 23, float(pause), -1)
    try:
        write_shards(make, folder=folder, config={"_target_": "Slow"}, per_shard=4, workers=int(workers))
    except HomologError as error:
        sys.exit(f"{type(error).__name__}: {error}")
"""

Content = Callable[[Path], dict[str, bytes]]
WHOLE = ["dataset.json", "index.json", *(f"shard-00000{shard}.tar" for shard in range(6))]


class Program:
    """Runs the program above."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def start(self, folder: Path, *, workers: int, pause: float = 0, limit: int = 0) -> subprocess.Popen[str]:
        words = (folder, workers, pause, limit)
        # A group of its own, so that nothing of it can hide when it is over.
        return subprocess.Popen(
            [sys.executable, str(self.file), *map(str, words)],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def here(self, folder: Path, *, workers: int, fails: int = -1) -> None:
        """The same in this process; to load torch in another one takes longer than all that it would do."""
        make = functools.partial(importlib.import_module(self.file.stem).Slow, 23, 0.0, fails)
        write_shards(make, folder=folder, config={"_target_": "Slow"}, per_shard=4, workers=workers)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Generator[Program]:
    file = tmp_path_factory.mktemp("program") / "shard_program.py"
    file.write_text(PROGRAM)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(file.parent)
        yield Program(file)


@pytest.fixture(scope="module")
def whole(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process writes that nobody disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    program.here(folder, workers=1)
    return folder


def test_one_worker_and_four_write_equal_bytes(
    program: Program, content: Content, whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    program.here(tmp_path, workers=4)
    assert capfd.readouterr() == ("", "")
    assert list(content(whole)) == WHOLE
    assert content(tmp_path) == content(whole)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_kill_leaves_whole_shards_and_the_same_call_writes_the_rest(
    program: Program, content: Content, whole: Path, tmp_path: Path, workers: int
):
    process = program.start(tmp_path, workers=workers, pause=0.1)
    _wait_for(lambda: (tmp_path / "shard-000001.tar").exists())
    time.sleep(0.15)  # in the middle of a shard
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=120)  # its workers share the pipe: it ends when they have ended too

    there, wanted = content(tmp_path), content(whole)
    valid = {name: there[name] for name in there if not name.startswith(".homolog-")}
    assert 0 < len(valid) < len(wanted)
    for name in valid:
        assert valid[name] == wanted[name]
    with pytest.raises(DataError, match="run the same homolog generate again"):
        ShardedPairs(tmp_path)

    program.here(tmp_path, workers=workers)
    assert content(tmp_path) == wanted
    assert len(ShardedPairs(tmp_path)) == 23


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_size_limit_leaves_nothing_half_written(
    program: Program, content: Content, tmp_path: Path, workers: int
):
    process = program.start(tmp_path, workers=workers, limit=8000)
    _, message = process.communicate(timeout=240)
    assert process.returncode == 1
    assert message.startswith("DataError: ")
    assert "shard-00000" in message
    assert "File too large" in message
    assert len(message.splitlines()) == 1
    assert list(content(tmp_path)) == ["dataset.json"]


def test_the_error_of_a_worker_is_the_error_of_the_run(
    program: Program, content: Content, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    with pytest.raises(DataError) as failure:
        program.here(tmp_path, workers=2, fails=9)
    assert str(failure.value) == "photo.jpg: expected a whole image, got half of one; copy it again"
    assert capfd.readouterr() == ("", "")
    assert "shard-000002.tar" not in content(tmp_path)
    assert not [name for name in content(tmp_path) if name.startswith(".")]


def test_a_worker_that_is_killed_ends_the_run_with_advice(program: Program, tmp_path: Path):
    with pytest.raises(HomologError, match=r"^a worker process ended on its own.*use fewer workers"):
        program.here(tmp_path, workers=2, fails=109)


def _wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
