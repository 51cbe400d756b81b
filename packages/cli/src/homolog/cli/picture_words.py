"""The words of the commands that make pictures of what networks see: features, heatmap."""

import argparse
import math
from pathlib import Path
from typing import Any

from homolog.cli.options import add_device, add_running, described, positive

FEATURES_EXAMPLES = """\
examples:
  homolog features a.jpg backbone=dinov2_s
      one photo beside what the backbone sees in it
  homolog features a.jpg b.jpg c.jpg backbone=efficientnet_lite0 --map blocks.2
      several photos in common colours, with a map of your choice; a wrong name lists the right ones
  homolog features a.jpg b.jpg backbone=mini backbone.grid=xfeat --resize 1024
      other settings of the backbone, and larger photos
  homolog list
      names the backbones

The channels of a map are brought down to three, red, green and blue, by a principal component analysis over
all photos together: places of one colour have similar features, in one photo or in several. More photos,
another map or another backbone give other colours.

results: OUT/features.png, and a line on how much of the variance the three colours hold.
"""

HEATMAP_EXAMPLES = """\
examples:
  homolog heatmap a.jpg b.jpg --at 210,135
      what a place of a.jpg resembles in b.jpg; x,y in pixels of the file, from its upper left corner
  homolog heatmap a.jpg b.jpg --at 210,135 --at 88,140.5 matcher=dinov2_nn
      several places, and another matcher: one with head nearest and a backbone
  homolog heatmap a.jpg b.jpg --at 210,135 matcher=mini resize=1024
      other settings of the matcher, as in homolog match

results: OUT/<first>__<second>/heatmap.png, and a line for each place: where it was found, how similar that
is (cosine), and how sure.
"""


def add_pictures(commands: Any) -> None:
    """Add the commands to a parser's subparsers."""
    features = commands.add_parser(
        "features", **described("show what a backbone sees in photos, as colours", FEATURES_EXAMPLES)
    )
    _add_words(features, "homolog features PHOTO [PHOTO ...] backbone=NAME [KEY=VALUE ...] [options]")
    features.add_argument("--map", metavar="NAME", help="which map (default: the backbone's last one)")
    features.add_argument(
        "--resize",
        type=positive(int),
        default=640,
        metavar="PIXELS",
        help="scale larger photos down to this longer side (default: %(default)s)",
    )
    add_device(features)
    heatmap = commands.add_parser(
        "heatmap", **described("show what a place of one photo resembles in another", HEATMAP_EXAMPLES)
    )
    _add_words(heatmap, "homolog heatmap PHOTO PHOTO --at X,Y [--at X,Y ...] [KEY=VALUE ...] [options]")
    heatmap.add_argument(
        "--at",
        action="append",
        type=_place,
        default=[],
        metavar="X,Y",
        help="a place of the first photo, in its pixels; may be given several times",
    )
    add_running(heatmap)


def check_pictures(command: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse words that leave out what a picture is made of, before anything is loaded."""
    if arguments.command == "features":
        chosen = [word for word in arguments.settings if word.startswith("backbone=")]
        if not arguments.photos or len(chosen) != 1:
            command.error(
                f"expected photos and one backbone=NAME, got {len(arguments.photos)} photos and "
                f"{' '.join(chosen) or 'no backbone'}; for instance a.jpg b.jpg backbone=mini"
            )
        arguments.settings.remove(chosen[0])
        arguments.backbone = chosen[0].partition("=")[2]
    elif len(arguments.photos) != 2 or not arguments.at:
        command.error(
            f"expected two photos and at least one --at X,Y, got {len(arguments.photos)} photos and "
            f"{len(arguments.at)} places; for instance a.jpg b.jpg --at 210,135"
        )


def _add_words(command: argparse.ArgumentParser, usage: str) -> None:
    command.usage = usage
    command.add_argument("words", nargs="*", metavar="PHOTO | KEY=VALUE", help=argparse.SUPPRESS)
    command.add_argument(
        "--out",
        type=Path,
        default=Path("homolog-results"),
        metavar="FOLDER",
        help="where the picture goes (default: %(default)s)",
    )


def _place(text: str) -> tuple[float, float]:
    values = [float(part) for part in text.split(",")]
    if len(values) != 2 or not all(map(math.isfinite, values)):
        raise ValueError(text)
    return values[0], values[1]


# argparse puts the name into its message: "invalid X,Y in pixels value: '3'".
_place.__name__ = "X,Y in pixels"
