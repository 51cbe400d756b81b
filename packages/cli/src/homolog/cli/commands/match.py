"""`homolog match`: match two photos, all pairs of a folder, or a list of pairs."""

import argparse
from pathlib import Path

from homolog.cli.commands._shared import add_options, add_words, feature_cache, positive, split_photos
from homolog.cli.console import loading
from homolog.core.errors import ConfigError

HELP = "match two photos, all pairs of a folder, or a list of pairs"

USAGE = """homolog match PHOTO PHOTO [KEY=VALUE ...] [options]
       homolog match FOLDER [--pairs LIST] [KEY=VALUE ...] [options]
       homolog match --demo [KEY=VALUE ...] [options]"""

EXAMPLES = """\
examples:
  homolog match --demo
      two portraits, and a photo with a known homography; prints the errors in pixels
  homolog match a.jpg b.jpg
      two photos with the default matcher
  homolog match a.jpg b.jpg matcher=xfeat_lighterglue
      another matcher; "homolog list" shows all of them
  homolog match a.jpg b.jpg matches.resize=1600 points.resize=1024
      change settings of the default matcher, small: one part finds matches, the other transfers points
  homolog match a.jpg b.jpg matcher=xfeat head.window=7 resize=1024
      change settings of another matcher
  homolog match photos/ --out results/
      all pairs of the photos in a folder
  homolog match photos/ --pairs pairs.txt --out results/
      only the pairs in pairs.txt: two paths per line; quote paths with spaces, # starts a comment

output, in OUT/<photo0>__<photo1>/ for each pair:
  matches.npz    xy0 [M 2], xy1 [M 2], score [M], inlier [M], model [3 3] (NaN without a model), and
                 keypoint indices index0 [M], index1 [M] if the matcher has keypoints. Coordinates (x, y)
                 are pixels of the photos after EXIF rotation; integers are pixel centres
  matches.png    both photos with a selection of matches: inliers solid and coloured by score, outliers pale
  transfer.png   points of the first photo and their positions in the second, if the matcher can transfer points
  dense.png      warped photos, confidence and correspondence of every pixel, for dense matchers
and OUT/summary.json: one record per pair, the configuration, and software versions.

exit codes: 0 success, 1 some pairs failed, 2 wrong arguments or configuration, 3 no photo could be read,
130 interrupted
"""

RENAMED = {"--limit": "--max-matches"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_words(parser)
    parser.add_argument("--demo", action="store_true", help="match two example pairs")
    parser.add_argument("--pairs", type=Path, metavar="LIST", help="text file with one pair per line")
    add_options(parser, "out")
    parser.add_argument(
        "--verify",
        choices=("fundamental", "homography", "none"),
        help="geometric model that inliers agree with: fundamental (default), homography for a planar scene or "
        "a purely rotating camera, or none, for example for two different objects",
    )
    parser.add_argument(
        "--threshold",
        type=positive(float),
        metavar="PIXELS",
        help="inlier threshold in pixels of the photos (default: 0.3%% of the longer side)",
    )
    parser.add_argument(
        "--max-matches", type=positive(int), metavar="N", help="keep only the N best matches of each pair"
    )
    add_options(parser, "device", "cache", "configs")


def run(arguments: argparse.Namespace) -> int:
    """Match pairs and write the results.

    Raises:
        HomologError: wrong arguments, a wrong configuration, or nothing to read; nothing was written.
    """
    photos, settings = split_photos(arguments.words)
    if arguments.demo:
        if photos or arguments.pairs:
            raise ConfigError("--demo uses its own photos; remove yours")
        with loading():
            from homolog.cli.demo import run_demo
        return run_demo(arguments, settings)

    # Errors in the arguments are reported before torch is imported.
    from homolog.cli.pairs import find_pairs
    from homolog.zoo.compose import compose

    pairs = find_pairs(photos, arguments.pairs)
    config = compose("match", settings, configs=arguments.configs)
    with loading():
        from dataclasses import asdict

        from homolog.cli.matching import Options, match_all
        from homolog.cli.results import check_folder, print_summary, write_summary
        from homolog.zoo.build import resolved
        from homolog.zoo.model import build_matcher

        check_folder(arguments.out)
        matcher = build_matcher(config, device=arguments.device, cache=feature_cache(arguments.cache))
    options = Options(
        check=arguments.verify or "fundamental",
        threshold=arguments.threshold,
        max_matches=arguments.max_matches,
    )
    outcomes, code = match_all(matcher, pairs, options, arguments.out)
    write_summary(arguments.out, outcomes, config=resolved(config), options=asdict(options))
    print_summary(outcomes, arguments.out)
    return code
