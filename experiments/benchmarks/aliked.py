"""What does ALIKED cost here, against kornia's forward pass with the same weights?

Each of the two runs in processes of its own, in turns. CPU seconds are the median of some detections after
one that warms up. The peak is the largest resident set of the process during the detections, above what it
held before the first one (imports, weights, photo), with memory allocated as anywhere else. Both find the same
keypoints, which is checked.

Run: `python experiments/benchmarks/aliked.py --checkpoint aliked-n16.pth` (a minute or two; without a checkpoint
the weights are random, and random networks find other numbers of keypoints).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, get_args

import torch
import torch.nn.functional as F
from skimage import data
from timing import circumstances
from torch import Tensor

from homolog.backbones.aliked import Aliked, Variant

PROGRAMS = ("kornia", "homolog")
MOST_SECONDS, MOST_MEMORY = 1 / 3, 1 / 4


def main() -> int:
    """Measure both and print the table; return 1 when ours needs more than it may."""
    options = _options()
    if options.program:
        print(json.dumps(measure(options)))
        return 0
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in PROGRAMS}
    for _ in range(options.processes):
        for name in PROGRAMS:
            runs[name].append(_in_own_process(name))
    rows = {name: {key: median(run[key] for run in of) for key in of[0]} for name, of in runs.items()}
    kornia, ours = rows["kornia"], rows["homolog"]
    if kornia["sum"] != ours["sum"]:
        raise RuntimeError(f"expected the keypoints of kornia, got others: {rows}; do not time this")
    weights = options.checkpoint.name if options.checkpoint else f"{options.variant}, random weights"
    print(f"{weights}, {options.width} x {options.height}; {circumstances('torch', 'kornia')}")
    print("\n| forward pass | keypoints | CPU s | peak MB |\n|---|---|---|---|")
    for name, row in rows.items():
        print(f"| {name} | {row['keypoints']:.0f} | {row['cpu_s']:.2f} | {row['peak_mb']:.0f} |")
    seconds, memory = (ours[key] / kornia[key] for key in ("cpu_s", "peak_mb"))
    print(f"\nhomolog / kornia: {seconds:.3f} of the CPU seconds (at most {MOST_SECONDS:.3f}), ", end="")
    print(f"{memory:.3f} of the peak (at most {MOST_MEMORY})")
    return int(seconds > MOST_SECONDS or memory > MOST_MEMORY)


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Detect with one program in this process, and return what it took."""
    torch.manual_seed(0)
    detector = Aliked(
        checkpoint=options.checkpoint,
        variant=options.variant,
        threshold=options.threshold,
        max_keypoints=options.max_keypoints,
    )
    image = _photo(options.height, options.width)
    detect: Callable[[Tensor], Any] = detector if options.program == "homolog" else detector.network
    seconds: list[float] = []
    before = _resident("VmHWM")
    with torch.inference_mode():
        (found,) = detect(image)
        for _ in range(options.repeats):
            start = time.process_time()
            (found,) = detect(image)
            seconds.append(time.process_time() - start)
    xy = found.xy if options.program == "homolog" else found.keypoints
    return {
        "keypoints": len(xy),
        "sum": round(float(xy.double().sum()) / max(1, xy.numel()), 2),
        "cpu_s": median(seconds),
        "peak_mb": (_resident("VmHWM") - before) / 1e6,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, help="official file of the variant")
    parser.add_argument("--variant", choices=get_args(Variant), default="aliked-n16")
    parser.add_argument("--height", type=int, default=704)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--threshold", type=float, default=0.2)
    parser.add_argument("--max-keypoints", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3, help="timed detections in a process (default: 3)")
    parser.add_argument("--processes", type=int, default=3, help="processes of each (default: 3)")
    parser.add_argument("--program", choices=PROGRAMS, help="measure this one here and print JSON")
    return parser.parse_args()


def _photo(height: int, width: int) -> Tensor:
    pixels = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None] / 255
    return F.interpolate(pixels, size=(height, width), mode="bilinear", antialias=True)


def _resident(line: str) -> int:
    # Not getrusage: its maximum starts from the parent's, which survives exec.
    for each in Path("/proc/self/status").read_text().splitlines():
        if each.startswith(f"{line}:"):
            return int(each.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {line}; this benchmark needs Linux")


def _in_own_process(program: str) -> dict[str, float]:
    command = [sys.executable, __file__, *sys.argv[1:], "--program", program]
    environment = {"OMP_WAIT_POLICY": "PASSIVE"} | os.environ
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
