"""Run a recipe: its stages one after the other, each from the weights of the one before."""

import logging
import signal
import time
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from homolog.core.atomic import write_json
from homolog.core.device import choose_device
from homolog.core.errors import ConfigError, WeightsError
from homolog.training.callbacks import Keeper, Progress, Teller
from homolog.training.checkpoint_files import CheckpointFiles
from homolog.training.data import StageData
from homolog.training.export import check_exported, export, part_of
from homolog.training.folder import FINISHED, TrainingFolder
from homolog.training.loggers import make_logger
from homolog.training.metrics_file import METRICS, write_metrics
from homolog.training.module import Learning
from homolog.training.recipe import Recipe
from homolog.training.seeds import mixed_seed
from homolog.training.sharded import Sharded
from homolog.training.trainable import freeze
from homolog.training.validation import Validator

logger = logging.getLogger(__name__)

FSDP = "fsdp"
"""`trainer.strategy` of a recipe: ours takes the place of Lightning's, whose checkpoints are pickles."""


def fit(
    recipe: Recipe,
    matcher: nn.Module,
    out: Path,
    *,
    config: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    stages: Sequence[str] | None = None,
    start: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    workers: int = 0,
    progress: Progress | None = None,
) -> list[Path]:
    """Train a matcher.

    Everything that is drawn is a function of the recipe's seed and the number of the step, so that a
    training which was killed and resumed ends with the weights of one that was not; bit by bit on a CPU.

    Args:
        recipe: what to do.
        matcher: built from the recipe's product and settings; it is changed.
        out: where all results go, a folder for each stage.
        config: the recipe as plain values; a folder of another one is refused.
        facts: for `training.json`: commit, versions, hardware.
        stages: which to run; None runs all.
        start: folder of another training whose finished stages give the first weights.
        resume: go on with what is in `out`: finished stages are skipped, the one after them goes on from its
            last checkpoint.
        device: as everywhere in homolog; `recipe.trainer` may say more, such as the number of devices.
        workers: processes that read data; 0 reads in this one.
        progress: is told how far it is.

    Returns:
        The folders of the stages that were asked for; nothing in all processes of several but the first.

    Raises:
        ConfigError: a recipe that does not fit the matcher or the strategy, or a folder that belongs to another
            training.
        DataError: data of a stage that is not there.
        TrainingError: a loss or a gradient that is not finite.
    """
    chosen = recipe.chosen(stages)
    for name in chosen:
        check_exported(freeze(matcher, recipe.stages[name].trainable), recipe.parts, name)
    for part in recipe.parts:
        part_of(matcher, part)
    folder = TrainingFolder(out)
    record = {"config": {**(config or {}), "from": None if start is None else str(start)}, **(facts or {})}
    if _is_first():  # other processes find what the first has begun
        folder.begin(record, list(recipe.stages), resume=resume)
    if start is not None:
        _take_over(TrainingFolder(start), matcher, recipe.objective)
    done = [name for name in recipe.stages if folder.is_finished(name)]
    for name in recipe.stages:
        if name in done:
            _restore(folder.checkpoint(name), matcher, recipe.objective)
        elif name in chosen:
            _run(recipe, name, matcher, folder, device=device, workers=workers, progress=progress)
    return [folder.stage(name) for name in chosen] if _is_first() else []


def _is_first() -> bool:
    return getattr(rank_zero_only, "rank", 0) == 0


def _run(
    recipe: Recipe,
    name: str,
    matcher: nn.Module,
    folder: TrainingFolder,
    *,
    device: str,
    workers: int,
    progress: Progress | None,
) -> None:
    stage, here = recipe.stages[name], folder.stage(name)
    seed = mixed_seed(recipe.seed, list(recipe.stages).index(name))
    sharded = recipe.trainer.get("strategy") == FSDP
    # What is shared out stays so.
    pupil, objective = deepcopy((matcher, recipe.objective)) if sharded else (matcher, recipe.objective)
    learning = Learning(
        matcher=pupil, objective=objective, stage=stage, seed=seed, failures=here / "failures"
    )
    data = StageData(
        sources=recipe.sources_of(name),
        stage=stage,
        size=recipe.image_size,
        seed=seed,
        swap=recipe.swap,
        workers=workers,
    )
    begin = time.perf_counter()
    checkpoint = folder.checkpoint(name)
    with _quiet(), recipe.cache.serving(pupil) if recipe.cache else nullcontext():
        validator = _validator(recipe, pupil)
        trainer = _trainer(recipe, name, here, device, _callbacks(recipe, name, here, validator, progress))
        _fit(trainer, learning, data, checkpoint if checkpoint.is_file() else None)
    if sharded:
        _restore(checkpoint, matcher, recipe.objective)
    if trainer.is_global_zero:
        write_metrics(here / "logs", here / METRICS)
        export(matcher, recipe.parts, here, name=recipe.matcher, settings=recipe.settings)
        seconds = round(time.perf_counter() - begin, 1)
        # Last of all: with it, the stage counts as finished.
        write_json(here / FINISHED, {"steps": stage.steps, "seconds_of_last_run": seconds, "seed": seed})


def _validator(recipe: Recipe, matcher: nn.Module) -> Validator | None:
    if recipe.validation is None:
        return None
    if recipe.validation.keep_best and recipe.trainer.get("strategy") == FSDP:
        raise ConfigError(
            "validation.keep_best: expected weights that one process has whole, got trainer.strategy=fsdp, which "
            "shares them out; set validation.keep_best=false or trainer.strategy=ddp"
        )

    def keep(folder: Path) -> None:
        export(matcher, recipe.parts, folder, name=recipe.matcher, settings=recipe.settings)

    # The same samples in all stages, so that their numbers can be compared.
    return Validator(recipe.validation, size=recipe.image_size, seed=recipe.seed, best=keep)


def _callbacks(
    recipe: Recipe, name: str, here: Path, validator: Validator | None, progress: Progress | None
) -> list[pl.Callback]:
    # Before the keeper: what is kept has been looked at.
    callbacks: list[pl.Callback] = [] if validator is None else [validator]
    callbacks.append(Keeper(TrainingFolder(here.parent).checkpoint(name), every=recipe.checkpoint_every))
    if progress is not None:
        held_out = validator.values if validator is not None else {}
        callbacks.append(Teller(progress, stage=name, beside=held_out))
    return callbacks


def _trainer(recipe: Recipe, name: str, here: Path, device: str, callbacks: list[pl.Callback]) -> pl.Trainer:
    stage, place = recipe.stages[name], choose_device(device)
    given: dict[str, Any] = {
        "accelerator": "gpu" if place.type == "cuda" else place.type,
        "devices": [place.index] if ":" in str(place) else 1,
        **{name: value for name, value in recipe.trainer.items() if value is not None},
    }
    if given.get("strategy") == FSDP:
        given["strategy"] = Sharded()
    return pl.Trainer(
        **given,
        max_steps=stage.steps,
        max_epochs=-1,
        precision=stage.precision,
        accumulate_grad_batches=stage.accumulate,
        gradient_clip_val=stage.clip,
        logger=[
            CSVLogger(here, name="logs", flush_logs_every_n_steps=1),
            *(make_logger(make, here) for make in recipe.loggers.values()),
        ],
        log_every_n_steps=recipe.log_every,
        callbacks=callbacks,
        plugins=[CheckpointFiles()],
        default_root_dir=here,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _fit(trainer: pl.Trainer, learning: Learning, data: StageData, checkpoint: Path | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(learning, datamodule=data, ckpt_path=checkpoint)
    except SystemExit as stop:
        # Lightning turns an interruption into an exit, and ignores further ones.
        signal.signal(signal.SIGINT, handler)
        if trainer.interrupted:
            raise KeyboardInterrupt from stop
        raise


def _restore(path: Path, matcher: nn.Module, objective: object) -> None:
    """Give back what a stage has learnt; what it did not touch stays."""
    state = CheckpointFiles().load_checkpoint(path)["state_dict"]
    parts = {"matcher.": matcher}
    if isinstance(objective, nn.Module):
        parts["objective."] = objective
    for prefix, part in parts.items():
        own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        there = part.state_dict()
        wrong = [key for key, value in own.items() if key not in there or there[key].shape != value.shape]
        if wrong:
            raise WeightsError(
                f"{path}: expected weights of this matcher, got others ({', '.join(wrong[:3])}); train the same "
                "product with the same settings"
            )
        part.load_state_dict(own, strict=False)


def _take_over(other: TrainingFolder, matcher: nn.Module, objective: object) -> None:
    finished = other.finished()
    if not finished:
        raise ConfigError(f"{other.path}: expected a training with a finished stage to start from, got none")
    for name in finished:
        _restore(other.checkpoint(name), matcher, objective)
    logger.info("weights of %s, after its stages %s", other.path, ", ".join(finished))


@contextmanager
def _quiet() -> Generator[None]:
    """Leave out what Lightning says about itself; its warnings stay, but for some that help nobody."""
    speaker = logging.getLogger("lightning.pytorch")
    level = speaker.level
    speaker.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # How many workers there are is the user's choice, and what is frozen the stage's.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
            # Between Lightning and torch; nothing of ours takes part.
            warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated.*", category=FutureWarning)
            yield
    finally:
        speaker.setLevel(level)
