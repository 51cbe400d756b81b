"""The words of the commands that measure: evaluate, sweep, report, data."""

import argparse
from pathlib import Path
from typing import Any

from homolog.cli.options import add_running, described, positive

EVALUATE_EXAMPLES = """\
examples:
  homolog evaluate matcher=mini task=spair data.root=/data/SPair-71k
      every score of every protocol that one run allows, each under the name of its protocol
  homolog evaluate matcher=xfeat task=hpatches resize=1024 --limit 50
      the first 50 samples, with a setting of the matcher as in homolog match
  homolog list
      names the tasks, and the data each of them needs

Data is looked for below the folder HOMOLOG_DATA (default: ./data), each set under its official name;
homolog data check FOLDER says what is there and how to get the rest.

results, in OUT/<matcher>__<task>/:
  result.json    scores, protocol settings, configuration, command, commit, versions, hardware, seed, seconds
  records.npz    the raw answers: every score can be computed again without the matcher
  samples.npz    the scores of each sample
  examples/      pictures of the best and the worst samples

A finished run is not repeated; an interrupted one goes on from its last saved answers.
"""

SWEEP_EXAMPLES = """\
examples:
  homolog sweep matcher=mini,xfeat,dinov2_nn task=spair,scannet1500,tapvid_davis
      nine cells; one that fails is noted with its reason and does not stop the others
  homolog sweep matcher=mini task=hpatches head.window=3,5,7
      any setting may have several values
  homolog sweep matcher=mini,xfeat task=spair launcher=joblib launcher.jobs=2
      launchers: serial (default), joblib (processes of this machine), submitit (SLURM), ray

The same command again runs what is missing or has failed; finished cells are left as they are.
exit code: 0 every cell has scores, 1 some failed, 2 wrong use, 130 interrupted.
"""

REPORT_EXAMPLES = """\
examples:
  homolog report outputs/ --open        one HTML page with everything in it, shown in the browser
  homolog report outputs/ --out r/      writes r/report.html and r/report.md

The page holds tables for each task, curves, bars for each category, the best and the worst examples,
calibration of confidence, and cost against quality. It needs no network and can be sent to others.
"""

DATA_EXAMPLES = """\
examples:
  homolog data check /data              which data sets are there, what is missing, how to get it
  homolog data check /data/SPair-71k --json
  homolog data verify data/synth_semantic
                                        shards of homolog generate: every member against its SHA-256, and one
                                        sample in a hundred made again: labels equal to the bit
  homolog data verify data/synth_semantic --fraction 0.1

exit code of check: 0 something is there and all of it is complete, 1 something is incomplete, 3 nothing was
recognised; of verify: 0 all is well, 1 something is wrong, 3 there are no shards.
"""


def add_evaluation(commands: Any) -> None:
    """Add the commands to a parser's subparsers."""
    evaluate = commands.add_parser(
        "evaluate", **described("score a matcher on a benchmark, by every protocol of it", EVALUATE_EXAMPLES)
    )
    sweep = commands.add_parser(
        "sweep", **described("score every matcher on every task, and go on where it ended", SWEEP_EXAMPLES)
    )
    for command, usage in ((evaluate, "homolog evaluate"), (sweep, "homolog sweep")):
        command.usage = f"{usage} matcher=NAME task=NAME [KEY=VALUE ...] [options]"
        _add_measuring(command)
    report = commands.add_parser(
        "report", **described("make one page of the results of evaluate and sweep", REPORT_EXAMPLES)
    )
    report.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="with results in it or below it"
    )
    report.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where the report goes (default: the first folder)"
    )
    report.add_argument("--open", action="store_true", help="show it in the browser")
    data = commands.add_parser(
        "data", **described("say which data sets are on a disk, or verify generated shards", DATA_EXAMPLES)
    )
    data.add_argument("action", choices=("check", "verify"))
    data.add_argument(
        "root", type=Path, metavar="FOLDER", help="a data set, the folder above several, or one of shards"
    )
    data.add_argument(
        "--fraction",
        type=float,
        default=0.01,
        metavar="F",
        help="of the samples to make again, when verifying (default: %(default)s)",
    )
    data.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_measuring(command: argparse.ArgumentParser) -> None:
    command.add_argument("words", nargs="*", metavar="KEY=VALUE", help=argparse.SUPPRESS)
    command.add_argument(
        "--out",
        type=Path,
        default=Path("outputs"),
        metavar="FOLDER",
        help="where results go, each cell in a folder of its own (default: %(default)s)",
    )
    command.add_argument(
        "--limit", type=positive(int), metavar="N", help="take only the first N samples; results say so"
    )
    command.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    command.add_argument("--again", action="store_true", help="run even what has a result")
    add_running(command)
