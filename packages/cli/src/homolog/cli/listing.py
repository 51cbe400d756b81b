"""The story of `homolog list`: what there is, under which licence, and whether it can run here."""

import argparse
import itertools
import json
import sys
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from homolog.cli.outcome import FINE
from homolog.zoo import list_products
from homolog.zoo.catalogue import Product, list_recipes, list_tasks

PLURALS = {"matcher": "matchers", "backbone": "backbones", "detector": "detectors", "head": "heads"}


def run(arguments: argparse.Namespace) -> int:
    """Print all products, tasks and recipes, as tables or as JSON.

    Args:
        arguments: as `homolog.cli.main` parses them.

    Returns:
        The exit code.

    Raises:
        ConfigError: there is no configs folder.
    """
    products = list_products(arguments.configs)
    tasks, recipes = list_tasks(arguments.configs), list_recipes(arguments.configs)
    if arguments.json:
        others = [
            {"kind": kind, "name": name, "description": text}
            for kind, group in (("task", tasks), ("recipe", recipes))
            for name, text in group
        ]
        rows = [*(asdict(product) for product in products), *others]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return FINE
    # A pipe or a file has no width; rich would take 80 and fold everything.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)
    for kind, group in itertools.groupby(products, key=lambda product: product.kind):
        console.print(_table(PLURALS[kind], list(group)))
        console.print()
    for title, what, group in (("tasks", "what is measured", tasks), ("recipes", "what is trained", recipes)):
        console.print(_described_table(title, what, group))
        console.print()
    console.print(
        "choose with homolog match a.jpg b.jpg matcher=NAME; other parts: backbone=NAME, detector=NAME, head=NAME; "
        "homolog evaluate matcher=NAME task=NAME; homolog train recipe=NAME",
        soft_wrap=True,
    )
    return FINE


def _table(title: str, products: list[Product]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(title, no_wrap=True)
    table.add_column("weights")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("licence", overflow="fold", max_width=34)
    table.add_column("what it is", overflow="fold")
    for product in products:
        licence = "; ".join(product.licences) or "-"
        table.add_row(product.name, product.status, size_text(product), licence, product.description)
    return table


def _described_table(title: str, what: str, rows: list[tuple[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(title, no_wrap=True)
    table.add_column(what, overflow="fold")
    for name, description in rows:
        table.add_row(name, description)
    return table


def size_text(product: Product) -> str:
    """Return the size of a product's weights for people; `+ ?` when some of it is not known yet."""
    known = f"{product.size / 1e6:.1f} MB" if product.size else ""
    if product.size_complete:
        return known or "-"
    return f"{known} + ?" if known else "?"
