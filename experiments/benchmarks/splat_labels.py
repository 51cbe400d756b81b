"""How true are labels that a Gaussian scene's own depth makes?

Three cameras look at scenes whose depth is known exactly: a slanted plane, a ball on a floor, a furnished room
covered with Gaussians. Labels from expected depth, from plane depth and from exact depth are compared:

- depth: relative error, over all pixels with a depth; and away from depth edges, where labels are taken.
- place: how many pixels labels 0 -> 1 are off, against labels from exact depth.
- epipolar: distance of those labels from the epipolar lines of the true pose. Labels made of depth and pose lie
  on these lines by construction, however wrong the depth is. This column shows that it measures nothing.
- chained: distance of labels 0 -> 1 -> 2 from the epipolar lines of 0 in 2. Here a wrong depth does show: the
  second step starts from another depth map, as tracks and cycles do.

A last table moves exact labels by errors of the pose, which is what data sets of scans have instead. MatchGS claims
an epipolar error up to 40 times lower than that of existing data sets. No such data set is measured here; between
depths of one scene with known poses that error is zero for all of them, and only `place` distinguishes them.

Run: `python experiments/benchmarks/splat_labels.py` (a minute of CPU time); `--csv FILE`, `--png FILE` write the same.
"""

import argparse
import csv
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from homolog.core.camera import epipolar_distance, fundamental
from homolog.core.coords import pixel_grid
from homolog.synthetic.correspondence import world_points
from homolog.synthetic.rendering.view import View
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.seeds import Seeds, Split
from homolog.synthetic.splats.analytic import AnalyticScene, ball_on_plane, slanted_plane
from homolog.synthetic.splats.gaussians import Gaussians
from homolog.synthetic.splats.rendering import render
from homolog.synthetic.splats.scenes import OVERLAP, synthetic_scene
from homolog.synthetic.splats.views import depth_at, depth_edges, perturbed

SIZE = (256, 256)
_NAMES = ("bottle", "chair", "quadruped")
HIDDEN = 0.05
"""A surface that is nearer by this, relatively, hides a point; see `reprojection_error`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Gaussians, where they are looked at from, and the exact depth there."""

    name: str
    count: int
    jitter: float
    gaussians: Gaussians
    cameras: tuple[Viewpoint, Viewpoint, Viewpoint]
    exact: Callable[[Viewpoint], np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; lengths in pixels, medians and 95th percentiles."""

    scene: str
    gaussians: int
    jitter: float
    labels: str
    depth: float
    depth95: float
    depth_off_edges: float
    depth_off_edges95: float
    place: float
    place95: float
    epipolar_max: float
    chained: float
    chained95: float


def main() -> None:
    """Measure, print, and write the chosen files."""
    options = _options()
    torch.set_num_threads(1)
    rows: list[Row] = []
    settings: list[Setting] = []
    print(_HEAD)
    for setting in _settings(options.counts, options.scenes):
        for row in _measured(setting):
            print(_line(row), flush=True)
            rows.append(row)
        settings.append(setting)
    _print_ratios(rows)
    _print_pose_errors(settings)
    if options.csv:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(asdict(rows[0])))
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)
    if options.png:
        _draw(settings, options.png)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", type=int, nargs="+", default=[2_000, 20_000, 100_000], help="Gaussians")
    names = ("plane", "ball", "room")
    parser.add_argument("--scenes", nargs="+", choices=names, default=names, help="scenes (default: all)")
    parser.add_argument("--csv", type=Path, help="write the table to this file")
    parser.add_argument("--png", type=Path, help="draw maps of the depth error to this file")
    return parser.parse_args()


def _settings(counts: list[int], names: list[str]) -> list[Setting]:
    made: list[Setting] = []
    for count in counts:
        for jitter in (0.0, 0.005, 0.02):
            if "plane" in names:
                plane = slanted_plane(count=count, seed=1, slant=60, jitter=jitter)
                made.append(_analytic("plane, slanted by 60 degrees", count, jitter, plane, elevation=0.0))
            if "ball" in names:
                ball = ball_on_plane(count=count, seed=1, jitter=jitter)
                made.append(_analytic("ball on a floor", count, jitter, ball, elevation=0.6))
            if "room" in names and count >= 20_000:
                made.append(_room(count, jitter))
    return made


def _analytic(name: str, count: int, jitter: float, scene: AnalyticScene, *, elevation: float) -> Setting:
    cameras = [
        Viewpoint.towards(
            np.zeros(3),
            azimuth=turn,
            elevation=elevation + rise,
            distance=3.7 + way,
            focal=1.0,
            size=SIZE,
            roll=turn,
        )
        # Not on one line: there all epipolar lines would run along it, and so would the errors.
        for turn, rise, way in ((0.0, 0.0, 0.0), (0.25, 0.05, 0.4), (0.1, 0.25, -0.3))
    ]
    return Setting(
        name=name,
        count=count,
        jitter=jitter,
        gaussians=scene.gaussians,
        cameras=(cameras[0], cameras[1], cameras[2]),
        exact=scene.depth,
    )


def _room(count: int, jitter: float) -> Setting:
    seeds = Seeds(seed=5, split=Split.test, index=0)
    # The same room without jitter gives the cameras and the spacing of its Gaussians.
    plain = synthetic_scene(seeds, names=_NAMES, count=count)
    spacing = float(np.median(plain.gaussians.scales.max(1))) / OVERLAP
    scene = synthetic_scene(seeds, names=_NAMES, count=count, jitter=jitter / spacing)
    mesh = scene.mesh
    assert mesh is not None
    # Three neighbours on the walk around the room see much of the same.
    first, second, third = plain.fitted[3:6]
    return Setting(
        name="room",
        count=count,
        jitter=jitter,
        gaussians=scene.gaussians,
        cameras=(first, second, third),
        exact=lambda camera: View.of(mesh, camera).depth,
    )


def _measured(setting: Setting) -> list[Row]:
    renderings = [render(setting.gaussians, camera) for camera in setting.cameras]
    exact = [setting.exact(camera) for camera in setting.cameras]
    kinds = {
        "expected": [rendering.expected_depth for rendering in renderings],
        "plane": [rendering.plane_depth for rendering in renderings],
        "exact": exact,
    }
    # One set of pixels for all: what the exact depth shows in both views, off the edges of every depth.
    edges = [np.any([depth_edges(maps[n]) for maps in kinds.values()], axis=0) for n in range(3)]
    rows: list[Row] = []
    for labels, maps in kinds.items():
        wrong = np.abs(maps[0] - exact[0]) / exact[0]
        place, epipolar, chained = _label_errors(setting, maps, exact, edges)
        rows.append(
            Row(
                scene=setting.name,
                gaussians=setting.count,
                jitter=setting.jitter,
                labels=labels,
                depth=_at(wrong, 50),
                depth95=_at(wrong, 95),
                depth_off_edges=_at(wrong[~edges[0]], 50),
                depth_off_edges95=_at(wrong[~edges[0]], 95),
                place=_at(place, 50),
                place95=_at(place, 95),
                epipolar_max=_at(epipolar, 100),
                chained=_at(chained, 50),
                chained95=_at(chained, 95),
            )
        )
    return rows


def _label_errors(
    setting: Setting, maps: list[np.ndarray], exact: list[np.ndarray], edges: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return errors of place, epipolar distances of labels 0 -> 1, and those of labels 0 -> 1 -> 2."""
    camera0, camera1, camera2 = setting.cameras
    clean = [np.where(edge, np.nan, depth) for edge, depth in zip(edges, exact, strict=True)]
    wanted, z = camera1.project(world_points(clean[0].astype(np.float32), camera0))
    seen = depth_at(clean[1], wanted)
    use = np.isfinite(seen) & (np.abs(seen - z) < HIDDEN * z)
    start = _pixels()[use]
    there, _ = camera1.project(world_points(maps[0], camera0)[use])
    onward = depth_at(np.where(edges[1], np.nan, maps[1]), there)
    rays = np.column_stack((there, np.ones(len(there)))) @ np.linalg.inv(camera1.K).T
    last, _ = camera2.project((rays * onward[:, None] - camera1.t) @ camera1.R)
    return (
        np.sqrt(((there - wanted[use]) ** 2).sum(1)),
        _epipolar(start, there, camera0, camera1),
        _epipolar(start, last, camera0, camera2),
    )


def _pixels() -> np.ndarray:
    return pixel_grid(SIZE).numpy().astype(np.float64)


def _epipolar(xy0: np.ndarray, xy1: np.ndarray, camera0: Viewpoint, camera1: Viewpoint) -> np.ndarray:
    """Return the distance of each point of image 1 from the line of its partner; NaN for a point that is none."""
    known = np.isfinite(xy1).all(1)
    pose = camera0.pose_to(camera1)
    # In double precision: this column shows the rounding that is left.
    R = camera1.R @ camera0.R.T
    pose = replace(pose, R=torch.from_numpy(R), t=torch.from_numpy(camera1.t - R @ camera0.t))
    cameras = [replace(c.camera(), K=torch.from_numpy(c.K)) for c in (camera0, camera1)]
    F = fundamental(pose, cameras[0], cameras[1])
    _, away = epipolar_distance(torch.from_numpy(xy0[known]), torch.from_numpy(xy1[known]), F)
    return away.numpy()


def _at(values: np.ndarray, percent: float) -> float:
    known = values[np.isfinite(values)]
    return float(np.percentile(known, percent)) if len(known) else float("nan")


_HEAD = """
| scene | Gaussians | jitter | labels | depth, median / 95 % | off edges | place px | epipolar px, largest | chained px |
|---|---|---|---|---|---|---|---|---|"""


def _line(row: Row) -> str:
    return (
        f"| {row.scene} | {row.gaussians} | {row.jitter:g} | {row.labels} | {row.depth:.1e} / {row.depth95:.1e} "
        f"| {row.depth_off_edges:.1e} / {row.depth_off_edges95:.1e} | {row.place:.3f} / {row.place95:.3f} "
        f"| {row.epipolar_max:.0e} | {row.chained:.4f} / {row.chained95:.3f} |"
    )


def _print_ratios(rows: list[Row]) -> None:
    print("\nExpected depth against plane depth, error / error, medians (95th percentiles):")
    print("\n| scene | Gaussians | jitter | place | chained |\n|---|---|---|---|---|")
    for biased, planar in zip(rows[::3], rows[1::3], strict=True):
        place = f"{_over(biased.place, planar.place)} ({_over(biased.place95, planar.place95)})"
        chained = f"{_over(biased.chained, planar.chained)} ({_over(biased.chained95, planar.chained95)})"
        print(f"| {biased.scene} | {biased.gaussians} | {biased.jitter:g} | {place} | {chained} |")


def _over(above: float, below: float) -> str:
    return "exact" if below < 1e-4 else f"{above / below:.1f}"


def _print_pose_errors(settings: list[Setting]) -> None:
    print("\nExact depth and a wrong pose: distance from the true epipolar lines, px, median / 95 %")
    print("\n| scene | 0.05 degrees | 0.2 degrees | 0.5 degrees |\n|---|---|---|---|")
    shown: set[str] = set()
    for setting in settings:
        if setting.name in shown:
            continue
        shown.add(setting.name)
        camera0, camera1, _ = setting.cameras
        points = world_points(setting.exact(camera0), camera0)
        start = _pixels()
        cells: list[str] = []
        for degrees in (0.05, 0.2, 0.5):
            # An error of this many degrees in total, about a random axis.
            random = np.random.default_rng(0)
            moved = perturbed(camera1, random, shift=0.0, turn=float(np.radians(degrees)) / np.sqrt(3))
            away = _epipolar(start, moved.project(points)[0], camera0, camera1)
            cells.append(f"{_at(away, 50):.3f} / {_at(away, 95):.3f}")
        print(f"| {setting.name} | {' | '.join(cells)} |")


def _draw(settings: list[Setting], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.colors import LogNorm

    smooth = [setting for setting in settings if setting.jitter == 0]
    figure, axes = plt.subplots(
        len(smooth), 4, figsize=(12, 3 * len(smooth)), squeeze=False, layout="constrained"
    )
    for line, setting in zip(axes, smooth, strict=True):
        camera = setting.cameras[0]
        rendering, exact = render(setting.gaussians, camera), setting.exact(camera)
        line[0].imshow(rendering.rgb)
        line[0].set_title(f"{setting.name}, {setting.count} Gaussians", fontsize=8)
        line[1].imshow(exact)
        line[1].set_title("exact depth", fontsize=8)
        for axis, kind in ((line[2], "expected"), (line[3], "plane")):
            depth = rendering.expected_depth if kind == "expected" else rendering.plane_depth
            wrong = np.abs(depth - exact) / exact
            drawn = axis.imshow(np.maximum(wrong, 1e-6), norm=LogNorm(1e-5, 1e-1))
            axis.set_title(f"error of {kind} depth, relative", fontsize=8)
            figure.colorbar(drawn, ax=axis)
        for axis in line:
            axis.axis("off")
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
