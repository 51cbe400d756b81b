"""`homolog list`: list products, tasks and recipes, their licences, and whether their weights are here."""

import argparse
import itertools
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from homolog.cli.commands._shared import add_options
from homolog.cli.console import FINE, make_table, output

if TYPE_CHECKING:
    from homolog.zoo.catalogue import Product

HELP = "list matchers, their parts, tasks and recipes"

EXAMPLES = """\
examples:
  homolog list            tables of matchers, backbones, detectors, heads, tasks and recipes
  homolog list --json     the same as JSON

weights: "here" can be used, "downloadable" is fetched on first use, "missing" names the package to install,
"damaged" must be removed and fetched again.
Each name is a file in configs/. Choose it with matcher=NAME, backbone=NAME, detector=NAME or head=NAME; with
task=NAME in "homolog evaluate"; with recipe=NAME in "homolog train".
"""

PLURALS = {"matcher": "matchers", "backbone": "backbones", "detector": "detectors", "head": "heads"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    add_options(parser, "configs")


def run(arguments: argparse.Namespace) -> int:
    """Print all products, tasks and recipes, as tables or as JSON.

    Raises:
        ConfigError: there is no configs folder.
    """
    from homolog.zoo.catalogue import list_products, list_recipes, list_tasks

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
    console = output()
    for kind, group in itertools.groupby(products, key=lambda product: product.kind):
        table = make_table(PLURALS[kind], "weights", "size", "licence", "description", right=("size",))
        table.columns[0].no_wrap = True
        table.columns[3].max_width = 34
        for product in group:
            licence = "; ".join(product.licences) or "-"
            table.add_row(product.name, product.status, _size(product), licence, product.description)
        console.print(table)
        console.print()
    for title, group in (("tasks", tasks), ("recipes", recipes)):
        table = make_table(title, "description")
        table.columns[0].no_wrap = True
        for row in group:
            table.add_row(*row)
        console.print(table)
        console.print()
    console.print(
        "use a name as in: homolog match a.jpg b.jpg matcher=NAME backbone=NAME detector=NAME head=NAME; "
        "homolog evaluate matcher=NAME task=NAME; homolog train recipe=NAME",
        soft_wrap=True,
    )
    return FINE


def _size(product: "Product") -> str:
    """Return the size of the weights; `+ ?` if some of it is unknown."""
    known = f"{product.size / 1e6:.1f} MB" if product.size else ""
    if product.size_complete:
        return known or "-"
    return f"{known} + ?" if known else "?"
