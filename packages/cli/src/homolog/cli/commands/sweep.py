"""`homolog sweep`: evaluate several matchers on several benchmarks."""

import argparse

from homolog.cli.commands import evaluate
from homolog.cli.commands._shared import check_settings
from homolog.cli.console import FINE, INTERRUPTED, SOME_FAILED, progress_bar, say

HELP = "evaluate several matchers on several benchmarks"

USAGE = "homolog sweep matcher=NAME,NAME task=NAME,NAME [KEY=VALUE ...] [options]"

EXAMPLES = """\
examples:
  homolog sweep matcher=small,mini,dinov2_nn task=spair,scannet1500,tapvid_davis
      nine evaluations; one that fails is recorded with its reason and does not stop the others
  homolog sweep matcher=xfeat task=hpatches head.window=3,5,7
      any setting may have several values
  homolog sweep matcher=small,mini task=spair launcher=joblib launcher.jobs=2
      launchers: serial (default), joblib (processes on this machine), submitit (SLURM), ray

An interrupted sweep resumes when the same command is run again: missing and failed evaluations are run,
finished ones are kept.

exit codes: 0 every evaluation has scores, 1 some failed, 2 wrong arguments, 130 interrupted
"""

RENAMED = evaluate.RENAMED
add_arguments = evaluate.add_arguments


def run(arguments: argparse.Namespace) -> int:
    """Run all evaluations that have no result yet.

    Raises:
        ConfigError: a setting that does not exist; nothing was run.
    """
    words = check_settings(arguments.words, "matcher=small task=spair")
    from homolog.cli.evaluation import finished, make_cells, run_safely
    from homolog.cli.launchers import make_launcher
    from homolog.cli.report.tables import print_leaderboard, read_results

    of_launcher = [word for word in words if word.lstrip("+").startswith(("launcher=", "launcher."))]
    cells = make_cells([word for word in words if word not in of_launcher], arguments)
    launcher = make_launcher(of_launcher, arguments.configs)
    if arguments.overwrite:
        for cell in cells:
            (cell.folder / "result.json").unlink(missing_ok=True)
    kept = sum(finished(cell.folder) is not None for cell in cells)
    say(f"{len(cells)} evaluations, {kept} of them already have a result in {arguments.out}")
    try:
        with progress_bar("evaluations", len(cells)) as progress:
            for number, result in enumerate(launcher(run_safely, cells), start=1):
                progress(number)
                if result["status"] != "done":
                    say(f"{result['matcher']} on {result['task']}: {result['reason']}")
    except KeyboardInterrupt:
        done = sum(finished(cell.folder) is not None for cell in cells)
        say(f"homolog: interrupted; {done} of {len(cells)} evaluations are done; the same command resumes")
        return INTERRUPTED
    results = read_results([cell.folder for cell in cells])
    print_leaderboard(results)
    say(f"homolog report {arguments.out} --open shows pictures, curves and every protocol")
    return FINE if all(result["status"] == "done" for result in results) else SOME_FAILED
