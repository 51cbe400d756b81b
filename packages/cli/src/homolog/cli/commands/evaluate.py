"""`homolog evaluate`: evaluate one matcher on one benchmark."""

import argparse
from pathlib import Path
from typing import Any

from homolog.cli.commands._shared import add_options, add_words, check_settings, positive
from homolog.cli.console import FINE, INTERRUPTED, make_table, output, progress_bar, say
from homolog.core.errors import ConfigError

HELP = "evaluate a matcher on a benchmark, with every protocol of the benchmark"

USAGE = "homolog evaluate matcher=NAME task=NAME [KEY=VALUE ...] [options]"

EXAMPLES = """\
examples:
  homolog evaluate matcher=small task=spair data.root=/data/SPair-71k
      all scores of all protocols of SPair-71k
  homolog evaluate matcher=xfeat task=hpatches resize=1024 --limit 50
      the first 50 samples, with a setting of the matcher
  homolog list
      lists the tasks and the data they need

Data sets are searched below the folder HOMOLOG_DATA (default: ./data), each under its official name;
"homolog data check FOLDER" shows which are complete and how to get the others.

output, in OUT/<matcher>__<task>/:
  result.json    scores, protocol settings, configuration, command, commit, versions, hardware, seed, seconds
  records.npz    the predictions, from which every score can be computed again
  samples.npz    the scores of each sample
  examples/      pictures of the best and worst samples

A finished evaluation is not repeated. An interrupted one resumes from its last saved predictions.
"""

RENAMED = {"--again": "--overwrite"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_words(parser)
    add_options(parser, "out")
    parser.set_defaults(out=Path("outputs"))
    parser.add_argument(
        "--limit", type=positive(int), metavar="N", help="use only the first N samples; reports mention this"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="run again even if there is a result")
    add_options(parser, "device", "cache", "configs")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate one matcher on one task.

    Raises:
        HomologError: wrong arguments, no data, or a matcher that cannot do this task.
    """
    settings = check_settings(arguments.words, "matcher=small task=spair")
    from homolog.cli.evaluation import make_cells, run_cell

    cells = make_cells(settings, arguments)
    if len(cells) != 1:
        raise ConfigError(
            f"expected one matcher and one task, got {len(cells)} combinations; use homolog sweep"
        )
    (cell,) = cells
    if arguments.overwrite:
        (cell.folder / "result.json").unlink(missing_ok=True)
    try:
        with progress_bar("samples") as progress:
            result = run_cell(cell, progress)
    except KeyboardInterrupt:
        say("homolog: interrupted; the same command resumes from the saved predictions")
        return INTERRUPTED
    _print(result)
    say(f"results are in {cell.folder}; homolog report {arguments.out} --open shows pictures and curves")
    return FINE


def _print(result: dict[str, Any]) -> None:
    from homolog.cli.report.tables import score_text

    console = output()
    for protocol in result["protocols"].values():
        table = make_table(protocol["name"], "value", "of", right=("value", "of"))
        for score in protocol["scores"]:
            if not score["category"]:
                table.add_row(score["name"], score_text(score), str(score["count"] or ""))
        console.print(table)
        settings = "; ".join(f"{key}: {value}" for key, value in protocol["settings"].items())
        console.print(f"({settings})\n", soft_wrap=True)
    console.print(
        f"{result['matcher']} on {result['task']}: {result['samples']} of {result['of']} samples, "
        f"{result['seconds']['per_sample']} s each, peak memory {result['peak_memory_gb']} GB"
    )
