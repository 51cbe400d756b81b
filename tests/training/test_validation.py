"""Held-out samples: what is logged of them, and that the training does not notice."""

import csv
import json
import shlex
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from homolog.core.errors import ConfigError
from homolog.training.batch import collate
from homolog.training.data import mixed_seed
from homolog.training.objectives.base import Step
from homolog.training.objectives.dense import DenseObjective
from homolog.training.trainer import fit
from homolog.training.validation import Validation
from homolog.zoo import load_matcher


class HeldOut:
    """Other shifts than those that are learnt from, in numbers that fill no batches."""

    def __init__(self, shifts, count=5):
        self.pairs, self.asked = shifts(count, seed=9), []

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        self.asked.append(index)
        return self.pairs[index]


class Careless(DenseObjective):
    """Draws from whatever draws."""

    def forward(self, matcher, batch, step):
        self.seen = [matcher.training, torch.is_grad_enabled()]
        found = super().forward(matcher, batch, step)
        noise = torch.rand(()) + torch.rand((), generator=step.generator)
        return {name: value * (1 + 0.01 * noise) for name, value in found.items()}


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def learnt(matcher):
    return {name: value.clone() for name, value in matcher.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def held_out(shifts):
    def make(**changes):
        plain: dict[str, Any] = {"source": lambda: HeldOut(shifts), "pairs": 3, "every": 3}
        return Validation(**{**plain, **changes})

    return make


def test_terms_of_held_out_pairs_stand_in_the_row_of_the_step_they_came_after(
    tmp_path, make_matcher, make_recipe, held_out
):
    told = []
    recipe = make_recipe(validation=held_out(), objective=Careless())
    matcher = make_matcher()
    fit(recipe, matcher, tmp_path, device="cpu", progress=lambda *step: told.append(step))
    found = rows(tmp_path / "second/metrics.csv")
    assert [row["step"] for row in found] == ["0", "1", "2", "3"]
    assert [bool(row["valid/dense"]) for row in found] == [False, False, True, True]  # every 3, and the last
    assert all(row["terms/dense"] for row in found)
    assert recipe.objective.seen == [False, False]
    # The last numbers again, by hand, from what was exported.
    words = shlex.split((tmp_path / "second/overrides.txt").read_text())
    again: Any = load_matcher(words[0].removeprefix("matcher="), *words[1:], device="cpu")
    again.eval()
    source = recipe.validation.source()
    chosen = sorted(np.random.default_rng(np.random.SeedSequence(0)).permutation(5)[:3].tolist())
    sums = {"dense": 0.0, "smoothness": 0.0}
    for number, part in enumerate((chosen[:2], chosen[2:])):
        seed = mixed_seed(0, number)
        torch.manual_seed(seed)
        step = Step(wanted=list(sums), generator=torch.Generator().manual_seed(seed), options={})
        with torch.no_grad():
            terms = Careless()(again, collate([source[index] for index in part], size=(32, 32)), step)
        for name in sums:
            sums[name] += float(terms[name]) * len(part) / 3
    for name, value in sums.items():
        assert float(found[-1][f"valid/{name}"]) == pytest.approx(value, rel=1e-6)
    total = 10.0 * sums["dense"] + 0.1 * sums["smoothness"]
    assert float(found[-1]["valid/loss"]) == pytest.approx(total, rel=1e-6)
    # And on the bar, from the first look on.
    shown = [set(step[3]) for step in told if step[0] == "second"]
    assert ["valid/dense" in names for names in shown] == [False, False, True, True]


def test_a_training_does_not_notice_that_something_was_held_out(
    tmp_path, make_matcher, make_recipe, held_out
):
    without, beside = make_matcher(), make_matcher()
    states = []
    for number, (matcher, validation) in enumerate(((without, None), (beside, held_out(every=1)))):
        torch.manual_seed(5)
        recipe = make_recipe(validation=validation, objective=Careless())
        fit(recipe, matcher, tmp_path / str(number), device="cpu")
        states.append(torch.rand(3))
        assert recipe.objective.seen[1] is (validation is None)
    assert same(learnt(without), learnt(beside))
    assert torch.equal(*states)
    terms = [
        [row["terms/dense"] for row in rows(tmp_path / name / "second/metrics.csv")] for name in ("0", "1")
    ]
    assert terms[0] == terms[1]


def test_every_look_sees_the_same_pairs_and_frozen_statistics_stay(tmp_path, make_recipe, shifts):
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))

        def forward(self, images):
            return self.head(images)

    class Mean(nn.Module):
        terms = ("keypoint", "dense", "smoothness")

        def forward(self, matcher, batch, step):
            return {name: matcher(batch.images[:, 0]).square().mean() for name in step.wanted}

    sources = []

    def source():
        sources.append(HeldOut(shifts))
        return sources[-1]

    found = []
    for number, every in enumerate((1, 100)):
        torch.manual_seed(0)
        matcher = Normed()
        validation = Validation(source=source, pairs=3, every=every)
        recipe = make_recipe(objective=Mean(), parts=["head"], validation=validation)
        fit(recipe, matcher, tmp_path / str(number), device="cpu")
        assert matcher.training
        found.append(learnt(matcher))
    assert same(*found)  # running means of the held-out pairs are not among those of the others
    assert (
        sources[0].asked == sources[1].asked == sources[0].asked[:3] * 4
    )  # one source a stage, four steps each


@pytest.mark.parametrize("every", [1, 2])
def test_what_was_interrupted_goes_on_to_the_same_weights_and_the_same_table(
    tmp_path, make_matcher, make_recipe, held_out, every
):
    class StopError(Exception):
        pass

    def stop(stage, step, steps, values):
        if (stage, step) == ("second", 3):
            raise StopError

    def recipe():
        return make_recipe(validation=held_out(every=every, keep_best=True), objective=Careless())

    whole, again = make_matcher(), make_matcher()
    fit(recipe(), whole, tmp_path / "whole", device="cpu")
    with pytest.raises(StopError):
        fit(recipe(), make_matcher(), tmp_path / "run", device="cpu", progress=stop)
    fit(recipe(), again, tmp_path / "run", resume=True, device="cpu")
    assert same(learnt(again), learnt(whole))
    for name in ("second/metrics.csv", "second/best/best.json"):
        assert (tmp_path / "run" / name).read_text() == (tmp_path / "whole" / name).read_text()


def test_the_best_weights_are_those_of_the_lowest_loss_and_not_of_the_last_step(
    tmp_path, make_matcher, make_recipe, held_out
):
    class Rising(DenseObjective):
        looks = 0

        def forward(self, matcher, batch, step):
            found = super().forward(matcher, batch, step)
            if torch.is_grad_enabled():
                return found
            self.looks += 1
            # Of the second look on, worse and worse, then no number at all.
            shown = [2.0, 1.0, 3.0, float("nan")][(self.looks - 1) // 2]
            return {name: value * 0 + shown for name, value in found.items()}

    stages = {"only": make_recipe().stages["first"]}
    recipe = make_recipe(stages=stages, objective=Rising(), validation=held_out(every=1, keep_best=True))
    seen = []
    matcher = make_matcher()
    fit(
        recipe,
        matcher,
        tmp_path,
        device="cpu",
        progress=lambda *step: seen.append(learnt(matcher)),
    )
    best = tmp_path / "only/best"
    assert json.loads((best / "best.json").read_text()) == {"step": 2, "loss": pytest.approx(0.01)}
    words = shlex.split((best / "overrides.txt").read_text())
    kept = learnt(load_matcher(words[0].removeprefix("matcher="), *words[1:], device="cpu"))
    assert same(kept, seen[1])
    assert not same(kept, seen[3])


def test_validation_may_change_when_a_training_is_resumed_and_nonsense_is_refused(
    tmp_path, make_matcher, make_recipe, held_out, shifts
):
    fit(
        make_recipe(),
        make_matcher(),
        tmp_path,
        config={"seed": 0, "validation": None},
        stages=["first"],
        device="cpu",
    )
    config = {"seed": 0, "validation": {"pairs": 3}}
    recipe = make_recipe(validation=held_out())
    fit(recipe, make_matcher(), tmp_path, config=config, resume=True, device="cpu")
    assert (tmp_path / "second/finished.json").is_file()
    for wrong in ({"pairs": 0}, {"every": 0}):
        with pytest.raises(ConfigError, match="validation: expected pairs and every"):
            held_out(**wrong)
    empty = make_recipe(validation=held_out(source=lambda: HeldOut(shifts, 0)))
    with pytest.raises(ConfigError, match="validation: expected samples in its source"):
        fit(empty, make_matcher(), tmp_path / "empty", device="cpu")
