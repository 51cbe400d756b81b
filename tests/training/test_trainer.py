"""What a training does, and what it leaves."""

import json
import shlex
import signal
import sys
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest
import torch
from lightning.pytorch import loggers
from safetensors.torch import load_file

from homolog.core.errors import ConfigError, MissingDependencyError
from homolog.training.callbacks import make_logger
from homolog.training.checkpoints import SafetensorsCheckpointIO
from homolog.training.module import TrainingError
from homolog.training.objectives.dense import DenseObjective
from homolog.training.trainer import fit
from homolog.training.validation import Validation
from homolog.zoo import load_matcher
from homolog.zoo.build import build, resolved
from homolog.zoo.compose import compose


def learnt(matcher):
    return {name: value.clone() for name, value in matcher.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_training_leaves_weights_words_numbers_and_a_record(tmp_path, make_matcher, make_recipe):
    matcher = make_matcher()
    told = []
    folders = fit(
        make_recipe(),
        matcher,
        tmp_path / "run",
        config={"seed": 0},
        facts={"commit": "abc"},
        device="cpu",
        progress=lambda *step: told.append(step[:3]),
    )
    assert folders == [tmp_path / "run/first", tmp_path / "run/second"]
    assert told[0] == ("first", 1, 4)
    assert told[-1] == ("second", 4, 4)
    record = json.loads((tmp_path / "run/training.json").read_text())
    assert record["commit"] == "abc"
    assert record["stages"] == ["first", "second"]
    rows = (folders[1] / "metrics.csv").read_text().splitlines()
    assert set(rows[0].split(",")) >= {
        "step",
        "loss",
        "terms/dense",
        "terms/smoothness",
        "gradient_norm",
        "learning_rate",
    }
    assert len(rows) == 5
    words = shlex.split((folders[1] / "overrides.txt").read_text())
    loaded = load_matcher(words[0].removeprefix("matcher="), *words[1:], device="cpu")
    assert same(learnt(loaded), learnt(matcher))
    assert not same(load_file(folders[0] / "head.safetensors"), load_file(folders[1] / "head.safetensors"))


def test_a_stage_starts_from_the_weights_of_the_one_before_wherever_they_are_and_whoever_reads_the_data(
    tmp_path, make_matcher, make_recipe
):
    whole = make_matcher()
    fit(make_recipe(), whole, tmp_path / "whole", device="cpu")
    fit(make_recipe(), make_matcher(), tmp_path / "parts", stages=["first"], device="cpu")
    # What these began with does not count: the first stage's weights are taken from its folder.
    alone, later = make_matcher(seed=7), make_matcher(seed=8)
    fit(make_recipe(), alone, tmp_path / "alone", stages=["second"], start=tmp_path / "parts", device="cpu")
    fit(make_recipe(), later, tmp_path / "parts", resume=True, device="cpu", workers=1)
    assert same(learnt(alone), learnt(whole))
    assert same(learnt(later), learnt(whole))


def test_what_was_interrupted_goes_on_to_the_same_weights(tmp_path, make_matcher, make_recipe):
    class StopError(Exception):
        pass

    def stop(stage, step, steps, values):
        if (stage, step) == ("second", 3):
            raise StopError

    whole, again = make_matcher(), make_matcher()
    fit(make_recipe(), whole, tmp_path / "whole", device="cpu")
    with pytest.raises(StopError):
        fit(make_recipe(), again, tmp_path / "run", device="cpu", progress=stop)
    again, told = make_matcher(), []
    fit(
        make_recipe(),
        again,
        tmp_path / "run",
        resume=True,
        device="cpu",
        progress=lambda *step: told.append(step[:2]),
    )
    assert told == [("second", 3), ("second", 4)]
    assert same(learnt(again), learnt(whole))
    steps = [row.split(",")[0] for row in (tmp_path / "run/second/metrics.csv").read_text().splitlines()]
    assert steps == ["step", "0", "1", "2", "3"]


def test_several_batches_of_a_step_are_resumed_too(tmp_path, make_matcher, make_recipe):
    def recipe():
        made = make_recipe()
        return make_recipe(stages={"only": replace(made.stages["first"], accumulate=2)})

    def stop(stage, step, steps, values):
        if step == 3:
            raise KeyError

    whole, again = make_matcher(), make_matcher()
    fit(recipe(), whole, tmp_path / "whole", device="cpu")
    with pytest.raises(KeyError):
        fit(recipe(), make_matcher(), tmp_path / "run", device="cpu", progress=stop)
    fit(recipe(), again, tmp_path / "run", resume=True, device="cpu")
    assert same(learnt(again), learnt(whole))


def test_a_folder_is_not_written_to_twice_nor_by_another_recipe(tmp_path, make_matcher, make_recipe):
    fit(
        make_recipe(),
        make_matcher(),
        tmp_path,
        config={"seed": 0, "size": [32, 32]},
        stages=["first"],
        device="cpu",
    )
    with pytest.raises(ConfigError, match="--resume"):
        fit(make_recipe(), make_matcher(), tmp_path, config={"seed": 0, "size": [32, 32]}, device="cpu")
    with pytest.raises(ConfigError, match="seed was 0 and is 1, size was"):
        fit(
            make_recipe(),
            make_matcher(),
            tmp_path,
            config={"seed": 1, "size": [64, 64]},
            resume=True,
            device="cpu",
        )


def test_only_sources_of_stages_that_run_are_made(tmp_path, make_matcher, make_recipe, shifts):
    def absent():
        raise AssertionError

    made = make_recipe()
    stages = {**made.stages, "third": replace(made.stages["first"], data={"far": 1.0})}
    recipe = make_recipe(stages=stages, sources={"shifts": shifts, "far": absent})
    fit(recipe, make_matcher(), tmp_path, stages=["first"], device="cpu")


def test_nothing_learns_that_would_not_be_exported(tmp_path, make_matcher, make_recipe):
    with pytest.raises(ConfigError, match=r"stage first: backbone.* is in none of the exported parts head"):
        fit(make_recipe(parts=["head"]), make_matcher(), tmp_path, device="cpu")
    with pytest.raises(ConfigError, match="the matcher has no hand"):
        fit(make_recipe(parts=["head", "backbone", "hand"]), make_matcher(), tmp_path, device="cpu")
    assert not list(tmp_path.iterdir())


class Spoilt(DenseObjective):
    """From some step on, the loss is not finite, or only its gradient."""

    def __init__(self, *, after, what):
        super().__init__()
        self.after, self.what, self.calls = after, what, 0

    def forward(self, matcher, batch, step):
        terms = super().forward(matcher, batch, step)
        self.calls += 1
        if self.calls <= self.after:
            return terms
        if self.what == "loss":
            return {name: value * torch.nan for name, value in terms.items()}
        zero = torch.stack([parameter.sum() * 0 for parameter in matcher.parameters()]).sum()
        return {name: value + zero.sqrt() for name, value in terms.items()}


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_numbers_that_are_not_finite_end_the_training_with_the_batch_and_without_a_checkpoint(
    what, tmp_path, make_matcher, make_recipe
):
    matcher = make_matcher()
    with pytest.raises(TrainingError) as caught:
        fit(make_recipe(objective=Spoilt(after=3, what=what)), matcher, tmp_path, device="cpu")
    assert f"step 3: expected a finite {what}" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    batch = load_file(tmp_path / "first/failures/step3.safetensors")
    assert batch["images"].shape == (2, 2, 3, 32, 32)
    assert SafetensorsCheckpointIO().load_checkpoint(tmp_path / "first/last.safetensors")["global_step"] == 2
    assert all(parameter.isfinite().all() for parameter in matcher.parameters())
    assert not (tmp_path / "first/finished.json").exists()
    # Mended, it goes on to the end.
    fit(make_recipe(), make_matcher(), tmp_path, resume=True, device="cpu")
    assert (tmp_path / "second/finished.json").exists()


def test_an_interruption_is_one_and_leaves_interruptions_possible(tmp_path, make_matcher, make_recipe):
    def interrupt(stage, step, steps, values):
        if step == 3:
            raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(make_recipe(), make_matcher(), tmp_path, device="cpu", progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is handler
    assert (tmp_path / "first/last.safetensors").is_file()


def test_frozen_weights_are_not_in_the_checkpoint(tmp_path, make_matcher, make_recipe):
    made = make_recipe()
    stages = {"first": replace(made.stages["first"], trainable=["head.*"])}
    matcher = make_matcher()
    before = {name: value.clone() for name, value in matcher.backbone.state_dict().items()}
    fit(make_recipe(stages=stages), matcher, tmp_path, device="cpu")
    kept = SafetensorsCheckpointIO().load_checkpoint(tmp_path / "first/last.safetensors")["state_dict"]
    parameters = {name for name, _ in matcher.named_parameters()}
    assert {name for name in kept if name.removeprefix("matcher.") in parameters} == {
        f"matcher.head.{name}" for name, _ in matcher.head.named_parameters()
    }
    assert all(torch.equal(before[name], value) for name, value in matcher.backbone.state_dict().items())


def logger_of(name, *words):
    """As the command makes it."""
    config = compose("train", ["recipe=mini_dense", f"+logger@loggers.board={name}", *words])
    return build(resolved(config)["loggers"]["board"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what TensorBoard is made of
def test_tensorboard_has_every_number_of_the_table(tmp_path, make_matcher, make_recipe, shifts):
    pytest.importorskip("tensorboard", reason="pip install homolog-training[tensorboard]")
    held_out = Validation(source=lambda: shifts(2, seed=9), pairs=2, every=2)
    recipe = make_recipe(loggers={"board": logger_of("tensorboard")}, validation=held_out)
    fit(recipe, make_matcher(), tmp_path, device="cpu")
    written = list((tmp_path / "second").rglob("events.out.tfevents.*"))
    assert len(written) == 1
    reading = import_module("tensorboard.backend.event_processing.event_accumulator")
    events = reading.EventAccumulator(str(written[0].parent)).Reload()
    tags = set(events.Tags()["scalars"])
    assert {
        "loss",
        "terms/dense",
        "terms/smoothness",
        "gradient_norm",
        "learning_rate",
        "valid/dense",
    } <= tags
    table = [line.split(",") for line in (tmp_path / "second/metrics.csv").read_text().splitlines()]
    column = table[0].index("terms/dense")
    found = {event.step: event.value for event in events.Scalars("terms/dense")}
    assert found == {int(row[0]): pytest.approx(float(row[column]), rel=1e-6) for row in table[1:]}
    assert [event.step for event in events.Scalars("valid/dense")] == [1, 3]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of what Weights & Biases is made of
def test_weights_and_biases_writes_offline(tmp_path, make_matcher, make_recipe, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="pip install homolog-training[wandb]")
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    stages = {"only": make_recipe().stages["first"]}
    recipe = make_recipe(stages=stages, loggers={"board": logger_of("wandb", "+loggers.board.offline=true")})
    fit(recipe, make_matcher(), tmp_path / "run", device="cpu")
    summary = {name: wandb.run.summary[name] for name in ("loss", "terms/keypoint", "trainer/global_step")}
    wandb.finish()
    assert summary["trainer/global_step"] == 3
    last = (tmp_path / "run/only/metrics.csv").read_text().splitlines()
    column = last[0].split(",").index("terms/keypoint")
    assert summary["terms/keypoint"] == pytest.approx(float(last[-1].split(",")[column]), rel=1e-6)
    assert list((tmp_path / "run/only").rglob("*.wandb"))


@pytest.mark.parametrize(
    ("module", "flags", "name", "pip"),
    [
        ("tensorboard", ("_TENSORBOARD_AVAILABLE", "_TENSORBOARDX_AVAILABLE"), "tensorboard", "tensorboard"),
        ("wandb", ("_WANDB_AVAILABLE",), "wandb", "wandb"),
    ],
)
def test_a_logger_whose_package_is_absent_says_the_pip_line(module, flags, name, pip, tmp_path, monkeypatch):
    # What Lightning asks when such a logger is made.
    for part in ("fabric", "pytorch"):
        place = sys.modules.get(f"lightning.{part}.loggers.{module}")
        for flag in flags:
            if hasattr(place, flag):
                monkeypatch.setattr(place, flag, False)
    with pytest.raises(MissingDependencyError, match=rf"pip install 'homolog-training\[{pip}\]'") as caught:
        make_logger(logger_of(name), tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_any_other_logger_of_lightning_may_be_taken(tmp_path):
    made = make_logger(partial(loggers.CSVLogger, name="more"), tmp_path)
    assert Path(made.log_dir).is_relative_to(tmp_path)
    assert Path(made.log_dir).parent.name == "more"
