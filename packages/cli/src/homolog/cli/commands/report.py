"""`homolog report`: write the results of evaluations as one web page."""

import argparse
from pathlib import Path

from homolog.cli.console import FINE, say

HELP = "write a web page with the results of evaluate and sweep"

EXAMPLES = """\
examples:
  homolog report outputs/ --open        write the page and open it in the browser
  homolog report outputs/ --out r/      write r/report.html and r/report.md

The page shows tables for each task, curves, bars for each category, the best and worst examples, calibration
of confidence, and quality against cost. It is a single file that needs no network.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="with results in it or below it"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="output folder (default: the first FOLDER)"
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def run(arguments: argparse.Namespace) -> int:
    """Write `report.html` and `report.md`.

    Raises:
        DataError: no results, or damaged ones; nothing was written.
    """
    import webbrowser

    from homolog.cli.report.report import make_page
    from homolog.cli.report.tables import find_results, make_markdown, print_leaderboard, read_results
    from homolog.core.atomic import write_bytes

    folders = find_results(arguments.folders)
    results = read_results(folders)
    out = arguments.out or arguments.folders[0]
    write_bytes(out / "report.md", make_markdown(results).encode())
    write_bytes(out / "report.html", make_page(results, folders).encode())
    print_leaderboard(results)
    say(f"saved {out / 'report.html'} (everything) and {out / 'report.md'} (tables)")
    if arguments.open and not webbrowser.open((out / "report.html").resolve().as_uri()):
        say("note: found no browser to open the page in")
    return FINE
