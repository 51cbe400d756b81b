"""The story of `homolog cache`: how much the feature cache holds, and how to empty it."""

import argparse

from homolog.core.cache import CacheInfo, FeatureCache

ACTIONS = ("info", "clear")


def run(arguments: argparse.Namespace) -> int:
    """Show or empty the feature cache.

    Args:
        arguments: `action`, one of `ACTIONS`.

    Returns:
        The exit code.
    """
    cache = FeatureCache()
    if arguments.action == "clear":
        print(f"removed {_content(cache.clear())}")
        return 0
    info = cache.info()
    print(
        f"{info.folder}\n{_content(info)}, at most {info.limit / 1e9:.1f} GB; the least recently used go first"
    )
    return 0


def _content(info: CacheInfo) -> str:
    noun = "entry" if info.entries == 1 else "entries"
    return f"{info.entries} {noun}, {info.size / 1e6:.1f} MB"
