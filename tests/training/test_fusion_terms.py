"""The terms of the fusion's objective that are ours: of the union, and of staying close to the input."""

from dataclasses import replace

import pytest
import torch

from homolog.training.batch import collate
from homolog.training.map_cache import MapCache
from homolog.training.objective import Step
from homolog.training.objectives.fusion import FusionObjective
from homolog.training.trainable import freeze
from homolog.zoo.build import build
from homolog.zoo.compose import compose

WORDS = (
    "matcher=mini_fusion",
    "fusion@backbone.fusion=mini_union",
    "backbone.keep=[joint,semantic,geometric,semantic_input,geometric_input,joint_input]",
    "backbone.fusion.checkpoint=null",
)


def step(*wanted):
    return Step(wanted=wanted, generator=torch.Generator().manual_seed(0), options={})


def saying(features):
    """A matcher whose backbone says the same of all images."""

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
    matcher = build(compose("match", WORDS))
    freeze(matcher, ["backbone.fusion.*"])
    return matcher


def test_each_kind_of_pair_has_its_terms_of_the_union(shifts, matcher):
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
    assert semantic["kept"].item() == pytest.approx(0, abs=1e-6)
    assert semantic["likeness"].item() == 0


def test_kept_is_how_far_the_cosines_fell(shifts, matcher):
    batch = collate([shifts(size=64)[0], shifts(size=64)[1]], size=(64, 64))
    features = matcher.backbone(batch.images)
    sign = {"semantic": -1.0, "geometric": 1.0}
    for name, factor in sign.items():
        features.maps[name] = factor * 3 * features[f"{name}_input"]

    kept = FusionObjective()(saying(features), batch, step("kept"))["kept"]
    assert kept.item() == pytest.approx(2, abs=1e-5)


def test_likeness_is_nothing_before_training_and_sees_only_what_changes_between_photos(shifts, matcher):
    batch = collate([shifts(size=64)[0], shifts(size=64)[1]], size=(64, 64))
    features = matcher.backbone(batch.images)
    objective = FusionObjective(points=64)

    def likeness():
        return objective(saying(features), batch, step("likeness"))["likeness"].item()

    assert likeness() == pytest.approx(0, abs=1e-5)
    # Turning all features alike changes no cosine; turning those of one photo changes what resembles what.
    turn, _ = torch.linalg.qr(torch.randn(176, 176, generator=torch.Generator().manual_seed(2)))
    features.maps["joint"] = torch.einsum("dc,bvchw->bvdhw", turn, features["joint_input"])
    assert likeness() == pytest.approx(0, abs=1e-4)
    features.maps["joint"][1] = features["joint_input"][1]
    assert likeness() > 0.1
    alone = collate([shifts(size=64)[0]], size=(64, 64))
    assert objective(matcher, alone, step("likeness"))["likeness"].item() == 0


def test_points_of_the_dense_truth_stand_in_for_keypoints_where_they_are_wanted(shifts, matcher):
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
