"""`homolog heatmap`: show where points of one photo are found in another, and what else looks similar."""

import argparse
import math
from typing import TYPE_CHECKING

from homolog.cli.commands._shared import add_options, add_words, feature_cache, split_photos
from homolog.cli.console import FINE, loading
from homolog.core.errors import CapabilityError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from homolog.cli.pairs import Pair
    from homolog.core.dense import Transfer
    from homolog.core.image import Image

HELP = "show the similarity of points in one photo to every part of another"

USAGE = "homolog heatmap PHOTO PHOTO --at X,Y [--at X,Y ...] [KEY=VALUE ...] [options]"

EXAMPLES = """\
examples:
  homolog heatmap a.jpg b.jpg --at 210,135
      similarity of b.jpg to a point of a.jpg; x,y in pixels from the upper left corner
  homolog heatmap a.jpg b.jpg --at 210,135 --at 88,140.5 matcher=dinov2_nn
      several points, and another matcher; it needs a backbone, and head nearest or consensus
  homolog heatmap a.jpg b.jpg --at 210,135 points.resize=1024
      change settings of the matcher

output: OUT/<photo0>__<photo1>/heatmap.png; and for each point its match, highest similarity and confidence
"""

PICTURE = "heatmap.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_words(parser)
    parser.add_argument(
        "--at",
        action="append",
        type=_point,
        default=[],
        metavar="X,Y",
        help="a point of the first photo, in pixels; may be repeated",
    )
    add_options(parser, "out", "device", "cache", "configs")


def run(arguments: argparse.Namespace) -> int:
    """Find points of the first photo in the second, and draw their similarity to all of it.

    Raises:
        HomologError: wrong arguments, a wrong configuration, a matcher without feature maps to compare, or
            a photo that cannot be read; nothing was written.
    """
    photos, settings = split_photos(arguments.words)
    if len(photos) != 2 or not arguments.at:
        raise ConfigError(
            f"expected two photos and at least one --at X,Y, got {len(photos)} photos and "
            f"{len(arguments.at)} points; for example a.jpg b.jpg --at 210,135"
        )
    from homolog.cli.pairs import find_pairs
    from homolog.zoo.compose import compose

    (pair,) = find_pairs(photos, None)
    config = compose("match", settings, configs=arguments.configs)
    with loading():
        from homolog.cli.figures.features import draw_heatmaps
        from homolog.cli.figures.prepare import present_places
        from homolog.cli.results import check_folder
        from homolog.core.atomic import write_bytes
        from homolog.core.io import read_image
        from homolog.core.protocols import ShowsSimilarity
        from homolog.zoo.model import build_matcher

        check_folder(arguments.out)
        image0, image1 = read_image(pair.path0), read_image(pair.path1)
        _check_points(arguments.at, image0, pair)
        matcher = build_matcher(config, device=arguments.device, cache=feature_cache(arguments.cache))
    found = matcher.match(image0, image1)
    if not isinstance(found, ShowsSimilarity):
        raise CapabilityError(
            "this matcher has no similarity maps; use one with a backbone, and head nearest or consensus, "
            "such as matcher=mini"
        )
    similarities, moved = found.similarity(arguments.at), found.transfer(arguments.at)
    picture = draw_heatmaps(present_places((image0, image1), arguments.at, moved, similarities))
    path = arguments.out / pair.name / PICTURE
    write_bytes(path, picture)
    _print_points(arguments.at, similarities, moved)
    print(f"saved {path}")
    return FINE


def _check_points(points: "Sequence[tuple[float, float]]", image: "Image", pair: "Pair") -> None:
    height, width = image.size
    for x, y in points:
        if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
            raise ConfigError(
                f"--at {x:g},{y:g}: expected a point inside {pair.path0}, from 0,0 to "
                f"{width - 1},{height - 1}"
            )


def _print_points(
    points: "Sequence[tuple[float, float]]", similarities: "torch.Tensor", moved: "Transfer"
) -> None:
    for number, ((x, y), similarity, (x1, y1), confidence) in enumerate(
        zip(points, similarities, moved.xy.tolist(), moved.confidence.tolist(), strict=True), start=1
    ):
        print(
            f"{number}: {x:g},{y:g} matches {x1:.1f},{y1:.1f}: similarity {float(similarity.max()):.2f}, "
            f"confidence {confidence:.2f}"
        )


def _point(text: str) -> tuple[float, float]:
    try:
        x, y = map(float, text.split(","))
    except ValueError:
        x = y = math.nan
    if not math.isfinite(x + y):
        raise argparse.ArgumentTypeError(f"expected X,Y in pixels, such as 210,135, got {text!r}")
    return x, y
