"""`homolog train`: train a matcher with a recipe."""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from homolog.cli.commands._shared import add_options, add_words, check_settings, needs_extra
from homolog.cli.console import FINE, INTERRUPTED, SOME_FAILED, ShowProgress, loading, progress_bar, say
from homolog.core.errors import ConfigError, did_you_mean

HELP = "train a matcher with a recipe"

USAGE = "homolog train recipe=NAME [KEY=VALUE ...] --out FOLDER [options]"

EXAMPLES = """\
examples:
  homolog train recipe=mini_dense --out runs/dense
      all stages of a recipe, each starting from the weights of the previous one; runs on a CPU
  homolog train recipe=mini_dense --out runs/dense --resume
      resume after an interruption: finished stages are skipped
  homolog train recipe=mini_dense stages.sparse.steps=200 matcher.head.decoder.width=32 --out runs/small
      settings of the recipe, and of the matcher after the prefix matcher.
  homolog train recipe=vggt_semantic --stages smooth --from runs/vggt --out runs/smooth
      a single stage, starting from the weights of another run
  homolog train @experiments/0001_vggt_prior/overrides.txt --out runs/0001
      arguments from a file, separated by spaces or lines; # starts a comment
  homolog train recipe=matcha trainer.devices=4 +trainer.strategy=ddp +logger@loggers.board=tensorboard --out r
      four GPUs, and TensorBoard (or wandb) in addition to the CSV log; trainer.KEY is an argument of
      Lightning's Trainer

A recipe is a file in configs/recipe/ with a matcher, an objective, data sources and stages. A source is
opened when a stage needs it, so the data of later stages may still be missing.

output:
  OUT/training.json          the resolved recipe, commit, versions, hardware
  OUT/<stage>/metrics.csv    each term of the loss (unweighted), the total, gradient norm, learning rate, and
                             valid/<term> on held-out pairs if the recipe has a validation
  OUT/<stage>/last.safetensors
                             checkpoint with the trainable weights and the optimiser state, written every
                             checkpoint_every steps
  OUT/<stage>/<part>.safetensors, overrides.txt
                             the trained parts, and the arguments to use them:
                             homolog match a.jpg b.jpg @OUT/<stage>/overrides.txt

Training stops if the loss or a gradient is not finite. The batch is then in OUT/<stage>/failures/, and the
last checkpoint is the one before that step.
exit codes: 0 all stages finished, 1 a loss or gradient was not finite, 2 wrong arguments or configuration,
3 missing data, 130 interrupted
"""

SHOWN_EVERY = 0.5
"""Seconds between two updates of the losses; on a GPU, each of them waits for the device."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_words(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="output folder, with a subfolder per stage"
    )
    parser.add_argument("--resume", action="store_true", help="resume the training in OUT, if there is one")
    parser.add_argument(
        "--stages",
        type=_names,
        metavar="NAME,NAME",
        help="run only these stages of the recipe (default: all)",
    )
    parser.add_argument(
        "--from",
        dest="start",
        type=Path,
        metavar="FOLDER",
        help="start from the weights of another training of the same matcher",
    )
    parser.add_argument(
        "--workers",
        type=_count,
        default=0,
        metavar="W",
        help="processes that load data (default: %(default)s, in the main process)",
    )
    add_options(parser, "device", "configs")


def run(arguments: argparse.Namespace) -> int:
    """Train a matcher.

    Raises:
        HomologError: a recipe, a matcher or data that does not exist or does not fit.
    """
    from homolog.zoo.compose import compose

    config = composed(check_settings(arguments.words, "recipe=mini_dense"), arguments.configs)
    overrides = (f"matcher={config['matcher']}", *config["settings"])
    matcher_config = compose("match", overrides, configs=arguments.configs)
    with loading():
        import torch

        with needs_extra("train", "homolog train"):
            from homolog.training.module import TrainingError
            from homolog.training.trainer import fit
        from homolog.zoo.build import build, resolved

        torch.manual_seed(config["seed"])  # for randomly initialised weights
        matcher = build(matcher_config)
        recipe = build(config)
    try:
        with progress_bar("training") as progress:
            folders = fit(
                recipe=recipe,
                matcher=matcher,
                out=arguments.out,
                config={**config, "product": resolved(matcher_config)},
                facts=_facts(),
                stages=arguments.stages,
                start=arguments.start,
                resume=arguments.resume,
                device=arguments.device,
                workers=arguments.workers,
                progress=_losses_shown(progress),
            )
    except KeyboardInterrupt:
        say("homolog: interrupted; run the same command with --resume to continue from the last checkpoint")
        return INTERRUPTED
    except TrainingError as error:
        say(f"homolog: error: {error}")
        return SOME_FAILED
    if folders:  # only one of several processes reports
        print(f"trained: {', '.join(str(folder) for folder in folders)}")
        say(f"homolog match a.jpg b.jpg @{folders[-1]}/overrides.txt uses the weights")
    return FINE


def composed(settings: Sequence[str], configs: Path | None) -> dict[str, Any]:
    """Compose a recipe.

    Args:
        settings: of the recipe; those that begin with `matcher.` are passed to the matcher.
        configs: another configs folder.

    Returns:
        Plain values; the settings of the matcher are in `settings`.

    Raises:
        ConfigError: no recipe, or a setting that does not exist.
    """
    from homolog.zoo.build import resolved
    from homolog.zoo.compose import compose, configs_folder

    names = sorted(file.stem for file in (configs_folder(configs) / "recipe").glob("*.yaml"))
    if not any(setting.startswith("recipe=") for setting in settings):
        raise ConfigError(f"expected a recipe, as recipe=NAME{did_you_mean('', names)}")
    of_matcher = [setting for setting in settings if setting.lstrip("+~").startswith("matcher.")]
    products = [setting for setting in settings if setting.startswith("matcher=")]
    others = [setting for setting in settings if setting not in of_matcher and setting not in products]
    config = resolved(compose("train", others, configs=configs))
    config["settings"] = [
        *config["settings"],
        *(setting.replace("matcher.", "", 1) for setting in of_matcher),
    ]
    if products:
        config["matcher"] = products[-1].removeprefix("matcher=")
    return config


def _facts() -> dict[str, Any]:
    from homolog.cli.provenance import PACKAGES, command, commit, hardware, versions

    return {
        "command": command(),
        "commit": commit(),
        "versions": versions((*PACKAGES, "homolog-training", "lightning")),
        "hardware": hardware(),
    }


def _losses_shown(progress: ShowProgress) -> Callable[[str, int, int, Mapping[str, Any]], None]:
    """Return a callback that shows steps and losses, and prints a line at the end of each stage."""
    last = 0.0

    def show(stage: str, step: int, steps: int, values: Mapping[str, Any]) -> None:
        nonlocal last
        now = time.perf_counter()
        if now - last >= SHOWN_EVERY or step == steps:
            last = now
            progress(step, steps, name=stage, note=_text(values))
        if step == steps:
            say(f"{stage}: {steps} steps, {_text(values)}")

    return show


def _text(values: Mapping[str, Any]) -> str:
    losses = {name.removeprefix("terms/"): value for name, value in values.items() if name != "learning_rate"}
    return ", ".join(f"{name.replace('_', ' ')} {float(value):.4g}" for name, value in losses.items())


def _names(text: str) -> list[str]:
    return text.split(",")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number
