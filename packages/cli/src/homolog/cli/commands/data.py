"""`homolog data`: check which data sets are on a disk, or verify synthetic shards."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homolog.cli.commands._shared import needs_extra
from homolog.cli.console import (
    FINE,
    NOTHING_READ,
    SOME_FAILED,
    loading,
    make_table,
    output,
    progress_bar,
)
from homolog.core.errors import ConfigError

if TYPE_CHECKING:
    from homolog.data.inventory import Inventory, Item
    from homolog.synthetic.shards.verification import Checked

HELP = "check which data sets are on a disk, or verify synthetic shards"

EXAMPLES = """\
examples:
  homolog data check /data              list the data sets in a folder, what is missing, and how to get it
  homolog data check /data/SPair-71k --json
  homolog data verify data/synth_semantic
                                        compare every file in the shards with its SHA-256, and regenerate one
                                        sample in a hundred, whose labels must be identical
  homolog data verify data/synth_semantic --fraction 0.1

exit codes of check: 0 a data set is complete, 1 data sets are incomplete, 3 no data set was recognised;
of verify: 0 everything is correct, 1 something is wrong, 3 there are no shards
"""

SOURCES = "homolog.synthetic."
"""Verification only builds sources of this package: somebody else may have written `dataset.json`."""

SHOWN = 20
"""Number of problems that are printed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("action", choices=("check", "verify"))
    parser.add_argument(
        "root", type=Path, metavar="FOLDER", help="a data set, a folder with several, or a folder of shards"
    )
    parser.add_argument(
        "--fraction",
        type=float,
        default=0.01,
        metavar="F",
        help="verify: fraction of the samples to regenerate (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Check data sets or verify shards.

    Raises:
        HomologError: no such folder, no shards, or a sample cannot be regenerated.
    """
    return _verify(arguments) if arguments.action == "verify" else _check(arguments)


def _check(arguments: argparse.Namespace) -> int:
    from homolog.data.inventory import inspect

    inventory = inspect(arguments.root)
    if arguments.json:
        print(json.dumps(asdict(inventory), indent=2, ensure_ascii=False))
    else:
        _print_inventory(inventory)
    if not inventory.found:
        return NOTHING_READ
    return FINE if any(data_set.complete for data_set in inventory.found) else SOME_FAILED


def _print_inventory(inventory: "Inventory") -> None:
    console = output()
    for data_set in inventory.found:
        state = "complete" if data_set.complete else "incomplete"
        used_by = f", data={' or '.join(data_set.configs)}" if data_set.configs else ""
        title = f"{data_set.name}: {state} in {data_set.path}{used_by}"
        console.print(title, style="bold", soft_wrap=True)
        numbers = ("found", "expected")
        table = make_table("", "files", *numbers, "path", "note", right=numbers)
        for item in data_set.items:
            expected = "some" if item.expected is None else f"{item.expected:,}"
            table.add_row(_state(item), item.what, f"{item.found:,}", expected, item.pattern, item.note)
        console.print(table)
        console.print(f"licence: {data_set.licence}", soft_wrap=True)
        if not data_set.complete:
            console.print(f"to complete it: {data_set.obtain} ({data_set.home})", soft_wrap=True)
        console.print()
    if not inventory.found:
        console.print(f"{inventory.root}: no known data set\n", soft_wrap=True)
    if inventory.absent:
        console.print("not here", style="bold")
        table = make_table("name", "how to get it", header=False)
        table.columns[0].no_wrap = True
        for missing in inventory.absent:
            table.add_row(missing.name, f"{missing.obtain} ({missing.home}; licence: {missing.licence})")
        console.print(table)


def _state(item: "Item") -> str:
    if item.complete:
        return "here"
    return "not here (optional)" if item.optional else "missing" if not item.found else "incomplete"


def _verify(arguments: argparse.Namespace) -> int:
    with needs_extra("synthetic", "homolog data verify"), loading():
        from homolog.synthetic.shards.verification import verify_shards

    with progress_bar("checks") as progress:
        checked = verify_shards(arguments.root, _source, fraction=arguments.fraction, progress=progress)
    if arguments.json:
        print(json.dumps(_record(checked), indent=2, ensure_ascii=False))
    else:
        _print_checked(checked)
    return SOME_FAILED if checked.problems else FINE


def _source(config: Mapping[str, Any]) -> Any:
    from homolog.zoo.build import build

    target = str(config.get("_target_"))
    if not target.startswith(SOURCES):
        raise ConfigError(
            f"expected shards of a source in {SOURCES[:-1]}, got {target}; --fraction 0 skips the regeneration"
        )
    return build(config)


def _record(checked: "Checked") -> dict[str, Any]:
    numbers = ("generator", "code", "shards", "members", "size", "regenerated", "worst")
    return {
        "samples": checked.description.count,
        **{name: getattr(checked, name) for name in numbers},
        "made_by": {"generator": checked.description.generator, "code": checked.description.code},
        "problems": [asdict(problem) for problem in checked.problems],
    }


def _print_checked(checked: "Checked") -> None:
    console = output()
    there = checked.description
    table = make_table("checked", "count", "result", right=("count",))
    damaged = [problem for problem in checked.problems if "made again" not in problem.what]
    table.add_row(
        "SHA-256 of files",
        f"{checked.members:,}",
        f"{checked.size / 1e6:,.1f} MB in {checked.shards:,} shards; {_verdict(len(damaged))}",
    )
    others = len(checked.problems) - len(damaged)
    table.add_row(
        f"regenerated {there.kind}s",
        f"{checked.regenerated:,}",
        f"of {there.count:,}; pictures within {checked.worst} levels of 255; {_verdict(others)}",
    )
    console.print(table)
    for problem in checked.problems[:SHOWN]:
        console.print(
            " ".join(part for part in (problem.shard, problem.member, problem.what) if part), soft_wrap=True
        )
    if len(checked.problems) > SHOWN:
        console.print(f"and {len(checked.problems) - SHOWN} more; --json lists all")
    if (there.generator, there.code) != (checked.generator, checked.code or there.code):
        console.print(
            f"these shards were made by {there.generator} (code {there.code or 'unknown'}), this is "
            f"{checked.generator} (code {checked.code or 'unknown'})",
            soft_wrap=True,
        )


def _verdict(problems: int) -> str:
    return "correct" if problems == 0 else f"{problems:,} wrong"
