"""Drawing beside the matching: where it happens, and that no process stays behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from homolog.cli.figures.views import MATCHES_PICTURE, PairView
from homolog.cli.studio import draw_page, studio

ALONE = """
import os, sys, time
from homolog.cli.studio import studio
if __name__ == "__main__":
    with studio(2) as drawing:
        print(drawing.submit(os.getpid).result(), flush=True)
        time.sleep(60)
"""


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def page() -> PairView:
    gray = np.full((80, 100, 3), 128, dtype=np.uint8)
    ends = np.array([[10.0, 20.0], [70.0, 60.0]])
    return PairView(
        photos=(gray, gray),
        title="t",
        subtitle="s",
        xy0=ends,
        xy1=ends,
        score=np.array([0.1, 0.2], dtype=np.float32),
        inlier=np.array([True, False]),
        points=None,
    )


@pytest.mark.usefixtures("two_cores")
def test_several_pairs_are_drawn_in_another_process_and_come_out_the_same():
    with studio(2) as drawing:
        assert drawing.submit(os.getpid).result() != os.getpid()
        there = drawing.submit(draw_page, page()).result()
    assert there == draw_page(page())
    assert list(there) == [MATCHES_PICTURE]


@pytest.mark.usefixtures("two_cores")
def test_one_pair_is_drawn_here():
    with studio(1) as drawing:
        assert drawing.submit(os.getpid).result() == os.getpid()


def test_without_a_second_core_all_are_drawn_here(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with studio(5) as drawing:
        assert drawing.submit(os.getpid).result() == os.getpid()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core draws in the first process")
def test_the_process_ends_with_the_first_one_however_that_ends(how: signal.Signals, tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(ALONE)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        second = int(first.stdout.readline())
        first.send_signal(how)
    for _ in range(100):
        if not Path(f"/proc/{second}").exists():
            return
        time.sleep(0.05)
    pytest.fail(f"process {second} is still there")
