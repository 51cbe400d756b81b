"""Lightning's loggers beside the table: the real ones, where they are installed."""

import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest
from lightning.pytorch import loggers

from homolog.core.errors import MissingDependencyError
from homolog.training.fit import fit
from homolog.training.loggers import make_logger
from homolog.training.validation import Validation
from homolog.zoo.build import build, resolved
from homolog.zoo.compose import compose


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
