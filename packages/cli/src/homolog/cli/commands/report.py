"""`homolog report`: from the results of many evaluations to one page."""

import argparse
import webbrowser

from homolog.cli.notes import say
from homolog.cli.outcome import FINE
from homolog.cli.report.report import make_page
from homolog.cli.report.tables import find_results, make_markdown, print_leaderboard, read_results
from homolog.core.atomic import write_bytes


def run(arguments: argparse.Namespace) -> int:
    """Write `report.html` and `report.md`.

    Args:
        arguments: as `homolog.cli.main` parses them.

    Returns:
        The exit code.

    Raises:
        DataError: no results, or damaged ones; nothing has been written.
    """
    folders = find_results(arguments.folders)
    results = read_results(folders)
    out = arguments.out or arguments.folders[0]
    write_bytes(out / "report.md", make_markdown(results).encode())
    write_bytes(out / "report.html", make_page(results, folders).encode())
    print_leaderboard(results)
    say(f"{out / 'report.html'} has everything, {out / 'report.md'} has the tables")
    if arguments.open and not webbrowser.open((out / "report.html").resolve().as_uri()):
        say("note: no browser was found to open the page")
    return FINE
