"""How much memory and CPU time does VGGT need when only what a matcher reads is kept?

Compares, on random weights of the published shape and for two views:

- `upstream`: all pairs tapped, depth, point and camera heads, all views decoded at once by decoders
  that work in the official order (enlarge, then 1x1 convolution; whole position maps; NCHW);
- `everything`: the same with our decoders, the strictest baseline;
- `matcher`: four taps and one three-channel decoder (grid and confidence), one view at a time.

Each variant runs in a process of its own, one after the other. The peak is the process's largest
resident set, imports and weights included; CPU seconds are those of one forward pass on all threads.
glibc's threshold for memory maps is held at 1 MB, so that freed tensors leave the resident set at once:
otherwise its heap keeps a share of them that changes by 0.1 GB from run to run.

Run: `python experiments/benchmarks/vggt_memory.py` (about 8 GB, some minutes), or `--size 294` for a quick look.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from homolog.backbones.vggt.backbone import HEADS, VGGT
from homolog.backbones.vggt.dpt import DPT, Fusion, resize
from homolog.backbones.vggt.layers import Architecture
from homolog.core.coords import Size

VARIANTS = {
    "upstream": "float32",
    "everything": "float32",
    "matcher": "float32",
    "matcher bfloat16": "bfloat16",
}
LIMIT = 0.75
SMALL = Architecture(
    width=96,
    depth=24,
    attention_heads=6,
    encoder_depth=4,
    encoder_attention_heads=6,
    decoder_width=32,
    decoder_channels=(16, 32, 64, 64),
    camera_attention_heads=6,
)


def main() -> int:
    """Measure all variants and print the table; return 1 when the matcher path needs too much."""
    parser = argparse.ArgumentParser(description="Memory and CPU time of VGGT, two views")
    parser.add_argument("--size", type=int, default=518, help="side of the square views in pixels")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="a small network, to try the script itself")
    parser.add_argument("--variant", choices=VARIANTS, help="measure this one here and print JSON")
    arguments = parser.parse_args()
    if arguments.variant:
        print(json.dumps(measure(arguments.variant, arguments.size, small=arguments.small)))
        return 0
    rows = {name: _in_own_process(name, arguments) for name in VARIANTS}
    print(_table(rows, arguments))
    print()
    for baseline in ("upstream", "everything"):
        ratio = rows["matcher"]["peak_gb"] / rows[baseline]["peak_gb"]
        print(f"matcher / {baseline}, float32: {ratio:.3f} of the peak (at most {LIMIT})")
    return int(rows["matcher"]["peak_gb"] > LIMIT * rows["everything"]["peak_gb"])


def measure(variant: str, size: int, *, small: bool) -> dict[str, float]:
    """Build one variant on random weights, run it once, and return what it took."""
    imports = _peak_bytes()
    network, run = (
        _matcher(VARIANTS[variant], small)
        if variant.startswith("matcher")
        else _everything(small, upstream=variant == "upstream")
    )
    weights = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    images = torch.rand(1, 2, 3, size, size)
    built = _peak_bytes()
    start, cpu = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        run(images)
    return {
        "imports_gb": imports / 1e9,
        "weights_gb": weights / 1e9,
        "built_gb": built / 1e9,
        "peak_gb": _peak_bytes() / 1e9,
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - start,
    }


class UpstreamFusion(Fusion):
    """Enlarges before its 1x1 convolution."""

    def forward(self, x: Tensor, skip: Tensor | None, size: Size) -> Tensor:
        """Fuse and resize to `size`."""
        if skip is not None:
            x = x + self.resConfUnit1(skip)
        return self.out_conv(resize(self.resConfUnit2(x), size))


class UpstreamDPT(DPT):
    """Adds a whole position map, out of place."""

    def _mark(self, x: Tensor, image_size: Size) -> Tensor:
        return x + super()._mark(torch.zeros_like(x[:1]), image_size)


def as_upstream(model: VGGT) -> None:
    """Let the decoders of a model work in the official order; the numbers stay the same."""
    for module in model.modules():
        if isinstance(module, Fusion):
            module.__class__ = UpstreamFusion
        elif isinstance(module, DPT):
            module.__class__ = UpstreamDPT
    model.to(memory_format=torch.contiguous_format)


def _everything(small: bool, *, upstream: bool) -> tuple[nn.Module, Callable[[Tensor], object]]:
    architecture = SMALL if small else Architecture()
    with torch.device("meta"):
        model = VGGT(
            taps=range(architecture.depth), heads=HEADS, frames_per_chunk=8, architecture=architecture
        )
    if upstream:
        as_upstream(model)
    _fill(model)
    return model, model.features_and_geometry


def _matcher(dtype: str, small: bool) -> tuple[nn.Module, Callable[[Tensor], object]]:
    architecture = SMALL if small else Architecture()
    with torch.device("meta"):
        model = VGGT(architecture=architecture, dtype=cast(Any, dtype))
        decoder = DPT(
            inputs=2 * architecture.width,
            outputs=3,
            channels=architecture.decoder_channels,
            width=architecture.decoder_width,
            activation=nn.Identity(),
            score_activation=torch.sigmoid,
        ).to(memory_format=torch.channels_last)
        decoder.lower_precision(torch.bfloat16 if dtype == "bfloat16" else torch.float32)
    both = nn.ModuleList([model, decoder])
    _fill(both)

    def run(images: Tensor) -> object:
        features = model(images)
        return decoder(list(features.maps.values()), features.image_size)

    return both, run


def _fill(network: nn.Module) -> None:
    """Turn shapes into random numbers, without ever holding them twice."""
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.02, generator=generator)


def _peak_bytes() -> int:
    # Not getrusage: its maximum starts from the parent's, which survives exec.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM; this benchmark needs Linux")


def _in_own_process(variant: str, arguments: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--variant", variant, "--size", str(arguments.size)]
    command += ["--small"] if arguments.small else []
    environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads), "OMP_WAIT_POLICY": "PASSIVE"}
    environment["MALLOC_MMAP_THRESHOLD_"] = str(2**20)
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _table(rows: dict[str, dict[str, float]], arguments: argparse.Namespace) -> str:
    lines = [
        f"VGGT {'small' if arguments.small else '1B'}, 2 x {arguments.size} x {arguments.size}, random weights; "
        f"{_hardware()}, {arguments.threads} threads; {_versions()}",
        "",
        "| variant | weights GB | built GB | peak GB | CPU s | wall s |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['weights_gb']:.2f} | {row['built_gb']:.2f} | {row['peak_gb']:.2f} "
        f"| {row['cpu_s']:.1f} | {row['wall_s']:.1f} |"
        for name, row in rows.items()
    ]
    return "\n".join(lines)


def _hardware() -> str:
    facts = [line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line]
    names = [value.strip() for key, value in facts if key.strip() == "model name"]
    return names[0] if names else platform.machine()


def _versions() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "timm", "homolog-backbones"))
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return f"{packages}, commit {commit or 'unknown'}"


if __name__ == "__main__":
    sys.exit(main())
