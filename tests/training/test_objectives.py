"""The objectives of products composed from YAML."""

from dataclasses import replace

import pytest
import torch

from homolog.core.errors import ConfigError, DataError
from homolog.training.batch import collate
from homolog.training.map_cache import MapCache
from homolog.training.objectives.base import Objective, Step
from homolog.training.objectives.dense import DenseObjective
from homolog.training.objectives.fusion import FusionObjective
from homolog.training.objectives.graph_matcher import GraphMatcherObjective
from homolog.training.objectives.semidense import SemidenseObjective
from homolog.training.stage import freeze
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
    for objective in (DenseObjective(), FusionObjective(), GraphMatcherObjective(), SemidenseObjective()):
        assert isinstance(objective, Objective)
        assert objective.terms


def test_the_dense_objective_returns_the_wanted_terms_only(shifts, dense_matcher, encoder):
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
    of_the_paper = ("contrastive", "flow", "dual_softmax")  # the others need a joint map
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


def test_a_graph_matcher_learns_from_homographies_at_the_size_that_networks_see(shifts):
    matcher = made("matcher=mini_omniglue", "head.layers=1", "head.iterations=5")
    freeze(matcher, ["head.*"])
    objective = GraphMatcherObjective(keypoints=48)
    batch = collate([shifts(size=96)[index] for index in range(2)], size=(128, 160))
    loss = objective(matcher, batch, step("assignment"))["assignment"]
    found = gradients(matcher, loss)
    assert loss.item() > 0
    assert all(name.startswith("head") and value.isfinite().all() for name, value in found.items())
    with torch.no_grad():
        fewer = objective(matcher, batch, step("assignment", keypoints=8))["assignment"]
    assert fewer.item() != loss.item()


def test_a_graph_matcher_labels_the_matches_that_a_homography_makes(shifts):
    batch = collate([shifts(size=32)[5]], size=(64, 96))
    truth = GraphMatcherObjective().labeller.label(batch.samples[0], batch.xy0[0], batch.xy1[0].flip(0))
    assert truth.matches0.tolist() == [4, 3, 2, 1, 0]


def test_a_graph_matcher_names_the_pair_that_it_cannot_label(shifts):
    matcher = made("matcher=mini_omniglue", "head.layers=1", "head.iterations=2")
    batch = collate([shifts(size=96, semantic=True)[0]], size=(96, 96))
    with pytest.raises(DataError, match="shift-0: expected a homography"):
        GraphMatcherObjective(keypoints=8)(matcher, batch, step("assignment"))


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
    ("objective", "message"),
    [
        (GraphMatcherObjective(), "an? AssignmentHead for this objective, got one with the head DenseGrid"),
        (SemidenseObjective(), "a CoarseToFineHead for this objective, got one with the head DenseGrid"),
    ],
)
def test_a_matcher_that_does_not_fit_the_objective_is_rejected(objective, message, shifts, dense_matcher):
    with pytest.raises(ConfigError, match=message):
        objective(dense_matcher, collate([shifts()[0]], size=(32, 32)), step(*objective.terms))
    with pytest.raises(ConfigError, match="a DenseHead for this objective, got one with no head"):
        DenseObjective()(torch.nn.Module(), collate([shifts()[0]], size=(32, 32)), step("dense"))


UNION = (
    "matcher=mini_fusion",
    "fusion@backbone.fusion=mini_union",
    "backbone.keep=[joint,semantic,geometric,semantic_input,geometric_input,joint_input]",
    "backbone.fusion.checkpoint=null",
)


def fixed_backbone(features):
    """A matcher whose backbone returns the same features for all images."""

    class Fixed(torch.nn.Module):
        multiple, channels, joint = 8, {}, False

        def forward(self, images):
            return features

    matcher = torch.nn.Module()
    matcher.backbone = Fixed()
    return matcher


@pytest.fixture(scope="module")
def matcher():
    torch.manual_seed(0)
    matcher = build(compose("match", UNION))
    freeze(matcher, ["backbone.fusion.*"])
    return matcher


def test_each_kind_of_pair_has_its_own_joint_terms(shifts, matcher):
    objective = FusionObjective(points=16)
    kinds = [shifts(size=64, semantic=True)[0], shifts(size=64)[1]]
    semantic, geometric = (
        objective(matcher, collate([pair], size=(64, 64)), step(*objective.terms)) for pair in kinds
    )
    assert [name for name in semantic if semantic[name] > 0] == [
        "contrastive",
        "flow",
        "joint_contrastive",
        "joint_flow",
    ]
    assert [name for name in geometric if geometric[name] > 0] == [
        "dual_softmax",
        "joint_softmax",
        "joint_transfer",
    ]
    # Untrained, nothing was added to either map.
    assert semantic["anchor"].item() == pytest.approx(0, abs=1e-6)
    assert semantic["similarity"].item() == 0


def test_anchor_is_how_far_the_cosines_fell(shifts, matcher):
    batch = collate([shifts(size=64)[0], shifts(size=64)[1]], size=(64, 64))
    features = matcher.backbone(batch.images)
    sign = {"semantic": -1.0, "geometric": 1.0}
    for name, factor in sign.items():
        features.maps[name] = factor * 3 * features[f"{name}_input"]

    anchor = FusionObjective()(fixed_backbone(features), batch, step("anchor"))["anchor"]
    assert anchor.item() == pytest.approx(2, abs=1e-5)


def test_similarity_is_0_before_training_and_measures_only_changes_between_images(shifts, matcher):
    batch = collate([shifts(size=64)[0], shifts(size=64)[1]], size=(64, 64))
    features = matcher.backbone(batch.images)
    objective = FusionObjective(points=64)

    def similarity():
        return objective(fixed_backbone(features), batch, step("similarity"))["similarity"].item()

    assert similarity() == pytest.approx(0, abs=1e-5)
    # Turning all features alike changes no cosine; turning those of one photo changes what resembles what.
    turn, _ = torch.linalg.qr(torch.randn(176, 176, generator=torch.Generator().manual_seed(2)))
    features.maps["joint"] = torch.einsum("dc,bvchw->bvdhw", turn, features["joint_input"])
    assert similarity() == pytest.approx(0, abs=1e-4)
    features.maps["joint"][1] = features["joint_input"][1]
    assert similarity() > 0.1
    alone = collate([shifts(size=64)[0]], size=(64, 64))
    assert objective(matcher, alone, step("similarity"))["similarity"].item() == 0


def test_semantic_points_come_from_dense_labels_on_request(shifts, matcher):
    pair = shifts(size=64, semantic=True)[0]
    batch = collate([pair], size=(64, 64))
    bare = collate([replace(pair, xy0=None, xy1=None)], size=(64, 64))
    dense, keypoints = FusionObjective(points=16, semantic_points=16), FusionObjective(points=16)
    wanted = step("joint_flow")
    found = dense(matcher, batch, wanted)["joint_flow"]
    assert found.item() == pytest.approx(dense(matcher, bare, step("joint_flow"))["joint_flow"].item())
    assert found.item() != pytest.approx(keypoints(matcher, batch, step("joint_flow"))["joint_flow"].item())


def test_cached_maps_give_the_terms_and_gradients_that_computed_ones_give(shifts, matcher):
    objective = FusionObjective(points=16)
    batch = collate([shifts(size=64)[0], shifts(size=64, semantic=True)[1]], size=(64, 64))

    def asked():
        matcher.zero_grad()
        terms = objective(matcher, batch, step("joint_softmax", "joint_contrastive"))
        torch.stack(list(terms.values())).sum().backward()
        return terms, matcher.backbone.fusion.direct.weight.grad.clone()

    terms, gradient = asked()
    cache = MapCache(parts=["backbone.backbone"])
    with cache.serving(matcher):
        asked()
        again, cached = asked()
    assert cache.computed == 4
    for name, value in terms.items():
        assert again[name].item() == pytest.approx(value.item(), rel=2e-3)
    torch.testing.assert_close(cached, gradient, rtol=0.02, atol=2e-3)
