"""How many frames and pairs does a core make per second?

Figures are per second of process time, code compiled before: the rasteriser alone and with colours (edges on
twice the grid) on a torus of 20,000 triangles at 512 x 512, and whole semantic pairs (two meshes built, two
pictures with light, background and photometry, keypoints, both dense grids). Other programs on the machine
cost cache and hence process time: say how busy it was. The last table says where the time of a pair goes.

Run: `python experiments/benchmarks/synthetic.py` (a minute).
"""

import argparse
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from timing import circumstances

from homolog.synthetic import asset_pairs, semantic_pairs
from homolog.synthetic.category import Category
from homolog.synthetic.correspondence import dense_truth
from homolog.synthetic.modelling.solids import ring, topology_of
from homolog.synthetic.rendering.lighting import Light
from homolog.synthetic.rendering.look import draw_look
from homolog.synthetic.rendering.paint import paint
from homolog.synthetic.rendering.photometry import Photometry
from homolog.synthetic.rendering.rasteriser import rasterise
from homolog.synthetic.rendering.scene import Body, Scene
from homolog.synthetic.rendering.view import View
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.seeds import Seeds
from homolog.synthetic.semantic_pairs import SemanticPairs
from homolog.synthetic.texturing import texturers

STAGES: dict[str, list[tuple[object, str]]] = {
    "build": [
        (Category, "draw_shape"),
        (Category, "draw_pose"),
        (Category, "vertices"),
        (asset_pairs, "drawn_camera"),
        (asset_pairs, "drawn_occluder"),
    ],
    "raster": [(Scene, "of"), (View, "of")],
    "paint": [(semantic_pairs, "draw_look"), (texturers, "paint")],
    "background": [(texturers, "drawn_backdrop")],
    "photometry": [(Photometry, "develop")],
    "grids": [(asset_pairs, "dense_truth")],
    "tensors": [(semantic_pairs.SemanticPair, "sample")],
    "seeds": [(Seeds, "generator")],
}
"""What each stage of a pair calls; time in calls within calls belongs to the inner one."""

AIMS = {512: 15, 256: 45, 128: 80}
"""Pairs per second that each size should reach."""


def main() -> None:
    """Measure and print both tables."""
    options = _options()
    torch.set_num_threads(1)
    print(circumstances("numba", "numpy", "homolog-synthetic"))
    _print_frames(options.repeats)
    _print_pairs(options.pairs, options.categories)
    _print_stages(options.pairs, options.categories)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=30, help="frames of each kind (default: 30)")
    parser.add_argument("--pairs", type=int, default=40, help="pairs of each size (default: 40)")
    parser.add_argument("--categories", nargs="+", help="categories of the pairs (default: all)")
    return parser.parse_args()


def _print_frames(repeats: int) -> None:
    view0, view1 = (_torus_from(azimuth) for azimuth in (1.0, 1.3))
    scene, viewpoint = view0.scene, view0.viewpoint
    random = np.random.default_rng(0)
    looks, light = [draw_look(scene.bodies[0].topology, random)], Light.drawn(random)
    behind = np.zeros((*viewpoint.size, 3), np.float32)
    runs: dict[str, Callable[[], object]] = {
        "depth, triangle, barycentrics": lambda: rasterise(
            scene.vertices, scene.faces, viewpoint, one_sided=True
        ),
        "the same, both sides drawn": lambda: rasterise(scene.vertices, scene.faces, viewpoint),
        "colours on top, edges supersampled": lambda: paint(view0, looks, light, behind),
        "both dense grids": lambda: dense_truth(view0, view1),
    }
    covered = float((view0.raster.face >= 0).mean())
    print(f"\n512 x 512, {len(scene.faces)} triangles, {covered:.0%} of the pixels covered")
    print("\n| | ms | frames/s/core |\n|---|---|---|")
    for name, run in runs.items():
        seconds = _seconds(run, repeats)
        print(f"| {name} | {1000 * seconds:.1f} | {1 / seconds:.0f} |")


def _torus_from(azimuth: float) -> View:
    made = ring("torus", "coat", (0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 1.0, (0.38, 0.38), rings=100, segments=100)
    torus = topology_of(made, "torus")
    viewpoint = Viewpoint.towards(
        np.zeros(3), azimuth=azimuth, elevation=0.3, distance=4.4, focal=1.3, size=(512, 512)
    )
    return View.of(Scene.of([Body(topology=torus, vertices=made.vertices, key="torus")]), viewpoint)


def _print_pairs(count: int, names: list[str] | None) -> None:
    print("\n| size | ms | pairs/s/core | aim |\n|---|---|---|---|")
    for size, aim in AIMS.items():
        data = SemanticPairs(count=count, size=size, seed=3, names=names)
        for index in range(min(16, count)):
            data[index]
        start = time.process_time()
        for index in range(count):
            data[index]
        seconds = (time.process_time() - start) / count
        print(f"| {size} | {1000 * seconds:.1f} | {1 / seconds:.1f} | {aim} |")


def _print_stages(count: int, names: list[str] | None) -> None:
    stages = [*STAGES, "rest"]
    print(f"\n| size | {' | '.join(f'{stage} ms' for stage in stages)} |\n|{'---|' * (len(stages) + 1)}")
    for size in AIMS:
        data = SemanticPairs(count=count, size=size, seed=3, names=names)
        data[0]
        spent = dict.fromkeys(stages, 0.0)
        with ExitStack() as patches:
            inside = [0.0]
            for stage, calls in STAGES.items():
                for owner, name in calls:
                    patches.enter_context(_timed(owner, name, stage, spent, inside))
            start = time.process_time()
            for index in range(count):
                data[index]
            spent["rest"] = time.process_time() - start - sum(spent.values())
        print(f"| {size} | {' | '.join(f'{1000 * spent[stage] / count:.1f}' for stage in stages)} |")


@contextmanager
def _timed(
    owner: object, name: str, stage: str, spent: dict[str, float], inside: list[float]
) -> Generator[None]:
    """Let calls of `owner.name` add to the seconds of a stage; the last of `inside` is what inner calls took."""
    plain, call = vars(owner)[name], getattr(owner, name)

    def timed(*arguments: object, **options: object) -> object:
        start = time.process_time()
        inside.append(0.0)
        try:
            return call(*arguments, **options)
        finally:
            seconds = time.process_time() - start
            spent[stage] += seconds - inside.pop()
            inside[-1] += seconds

    setattr(owner, name, staticmethod(timed) if isinstance(plain, classmethod) else timed)
    try:
        yield
    finally:
        setattr(owner, name, plain)


def _seconds(run: Callable[[], object], repeats: int) -> float:
    for _ in range(3):
        run()
    start = time.process_time()
    for _ in range(repeats):
        run()
    return (time.process_time() - start) / repeats


if __name__ == "__main__":
    main()
