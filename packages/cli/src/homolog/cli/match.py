"""The story of `homolog match`: which pairs, which matcher, match them all, say what came out."""

import argparse
from importlib import import_module

from homolog.cli.pairs import find_pairs
from homolog.zoo.compose import compose


def run(arguments: argparse.Namespace) -> int:
    """Match what the command line asks for.

    Args:
        arguments: as `homolog.cli.main` parses them.

    Returns:
        The exit code.

    Raises:
        HomologError: wrong use, a wrong configuration, or nothing to read; nothing has been written.
    """
    if arguments.demo:
        return import_module("homolog.cli.demo").run(arguments)
    # Whatever can be wrong with the words of the command is told before torch is imported.
    pairs = find_pairs(arguments.photos, arguments.pairs)
    config = compose("match", arguments.settings, configs=arguments.configs)

    from homolog.cli.batch import match_all
    from homolog.cli.comparison import Options
    from homolog.cli.results import check_folder
    from homolog.cli.summary import print_summary, write_summary
    from homolog.zoo.model import build_matcher

    check_folder(arguments.out)
    options = Options(
        check=arguments.verify or "fundamental", threshold=arguments.threshold, limit=arguments.limit
    )
    matcher = build_matcher(config, device=arguments.device)
    batch = match_all(matcher, pairs, options, arguments.out)
    write_summary(arguments.out, batch.outcomes, config=config, options=options)
    print_summary(batch.outcomes, arguments.out)
    return batch.exit_code
