"""The words of the command line: what may be said, what it means, and what the help says of it."""

import argparse
import re
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NoReturn

from homolog.cli.commands import weights
from homolog.cli.evaluation_words import add_evaluation
from homolog.cli.generate_words import add_generation
from homolog.cli.notes import say
from homolog.cli.options import add_running, described, positive
from homolog.cli.outcome import WRONG_USE
from homolog.cli.picture_words import add_pictures, check_pictures
from homolog.cli.train_words import add_training
from homolog.cli.word_files import expanded
from homolog.core.errors import HomologError, did_you_mean

EXAMPLES = """\
examples:
  homolog match --demo                      match two pairs that come along, and look at the pictures
  homolog match a.jpg b.jpg                 match two photos
  homolog features a.jpg b.jpg backbone=mini
                                            what a backbone sees, as colours
  homolog heatmap a.jpg b.jpg --at 210,135  what a point of one photo resembles in the other
  homolog evaluate matcher=mini task=spair  score a matcher on a benchmark
  homolog sweep matcher=mini,xfeat task=spair,hpatches
                                            every matcher on every task
  homolog report outputs/ --open            one page with tables, curves and pictures
  homolog generate semantic --preview       made-up pairs with exact truth, and a picture of them
  homolog train recipe=mini_dense --out runs/dense
                                            train a matcher by a recipe
  homolog list                              which matchers there are, and which weights are here
  homolog weights fetch dinov2_s            get the weights of a product before they are needed

homolog COMMAND --help says more.
"""

MATCH_EXAMPLES = """\
examples:
  homolog match --demo
      a semantic pair (two portraits) and a geometric one with known truth; says how exact it was
  homolog match a.jpg b.jpg
      two photos, with the default matcher
  homolog match a.jpg b.jpg matcher=xfeat_lighterglue
      another matcher; homolog list names them all
  homolog match a.jpg b.jpg head.window=7 resize=1024
      other settings of the matcher; a wrong name lists the right ones
  homolog match photos/ --out results/
      every pair of the photos in a folder
  homolog match photos/ --pairs pairs.txt --out results/
      the pairs of a list: two paths a line, relative to the folder; "quotes" around spaces, # for remarks

Each photo goes through the networks once, however many pairs it is in, and not again in later runs.

results, for each pair in a folder of its own, OUT/<first>__<second>/:
  matches.npz    numpy arrays: xy0 [M 2], xy1 [M 2], score [M], inlier [M], model [3 3] (NaN: no model).
                 (x, y) in pixels of the files, upright as EXIF says; integers are pixel centres
  matches.png    both photos; solid lines are inliers, coloured by score, pale ones outliers
  transfer.png   numbered points and where they are in the other photo, from matchers that can say it
  dense.png      each photo warped onto the other, how sure that is, and where every pixel points, from
                 dense matchers
and OUT/summary.json with one record for each pair, the configuration and the versions.

exit code: 0 all fine, 1 some pairs failed, 2 wrong use or configuration, 3 nothing could be read,
130 interrupted.
"""

LIST_EXAMPLES = """\
examples:
  homolog list            tables of matchers, backbones, detectors, heads, tasks and recipes
  homolog list --json     the same for programs

weights: "here" is ready to use, "downloadable" is fetched on first use, "missing" names what to install,
"damaged" has to be removed and fetched again.
Each name is a file in configs/, chosen as matcher=NAME, backbone=NAME, detector=NAME, head=NAME; task=NAME is
for homolog evaluate, recipe=NAME for homolog train.
"""

CACHE_EXAMPLES = """\
examples:
  homolog cache info    where extracted features are kept, and how many
  homolog cache clear   remove them; they are computed again when they are needed

homolog match keeps them, by the content of photo, settings, weights and code, so none is ever out of date;
homolog match --cache half stores them in half of the space, --cache off stores none.
"""

EXAMPLE_SETTINGS = {
    "evaluate": "matcher=mini task=spair",
    "sweep": "matcher=mini task=spair",
    "generate": "turn=60",
    "train": "recipe=mini_dense",
}
"""Commands that take settings only, and what an error shows of them."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Turn words into arguments: settings `key=value` may stand anywhere among the others.

    Raises:
        SystemExit: help was asked for, or the words make no sense; that has been said.
    """
    parser, commands = _parser()
    try:
        argv = expanded(argv)
    except HomologError as error:
        parser.error(str(error))
    if not argv:
        parser.print_help()
        raise SystemExit(WRONG_USE)
    if not argv[0].startswith("-") and argv[0] not in commands:
        meant = (
            f"; did you mean homolog match {argv[0]}?"
            if Path(argv[0]).exists()
            else did_you_mean(argv[0], commands)
        )
        parser.error(f"no command {argv[0]!r}{meant}")
    arguments, rest = parser.parse_known_args(argv)
    command = commands[arguments.command]
    unknown = [word for word in rest if word.startswith("-")]
    if unknown:
        known = re.findall(r"--[a-z]+", command.format_help())
        command.error(f"no option {unknown[0]}{did_you_mean(unknown[0], set(known))}")
    if arguments.command in {"match", "features", "heatmap"}:
        _sort_words(command, arguments, rest)
    elif arguments.command in EXAMPLE_SETTINGS:
        _only_settings(command, arguments, rest)
    elif rest:
        command.error(f"expected options only, got {rest[0]!r}")
    return arguments


def _sort_words(command: argparse.ArgumentParser, arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    words = [*arguments.words, *rest]
    arguments.settings = [word for word in words if _is_setting(word)]
    arguments.photos = [Path(word) for word in words if not _is_setting(word)]
    if arguments.command != "match":
        check_pictures(command, arguments)
    elif arguments.demo and (arguments.photos or arguments.pairs):
        command.error("--demo brings its own photos; leave yours out")


def _only_settings(
    command: argparse.ArgumentParser, arguments: argparse.Namespace, rest: Sequence[str]
) -> None:
    arguments.settings = [*arguments.words, *rest]
    for word in arguments.settings:
        if "=" not in word and not word.startswith("~"):
            example = EXAMPLE_SETTINGS[arguments.command]
            command.error(f"expected settings as key=value, got {word!r}; for instance {example}")


def _is_setting(word: str) -> bool:
    setting = re.match(r"[+~]{0,2}[A-Za-z_][\w./@-]*=", word) or re.match(r"~[A-Za-z_][\w.]*$", word)
    return setting is not None and not Path(word).exists()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        say(f"{self.prog}: error: {message}")
        raise SystemExit(WRONG_USE)


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    parser = _Parser(
        prog="homolog",
        description="Match points between images: same scene, same category.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"homolog {metadata.version('homolog-cli')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    match = commands.add_parser(
        "match", **described("match two photos, a folder of photos, or a list of pairs", MATCH_EXAMPLES)
    )
    _add_match(match)
    add_pictures(commands)
    add_evaluation(commands)
    add_generation(commands)
    add_training(commands)
    products = commands.add_parser(
        "list", **described("list matchers and their parts, tasks and recipes", LIST_EXAMPLES)
    )
    products.add_argument("--json", action="store_true", help="print JSON instead of tables")
    weights.add_arguments(commands.add_parser("weights", **described(weights.HELP, weights.EXAMPLES)))
    composing = ("match", "features", "heatmap", "evaluate", "sweep", "generate", "train", "list", "weights")
    for command in (commands.choices[name] for name in composing):
        command.add_argument("--configs", type=Path, metavar="FOLDER", help="your own configs folder")
    cache = commands.add_parser("cache", **described("show or empty the feature cache", CACHE_EXAMPLES))
    cache.add_argument("action", choices=("info", "clear"))
    for command in commands.choices.values():
        command.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    return parser, dict(commands.choices)


def _add_match(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "words", nargs="*", metavar="PHOTO PHOTO | FOLDER | KEY=VALUE", help=argparse.SUPPRESS
    )
    command.usage = "homolog match [PHOTO PHOTO | FOLDER] [KEY=VALUE ...] [options]"
    command.add_argument(
        "--demo", action="store_true", help="match two pairs that come along with homolog's packages"
    )
    command.add_argument("--pairs", type=Path, metavar="LIST", help="text file with two photos a line")
    command.add_argument(
        "--out",
        type=Path,
        default=Path("homolog-results"),
        metavar="FOLDER",
        help="where results go (default: %(default)s)",
    )
    command.add_argument(
        "--verify",
        choices=("fundamental", "homography", "none"),
        help="geometry that inliers obey: fundamental (default) for one rigid scene, homography for a flat one "
        "or a camera that only turned, none for anything else",
    )
    command.add_argument(
        "--threshold",
        type=positive(float),
        metavar="PIXELS",
        help="how far an inlier may be off, in pixels of the files (default: 0.3%% of the longest side)",
    )
    command.add_argument("--limit", type=positive(int), metavar="N", help="keep the best N matches of a pair")
    add_running(command)
