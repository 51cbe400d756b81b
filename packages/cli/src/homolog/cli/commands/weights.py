"""`homolog weights`: list the weight files, fetch them, verify them, and show where they are."""

import argparse

from homolog.cli.commands._shared import add_configs
from homolog.core.errors import ConfigError

HELP = "list, fetch or verify weight files"

EXAMPLES = """\
examples:
  homolog weights list             all weight files: size, licence, hash, and whether they are here
  homolog weights list --json      the same as JSON
  homolog weights fetch dinov2_s   download the weights of a product; a file name or "all" works too
  homolog weights verify           hash the files that are here and compare
  homolog weights where dinov2_s   source and path of a file, to place it there by hand if necessary
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("action", choices=("list", "fetch", "verify", "where"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="weight files or products (default: all)")
    parser.add_argument("--json", action="store_true", help="list as JSON instead of a table")
    add_configs(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command.

    Args:
        arguments: as `add_arguments` defines them.

    Returns:
        The exit code.

    Raises:
        ConfigError: an unknown name, nothing to fetch, or no configs folder.
    """
    if arguments.action == "fetch" and not arguments.names:
        raise ConfigError("expected what to fetch: a file, a product, or all, which is tens of gigabytes")
    from homolog.cli.weights import run as run_weights

    return run_weights(arguments)
