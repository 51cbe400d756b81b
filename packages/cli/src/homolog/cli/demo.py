"""The story of `homolog match --demo`: two pairs made of photos that libraries bring along.

The first pair is semantic: two portraits in uniform before a flag, of different people. The second
is geometric: a photo and its perspective view, made here, so that the truth is known exactly.
"""

import argparse
import importlib.util
from concurrent.futures import Executor
from pathlib import Path

import torch
from torch import Tensor

from homolog.cli.batch import finish, presented
from homolog.cli.comparison import Comparison, Options, compare
from homolog.cli.loading import loading
from homolog.cli.outcome import exit_code
from homolog.cli.pairs import Pair
from homolog.cli.perspective import PerspectiveView, perspective_view
from homolog.cli.results import check_folder
from homolog.cli.summary import print_summary, write_summary
from homolog.core.coords import pixel_grid, resize_pixel
from homolog.core.errors import MissingDependencyError
from homolog.core.io import read_image, write_image
from homolog.zoo.compose import compose
from homolog.zoo.model import build_matcher

PHOTO, VIEW = "chelsea.png", "chelsea_view.png"

WITHIN = (1, 3, 5)
"""Distances in pixels at which the demo counts what is right."""

CELLS = (30, 40)
"""Rows and columns of points that the demo transfers to measure the error."""


def run(arguments: argparse.Namespace, drawing: Executor) -> int:
    """Match both pairs, measure the error of the second, and say where the pictures are.

    Args:
        arguments: as `homolog.cli.main` parses them.
        drawing: what pictures are drawn on.

    Returns:
        The exit code.

    Raises:
        HomologError: a wrong configuration, no scikit-image, or an output folder that cannot be used.
    """
    out: Path = arguments.out
    config = compose("match", arguments.settings, configs=arguments.configs)
    check_folder(out)
    portraits = Pair(path0=_hopper(), path1=_scikit_image("astronaut.png"), name="grace_hopper__astronaut")
    scene = Pair(path0=_scikit_image(PHOTO), path1=out / VIEW, name="chelsea__chelsea_view")
    # No camera saw two people in one place: there is no geometry to check on the portraits.
    semantic = Options(check=arguments.verify or "none", threshold=arguments.threshold, limit=arguments.limit)
    geometric = Options(
        check=arguments.verify or "homography", threshold=arguments.threshold, limit=arguments.limit
    )
    with loading():
        matcher = build_matcher(config, device=arguments.device)

    alike = presented(
        portraits,
        compare(matcher, portraits, semantic, read_image),
        out / portraits.name,
        drawing,
        title="same kind of thing: two portraits (grace_hopper.jpg, astronaut.png)",
    )
    view = perspective_view(read_image(scene.path0), name=VIEW)
    write_image(out / VIEW, view.image.pixels)
    same = compare(matcher, scene, geometric, read_image)
    title = f"same scene: {PHOTO} and its perspective view"
    outcomes = [
        finish(alike),
        finish(presented(scene, same, out / scene.name, drawing, title=title)),
    ]
    write_summary(out, outcomes, config=config, options=geometric)
    print_summary(outcomes, out)
    _print_errors(same, view)
    _print_pictures([portraits, scene], out)
    return exit_code(outcomes)


def error_line(what: str, error: Tensor) -> str:
    """Return the sentence on a set of errors in pixels.

    >>> error_line("points", torch.tensor([0.5, 2.0, 9.0]))
    '3 points: median error 2.00 px; within 1 px 33 %, 3 px 67 %, 5 px 67 %'
    >>> error_line("points", torch.zeros(0))
    'no points'
    """
    if not len(error):
        return f"no {what}"
    shares = ", ".join(f"{limit} px {100 * (error <= limit).float().mean():.0f} %" for limit in WITHIN)
    return f"{len(error)} {what}: median error {error.median():.2f} px; within {shares}"


def _print_errors(comparison: Comparison, view: PerspectiveView) -> None:
    matches, inlier = comparison.matches, torch.from_numpy(comparison.verdict.inlier)
    error = (matches.xy1 - view.truth(matches.xy0)).norm(dim=1)
    height, width = comparison.image0.size
    print(f"\nmeasured against the exact truth of {PHOTO} and its view ({width} x {height} pixels):")
    print(f"  {error_line('matches', error)}")
    print(f"  {error_line('inliers', error[inlier])}")
    if comparison.found.can_transfer:
        places = resize_pixel(pixel_grid(CELLS), CELLS, comparison.image0.size)
        places = places[view.visible(places)]
        moved = comparison.found.transfer(places)
        error = (moved.xy - view.truth(places)).norm(dim=1)
        print(f"  {error_line('transferred points of a grid', error)}")
        sure = moved.confidence >= moved.confidence.median()
        print(f"  {error_line('transferred points, the surer half', error[sure])}")


def _print_pictures(pairs: list[Pair], out: Path) -> None:
    print("\nlook at:")
    for pair in pairs:
        for picture in sorted((out / pair.name).glob("*.png")):
            print(f"  {picture}")
    print("made of the photos:")
    for pair in pairs:
        print(f"  {pair.path0}\n  {pair.path1}")


def _hopper() -> Path:
    return _beside("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")


def _scikit_image(name: str) -> Path:
    return _beside("skimage", f"data/{name}")


def _beside(module: str, file: str) -> Path:
    # Located, not imported: that would take a second.
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise MissingDependencyError({"skimage": "scikit-image"}.get(module, module), "homolog match --demo")
    return Path(spec.origin).parent / file
