"""What each family of matchers learns from, on products composed from YAML."""

from dataclasses import replace

import pytest
import torch

from homolog.core.errors import ConfigError, DataError
from homolog.training.batch import collate
from homolog.training.objective import Objective, Step
from homolog.training.objectives.dense import DenseObjective
from homolog.training.objectives.fusion import FusionObjective
from homolog.training.objectives.glue import GlueObjective
from homolog.training.objectives.semidense import SemidenseObjective
from homolog.training.trainable import freeze
from homolog.zoo.build import build
from homolog.zoo.compose import compose


def step(*wanted, **options):
    return Step(wanted=wanted, generator=torch.Generator().manual_seed(0), options=options)


def made(*words):
    torch.manual_seed(0)
    return build(compose("match", words))


def gradients(matcher, loss):
    loss.backward()
    return {
        name: parameter.grad for name, parameter in matcher.named_parameters() if parameter.grad is not None
    }


@pytest.fixture(scope="module")
def encoder():
    return build(compose("backbone/efficientnet_lite0"))["backbone"]


def test_every_objective_names_its_terms():
    for objective in (DenseObjective(), FusionObjective(), GlueObjective(), SemidenseObjective()):
        assert isinstance(objective, Objective)
        assert objective.terms


def test_a_dense_matcher_is_given_the_terms_that_are_wanted_and_no_others(shifts, dense_matcher, encoder):
    objective = DenseObjective(encoder=encoder, map="blocks.4")
    batch = collate([shifts(size=32)[index] for index in range(2)], size=(32, 32))
    freeze(dense_matcher, ["*"])
    terms = objective(dense_matcher, batch, step(*objective.terms))
    assert set(terms) == set(objective.terms)
    assert all(value.isfinite() and value >= 0 for value in terms.values())
    # Squared pixels of a field that says the centre everywhere, at the keypoints of both images.
    apart = [(batch.xy0 - 15.5).square().sum(-1), (batch.xy1 - 15.5).square().sum(-1)]
    assert terms["keypoint"].item() == pytest.approx(torch.stack(apart).mean().item(), rel=0.02)
    assert set(objective(dense_matcher, batch, step("smoothness"))) == {"smoothness"}
    found = gradients(dense_matcher, terms["matching"])
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert any(name.startswith("head") and gradient.abs().max() > 0 for name, gradient in found.items())
    assert all(parameter.grad is None for parameter in encoder.parameters())


@pytest.mark.parametrize("error", ["truth", "reconstruction"])
def test_the_confidence_alone_learns_from_uncertainty(error, shifts, dense_matcher):
    freeze(dense_matcher, ["head.*"])
    batch = collate([shifts(size=32)[0]], size=(32, 32))
    terms = DenseObjective(error=error)(dense_matcher, batch, step("uncertainty"))
    terms["uncertainty"].backward()
    last = dense_matcher.head.decoder.last.weight.grad
    assert (last[:2] == 0).all()
    assert last[2].abs().max() > 0


def test_a_batch_is_the_mean_of_its_halves_whatever_truth_they_have(shifts, dense_matcher):
    freeze(dense_matcher, ["*"])
    objective, pairs = DenseObjective(), [shifts(size=32)[index] for index in range(3)]
    pairs.append(replace(pairs[0], dense0=None, dense1=None, xy0=None, xy1=None))
    terms = [
        objective(dense_matcher, collate(chosen, size=(32, 32)), step("dense", "keypoint", "smoothness"))
        for chosen in (pairs, pairs[:2], pairs[2:])
    ]
    for name, value in terms[0].items():
        assert value.item() == pytest.approx((terms[1][name] + terms[2][name]).item() / 2, rel=1e-5)


def test_matching_without_an_encoder_says_what_to_set(shifts, dense_matcher):
    batch = collate([shifts(size=32)[0]], size=(32, 32))
    with pytest.raises(ConfigError, match=r"set objective\.encoder"):
        DenseObjective()(dense_matcher, batch, step("matching"))


def test_a_fusion_learns_from_the_loss_of_each_kind_of_pair(shifts):
    matcher = made("matcher=mini_fusion")
    freeze(matcher, ["backbone.fusion.*"])
    objective = FusionObjective(points=16)
    of_the_paper = ("contrastive", "flow", "dual_softmax")  # the others are of a union
    pairs = [shifts(size=64, semantic=True)[0], shifts(size=64)[1]]
    terms = objective(matcher, collate(pairs, size=(64, 64)), step(*of_the_paper))
    assert set(terms) == set(of_the_paper)
    alone = objective(matcher, collate(pairs[:1], size=(64, 64)), step(*of_the_paper))
    # Divided by all pairs of the batch, of either kind.
    assert terms["flow"].item() == pytest.approx(alone["flow"].item() / 2, rel=1e-3)
    assert terms["contrastive"].item() == pytest.approx(alone["contrastive"].item() / 2, rel=1e-3)
    assert alone["dual_softmax"].item() == 0
    found = gradients(matcher, sum(terms.values()))
    assert found
    assert all(name.startswith("backbone.fusion") and value.isfinite().all() for name, value in found.items())
    assert objective.log_scale.grad is not None
    assert objective.log_scale.grad.item() != 0


def test_a_glue_learns_from_homographies_at_the_size_that_networks_see(shifts):
    matcher = made("matcher=mini_glue", "head.layers=1", "head.iterations=5")
    freeze(matcher, ["head.*"])
    objective = GlueObjective(keypoints=48)
    batch = collate([shifts(size=96)[index] for index in range(2)], size=(128, 160))
    loss = objective(matcher, batch, step("assignment"))["assignment"]
    found = gradients(matcher, loss)
    assert loss.item() > 0
    assert all(name.startswith("head") and value.isfinite().all() for name, value in found.items())
    with torch.no_grad():
        fewer = objective(matcher, batch, step("assignment", keypoints=8))["assignment"]
    assert fewer.item() != loss.item()


def test_a_glue_labels_the_matches_that_a_homography_makes(shifts):
    batch = collate([shifts(size=32)[5]], size=(64, 96))
    truth = GlueObjective().truth.of(batch.samples[0], batch.xy0[0], batch.xy1[0].flip(0))
    assert truth.matches0.tolist() == [4, 3, 2, 1, 0]


def test_a_glue_names_the_pair_that_it_cannot_label(shifts):
    matcher = made("matcher=mini_glue", "head.layers=1", "head.iterations=2")
    batch = collate([shifts(size=96, semantic=True)[0]], size=(96, 96))
    with pytest.raises(DataError, match="shift-0: expected a homography"):
        GlueObjective(keypoints=8)(matcher, batch, step("assignment"))


def test_a_semidense_matcher_learns_both_of_its_levels(shifts):
    matcher = made("matcher=mini_semidense")
    freeze(matcher, ["backbone.fusion.*", "head.*"])
    objective = SemidenseObjective(matches=16)
    batch = collate([shifts(size=64)[index] for index in range(2)], size=(64, 64))
    terms = objective(matcher, batch, step("coarse", "fine"))
    assert set(terms) == {"coarse", "fine"}
    found = gradients(matcher, terms["coarse"] + terms["fine"])
    assert all(value.isfinite().all() for value in found.values())
    for part in ("backbone.fusion", "head.project", "head.refine_with", "head.sharpness"):
        assert any(name.startswith(part) and value.abs().max() > 0 for name, value in found.items())
    assert set(objective(matcher, batch, step("fine"))) == {"fine"}


@pytest.mark.parametrize(
    ("objective", "told"),
    [
        (GlueObjective(), "an? AssigningHead for this objective, got one with the head DenseGrid"),
        (SemidenseObjective(), "a CellHead for this objective, got one with the head DenseGrid"),
    ],
)
def test_a_matcher_that_an_objective_cannot_teach_is_refused(objective, told, shifts, dense_matcher):
    with pytest.raises(ConfigError, match=told):
        objective(dense_matcher, collate([shifts()[0]], size=(32, 32)), step(*objective.terms))
    with pytest.raises(ConfigError, match="a DenseHead for this objective, got one with no head"):
        DenseObjective()(torch.nn.Module(), collate([shifts()[0]], size=(32, 32)), step("dense"))
