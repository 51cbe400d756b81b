"""The story of `homolog match`: which pairs, which matcher, match them all, say what came out."""

import argparse
from importlib import import_module

from homolog.cli.loading import loading
from homolog.cli.pairs import find_pairs
from homolog.cli.studio import studio
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
        with studio(2) as drawing:
            with loading():
                demo = import_module("homolog.cli.demo")
            return demo.run(arguments, drawing)
    # Whatever can be wrong with the words of the command is told before torch is imported.
    pairs = find_pairs(arguments.photos, arguments.pairs)
    config = compose("match", arguments.settings, configs=arguments.configs)

    with studio(len(pairs)) as drawing:
        with loading():
            from homolog.cli.batch import match_all
            from homolog.cli.comparison import Options
            from homolog.cli.kept_features import kept_features
            from homolog.cli.results import check_folder
            from homolog.cli.summary import print_summary, write_summary
            from homolog.zoo.model import build_matcher

            check_folder(arguments.out)
            cache = kept_features(arguments.cache)
            matcher = build_matcher(config, device=arguments.device, cache=cache)
        options = Options(
            check=arguments.verify or "fundamental", threshold=arguments.threshold, limit=arguments.limit
        )
        batch = match_all(matcher, pairs, options, arguments.out, drawing)
    write_summary(arguments.out, batch.outcomes, config=config, options=options)
    print_summary(batch.outcomes, arguments.out)
    return batch.exit_code
