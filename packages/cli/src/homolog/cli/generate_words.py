"""The words of `homolog generate`."""

import argparse
from pathlib import Path
from typing import Any

from homolog.cli.options import described, positive

GENERATE_EXAMPLES = """\
examples:
  homolog generate semantic --preview
      a picture of the first pairs to look at, before many of them are made
  homolog generate semantic --count 10000 --size 256 --out data/synth_semantic --workers 2 --seed 7
      10,000 pairs of made-up animals and things, two instances each, with exact dense truth
  homolog generate geometric --count 1000 --size 480x640 turn=60
      pairs of views of made-up scenes, with depth and pose; any setting of the source may follow
  homolog generate homography --photos photos/ --count 1000
      homographies of your own photos
  homolog generate semantic --count 500 --as spair --out data/synth_spair
      the same in SPair-71k's layout, for code that reads nothing else; --as tapvid for videos

kinds:
  semantic     two instances of one category            geometric    two views of one scene
  homography   a photo and a homography of it           video        moving objects, with tracks
  aligned      one view in two textures, warped         splat        two views of a Gaussian scene
  mesh         two deformations of a mesh of yours: root=FOLDER

results, in OUT/:
  dataset.json         the settings that decide every byte, and their SHA-256
  shard-000000.tar     plain tar files; for each pair KEY.0.jpg, KEY.1.jpg, KEY.grid01.png and KEY.grid10.png
                       (16 bits: x above y, in 1/64 px; 65535: unknown), depth and masks where known, KEY.json
  index.json           where each sample is in its tar: offset, size and SHA-256
In Python: homolog.synthetic.shards.reading.ShardedPairs("OUT")[0], ShardedVideos("OUT")[0].

A run that was killed goes on when the same command is given again. The bytes depend on the settings only,
not on the workers. A folder of other settings is refused. homolog data verify OUT checks everything.
"""


def add_generation(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    command = commands.add_parser(
        "generate", **described("make synthetic pairs or videos with exact truth", GENERATE_EXAMPLES)
    )
    command.usage = "homolog generate KIND --count N [KEY=VALUE ...] [options]"
    command.add_argument("kind", metavar="KIND", help="what to make: see below")
    command.add_argument("words", nargs="*", metavar="KEY=VALUE", help=argparse.SUPPRESS)
    command.add_argument("--count", type=positive(int), metavar="N", help="how many pairs or videos")
    command.add_argument(
        "--size", type=size, metavar="PIXELS", help="height and width of the images: 256, or 480x640"
    )
    command.add_argument("--seed", type=int, metavar="K", help="of everything random")
    command.add_argument(
        "--split",
        choices=("trn", "val", "test"),
        help="equal seeds of different splits have nothing in common",
    )
    command.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="your photos: to be warped, or as backgrounds"
    )
    command.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where the result goes (default: data/synthetic_KIND)"
    )
    command.add_argument(
        "--workers", type=positive(int), default=1, metavar="W", help="processes (default: %(default)s)"
    )
    command.add_argument(
        "--per-shard",
        type=positive(int),
        default=256,
        metavar="N",
        help="samples in a tar (default: %(default)s)",
    )
    command.add_argument(
        "--pictures",
        choices=("jpg", "png"),
        default="jpg",
        help="JPEG of quality 95 (default), or PNG without loss",
    )
    command.add_argument(
        "--as",
        dest="layout",
        choices=("shards", "spair", "tapvid"),
        default="shards",
        help="the layout of the result: SPair-71k's for semantic pairs, TAP-Vid's for videos (default: %(default)s)",
    )
    command.add_argument("--force", action="store_true", help="replace shards of other settings in OUT")
    command.add_argument(
        "--preview",
        action="store_true",
        help="write OUT/preview.png with the first samples, and nothing else",
    )


def size(text: str) -> int | list[int]:
    """Read the size of images.

    >>> size("256"), size("480x640")
    (256, [480, 640])
    """
    sides = [int(side) for side in text.split("x")]
    if len(sides) > 2 or min(sides) < 1:
        raise ValueError(text)
    return sides[0] if len(sides) == 1 else sides
