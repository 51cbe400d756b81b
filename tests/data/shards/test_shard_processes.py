"""Shards by several processes: equal bytes, a kill, a disk that is full, a worker that fails."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from homolog.core.errors import DataError
from homolog.data.shards.reading import ShardedPairs

pytestmark = pytest.mark.slow

# A program of its own: processes that start from nothing have to find the source by name.
PROGRAM = """
import functools, pathlib, resource, sys, time
import numpy as np
import torch
from homolog.core.errors import DataError, HomologError
from homolog.core.image import Image
from homolog.core.samples import PairSample
from homolog.data.shards.writing import write_shards


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
    folder, workers, pause, fails, limit = sys.argv[1:]
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    make = functools.partial(Slow, 23, float(pause), int(fails))
    try:
        write_shards(make, folder=folder, config={"_target_": "Slow"}, per_shard=4, workers=int(workers))
    except HomologError as error:
        sys.exit(f"{type(error).__name__}: {error}")
"""

Content = Callable[[Path], dict[str, bytes]]
WHOLE = ["dataset.json", *(f"shard-00000{shard}.{end}" for shard in range(6) for end in ("json", "tar"))]


class Program:
    """Runs the program above."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.write_text(PROGRAM)

    def start(
        self, folder: Path, *, workers: int, pause: float = 0, fails: int = -1, limit: int = 0
    ) -> subprocess.Popen[str]:
        words = (folder, workers, pause, fails, limit)
        # A group of its own, so that nothing of it can hide when it is over.
        return subprocess.Popen(
            [sys.executable, str(self.file), *map(str, words)],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, folder: Path, **options: float) -> str:
        process = self.start(folder, **options)  # type: ignore[arg-type]
        _, said = process.communicate(timeout=240)
        assert process.returncode in (0, 1)
        return said


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "program.py")


def test_one_worker_and_four_write_equal_bytes(program: Program, content: Content, tmp_path: Path):
    assert program.run(tmp_path / "one", workers=1) == ""
    assert program.run(tmp_path / "four", workers=4) == ""
    assert list(content(tmp_path / "one")) == WHOLE
    assert content(tmp_path / "one") == content(tmp_path / "four")


@pytest.mark.parametrize("workers", [1, 2])
def test_after_a_kill_nothing_is_half_valid_and_the_rest_makes_the_set_whole(
    program: Program, content: Content, tmp_path: Path, workers: int
):
    program.run(tmp_path / "whole", workers=1)
    process = program.start(tmp_path / "part", workers=workers, pause=0.1)
    _wait_for(lambda: (tmp_path / "part" / "shard-000001.json").exists())
    time.sleep(0.15)  # in the middle of a shard
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=120)  # its workers share the pipe: it ends when they have ended too

    there, whole = content(tmp_path / "part"), content(tmp_path / "whole")
    valid = {name: there[name] for name in there if not name.startswith(".homolog-")}
    assert 0 < len(valid) < len(whole)
    for name in valid:
        # A shard whose sidecar was not written yet may be whole; one with its sidecar is.
        assert valid[name] == whole[name]
    with pytest.raises(DataError, match="run the same homolog generate again"):
        ShardedPairs(tmp_path / "part")

    assert program.run(tmp_path / "part", workers=workers) == ""
    assert content(tmp_path / "part") == whole
    assert len(ShardedPairs(tmp_path / "part")) == 23


@pytest.mark.parametrize("workers", [1, 2])
def test_files_that_may_not_grow_leave_nothing_half_written(
    program: Program, content: Content, tmp_path: Path, workers: int
):
    said = program.run(tmp_path / "part", workers=workers, limit=8000)
    assert said.startswith("DataError: ")
    assert "shard-00000" in said
    assert "File too large" in said
    assert len(said.splitlines()) == 1
    assert list(content(tmp_path / "part")) == ["dataset.json"]


def test_the_error_of_a_worker_is_the_error_of_the_run(program: Program, content: Content, tmp_path: Path):
    said = program.run(tmp_path / "part", workers=2, fails=9)
    assert said == "DataError: photo.jpg: expected a whole image, got half of one; copy it again\n"
    assert not {"shard-000002.json", "shard-000002.tar"} & content(tmp_path / "part").keys()
    assert not [name for name in content(tmp_path / "part") if name.startswith(".")]


def test_a_worker_that_is_killed_ends_the_run_with_advice(program: Program, tmp_path: Path):
    said = program.run(tmp_path / "part", workers=2, fails=109)
    assert said.startswith("HomologError: a worker process ended on its own")
    assert "take fewer workers" in said


def _wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
