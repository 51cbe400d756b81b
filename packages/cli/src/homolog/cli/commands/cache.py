"""`homolog cache`: show or clear the cache of extracted features."""

import argparse
from typing import TYPE_CHECKING

from homolog.cli.console import FINE

if TYPE_CHECKING:
    from homolog.core.cache import CacheInfo

HELP = "show or clear the feature cache"

EXAMPLES = """\
examples:
  homolog cache info    folder, number of entries, and size
  homolog cache clear   remove all entries; features are extracted again when needed

An entry depends on the content of the photo, the settings, the weights and the code, so it is never out of
date. "homolog match --cache half" stores bfloat16; "--cache off" stores nothing.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("action", choices=("info", "clear"))


def run(arguments: argparse.Namespace) -> int:
    """Show or clear the feature cache."""
    from homolog.core.cache import FeatureCache

    cache = FeatureCache()
    if arguments.action == "clear":
        print(f"removed {_content(cache.clear())}")
        return FINE
    info = cache.info()
    print(
        f"{info.folder}\n{_content(info)}, at most {info.limit / 1e9:.1f} GB; the least recently used are removed first"
    )
    return FINE


def _content(info: "CacheInfo") -> str:
    noun = "entry" if info.entries == 1 else "entries"
    return f"{info.entries} {noun}, {info.size / 1e6:.1f} MB"
