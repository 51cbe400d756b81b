"""The story of `homolog data verify`: are these shards what was generated, to the bit?"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol, cast, runtime_checkable

from rich.console import Console
from rich.table import Table

from homolog.cli.loading import loading
from homolog.cli.outcome import FINE, SOME_FAILED
from homolog.cli.progress_bar import progress_bar
from homolog.core.errors import ConfigError
from homolog.zoo.build import build

SOURCES = "homolog.synthetic."
"""Where the code of a source may lie that `dataset.json` names: somebody else may have written it."""

SHOWN = 20
"""Problems that are printed."""


@runtime_checkable
class _Problem(Protocol):
    shard: str
    member: str
    what: str


@runtime_checkable
class _Description(Protocol):
    kind: str
    count: int
    generator: str
    code: str


@runtime_checkable
class _Checked(Protocol):
    description: _Description
    generator: str
    code: str
    shards: int
    members: int
    size: int
    regenerated: int
    worst: int
    problems: Sequence[_Problem]


def verify(arguments: argparse.Namespace) -> int:
    """Check a folder of shards and say what is wrong, as a table or as JSON.

    Args:
        arguments: `root`, the folder, `fraction` of the samples to make again, and `json`.

    Returns:
        The exit code: 0 if all is well, 1 if not.

    Raises:
        DataError: no shards there.
        HomologError: what makes the samples cannot be built.
    """
    check = build({"_target_": "homolog.synthetic.shards.verification.verify_shards", "_partial_": True})
    with loading(), progress_bar("checks") as progress:
        checked = cast(
            _Checked,
            check(
                arguments.root,
                _source,
                fraction=arguments.fraction,
                progress=progress,
            ),
        )
    if arguments.json:
        print(json.dumps(_record(checked), indent=2, ensure_ascii=False))
    else:
        _print(checked)
    return SOME_FAILED if checked.problems else FINE


def _source(config: Mapping[str, Any]) -> Any:
    target = str(config.get("_target_"))
    if not target.startswith(SOURCES):
        raise ConfigError(
            f"expected shards of a source in {SOURCES[:-1]}, got {target}; --fraction 0 leaves it out"
        )
    return build(config)


def _record(checked: _Checked) -> dict[str, Any]:
    numbers = ("generator", "code", "shards", "members", "size", "regenerated", "worst")
    return {
        "samples": checked.description.count,
        **{name: getattr(checked, name) for name in numbers},
        "made_by": {"generator": checked.description.generator, "code": checked.description.code},
        "problems": [asdict(cast(Any, problem)) for problem in checked.problems],
    }


def _print(checked: _Checked) -> None:
    # A pipe or a file has no width; rich would take 80 and fold everything.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)
    there = checked.description
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("checked", "count", "result"):
        table.add_column(name, overflow="fold", justify="right" if name == "count" else "left")
    damaged = [problem for problem in checked.problems if "made again" not in problem.what]
    table.add_row(
        "SHA-256 of members",
        f"{checked.members:,}",
        f"{checked.size / 1e6:,.1f} MB in {checked.shards:,} shards; {_verdict(len(damaged))}",
    )
    others = len(checked.problems) - len(damaged)
    table.add_row(
        f"{there.kind}s made again",
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
    return "all as it should be" if problems == 0 else f"{problems:,} wrong"
