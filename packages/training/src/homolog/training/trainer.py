"""Run a recipe: its stages in order, each starting from the weights of the one before."""

import logging
import signal
import time
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn

from homolog.core.atomic import write_json
from homolog.core.device import choose_device
from homolog.core.errors import ConfigError, WeightsError
from homolog.training.callbacks import (
    METRICS,
    CheckpointCallback,
    Progress,
    ProgressCallback,
    make_logger,
    write_metrics,
)
from homolog.training.checkpoints import (
    FINISHED,
    SafetensorsCheckpointIO,
    TrainingFolder,
    check_exported,
    export,
    part_of,
)
from homolog.training.data import StageData, mixed_seed
from homolog.training.distributed import ShardedStrategy
from homolog.training.module import MatcherModule
from homolog.training.recipe import Recipe
from homolog.training.stage import freeze
from homolog.training.validation import ValidationCallback

logger = logging.getLogger(__name__)

FSDP = "fsdp"
"""`trainer.strategy` that selects our sharded strategy; the checkpoints of Lightning's are pickles."""


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

    All random numbers depend only on the recipe's seed and the number of the step. A training that was killed
    and resumed therefore ends with the same weights as an uninterrupted one, bit by bit on a CPU.

    Args:
        recipe: the recipe.
        matcher: built from the recipe's product and settings; trained in place.
        out: folder of the results, with a folder for each stage.
        config: the recipe as plain values; it must equal that of the folder when resuming.
        facts: further entries of `training.json`: commit, versions, hardware.
        stages: names of the stages to run; None runs all.
        start: folder of another training whose finished stages provide the initial weights.
        resume: resume the training in `out`: finished stages are skipped, the next one continues from its last
            checkpoint.
        device: `auto`, `cpu`, `cuda` and so on; `recipe.trainer` may add the number of devices.
        workers: number of processes that load data; 0 loads it in this process.
        progress: called after every batch.

    Returns:
        The folders of the requested stages; an empty list in all processes but the first.

    Raises:
        ConfigError: the recipe does not fit the matcher or the strategy, or the folder belongs to another
            training.
        DataError: missing data.
        TrainingError: a loss or gradient that is not finite.
    """
    selected = recipe.select(stages)
    for name in selected:
        check_exported(freeze(matcher, recipe.stages[name].trainable), recipe.parts, name)
    for part in recipe.parts:
        part_of(matcher, part)
    folder = TrainingFolder(out)
    record = {"config": {**(config or {}), "from": None if start is None else str(start)}, **(facts or {})}
    if _is_first():  # the other processes find the folder ready
        folder.begin(record, list(recipe.stages), resume=resume)
    if start is not None:
        finished = TrainingFolder(start).finished()
        if not finished:
            raise ConfigError(f"{start}: expected a training with a finished stage to start from, got none")
        for name in finished:
            _restore(TrainingFolder(start).checkpoint(name), matcher, recipe.objective)
        logger.info("loaded the weights of %s after stages %s", start, ", ".join(finished))
    done = [name for name in recipe.stages if folder.is_finished(name)]
    for name in recipe.stages:
        if name in done:
            _restore(folder.checkpoint(name), matcher, recipe.objective)
        elif name in selected:
            _run(recipe, name, matcher, folder, device=device, workers=workers, progress=progress)
    return [folder.stage(name) for name in selected] if _is_first() else []


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
    # Sharding cannot be undone: train a copy.
    trained, objective = deepcopy((matcher, recipe.objective)) if sharded else (matcher, recipe.objective)
    module = MatcherModule(
        matcher=trained, objective=objective, stage=stage, seed=seed, failures=here / "failures"
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
    with _quiet(), recipe.cache.serving(trained) if recipe.cache else nullcontext():
        trainer = _trainer(
            recipe, name, here, device, _callbacks(recipe, name, trained, checkpoint, progress)
        )
        _fit(trainer, module, data, checkpoint if checkpoint.is_file() else None)
    if sharded:
        _restore(checkpoint, matcher, recipe.objective)
    if trainer.is_global_zero:
        write_metrics(here / "logs", here / METRICS)
        export(matcher, recipe.parts, here, name=recipe.matcher, settings=recipe.settings)
        seconds = round(time.perf_counter() - begin, 1)
        # Written last: it marks the stage as finished.
        write_json(here / FINISHED, {"steps": stage.steps, "seconds_of_last_run": seconds, "seed": seed})


def _callbacks(
    recipe: Recipe, name: str, matcher: nn.Module, checkpoint: Path, progress: Progress | None
) -> list[pl.Callback]:
    callbacks: list[pl.Callback] = []
    held_out: Mapping[str, Tensor] = {}
    if recipe.validation is not None:
        if recipe.validation.keep_best and recipe.trainer.get("strategy") == FSDP:
            raise ConfigError(
                "validation.keep_best: expected unsharded weights, got trainer.strategy=fsdp; set validation.keep_best=false or trainer.strategy=ddp"
            )
        save_best = partial(export, matcher, recipe.parts, name=recipe.matcher, settings=recipe.settings)
        # The recipe's seed: all stages use the same samples, so their values can be compared.
        validator = ValidationCallback(
            recipe.validation, size=recipe.image_size, seed=recipe.seed, save_best=save_best
        )
        callbacks.append(validator)
        held_out = validator.values
    # After the validation: a checkpoint implies that its step was validated.
    callbacks.append(CheckpointCallback(checkpoint, every=recipe.checkpoint_every))
    if progress is not None:
        callbacks.append(ProgressCallback(progress, stage=name, extra=held_out))
    return callbacks


def _trainer(recipe: Recipe, name: str, here: Path, device: str, callbacks: list[pl.Callback]) -> pl.Trainer:
    stage, place = recipe.stages[name], choose_device(device)
    given: dict[str, Any] = {
        "accelerator": "gpu" if place.type == "cuda" else place.type,
        "devices": [place.index] if ":" in str(place) else 1,
        **{name: value for name, value in recipe.trainer.items() if value is not None},
    }
    if given.get("strategy") == FSDP:
        given["strategy"] = ShardedStrategy()
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
        plugins=[SafetensorsCheckpointIO()],
        default_root_dir=here,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _fit(trainer: pl.Trainer, module: MatcherModule, data: StageData, checkpoint: Path | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint)
    except SystemExit as stop:
        # Lightning turns an interruption into an exit, and ignores further ones.
        signal.signal(signal.SIGINT, handler)
        if trainer.interrupted:
            raise KeyboardInterrupt from stop
        raise


def _restore(path: Path, matcher: nn.Module, objective: object) -> None:
    """Load what a stage has trained; all other weights stay."""
    state = SafetensorsCheckpointIO().load_checkpoint(path)["state_dict"]
    parts = {"matcher.": matcher}
    if isinstance(objective, nn.Module):
        parts["objective."] = objective
    for prefix, part in parts.items():
        own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        current = part.state_dict()
        wrong = [key for key, value in own.items() if key not in current or current[key].shape != value.shape]
        if wrong:
            raise WeightsError(
                f"{path}: expected weights of this matcher, got others ({', '.join(wrong[:3])}); train the same "
                "product with the same settings"
            )
        part.load_state_dict(own, strict=False)


@contextmanager
def _quiet() -> Generator[None]:
    """Silence Lightning's messages about itself, and warnings that do not apply here."""
    messages = logging.getLogger("lightning.pytorch")
    level = messages.level
    messages.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # The number of workers is the user's choice, and frozen parts are the stage's.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
            # Between Lightning and torch; not caused by our code.
            warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated.*", category=FutureWarning)
            yield
    finally:
        messages.setLevel(level)
