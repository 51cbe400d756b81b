"""`homolog match --demo`: match two example pairs of photos that come with matplotlib and scikit-image.

The first pair is semantic: portraits of two people in uniform in front of a flag. The second is
geometric: a photo and a rendered perspective view of it, so that the exact correspondence is known.
"""

import argparse
import importlib.util
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from homolog.cli.console import loading
from homolog.cli.matching import Comparison, Options, begin_drawing, compare
from homolog.cli.pairs import Pair
from homolog.cli.perspective import PerspectiveView, perspective_view
from homolog.cli.results import check_folder, exit_code, print_summary, write_summary
from homolog.core.coords import pixel_grid, resize_pixel
from homolog.core.errors import MissingDependencyError
from homolog.core.io import read_image, write_image
from homolog.zoo.build import resolved
from homolog.zoo.compose import compose
from homolog.zoo.model import build_matcher

PHOTO, VIEW = "chelsea.png", "chelsea_view.png"

THRESHOLDS = (1, 3, 5)
"""Error thresholds in pixels."""

CELLS = (30, 40)
"""Rows and columns of the grid of points that is transferred to measure the error."""


def run_demo(arguments: argparse.Namespace, settings: Sequence[str]) -> int:
    """Match both pairs, measure the error on the second, and print where the pictures are.

    Args:
        arguments: of `homolog match`.
        settings: of the matcher.

    Returns:
        The exit code.

    Raises:
        HomologError: a wrong configuration, no scikit-image, or an output folder that cannot be used.
    """
    out: Path = arguments.out
    config = compose("match", settings, configs=arguments.configs)
    check_folder(out)
    hopper = _beside("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")
    portraits = Pair(
        path0=hopper, path1=_beside("skimage", "data/astronaut.png"), name="grace_hopper__astronaut"
    )
    scene = Pair(path0=_beside("skimage", f"data/{PHOTO}"), path1=out / VIEW, name="chelsea__chelsea_view")
    # Two different people share no geometry that could be verified.
    semantic, geometric = (
        Options(
            check=arguments.verify or check,
            threshold=arguments.threshold,
            max_matches=arguments.max_matches,
        )
        for check in ("none", "homography")
    )
    with loading():
        matcher = build_matcher(config, device=arguments.device)
    with ThreadPoolExecutor(1) as drawing:
        first = begin_drawing(
            portraits,
            compare(matcher, portraits, semantic, read_image),
            out / portraits.name,
            drawing,
            title="same category: two portraits (grace_hopper.jpg, astronaut.png)",
        )
        view = perspective_view(read_image(scene.path0), name=VIEW)
        write_image(out / VIEW, view.image.pixels)
        same = compare(matcher, scene, geometric, read_image)
        title = f"same scene: {PHOTO} and its perspective view"
        second = begin_drawing(scene, same, out / scene.name, drawing, title=title)
        outcomes = [first.write(), second.write()]
    write_summary(out, outcomes, config=resolved(config), options=asdict(geometric))
    print_summary(outcomes, out)
    _print_errors(same, view)
    _print_pictures([portraits, scene], out)
    return exit_code(outcomes)


def error_line(what: str, error: Tensor) -> str:
    """Summarise errors in pixels.

    >>> error_line("points", torch.tensor([0.5, 2.0, 9.0]))
    '3 points: median error 2.00 px; within 1 px 33 %, 3 px 67 %, 5 px 67 %'
    >>> error_line("points", torch.zeros(0))
    'no points'
    """
    if not len(error):
        return f"no {what}"
    fractions = ", ".join(f"{limit} px {100 * (error <= limit).float().mean():.0f} %" for limit in THRESHOLDS)
    return f"{len(error)} {what}: median error {error.median():.2f} px; within {fractions}"


def _print_errors(comparison: Comparison, view: PerspectiveView) -> None:
    matches, inlier = comparison.matches, torch.from_numpy(comparison.verdict.inlier)
    error = (matches.xy1 - view.truth(matches.xy0)).norm(dim=1)
    height, width = comparison.image0.size
    print(f"\nerrors against the exact homography of {PHOTO} and its view ({width} x {height} pixels):")
    print(f"  {error_line('matches', error)}")
    print(f"  {error_line('inliers', error[inlier])}")
    if comparison.found.can_transfer:
        places = resize_pixel(pixel_grid(CELLS), CELLS, comparison.image0.size)
        places = places[view.visible(places)]
        moved = comparison.found.transfer(places)
        error = (moved.xy - view.truth(places)).norm(dim=1)
        print(f"  {error_line('transferred points of a grid', error)}")
        confident = moved.confidence >= moved.confidence.median()
        print(f"  {error_line('transferred points, the more confident half', error[confident])}")


def _print_pictures(pairs: list[Pair], out: Path) -> None:
    print("\npictures:")
    for pair in pairs:
        for picture in sorted((out / pair.name).glob("*.png")):
            print(f"  {picture}")
    print("photos:")
    for pair in pairs:
        print(f"  {pair.path0}\n  {pair.path1}")


def _beside(module: str, file: str) -> Path:
    # Located, not imported: that would take a second.
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise MissingDependencyError({"skimage": "scikit-image"}.get(module, module), "homolog match --demo")
    return Path(spec.origin).parent / file
