"""The story of `homolog data`: which data sets are here, what is missing, and whether shards are sound."""

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Protocol, cast, runtime_checkable

from rich.console import Console
from rich.table import Table

from homolog.cli.data_verify import verify
from homolog.cli.outcome import FINE, NOTHING_READ, SOME_FAILED
from homolog.zoo.build import build


@runtime_checkable
class _Item(Protocol):
    what: str
    pattern: str
    found: int
    expected: int | None
    unit: str
    optional: bool
    complete: bool
    note: str


@runtime_checkable
class _DataSet(Protocol):
    name: str
    home: str
    licence: str
    obtain: str
    configs: tuple[str, ...]


@runtime_checkable
class _Found(_DataSet, Protocol):
    path: str
    complete: bool
    items: tuple[_Item, ...]


@runtime_checkable
class _Inventory(Protocol):
    root: str
    found: tuple[_Found, ...]
    absent: tuple[_DataSet, ...]


def run(arguments: argparse.Namespace) -> int:
    """Check the data sets in a folder, or verify shards that homolog made.

    Args:
        arguments: as `homolog.cli.main` parses them.

    Returns:
        The exit code.

    Raises:
        HomologError: no such folder, or it cannot be read.
    """
    if arguments.action == "verify":
        return verify(arguments)
    return check(arguments)


def check(arguments: argparse.Namespace) -> int:
    """Say what lies in a folder, as tables or as JSON.

    Args:
        arguments: `root`, the folder, and `json`, whether to print JSON.

    Returns:
        The exit code: 0 if at least one data set is complete, 1 if none is, 3 if none was recognised.

    Raises:
        DataError: no such folder, or it cannot be read.
    """
    # By name, because the data sets are a distribution that the command line does not depend on.
    inventory = cast(
        _Inventory, build({"_target_": "homolog.data.inventory.inspect", "root": str(arguments.root)})
    )
    if arguments.json:
        print(json.dumps(asdict(cast(Any, inventory)), indent=2, ensure_ascii=False))
    else:
        _print(inventory)
    if not inventory.found:
        return NOTHING_READ
    return FINE if any(data_set.complete for data_set in inventory.found) else SOME_FAILED


def _print(inventory: _Inventory) -> None:
    # A pipe or a file has no width; rich would take 80 and fold everything.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)
    for data_set in inventory.found:
        console.print(_title(data_set), style="bold", soft_wrap=True)
        console.print(_table(data_set))
        console.print(f"licence: {data_set.licence}", soft_wrap=True)
        if not data_set.complete:
            console.print(f"to complete it: {data_set.obtain} ({data_set.home})", soft_wrap=True)
        console.print()
    if not inventory.found:
        console.print(f"{inventory.root}: no data set that homolog knows\n", soft_wrap=True)
    if inventory.absent:
        console.print("not here", style="bold")
        console.print(_absent_table(inventory.absent))


def _title(data_set: _Found) -> str:
    state = "complete" if data_set.complete else "incomplete"
    used_by = f", data={' or '.join(data_set.configs)}" if data_set.configs else ""
    return f"{data_set.name}: {state} in {data_set.path}{used_by}"


def _table(data_set: _Found) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("found", justify="right", no_wrap=True)
    table.add_column("expected", justify="right", no_wrap=True)
    table.add_column("where", overflow="fold")
    table.add_column("note", overflow="fold")
    for item in data_set.items:
        expected = "some" if item.expected is None else f"{item.expected:,}"
        table.add_row(_state(item), item.what, f"{item.found:,}", expected, item.pattern, item.note)
    return table


def _state(item: _Item) -> str:
    if item.complete:
        return "here"
    return "not here (optional)" if item.optional else "missing" if not item.found else "incomplete"


def _absent_table(data_sets: Iterable[_DataSet]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("name", no_wrap=True)
    table.add_column("how to obtain it", overflow="fold")
    for data_set in data_sets:
        table.add_row(data_set.name, f"{data_set.obtain} ({data_set.home}; licence: {data_set.licence})")
    return table
