"""The words of `homolog train`."""

import argparse
from pathlib import Path
from typing import Any

from homolog.cli.options import add_device, described

TRAIN_EXAMPLES = """\
examples:
  homolog train recipe=mini_dense --out runs/dense
      every stage of a recipe, each from the weights of the one before; sized for a CPU
  homolog train recipe=mini_dense --out runs/dense --resume
      go on after an interruption: finished stages are skipped, the running one goes on where it was saved
  homolog train recipe=mini_dense stages.sparse.steps=200 matcher.head.decoder.width=32 --out runs/small
      settings of the recipe; those of the matcher begin with matcher., and are those of homolog match
  homolog train recipe=vggt_semantic --stages smooth --from runs/vggt --out runs/smooth
      one stage alone, from the weights of another training
  homolog train @experiments/0001_vggt_prior/overrides.txt --out runs/0001
      the words of a file, one or several a line, # for remarks
  homolog train recipe=matcha trainer.devices=4 +trainer.strategy=ddp +logger@loggers.board=tensorboard --out r
      four GPUs; TensorBoard (or wandb) beside the table; any argument of Lightning's Trainer may follow trainer.

A recipe is a file in configs/recipe/: matcher, objective, sources, stages. Sources are made when a stage
needs them, so the data of a later stage may be missing while the first ones run.

results:
  OUT/training.json          the recipe as it was run, commit, versions, hardware
  OUT/<stage>/metrics.csv    unweighted terms of the loss, their sum, norm of the gradients, learning rate
                             and valid/<term> of held-out pairs, if the recipe has a node validation
  OUT/<stage>/last.safetensors
                             checkpoint: what learns, and the state of the optimiser; written every
                             checkpoint_every steps
  OUT/<stage>/<part>.safetensors, overrides.txt
                             the trained parts, and the words that use them:
                             homolog match a.jpg b.jpg @OUT/<stage>/overrides.txt

A step whose loss or gradient is not finite ends the training: its batch is in OUT/<stage>/failures/, and
the last checkpoint is the one before it.
exit code: 0 all stages are finished, 1 numbers were not finite, 2 wrong use or configuration, 3 data that is
not there, 130 interrupted.
"""


def add_training(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    command = commands.add_parser("train", **described("train a matcher by a recipe", TRAIN_EXAMPLES))
    command.usage = "homolog train recipe=NAME [KEY=VALUE ...] --out FOLDER [options]"
    command.add_argument("words", nargs="*", metavar="KEY=VALUE", help=argparse.SUPPRESS)
    command.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="where results go, a folder for each stage"
    )
    command.add_argument(
        "--resume", action="store_true", help="go on with the training in OUT, or begin if there is none"
    )
    command.add_argument(
        "--stages",
        type=_names,
        metavar="NAME,NAME",
        help="run these stages of the recipe only (default: all)",
    )
    command.add_argument(
        "--from",
        dest="start",
        type=Path,
        metavar="FOLDER",
        help="start with the weights of another training of the same matcher",
    )
    command.add_argument(
        "--workers",
        type=_count,
        default=0,
        metavar="W",
        help="processes that make or read samples (default: %(default)s, in this process)",
    )
    add_device(command)


def _names(text: str) -> list[str]:
    return text.split(",")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number
