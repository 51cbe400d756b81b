"""Stages in order, resuming, and what is left in the folder."""

import json
import shlex
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from homolog.core.errors import ConfigError
from homolog.training.fit import fit
from homolog.zoo import load_matcher


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
    with pytest.raises(ConfigError, match=r"stage first: backbone.* is in none of the parts head"):
        fit(make_recipe(parts=["head"]), make_matcher(), tmp_path, device="cpu")
    with pytest.raises(ConfigError, match="the matcher has no hand"):
        fit(make_recipe(parts=["head", "backbone", "hand"]), make_matcher(), tmp_path, device="cpu")
    assert not list(tmp_path.iterdir())
