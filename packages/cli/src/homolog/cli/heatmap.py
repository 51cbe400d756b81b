"""The story of `homolog heatmap`: what places of one photo resemble in another."""

import argparse
from typing import TYPE_CHECKING

from homolog.cli.loading import loading
from homolog.cli.outcome import FINE
from homolog.cli.pairs import Pair, find_pairs
from homolog.core.errors import CapabilityError, ConfigError
from homolog.zoo.compose import compose

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from homolog.core.dense import Transfer
    from homolog.core.image import Image

PICTURE = "heatmap.png"


def run(arguments: argparse.Namespace) -> int:
    """Show where the places that the command line names are found, and what else looks like them.

    Args:
        arguments: as `homolog.cli.main` parses them.

    Returns:
        The exit code.

    Raises:
        HomologError: wrong use, a wrong configuration, a matcher that compares no maps, or a photo that
            cannot be read; nothing has been written.
    """
    (pair,) = find_pairs(arguments.photos, None)
    config = compose("match", arguments.settings, configs=arguments.configs)
    with loading():
        from homolog.cli.figures.features import draw_heatmaps
        from homolog.cli.figures.prepare import present_places
        from homolog.cli.kept_features import kept_features
        from homolog.cli.results import check_folder
        from homolog.core.atomic import write_bytes
        from homolog.core.io import read_image
        from homolog.core.protocols import ShowsSimilarity
        from homolog.zoo.model import build_matcher

        check_folder(arguments.out)
        image0, image1 = read_image(pair.path0), read_image(pair.path1)
        _check_places(arguments.at, image0, pair)
        matcher = build_matcher(config, device=arguments.device, cache=kept_features(arguments.cache))
    found = matcher.match(image0, image1)
    if not isinstance(found, ShowsSimilarity):
        raise CapabilityError(
            "this matcher compares no points with whole maps; for similarities use one with head nearest and a "
            "backbone, such as matcher=mini"
        )
    cosines, moved = found.similarity(arguments.at), found.transfer(arguments.at)
    picture = draw_heatmaps(present_places((image0, image1), arguments.at, moved, cosines))
    path = arguments.out / pair.name / PICTURE
    write_bytes(path, picture)
    _print_places(arguments.at, cosines, moved)
    print(f"the picture is {path}")
    return FINE


def _check_places(places: "Sequence[tuple[float, float]]", image: "Image", pair: Pair) -> None:
    height, width = image.size
    for x, y in places:
        if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
            raise ConfigError(
                f"--at {x:g},{y:g}: expected a place on {pair.path0}, whose pixels go from 0,0 to "
                f"{width - 1},{height - 1}"
            )


def _print_places(
    places: "Sequence[tuple[float, float]]", cosines: "torch.Tensor", moved: "Transfer"
) -> None:
    for number, ((x, y), cosine, (x1, y1), confidence) in enumerate(
        zip(places, cosines, moved.xy.tolist(), moved.confidence.tolist(), strict=True), start=1
    ):
        print(
            f"{number}: {x:g},{y:g} is found at {x1:.1f},{y1:.1f}: cosine {float(cosine.max()):.2f}, "
            f"confidence {confidence:.2f}"
        )
